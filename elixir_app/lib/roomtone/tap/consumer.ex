defmodule Roomtone.Tap.Consumer do
  @moduledoc """
  The owner of a tap, as a `Roomtone.Tap.Feed` sees it: gets each batch at once, or, while it is
  behind, when it has caught up. At most 2 s of sound wait for it; the oldest batches are lost then,
  and the next one tells how many.

  A tap on another node gets the batches itself, acknowledges each (`taken/1`), and has a consumer of
  its own for its owner. It is behind while 20 batches aren't acknowledged.
  """

  alias Roomtone.Tap

  @most_waiting_ms 2_000
  @fewest_waiting 4
  # Messages in an owner's queue.
  @most_messages 50
  # Batches on their way to another node.
  @most_underway 20
  # Silence that stands for lost batches.
  @most_silence_ms 30_000

  @enforce_keys [:tap, :owner, :opts]
  defstruct [:tap, :owner, :opts, waiting: :queue.new(), count: 0, lost: 0, underway: 0]

  @type t :: %__MODULE__{
          tap: pid,
          owner: pid,
          opts: map,
          waiting: :queue.queue(Tap.batch()),
          count: non_neg_integer,
          lost: non_neg_integer,
          underway: non_neg_integer
        }

  @doc "An owner who has got nothing yet. `opts` are those of `Roomtone.tap/3`."
  @spec new(pid, pid, map) :: t
  def new(tap, owner, opts), do: %__MODULE__{tap: tap, owner: owner, opts: opts}

  @doc "Sends a batch, or keeps it while the owner is behind."
  @spec give(t, Tap.batch()) :: t
  def give(%{count: 0} = consumer, batch) do
    with true <- keeps_up?(consumer), {:ok, consumer} <- deliver(consumer, batch) do
      consumer
    else
      _behind_or_full -> keep(consumer, batch)
    end
  end

  def give(consumer, batch), do: consumer |> keep(batch) |> catch_up()

  @doc "Sends what waits, until the owner is behind again."
  @spec catch_up(t) :: t
  def catch_up(%__MODULE__{count: 0} = consumer), do: consumer

  def catch_up(%__MODULE__{} = consumer) do
    with true <- keeps_up?(consumer),
         {{:value, batch}, waiting} = :queue.out(consumer.waiting),
         {:ok, delivered} <- deliver(consumer, batch) do
      catch_up(%{delivered | waiting: waiting, count: consumer.count - 1})
    else
      _behind_or_full -> consumer
    end
  end

  @doc "Whether batches wait for the owner."
  @spec behind?(t) :: boolean
  def behind?(consumer), do: consumer.count > 0

  @doc "Sends the last message."
  @spec tell(t, {:ended, term}) :: :ok
  def tell(consumer, what) do
    send(if(there?(consumer), do: consumer.tap, else: consumer.owner), {:roomtone_tap, consumer.tap, what})
    :ok
  end

  @doc "A tap on another node has taken a batch."
  @spec taken(t) :: t
  def taken(%__MODULE__{} = consumer), do: catch_up(%{consumer | underway: max(consumer.underway - 1, 0)})

  defp keep(consumer, batch) do
    consumer = %{consumer | waiting: :queue.in(batch, consumer.waiting), count: consumer.count + 1}

    if consumer.count > max(div(@most_waiting_ms, consumer.opts.batch), @fewest_waiting) do
      {{:value, lost}, waiting} = :queue.out(consumer.waiting)
      %{consumer | waiting: waiting, count: consumer.count - 1, lost: consumer.lost + 1 + lost.lost}
    else
      consumer
    end
  end

  # `:full` while the connection of the nodes is congested or lost: the batch waits for the next look.
  defp deliver(consumer, batch) do
    batch = if consumer.lost == 0, do: batch, else: after_gap(batch, consumer.lost, consumer.opts)
    message = {:roomtone_tap, consumer.tap, batch}

    cond do
      not there?(consumer) ->
        send(consumer.owner, message)
        {:ok, %{consumer | lost: 0}}

      :erlang.send(consumer.tap, message, [:nosuspend, :noconnect]) == :ok ->
        {:ok, %{consumer | lost: 0, underway: consumer.underway + 1}}

      true ->
        :full
    end
  end

  @doc "The batch, when `lost` others before it were lost: PCM begins with as much silence."
  @spec after_gap(Tap.batch(), pos_integer, map) :: Tap.batch()
  def after_gap(batch, lost, %{format: :opus}), do: %{batch | lost: batch.lost + lost}

  def after_gap(batch, lost, opts) do
    ms = min(lost * div(opts.batch, 20) * 20, @most_silence_ms)
    sample = if opts.format == :s16, do: 2, else: 4
    silence = :binary.copy(<<0>>, div(opts.rate * ms, 1_000) * opts.channels * sample)

    batch
    |> Map.update!(:lost, &(&1 + lost))
    |> Map.update!(:ms, &(&1 + ms))
    |> Map.update!(:at, &(&1 - ms * 1_000))
    |> Map.update!(:timestamp, &Integer.mod(&1 - ms * 48, 4_294_967_296))
    |> with_silence(silence)
  end

  defp with_silence(%{pcm: pcm} = batch, silence), do: %{batch | pcm: silence <> pcm}

  defp with_silence(%{tracks: tracks} = batch, silence) do
    tracks = Map.new(tracks, fn {who, track} -> {who, Map.update!(track, :pcm, &(silence <> &1))} end)
    %{batch | tracks: tracks}
  end

  defp there?(%{tap: tap}), do: node(tap) != node()

  defp keeps_up?(%{owner: owner} = consumer) do
    if there?(consumer) do
      consumer.underway < @most_underway
    else
      case Process.info(owner, :message_queue_len) do
        {:message_queue_len, length} -> length <= @most_messages
        nil -> false
      end
    end
  end
end
