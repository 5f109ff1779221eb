defmodule Roomtone.Tap do
  @moduledoc """
  The process of a tap: gives a program the sound of a room, or of people in it. `Roomtone.tap/3`
  starts it.

  Taps of the same sound in the same form share one `Roomtone.Tap.Feed`, which takes the sound out of
  the media engine once and sends `t:message/0` to the owner of each tap, the process that called
  `Roomtone.tap/3`. While an owner is behind (more than #{50} messages in its queue), its batches wait.
  After 2 s the oldest are lost, and the next batch tells how many. Neither the room nor other taps
  ever wait.

  A tap isn't in the list of people, and nobody hears it. It outlives a restart of the room's media.
  It ends with its owner, with its room, and by `Roomtone.untap/1`.

  In a cluster the feed is on the node of the room, and the tap brings its batches to an owner on
  another node. It ends with `{:failed, :node_lost}` when the connection to that node does.
  """

  use GenServer, restart: :temporary

  alias Roomtone.{SafeCall, UnknownMessage}
  alias Roomtone.Cluster.Control
  alias Roomtone.Media.Library
  alias Roomtone.Tap.{Consumer, Feed}

  # A feed that ends just then is replaced.
  @most_tries 5
  @retry_ms 20
  @rates [8_000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000]

  @typedoc """
  The sound of a tap: everybody (`:mix`); the mix as somebody who only listens hears it (`:audience`);
  one person; each talker apart; or a mix of the people in a map, at these gains (0 to 10, linear).

  The room's policy counts for `:audience` alone: whoever whispers or is in a zone isn't in it. All the
  others have whispers and zones, too, because they are the application's own.
  """
  @type what :: :mix | :audience | {:person, String.t()} | :each | %{String.t() => number}

  @typedoc """
  A batch.

    * `at` – the time of its beginning in the room, in Unix microseconds
    * `timestamp` – the same on the room's time line, in samples at 48 kHz; wraps at 2^32
    * `ms` – its length
    * `lost` – batches lost before it because the owner was behind. As PCM it begins with as much
      silence, and `at`, `timestamp` and `ms` include that
    * `speaking` – the people who spoke during it, of those who can be heard on the tap
    * `pcm` – the sound, little-endian, in the format, rate and channels of the tap, or
    * `packets` – Opus packets with their RTP timestamps, at 48 kHz, and
    * `level` – its level in −dBov (0 loudest, 127 silence); the loudest packet's for Opus; or
    * `tracks` – with `:each`, `pcm` or `packets` and `level` of each person who has sound, and
      `voice`, with `voice: true`
  """
  @type batch :: %{
          required(:at) => integer,
          required(:timestamp) => non_neg_integer,
          required(:ms) => pos_integer,
          required(:lost) => non_neg_integer,
          required(:speaking) => [String.t()],
          optional(:pcm) => binary,
          optional(:packets) => [{non_neg_integer, binary}],
          optional(:level) => 0..127,
          optional(:tracks) => %{String.t() => track}
        }

  @typedoc """
  The sound of one person with `:each`. `voice` is how surely there is a voice in it, 0 to 1; from 0.6
  on it is one (`Roomtone.Audio.voice/2`).
  """
  @type track :: %{
          required(:level) => 0..127,
          optional(:voice) => float,
          optional(:pcm) => binary,
          optional(:packets) => [{non_neg_integer, binary}]
        }

  @typedoc """
  A message to the owner. `{:ended, reason}` is the last: `:closed` by `Roomtone.untap/1`,
  `:room_closed`, or `{:failed, reason}` when the media engine didn't take the tap back, or the node of
  the room is gone (`:node_lost`).
  """
  @type message :: {:roomtone_tap, tap :: pid, batch | {:ended, :closed | :room_closed | {:failed, atom}}}

  @type error ::
          :not_mixed
          | :overloaded
          | :media_busy
          | :media_lost
          | {:invalid_option, atom}
          | {:invalid_tap, term}
          | Roomtone.room_error()

  defmodule Error do
    @moduledoc "Raised by `Roomtone.tap_stream/3` where there is nothing to tap; `reason` is that of `Roomtone.tap/3`."
    defexception [:reason]

    @impl true
    def message(%{reason: reason}), do: "the room can't be tapped: #{inspect(reason)}"
  end

  @enforce_keys [:args, :owner]
  defstruct [:args, :owner, :feed, :monitor, :consumer, looks: false]

  # ---- For callers -----------------------------------------------------------------------------------------------------

  @doc false
  # A part of the documentation of `Roomtone.tap/3`.
  @spec what_doc() :: String.t()
  def what_doc do
    """
      * `:mix` – everybody, whatever the room's policy is. In a room with a mix it costs no further
        encode
      * `:audience` – the mix as somebody who only listens hears it: without those who whisper or are in
        a zone. A room of kind `:forward` has none (`:not_mixed`)
      * `{:person, identity}` – one person, whenever they are there
      * `:each` – each talker apart
      * a map of gains, such as `%{"ada" => 1.0, "bob" => 0.5}` – these people, mixed
    """
    |> String.trim_trailing()
  end

  @doc false
  # A part of the documentation of `Roomtone.tap/3`.
  @spec options_doc() :: String.t()
  def options_doc do
    """
      * `format` – `:f32` (default) or `:s16`, little-endian, or `:opus`: the packets, as the room has
        them. A room of kind `:forward` has no mix in Opus (`:not_mixed`)
      * `rate` – of PCM: 8,000, 12,000, 16,000, 24,000, 32,000, 44,100 or 48,000 (default) samples a
        second
      * `channels` – 1 (default), or 2 for the mix of a room with `stereo: true`
      * `batch` – milliseconds in a message, 20 to 500; default 100
      * `voice` – with `true`, each person's track of `:each` as PCM has `voice`: how surely there is a
        voice in it, 0 to 1. Default `false`
    """
    |> String.trim_trailing()
  end

  @doc false
  @spec start(String.t(), what, keyword, pid) :: {:ok, pid} | {:error, error}
  def start(room, what, opts, owner) do
    with :ok <- check_what(what),
         {:ok, opts} <- check(opts),
         :ok <- fits(what, opts),
         do: open(%{room: room, what: what, opts: opts, owner: owner})
  end

  @doc false
  # A tap whose queue something else reads, for the calling process.
  @spec start_unread(String.t(), :mix | :each, {Roomtone.Native.tap(), Library.t()}, 1..2) ::
          {:ok, pid} | {:error, error}
  def start_unread(room, what, {handle, library}, channels) do
    opts = %{format: :opus, channels: channels, batch: 100, handle: handle, library: library}
    open(%{room: room, what: what, opts: opts, owner: self()})
  end

  @doc false
  # An enumerable of the batches of the tap that `open` opens.
  @spec stream((() -> {:ok, pid} | {:error, term})) :: Enumerable.t()
  def stream(open) do
    Stream.resource(
      fn ->
        case open.() do
          {:ok, tap} -> tap
          {:error, reason} -> raise Error, reason: reason
        end
      end,
      fn tap ->
        receive do
          {:roomtone_tap, ^tap, %{} = batch} -> {[batch], tap}
          {:roomtone_tap, ^tap, {:ended, _reason}} -> {:halt, tap}
        end
      end,
      &finish_stream/1
    )
  end

  # Nothing of it is left in the mailbox.
  defp finish_stream(tap) do
    _ended_before = stop(tap)
    forget(tap)
  end

  defp forget(tap) do
    receive do
      {:roomtone_tap, ^tap, _message} -> forget(tap)
    after
      0 -> :ok
    end
  end

  defp open(args) do
    case SafeCall.start_child(Roomtone.Tap.Supervisor, {__MODULE__, args}, :open, 10_000) do
      {:ok, pid, :ok} -> {:ok, pid}
      {:ok, _pid, {:error, _} = error} -> error
      {:error, _late_or_gone} -> {:error, :media_busy}
    end
  end

  @doc false
  @spec stop(pid) :: :ok | {:error, :not_found}
  def stop(tap) do
    case SafeCall.call(tap, :close) do
      {:ok, :ok} -> :ok
      {:error, _late_or_gone} -> {:error, :not_found}
    end
  end

  defp check_what(:mix), do: :ok
  defp check_what(:audience), do: :ok
  defp check_what(:each), do: :ok
  defp check_what({:person, identity}) when is_binary(identity), do: :ok

  defp check_what(gains) when is_map(gains) and map_size(gains) > 0 do
    if Enum.all?(gains, fn {who, gain} -> is_binary(who) and is_number(gain) and gain >= 0 and gain <= 10 end),
      do: :ok,
      else: {:error, {:invalid_tap, gains}}
  end

  defp check_what(other), do: {:error, {:invalid_tap, other}}

  defp check(opts) do
    allowed = [
      format: &(&1 in [:f32, :s16, :opus]),
      rate: &(&1 in @rates),
      channels: &(&1 in [1, 2]),
      batch: &(is_integer(&1) and &1 in 20..500),
      voice: &is_boolean/1
    ]

    case Enum.find(opts, fn {key, value} -> not (Keyword.has_key?(allowed, key) and allowed[key].(value)) end) do
      nil ->
        {:ok, %{format: :f32, rate: 48_000, channels: 1, batch: 100} |> Map.merge(Map.new(opts)) |> without_voice()}

      {key, _value} ->
        {:error, {:invalid_option, key}}
    end
  end

  # As a node of a release without the option asks, so that both share a feed.
  defp without_voice(%{voice: false} = opts), do: Map.delete(opts, :voice)
  defp without_voice(opts), do: opts

  defp fits(what, %{voice: true, format: format}) when what != :each or format == :opus,
    do: {:error, {:invalid_option, :voice}}

  defp fits(mix, _opts) when mix in [:mix, :audience], do: :ok
  # People are mono; a mix of some of them at gains of their own has no sides.
  defp fits(_what, %{channels: 2}), do: {:error, {:invalid_option, :channels}}
  defp fits(_what, _opts), do: :ok

  @doc false
  @spec start_link(map) :: GenServer.on_start()
  def start_link(args), do: GenServer.start_link(__MODULE__, args)

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @impl true
  def init(%{owner: owner} = args) do
    Process.monitor(owner)
    {:ok, %__MODULE__{args: Map.delete(args, :owner), owner: owner}}
  end

  @impl true
  def handle_call(:open, _from, state) do
    case subscribe(state, @most_tries) do
      {:ok, state} -> {:reply, :ok, state}
      {:error, _} = error -> {:stop, :normal, error, state}
    end
  end

  # The feed sends the last message, after its batches.
  def handle_call(:close, _from, state) do
    if state.feed, do: SafeCall.call(state.feed, {:unsubscribe, self()})
    if state.consumer, do: Consumer.tell(state.consumer, {:ended, :closed})
    {:stop, :normal, :ok, state}
  end

  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info({:DOWN, _ref, :process, pid, _reason}, %{owner: pid} = state), do: {:stop, :normal, state}
  def handle_info({:DOWN, ref, :process, _pid, :normal}, %{monitor: ref} = state), do: {:stop, :normal, state}

  # Of a feed on another node.
  def handle_info({:roomtone_tap, tap, %{} = batch}, %{consumer: %{} = consumer} = state) when tap == self() do
    send(state.feed, {:taken, tap})
    {:noreply, look_later(%{state | consumer: Consumer.give(consumer, batch)})}
  end

  def handle_info({:roomtone_tap, tap, {:ended, _reason} = ended}, %{consumer: %{} = consumer} = state)
      when tap == self() do
    Consumer.tell(consumer, ended)
    {:noreply, state}
  end

  def handle_info(:look, %{consumer: %{} = consumer} = state),
    do: {:noreply, look_later(%{state | looks: false, consumer: Consumer.catch_up(consumer)})}

  def handle_info({:DOWN, ref, :process, _pid, reason}, %{monitor: ref} = state) do
    why = if reason == :noconnection, do: :node_lost, else: :crashed
    send(state.owner, {:roomtone_tap, self(), {:ended, {:failed, why}}})
    {:stop, {:shutdown, reason}, state}
  end

  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  defp subscribe(_state, 0), do: {:error, :media_busy}

  defp subscribe(state, tries) do
    with {:ok, feed} <- find_feed(state.args), :ok <- Feed.subscribe(feed, self(), state.owner) do
      consumer = if node(feed) != node(), do: Consumer.new(self(), state.owner, state.args.opts)
      {:ok, %{state | feed: feed, monitor: Process.monitor(feed), consumer: consumer}}
    else
      {:error, :gone} ->
        Process.sleep(@retry_ms)
        subscribe(state, tries - 1)

      {:error, _} = error ->
        error
    end
  end

  # A recording is on the node of its room.
  defp find_feed(%{opts: %{handle: _handle}} = key), do: Feed.find_or_start(key)

  defp find_feed(key) do
    case Control.at(key.room, {if(key.what == :audience, do: :audience_feed, else: :feed), key}) do
      :here -> Feed.find_or_start(key)
      {:there, {:ok, feed}} -> {:ok, feed}
      # It may be of a release that doesn't know the request.
      {:there, {:error, _why}} -> {:error, :media_busy}
    end
  end

  defp look_later(%{looks: false, consumer: consumer} = state) do
    behind = Consumer.behind?(consumer)
    if behind, do: Process.send_after(self(), :look, state.args.opts.batch)
    %{state | looks: behind}
  end

  defp look_later(state), do: state
end
