defmodule PhoenixLite.PubSubTest do
  use ExUnit.Case, async: true
  alias Phoenix.PubSub

  test "subscribers get what is sent, in order, until they end" do
    topic = "t#{System.unique_integer()}"
    :ok = PubSub.subscribe(Demo.PubSub, topic)
    for at <- 1..3, do: PubSub.broadcast(Demo.PubSub, topic, {:n, at})
    for at <- 1..3, do: assert_received({:n, ^at})
    PubSub.broadcast_from(Demo.PubSub, self(), topic, :mine)
    PubSub.broadcast(Demo.PubSub, topic <> "x", :other)
    refute_received _
    {pid, monitor} = spawn_monitor(fn -> PubSub.subscribe(Demo.PubSub, topic <> "y") end)
    assert_receive {:DOWN, ^monitor, _, ^pid, _}
    # The registry learns of the end by a message of its own.
    assert Enum.any?(1..1_000, fn _ -> Registry.lookup(Demo.PubSub, topic <> "y") == [] or !Process.sleep(10) end)
  end

  test "a process that subscribes twice gets each message twice" do
    topic = "t#{System.unique_integer()}"
    for _ <- 1..2, do: PubSub.subscribe(Demo.PubSub, topic)
    PubSub.broadcast(Demo.PubSub, topic, :m)
    assert_received :m
    assert_received :m
  end
end
