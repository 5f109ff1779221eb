defmodule Roomtone.Media.Library do
  @moduledoc """
  The native library for taps, recordings and sources: that of this node, or, on a web node, which has
  none, that of a media node.

  Handles of a media node live in a `Roomtone.Cluster.Holder` there, which ends with the process that
  opened it. A handle can be sent between nodes, but means something only where it was made. When the
  media node is gone each call is answered with `{:error, :media_lost}`, and the monitor of `monitor/1`
  fires.
  """

  alias Roomtone.{Audio, Config, Media, Native, SafeCall}
  alias Roomtone.Cluster.{Link, Natives, Protocol, Table}

  @patience_ms 10_000
  # A file that is sent to a media node, and its parts.
  @most_bytes 256 * 1024 * 1024
  @part_bytes 256 * 1024

  @typedoc "The library: a module, or the process that holds handles on a media node."
  @type t :: {:here, module} | {:there, pid}

  @typedoc "A function that it carries out: those of `Roomtone.Native`, and others that do many frames or packets at a time."
  @type function_name :: atom

  @functions [
    tap_new: 1,
    tap_read: 1,
    tap_gains: 3,
    live_new: 2,
    live_append: 4,
    rate_new: 1,
    rate_push: 3,
    file_open: 1,
    file_read: 1,
    record_start: 1,
    record_inputs: 1,
    record_names: 2,
    record_enter: 3,
    record_status: 1,
    record_stop: 1,
    audio_from_s16: 1
  ]

  @doc """
  The library beside the engine that has this shard, for handles that its commands name. They end with
  `owner`.
  """
  @spec beside(Media.shard(), owner :: pid) :: {:ok, t} | {:error, :media_busy}
  def beside(shard, owner \\ self()) do
    case {Media.engine(), Config.get().role} do
      {nil, _role} ->
        {:error, :media_busy}

      {_engine, :web} ->
        with node when node != nil <- Link.node_of(shard), do: hold(node, owner), else: (nil -> {:error, :media_busy})

      {{native, _engine}, _role} ->
        {:ok, {:here, native}}
    end
  end

  @doc "A library for sound that no engine has to know."
  @spec any() :: {:ok, t} | {:error, :no_media}
  def any do
    if Config.get().role == :web do
      nodes = for {_slot, node, %{draining: false}} <- Table.reports(), do: node
      nodes |> Enum.shuffle() |> Enum.take(2) |> hold_at_one()
    else
      {:ok, {:here, Native}}
    end
  end

  defp hold_at_one(nodes) do
    Enum.find_value(nodes, {:error, :no_media}, fn node ->
      with {:error, _late_or_gone} <- hold(node, self()), do: nil
    end)
  end

  defp hold(node, owner) do
    case SafeCall.call({Natives, node}, Protocol.pack({:run, :hold, [owner]}), @patience_ms) do
      {:ok, {:ok, holder}} -> {:ok, {:there, holder}}
      _late_gone_or_older -> {:error, :media_busy}
    end
  end

  @doc "Whether handles of this library can be named in commands for this shard."
  @spec beside?(t | nil, Media.shard()) :: boolean
  def beside?({:here, _native}, _shard), do: true
  def beside?({:there, holder}, shard), do: Link.node_of(shard) == node(holder)
  def beside?(nil, _shard), do: false

  @doc "A monitor that fires when the handles are gone; `nil` where they end with their process."
  @spec monitor(t) :: reference | nil
  def monitor({:here, _native}), do: nil
  def monitor({:there, holder}), do: Process.monitor(holder)

  @doc "Gives up the handles."
  @spec close(t) :: :ok
  def close({:here, _native}), do: :ok
  def close({:there, holder}), do: GenServer.cast(holder, Protocol.pack(:close))

  @doc "Calls a function of the library."
  @spec run(t, function_name, [term]) :: term | {:error, :media_lost}
  def run({:here, native}, function, arguments), do: perform(native, function, arguments)

  def run({:there, holder}, function, arguments) do
    case SafeCall.call(holder, Protocol.pack({:run, function, arguments}), @patience_ms) do
      {:ok, answer} -> answer
      {:error, _late_or_gone} -> {:error, :media_lost}
    end
  end

  @doc false
  @spec known?(atom, [term]) :: boolean
  def known?(:encoder, [opts]), do: is_list(opts)
  def known?(:samples_of_all, [packets]), do: is_list(packets)
  def known?(:encode_all, [_encoder, frames]), do: is_list(frames)
  def known?(function, arguments), do: {function, length(arguments)} in @functions

  @doc false
  @spec perform(module, atom, [term]) :: term
  def perform(_native, :encoder, [opts]), do: Audio.encoder(opts)
  def perform(_native, :encode_all, [encoder, frames]), do: each_of(frames, &Audio.encode(encoder, &1), [])
  def perform(_native, :samples_of_all, [packets]), do: each_of(packets, &Native.packet_samples/1, [])
  def perform(native, function, arguments), do: apply(native, function, arguments)

  defp each_of([], _function, done), do: {:ok, Enum.reverse(done)}

  defp each_of([one | others], function, done),
    do: with({:ok, result} <- function.(one), do: each_of(others, function, [result | done]))

  # ---- Files -----------------------------------------------------------------------------------------------------------

  @doc """
  Opens a sound file of this node. A media node gets a copy of it, of at most #{div(@most_bytes, 1024 * 1024)} MiB.
  """
  @spec open_file(t, Path.t()) :: {:ok, Native.sound_file()} | {:error, Native.file_error() | :too_long | :media_lost}
  def open_file({:here, _native} = library, path), do: run(library, :file_open, [path])

  def open_file({:there, _holder} = library, path) do
    with {:ok, %{type: :regular, size: size}} <- File.stat(path),
         :ok <- if(size <= @most_bytes, do: :ok, else: {:error, :too_long}),
         {:ok, opened} <- File.open(path, [:read, :raw, :binary], &copy(library, &1)) do
      opened
    else
      {:ok, _folder_or_device} -> {:error, :not_a_file}
      {:error, :enoent} -> {:error, :not_found}
      {:error, :enotdir} -> {:error, :not_found}
      {:error, :eacces} -> {:error, :no_permission}
      {:error, :too_long} -> {:error, :too_long}
      {:error, _why} -> {:error, :io}
    end
  end

  defp copy({:there, holder} = library, file) do
    case :file.read(file, @part_bytes) do
      {:ok, part} ->
        case SafeCall.call(holder, Protocol.pack({:part, part}), @patience_ms) do
          {:ok, :ok} -> copy(library, file)
          {:ok, {:error, _} = error} -> error
          {:error, _late_or_gone} -> {:error, :media_lost}
        end

      :eof ->
        case SafeCall.call(holder, Protocol.pack(:open_parts), @patience_ms) do
          {:ok, answer} -> answer
          {:error, _late_or_gone} -> {:error, :media_lost}
        end

      {:error, _why} ->
        {:error, :io}
    end
  end

  @doc false
  @spec most_bytes() :: pos_integer
  def most_bytes, do: @most_bytes
end
