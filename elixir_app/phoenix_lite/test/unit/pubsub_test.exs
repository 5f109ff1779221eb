defmodule PhoenixLite.PubSubTest do
  use ExUnit.Case, async: true
  alias Phoenix.PubSub

  test "subscribers get what is sent, in order, until they unsubscribe or end" do
    topic = "t#{System.unique_integer()}"
    :ok = PubSub.subscribe(Demo.PubSub, topic)
    for at <- 1..3, do: PubSub.broadcast(Demo.PubSub, topic, {:n, at})
    for at <- 1..3, do: assert_received({:n, ^at})
    PubSub.broadcast_from(Demo.PubSub, self(), topic, :mine)
    PubSub.local_broadcast(Demo.PubSub, topic <> "x", :other)
    refute_received _
    PubSub.unsubscribe(Demo.PubSub, topic)
    PubSub.broadcast(Demo.PubSub, topic, :late)
    refute_received _
    {pid, monitor} = spawn_monitor(fn -> PubSub.subscribe(Demo.PubSub, topic) end)
    assert_receive {:DOWN, ^monitor, _, ^pid, _}
    # The registry hears of it by a message of its own.
    assert Enum.any?(1..1_000, fn _ -> Registry.lookup(Demo.PubSub, topic) == [] or !Process.sleep(10) end)
  end

  test "subscribed twice, sent twice" do
    topic = "t#{System.unique_integer()}"
    for _ <- 1..2, do: PubSub.subscribe(Demo.PubSub, topic)
    PubSub.broadcast!(Demo.PubSub, topic, :m)
    assert_received :m
    assert_received :m
  end

  test "what comes from another node reaches subscribers here" do
    topic = "t#{System.unique_integer()}"
    :ok = PubSub.subscribe(Demo.PubSub, topic)
    PubSub.direct_broadcast(node(), Demo.PubSub, topic, :from_afar)
    assert_receive :from_afar
    assert Process.whereis(Module.concat(Demo.PubSub, Remote)) in :pg.get_members(Phoenix.PubSub, Demo.PubSub)
  end

  test "a frame is encoded once for all who have the same serializer" do
    defmodule Counting do
      def fastlane!(message) do
        send(message.payload.test, :encoded)
        {:socket_push, :text, "frame"}
      end
    end

    topic = "t#{System.unique_integer()}"
    for _ <- 1..5, do: PubSub.subscribe(Demo.PubSub, topic, metadata: {:fastlane, self(), Counting, []})
    Demo.Endpoint.broadcast(topic, "e", %{test: self()})
    assert_received :encoded
    refute_received :encoded
    for _ <- 1..5, do: assert_received({:socket_push, :text, "frame"})
  end
end
