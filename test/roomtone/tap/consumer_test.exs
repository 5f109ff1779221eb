defmodule Roomtone.Tap.ConsumerTest do
  use ExUnit.Case, async: true

  alias Roomtone.Tap.Consumer

  @s16 %{format: :s16, rate: 16_000, channels: 1, batch: 500}

  defp batch(number, more \\ %{pcm: <<1::16>>}),
    do: Map.merge(%{at: number * 500_000, timestamp: number * 24_000, ms: 500, lost: 0, speaking: [], level: 20}, more)

  # An owner with so many other messages in its queue.
  defp owner(messages) do
    owner = spawn_link(fn -> Process.sleep(:infinity) end)
    for _ <- 1..messages//1, do: send(owner, :something_else)
    owner
  end

  test "a batch comes at once to an owner who keeps up" do
    consumer = Consumer.new(self(), self(), @s16)
    consumer = Consumer.give(consumer, batch(0))
    refute Consumer.behind?(consumer)
    expected = batch(0)
    tap = self()
    assert_received {:roomtone_tap, ^tap, ^expected}
  end

  test "batches wait for an owner who is behind, and the oldest are lost after 2 s" do
    busy = owner(51)
    consumer = Enum.reduce(0..6, Consumer.new(self(), busy, @s16), &Consumer.give(&2, batch(&1)))
    assert Consumer.behind?(consumer)
    assert {consumer.count, consumer.lost} == {4, 3}
    tap = self()
    caught_up = Consumer.catch_up(%{consumer | owner: self()})
    refute Consumer.behind?(caught_up)
    assert_received {:roomtone_tap, ^tap, %{lost: 3} = first}
    # Three batches of silence, then the fourth.
    assert first.pcm == <<0::size(3 * 8_000)-unit(16), 1::16>>
    assert {first.ms, first.at, first.timestamp} == {2_000, 0, 0}
    for number <- 4..6, do: assert_received({:roomtone_tap, ^tap, %{lost: 0, at: at}} when at == number * 500_000)
    refute_received {:roomtone_tap, _tap, _batch}
  end

  test "batches wait while the connection to the tap's node takes none" do
    # A process of a node that isn't connected.
    tap = :erlang.binary_to_term(<<131, 88, 119, 6, "a@nope", 5::32, 0::32, 1::32>>)
    consumer = Enum.reduce(0..2, Consumer.new(tap, self(), @s16), &Consumer.give(&2, batch(&1)))
    assert {consumer.count, consumer.lost, consumer.underway} == {3, 0, 0}
    assert Consumer.catch_up(consumer) == consumer
    assert :queue.to_list(consumer.waiting) == Enum.map(0..2, &batch/1)
    consumer = Enum.reduce(3..6, consumer, &Consumer.give(&2, batch(&1)))
    assert {consumer.count, consumer.lost} == {4, 3}
  end

  test "a batch behind a gap counts the gap before it, and each talker begins with silence" do
    tracks = %{"ada" => %{level: 20, pcm: <<7::32>>}, "bob" => %{level: 20, pcm: <<9::32>>}}
    batch = Consumer.after_gap(batch(4, %{lost: 2, tracks: tracks}), 1, %{@s16 | format: :f32, rate: 8_000})
    assert batch.lost == 3
    assert batch.tracks["ada"].pcm == <<0::size(4_000)-unit(32), 7::32>>
    assert batch.tracks["bob"].pcm == <<0::size(4_000)-unit(32), 9::32>>
  end

  test "packets have no silence, and time wraps" do
    opus = batch(1, %{packets: [{24_000, "packet"}]})
    assert Consumer.after_gap(opus, 5, %{@s16 | format: :opus}) == %{opus | lost: 5}
    assert %{timestamp: 4_294_943_296} = Consumer.after_gap(batch(0), 1, @s16)
  end
end
