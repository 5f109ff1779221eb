defmodule Roomtone.MemoryTest do
  @moduledoc """
  After any history of a room, saving and restoring it lets nobody do or hear more than before.
  A failure reports its seed; `PROPERTY_SEEDS=5000 mix test` tries more.
  """
  use ExUnit.Case, async: true

  alias Roomtone.Auth.Lock
  alias Roomtone.{MixPolicy, Room}
  alias Roomtone.Room.Memory

  @moduletag timeout: :infinity

  @seeds 1..String.to_integer(System.get_env("PROPERTY_SEEDS", "60"))
  @steps 40
  @names ["ada", "bob", "cleo", "dan"]
  @pass "the pass"
  @zones [nil, "hall", "foyer"]

  test "after any history nobody may do or hear more than before" do
    for seed <- @seeds do
      :rand.seed(:exsss, {seed, 4, 2})

      opts = [
        stage: one_of([true, false]),
        lock: one_of([nil, %Lock{hash: "h", pass: @pass}]),
        maker: one_of([nil, "browser ada"])
      ]

      kind = one_of([:mix, :spatial, :forward])

      {:ok, mix} =
        MixPolicy.new(
          kind: kind,
          default_gain: one_of([1, 0.5, 0]),
          door_gains: one_of([%{}, %{{"hall", "foyer"} => 0.2}])
        )

      room =
        Room.new(
          ([
             name: "r",
             id: 1,
             opened_at: DateTime.utc_now(),
             max_participants: 3,
             incarnation: "inc",
             life: "one",
             kind: kind
           ] ++ opts)
          |> Map.new()
        )

      Enum.reduce(1..@steps, {room, mix, [opts]}, fn _, {room, mix, story} ->
        step = random_step(room, kind)
        {room, mix} = take(step, room, mix)
        check(room, mix, fn -> "seed #{seed}:\n" <> Enum.map_join(Enum.reverse([step | story]), "\n", &inspect/1) end)
        {room, mix, [step | story]}
      end)
    end
  end

  # ---- Random steps ------------------------------------------------------------------------------------------------------

  defp one_of(list), do: Enum.random(list)

  defp random_step(room, kind) do
    here = Map.keys(room.people)
    who = if here == [], do: "ada", else: one_of(here)

    case :rand.uniform(16) do
      n when n in 1..4 ->
        {:enter, random_request()}

      5 ->
        {:leave, who, one_of([:left, :owner_lost, :removed])}

      6 ->
        {:set, who, {:role, one_of([:speaker, :listener])}}

      7 ->
        {:set, who, {:silenced, one_of([true, false])}}

      n when n in 8..9 ->
        {:set, who, one_of([{:muted, true}, {:muted, false}, {:deafened, true}, {:deafened, false}, {:hand, true}])}

      10 ->
        {:mix, {:put_zone, who, one_of(@zones)}}

      11 ->
        {:mix, {:whisper, who, one_of([nil, MapSet.new([one_of(@names)]), MapSet.new()])}}

      12 ->
        {:mix, {:put_volume, who, one_of(@names), one_of([0.0, 0.5, 1.0, 2.0])}}

      13 ->
        {:mix, {:update_cells, %{one_of(@names) => %{one_of(@names) => one_of([nil, {0.0, 0.0}, {0.3, 0.0}])}}}}

      14 ->
        {:mix, {:put_doors, one_of([%{}, %{{"hall", nil} => 1.0}])}}

      15 when kind == :spatial ->
        {:mix, {:put_position, who, %{x: one_of([0.0, 50.0]), y: 0.0, z: 0.0}}}

      _ ->
        :give_up
    end
  end

  defp random_request do
    name = one_of(@names)

    %{
      identity: name,
      owner: one_of([self(), self(), :none]),
      session: one_of(["session of #{name}", "session of #{name}", "another session"]),
      grants: one_of([[:speak, :listen], [:speak, :listen], [:listen], [:speak, :listen, :moderate]]),
      pass: one_of([@pass, @pass, "", :any]),
      invited: one_of([[], [], [:listen]]),
      maker: one_of([nil, "browser #{name}"]),
      muted: one_of([nil, true, false]),
      grace_ms: 10
    }
  end

  defp take({:enter, request}, room, mix) do
    case Room.admit(room, request) do
      {:new, room, person, []} -> {room |> Room.confirm(person.identity) |> elem(0), mix}
      {:back, room, _person, _events} -> {room, mix}
      {:error, _reason} -> {room, mix}
    end
  end

  defp take({:leave, who, reason}, room, mix) do
    {room, _events} = Room.remove(room, who, reason)
    {:ok, mix, _effect} = MixPolicy.apply(mix, {:forget, who})
    {room, mix}
  end

  defp take({:set, who, change}, room, mix) do
    case Room.set(room, who, change) do
      {:ok, room, _events} -> {room, mix}
      {:error, _reason} -> {room, mix}
    end
  end

  defp take({:mix, op}, room, mix) do
    {:ok, mix, _effect} = MixPolicy.apply(mix, op)
    {room, mix}
  end

  # A restart in the middle of the history, which then continues with the restored room.
  defp take(:give_up, room, mix) do
    if one_of([true, false]) do
      {room, mix} = restored(room, mix)
      {room, mix}
    else
      {room |> Room.give_up_absent() |> elem(0), mix}
    end
  end

  defp restored(room, mix) do
    # The term as it comes from disk.
    term = room |> Memory.pack(mix, 60_000) |> :erlang.term_to_binary() |> :erlang.binary_to_term([:safe])
    {:ok, %{room: back, mix: mix, empty_after: 60_000}} = Memory.unpack(term)
    {%{back | life: "life #{System.unique_integer()}"}, mix}
  end

  # ---- Checks ------------------------------------------------------------------------------------------------------------

  defp check(room, mix, story) do
    {later, mix_later} = restored(room, mix)
    holds(later.people == %{} and later.incarnation == room.incarnation, story)

    assert {later.stage, later.lock, later.maker, later.kind} == {room.stage, room.lock, room.maker, room.kind},
           story.()

    for listener <- @names, speaker <- @names do
      holds(MixPolicy.weight(mix_later, listener, speaker) == MixPolicy.weight(mix, listener, speaker), story)
    end

    for _ <- 1..8 do
      request = random_request()
      no_more(room, later, request, story)
      no_more(room, later, Map.put(request, :rejoin, Room.room_id(room)), story)
      {:error, reason} = Room.admit(later, Map.put(request, :rejoin, "other.life"))
      holds(reason in [:room_ended, :removed], story)
    end

    for {identity, person} <- room.people, do: comes_back(later, identity, person, story)
    everybody_left(room, later, story)
  end

  # People who don't come back leave no more behind than people who left.
  defp everybody_left(room, later, story) do
    {waited, _identities} = Room.give_up_absent(later)
    left = Room.emptied(room)
    holds(waited.marks == left.marks, story)

    for _ <- 1..4, request = random_request(), {:new, _room, person, _events} <- [Room.admit(waited, request)] do
      {:new, _room, of_old, _events} = Room.admit(left, request)

      holds(
        {may_speak?(person), person.silenced, person.muted} == {may_speak?(of_old), of_old.silenced, of_old.muted},
        story
      )
    end
  end

  # A request to the restored room gets at most what the earlier room would have given.
  defp no_more(room, later, request, story) do
    before = Room.grants(room, request)
    holds(Room.grants(later, request) == before, story)

    with {kind, now, person, _events} when kind in [:new, :back] <- Room.admit(later, request) do
      text = fn -> story.() <> "\nthen #{inspect(request)}" end

      case Room.admit(without_ownerless(room, request.identity), request) do
        {_kind, _room, of_old, _events} ->
          holds(person.grants -- of_old.grants == [], text)
          holds(may_speak?(person) <= may_speak?(of_old), text)
          holds(person.silenced == of_old.silenced, text)

        {:error, {:room_full, _}} ->
          holds(map_size(later.people) < 3, text)

        {:error, reason} ->
          flunk("#{inspect(reason)} before, and let in after; " <> text.())
      end

      # People who present a rejoin id are muted, and so are those known to have been in.
      if request[:rejoin] || match?(%{owned: true}, later.absent[request.identity]),
        do: holds(not Room.row(now.people[request.identity]).speak, text)
    end
  end

  # Without an owner a returning person can't be recognised, so they come as if they had left.
  defp without_ownerless(room, identity) do
    if match?(%{owner: :none}, room.people[identity]), do: room |> Room.remove(identity, :left) |> elem(0), else: room
  end

  defp comes_back(later, identity, person, story) do
    request = %{
      identity: identity,
      owner: self(),
      session: person.session,
      grants: person.grants,
      pass: :any,
      maker: person.maker,
      muted: false,
      grace_ms: 10
    }

    case Room.admit(later, request) do
      {:new, room, back, []} ->
        # Without an owner nobody could unmute them: they come as they were.
        holds(back.muted == (person.muted or person.owner != :none), story)
        holds(back.silenced == person.silenced and back.role == person.role, story)
        holds(Room.row(back).listen <= Room.row(person).listen or person.owner == :none, story)
        # Only they open their microphone, and only if a moderator allows it.
        {:ok, room, _events} = Room.set(room, identity, {:muted, false})
        holds(Room.row(room.people[identity]).speak == may_speak?(person), story)

      {:error, reason} ->
        holds(reason in [:removed], story)
    end
  end

  # The story is long, and shown only on failure.
  defp holds(true, _story), do: :ok
  defp holds(false, story), do: flunk(story.())

  defp may_speak?(person), do: Room.row(%{person | muted: false}).speak

  # ---- The term ----------------------------------------------------------------------------------------------------------

  defp packed(opts \\ []) do
    {:ok, mix} = MixPolicy.new(kind: :spatial)

    {:ok, mix, _} =
      MixPolicy.apply(mix, {:put_position, "ada", %{x: 1.0, y: 0.0, z: 0.0, facing: %{x: 0.0, y: 0.0, z: -1.0}}})

    room =
      Room.new(
        Map.merge(
          %{name: "r", id: 1, opened_at: DateTime.utc_now(), max_participants: 3, incarnation: "inc", life: "one"},
          Map.new(opts)
        )
      )

    request = %{identity: "ada", owner: self(), session: "the session", grants: [:speak, :listen], grace_ms: 1}
    {:new, room, _person, []} = Room.admit(room, request)
    Memory.pack(room, mix, :never)
  end

  defp plain?(term) when is_map(term),
    do: not is_struct(term) and Enum.all?(term, fn {key, value} -> plain?(key) and plain?(value) end)

  defp plain?(term) when is_tuple(term), do: term |> Tuple.to_list() |> Enum.all?(&plain?/1)
  defp plain?(term) when is_list(term), do: Enum.all?(term, &plain?/1)
  defp plain?(term), do: is_binary(term) or is_number(term) or is_atom(term)

  test "it is plain, versioned, and has neither sessions nor passcodes" do
    memory = packed(lock: %Lock{hash: "hash of it", pass: @pass})
    assert plain?(memory)
    assert memory.version == Memory.version()
    refute :erlang.term_to_binary(memory) =~ "the session"
    assert {:ok, %{empty_after: :never}} = Memory.unpack(memory)
  end

  test "a term of another version, or altered in any way, is refused" do
    memory = packed()
    assert Memory.unpack(%{memory | version: 99}) == {:error, :other_version}
    assert Memory.unpack(:too_large) == {:error, :damaged}

    for key <- Map.keys(memory) -- [:version, :auto_gain, :noise_suppression, :takeovers],
        other <- [:nonsense, {1, 2}, -1] do
      assert {key, other, Memory.unpack(Map.put(memory, key, other))} == {key, other, {:error, :damaged}}
      assert {key, Memory.unpack(Map.delete(memory, key))} == {key, {:error, :damaged}}
    end

    # As in a memory of a release before.
    for takeovers <- [:nonsense, -1],
        do: assert({:ok, %{room: %{takeovers: 0}}} = Memory.unpack(%{memory | takeovers: takeovers}))

    assert {:ok, %{room: %{takeovers: 2}}} = memory |> Memory.taken_over() |> Memory.taken_over() |> Memory.unpack()

    for key <- Map.keys(memory.mix), other <- [{1, 2}, "text"] do
      assert {key, Memory.unpack(put_in(memory.mix[key], other))} == {key, {:error, :damaged}}
    end

    for key <- Map.keys(memory.people["ada"]),
        do: assert({key, Memory.unpack(put_in(memory.people["ada"][key], 17))} == {key, {:error, :damaged}})
  end

  test "a removed person stays out equally long, whatever the next machine's clock" do
    room =
      Room.new(%{name: "r", id: 1, opened_at: DateTime.utc_now(), max_participants: 3, incarnation: "inc", life: "one"})

    request = %{identity: "eve", owner: self(), session: "s", grants: [:speak], maker: "browser eve", grace_ms: 1}
    {:new, room, _person, []} = Room.admit(room, request)
    {room, _events} = Room.remove(room, "eve", :removed)
    [until] = Map.values(room.barred)
    {:ok, mix} = MixPolicy.new()
    {:ok, %{room: later}} = room |> Memory.pack(mix, 1, 1_000_000) |> Memory.unpack(400_000)
    assert Map.values(later.barred) == [until + 600_000]
  end

  test "an app that sets its room's options again keeps the settings of people" do
    memory = packed(lock: %Lock{hash: "h", pass: @pass}, stage: true)
    {:ok, mix} = MixPolicy.new(kind: :spatial, default_gain: 0.5)
    definition = %{max_participants: 9, empty_after: 5, stage: false, lock: nil, maker: "app", mix: mix}
    assert {:ok, %{room: room, mix: later, empty_after: 5}} = memory |> Memory.redefine(definition) |> Memory.unpack()
    assert %{max_participants: 9, stage: false, lock: nil, maker: "app", incarnation: "inc"} = room
    assert %{"ada" => %{owned: true}} = room.absent
    assert later.positions == memory.mix.positions and later.default_gain != memory.mix.default_gain
  end
end
