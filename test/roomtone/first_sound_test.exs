defmodule Roomtone.FirstSoundTest do
  @moduledoc "The span from an offer to the connection and to the first packets, as events tell it."
  use Roomtone.DomainCase, async: false

  alias Roomtone.{FirstSound, Telemetry}

  @moduletag capture_log: true

  setup do
    test = self()
    :persistent_term.put(__MODULE__, test)
    :ok = :telemetry.attach_many(__MODULE__, Telemetry.events(), &__MODULE__.handle/4, nil)
    on_exit(fn -> :telemetry.detach(__MODULE__) end)
  end

  @doc false
  def handle([:roomtone | name], measured, about, _config),
    do: send(:persistent_term.get(__MODULE__), {name, about[:room], measured, about})

  defp ms(native), do: System.convert_time_unit(native, :native, :millisecond)

  test "a join, its connection and its first packets follow each other" do
    room = open_room()
    offer = FakeNative.offer(connect: true, first_in_ms: 40, first_out_ms: 900)
    {:ok, _} = Roomtone.join(room, "ada", offer)

    assert_receive {[:join, :start], ^room, %{system_time: _, monotonic_time: started}, %{participant: "ada"}}
    assert_receive {[:join, :stop], ^room, %{duration: joining, monotonic_time: stopped}, %{result: :ok}}
    assert stopped - started == joining
    assert_receive {[:media, :connected], ^room, %{duration: connecting, since_offer: connected}, _about}
    assert connecting <= connected
    assert_receive {[:media, :first_sound], ^room, %{duration: first_in, since_offer: sound}, %{direction: :in}}
    assert {ms(first_in), sound} == {40, connected + first_in}
    assert_receive {[:media, :first_sound], ^room, %{duration: first_out}, %{direction: :out, participant: "ada"}}
    assert ms(first_out) == 900
    refute_received {[:media, :first_sound], ^room, _measured, _about}
  end

  test "a join that fails stops with the name of its error" do
    room = open_room()
    {:error, {:offer_refused, :no_opus, _}} = Roomtone.join(room, "eve", FakeNative.offer(refuse: "no_opus"))
    assert_receive {[:join, :stop], ^room, _measured, %{result: :offer_refused}}
    {:error, _} = Roomtone.join("no/room", "eve", FakeNative.offer())
    assert_receive {[:join, :stop], "no/room", _measured, %{result: :invalid_name}}
  end

  test "a span that raises tells it without arguments, which may be secrets" do
    assert_raise ArgumentError, fn ->
      Telemetry.span([:join], %{room: "raises"}, fn -> :erlang.binary_to_atom(Process.get(:nothing, 1)) end)
    end

    assert_receive {[:join, :exception], "raises", %{duration: _}, %{kind: :error, stacktrace: stacktrace}}
    assert stacktrace != []
    assert Enum.all?(stacktrace, fn {_module, _function, arity, _place} -> is_integer(arity) end)
  end

  test "questions end when both directions are known, when the peer is gone, and after nine of them" do
    state = FirstSound.await(7, 1_000)
    assert {[], %FirstSound{missing: [:in, :out]} = state} = FirstSound.answered(state, %{first_in_ms: nil})

    assert {[in: %{since_offer: total}], %FirstSound{missing: [:out]} = state} =
             FirstSound.answered(state, %{first_in_ms: 5.5})

    assert total == 1_000 + System.convert_time_unit(5_500, :microsecond, :native)
    assert {[out: _], nil} = FirstSound.answered(state, %{first_in_ms: 5.5, first_out_ms: 10.0})
    assert {[], nil} = FirstSound.answered(state, nil)

    last = %{state | attempt: 9, timer: nil}
    assert {[], nil} = FirstSound.answered(last, %{first_in_ms: 5.5, first_out_ms: nil})
  end
end
