defmodule PhoenixLite.TelemetryTest do
  use ExUnit.Case, async: true
  import ExUnit.CaptureLog

  @doc false
  def tell(event, measurements, metadata, config), do: send(config, {event, measurements, metadata})

  @doc false
  def fail(_event, _measurements, _metadata, _config), do: raise("no handler of mine")

  defp names, do: {make_ref(), [:test, :"event#{System.unique_integer([:positive])}"]}

  test "a handler gets its events, in the process that executes them, until it is detached" do
    {id, event} = names()
    assert :telemetry.attach_many(id, [event, event ++ [:stop]], &__MODULE__.tell/4, self()) == :ok
    assert :telemetry.execute(event, %{count: 1}, %{room: "a"}) == :ok
    assert_received {^event, %{count: 1}, %{room: "a"}}
    :telemetry.execute(event ++ [:stop], %{}, %{})
    assert_received {_, %{}, %{}}
    :telemetry.execute(event ++ [:other], %{}, %{})
    assert :telemetry.detach(id) == :ok
    :telemetry.execute(event, %{}, %{})
    refute_received _
    assert :telemetry.detach(id) == {:error, :not_found}
  end

  test "an id is attached once" do
    {id, event} = names()
    assert :telemetry.attach_many(id, [event], &__MODULE__.tell/4, self()) == :ok
    assert :telemetry.attach_many(id, [event], &__MODULE__.tell/4, self()) == {:error, :already_exists}
    assert :telemetry.detach(:_) == {:error, :not_found}
    assert :telemetry.detach(id) == :ok
  end

  test "a handler that raises is logged and detached, and the others are called" do
    {id, event} = names()
    :telemetry.attach_many(id, [event], &__MODULE__.fail/4, nil)
    :telemetry.attach_many({:good, id}, [event], &__MODULE__.tell/4, self())
    assert capture_log(fn -> :telemetry.execute(event, %{}, %{}) end) =~ "no handler of mine"
    assert_received {^event, _, _}
    assert :telemetry.detach(id) == {:error, :not_found}
    assert :telemetry.detach({:good, id}) == :ok
  end
end
