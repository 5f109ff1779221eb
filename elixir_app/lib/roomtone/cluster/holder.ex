defmodule Roomtone.Cluster.Holder do
  @moduledoc """
  Holds handles of the native library on a media node for one process of a web node, and carries out
  what that process asks of them: `Roomtone.Media.Library`. It ends with that process, or with its
  node.

  A handle that travels to the web node and back is the same handle as long as somebody holds it here.
  """

  use GenServer, restart: :temporary

  alias Roomtone.{Config, UnknownMessage}
  alias Roomtone.Cluster.Protocol
  alias Roomtone.Media.Library

  # A recording has three, a source its file. More are refused.
  @most_handles 256
  @makers [:tap_new, :live_new, :record_start, :record_inputs, :file_open]
  # A source has one of each; `Roomtone.Source.clear/1` makes others in their place.
  @replaced [:encoder, :rate_new]
  @most_replaced 2

  @typedoc """
    * `handles` – what was made here
    * `replaced` – of what is made again and again, the newest of each kind
    * `parts` – the file that arrives in parts: its path, its device and its bytes so far
  """
  @type state :: %{
          handles: [term],
          replaced: %{atom => [term]},
          parts: {Path.t(), File.io_device(), non_neg_integer} | nil
        }

  @doc false
  @spec start_link(pid) :: GenServer.on_start()
  def start_link(owner), do: GenServer.start_link(__MODULE__, owner)

  @impl true
  def init(owner) do
    Process.flag(:trap_exit, true)
    Process.monitor(owner)
    {:ok, %{handles: [], replaced: %{}, parts: nil}}
  end

  @impl true
  def handle_call(message, from, state) do
    case Protocol.unpack(message) do
      {:ok, {:run, function, arguments}} when is_atom(function) and is_list(arguments) ->
        if Library.known?(function, arguments),
          do: run(function, arguments, state),
          else: UnknownMessage.call(__MODULE__, message, from, state)

      {:ok, {:part, part}} when is_binary(part) ->
        append(part, state)

      {:ok, :open_parts} ->
        open_parts(state)

      _other ->
        UnknownMessage.call(__MODULE__, message, from, state)
    end
  end

  @impl true
  def handle_cast(message, state) do
    case Protocol.unpack(message) do
      {:ok, :close} -> {:stop, :normal, state}
      _other -> UnknownMessage.cast(__MODULE__, message, state)
    end
  end

  @impl true
  def handle_info({:DOWN, _ref, :process, _owner, _reason}, state), do: {:stop, :normal, state}
  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  @impl true
  def terminate(_reason, state), do: drop_parts(state)

  defp run(function, _arguments, %{handles: handles} = state)
       when function in @makers and length(handles) >= @most_handles,
       do: {:reply, {:error, :media_busy}, state}

  defp run(function, arguments, state) do
    answer = Library.perform(Config.get().native, function, arguments)
    {:reply, answer, keep(function, answer, state)}
  rescue
    # A handle of another node or of an earlier life of this one, or none at all.
    ArgumentError -> {:reply, {:error, :media_lost}, state}
  end

  defp keep(function, {:ok, made}, state) when function in @makers,
    do: %{state | handles: [made | state.handles]}

  defp keep(function, {:ok, made}, state) when function in @replaced do
    newest = Enum.take([made | Map.get(state.replaced, function, [])], @most_replaced)
    %{state | replaced: Map.put(state.replaced, function, newest)}
  end

  defp keep(_function, _answer, state), do: state

  # ---- Files -----------------------------------------------------------------------------------------------------------

  defp append(part, state) do
    with {:ok, {path, device, bytes}} <- parts(state),
         state = %{state | parts: {path, device, bytes + byte_size(part)}},
         {:room, true} <- {:room, bytes + byte_size(part) <= Library.most_bytes()},
         :ok <- :file.write(device, part) do
      {:reply, :ok, state}
    else
      {:room, false} -> {:reply, {:error, :too_long}, drop_parts(state)}
      {:error, _why} -> {:reply, {:error, :io}, drop_parts(state)}
    end
  end

  defp parts(%{parts: nil}) do
    name = "roomtone-sound-" <> Base.url_encode64(:crypto.strong_rand_bytes(12), padding: false)
    path = Path.join(System.tmp_dir() || ".", name)

    with {:ok, device} <- :file.open(path, [:write, :raw, :binary, :exclusive]) do
      # Nobody else reads the caller's file. Not each file system has modes.
      _done_or_not = File.chmod(path, 0o600)
      {:ok, {path, device, 0}}
    end
  end

  defp parts(%{parts: parts}), do: {:ok, parts}

  defp open_parts(%{handles: handles} = state) when length(handles) >= @most_handles,
    do: {:reply, {:error, :io}, drop_parts(state)}

  # The library has the file open, and needs no name of it any more.
  defp open_parts(%{parts: nil} = state) do
    with {:ok, parts} <- parts(state),
         do: open_parts(%{state | parts: parts}),
         else: ({:error, _why} -> {:reply, {:error, :io}, state})
  end

  defp open_parts(%{parts: {path, _device, _bytes}} = state) do
    answer = Library.perform(Config.get().native, :file_open, [path])
    {:reply, answer, drop_parts(keep(:file_open, answer, state))}
  end

  defp drop_parts(%{parts: {path, device, _bytes}} = state) do
    :file.close(device)
    File.rm(path)
    %{state | parts: nil}
  end

  defp drop_parts(state), do: state
end
