defmodule Roomtone.Room.Memory do
  @moduledoc """
  A room as a plain term that can be stored: `pack/4` makes it and `unpack/2` takes it, for
  `Roomtone.Store` today, and for another node that takes a room over.

  The term is maps, lists, tuples, numbers, texts and the few atoms of `t:t/0`. It holds no struct,
  process or reference, so another version of this module can recognise it by `:version`. `unpack/2`
  refuses a term that isn't entirely valid: a room is restored wholly or not at all.

  Nobody gains permissions by a restart. The people of the room are *absent* afterwards
  (`Roomtone.Room`), and return muted, with their role and a moderator's decisions as before; bans
  last as long as before. Only a digest of a person's session is kept, and only the hash of a
  passcode.
  """

  alias Roomtone.Auth.Lock
  alias Roomtone.{FloorPlan, MixPolicy, Room, Token}
  alias Roomtone.Room.Person

  @version 1
  # Whether the VM knows every atom of a term depends on the loaded modules: these are all that a
  # term may have.
  @kinds [:mix, :spatial, :forward]
  @selects [:loudest, :nearest]
  @models [:linear, :inverse, :exponential]
  @roles [:speaker, :listener]

  @typedoc """
  `opened_at` is Unix time in microseconds; `barred` has Unix time in milliseconds; `empty_after` is
  in milliseconds. `people` are those present or absent, by identity. `takeovers`: how often a node took the
  room over from another, see `newer?/2`.
  """
  @type t :: %{
          optional(:auto_gain) => :auto | :off,
          optional(:noise_suppression) => :on | :off,
          optional(:takeovers) => non_neg_integer,
          version: pos_integer,
          name: String.t(),
          incarnation: String.t(),
          opened_at: integer,
          max_participants: pos_integer,
          empty_after: pos_integer | :never,
          stage: boolean,
          lock: {hash :: String.t(), pass :: String.t()} | nil,
          maker: String.t() | nil,
          people: %{String.t() => absent},
          marks: %{String.t() => Room.mark()},
          barred: %{(String.t() | {:name, String.t()}) => integer},
          mix: map
        }

  @typedoc """
  A person who was in a room before its processes ended. `session` is a digest (SHA-256); `owned`:
  an owner spoke for them, so they can unmute themselves; `moderator`: their token granted
  moderation, which is why they spoke on a stage, not a moderator's decision. `grants` and `maker` are
  as `Roomtone.Room.Person` has them; a node of the release before doesn't tell them.
  """
  @type absent :: %{
          optional(:grants) => [Token.grant()],
          optional(:maker) => String.t() | nil,
          name: String.t(),
          session: binary,
          owned: boolean,
          moderator: boolean,
          muted: boolean,
          silenced: boolean,
          role: Roomtone.role(),
          hand: boolean,
          deafened: boolean
        }

  @doc "The version that `pack/4` makes and `unpack/2` takes."
  @spec version() :: pos_integer
  def version, do: @version

  @doc "The room as a plain term. Converts monotonic times to Unix time."
  @spec pack(Room.t(), MixPolicy.t(), pos_integer | :never, integer) :: t
  def pack(%Room{} = room, %MixPolicy{} = mix, empty_after, offset \\ offset()) do
    here = for {identity, %{announcement: false} = person} <- room.people, into: %{}, do: {identity, absent(person)}

    %{
      version: @version,
      name: room.name,
      incarnation: room.incarnation,
      opened_at: DateTime.to_unix(room.opened_at, :microsecond),
      max_participants: room.max_participants,
      empty_after: empty_after,
      stage: room.stage,
      lock: room.lock && {room.lock.hash, room.lock.pass},
      maker: room.maker,
      people: Map.merge(room.absent, here),
      marks: room.marks,
      barred: Map.new(room.barred, fn {key, until} -> {key, until + offset} end),
      mix: pack_mix(mix),
      # Beside the mix, where a node of the release before takes them for nothing.
      auto_gain: mix.auto_gain,
      noise_suppression: mix.noise_suppression,
      takeovers: room.takeovers
    }
  end

  @doc "The memory as the node has it that takes the room over."
  @spec taken_over(t) :: t
  def taken_over(memory), do: Map.put(memory, :takeovers, takeovers(memory) + 1)

  @doc """
  Whether of two memories of a name the first is the newer: it was taken over after the other, or it is
  of a room that was opened after the other's. `nil` is older than any.

      iex> Roomtone.Room.Memory.newer?(%{incarnation: "a", takeovers: 1}, %{incarnation: "a"})
      true
      iex> Roomtone.Room.Memory.newer?(%{incarnation: "a", opened_at: 5}, %{incarnation: "b", opened_at: 6})
      false
  """
  @spec newer?(term, term) :: boolean
  def newer?(%{incarnation: same} = one, %{incarnation: same} = other), do: takeovers(one) > takeovers(other)
  def newer?(%{opened_at: at}, %{opened_at: before}) when is_integer(at) and is_integer(before), do: at > before
  def newer?(_one, _other), do: false

  @doc "How often the room of a memory was taken over."
  @spec takeovers(term) :: non_neg_integer
  def takeovers(%{takeovers: count}) when is_integer(count) and count >= 0, do: count
  # Of a release before.
  def takeovers(_memory), do: 0

  @doc "The memory of one person."
  @spec absent(Person.t()) :: absent
  def absent(%Person{} = person) do
    person
    |> Map.take([:name, :muted, :silenced, :role, :hand, :deafened, :grants, :maker])
    |> Map.merge(%{
      session: digest(person.session),
      owned: person.owner != :none,
      moderator: :moderate in person.grants
    })
  end

  @doc "The digest of a session, as `t:absent/0` has it."
  @spec digest(String.t()) :: binary
  def digest(session), do: :crypto.hash(:sha256, session)

  defp pack_mix(mix) do
    mix
    |> Map.from_struct()
    |> Map.drop([:auto_gain, :noise_suppression])
    |> Map.put(:plan, mix.plan && FloorPlan.to_map(mix.plan))
    |> Map.put(:distance, Map.from_struct(mix.distance))
    |> Map.put(:whispers, Map.new(mix.whispers, fn {speaker, to} -> {speaker, MapSet.to_list(to)} end))
  end

  @doc """
  The room again, with its people absent. Returns `{:error, :other_version}` or `{:error, :damaged}`
  for an unusable term.
  """
  @spec unpack(term, integer) ::
          {:ok, %{room: Room.t(), mix: MixPolicy.t(), empty_after: pos_integer | :never}}
          | {:error, :other_version | :damaged}
  def unpack(term, offset \\ offset())

  def unpack(%{version: version}, _offset) when version != @version, do: {:error, :other_version}

  def unpack(term, offset) do
    with true <- valid?(term),
         {:ok, auto_gain} <- MixPolicy.Check.auto_gain(Map.get(term, :auto_gain, :auto)),
         {:ok, mix} <- unpack_mix(term.mix),
         noise = Map.get(term, :noise_suppression, :off),
         {:ok, noise} <- MixPolicy.Check.noise_suppression(noise, mix.kind) do
      mix = %{mix | auto_gain: auto_gain, noise_suppression: noise}

      room =
        Room.new(%{
          name: term.name,
          # Each life of its processes gets a new number.
          id: 0,
          incarnation: term.incarnation,
          opened_at: DateTime.from_unix!(term.opened_at, :microsecond),
          max_participants: term.max_participants,
          stage: term.stage,
          lock: with({hash, pass} <- term.lock, do: %Lock{hash: hash, pass: pass}),
          maker: term.maker,
          kind: mix.kind,
          stereo: mix.stereo,
          slots: mix.slots
        })

      barred = Map.new(term.barred, fn {key, until} -> {key, until - offset} end)
      room = %{room | absent: term.people, marks: term.marks, barred: barred, takeovers: takeovers(term)}
      {:ok, %{room: room, mix: mix, empty_after: term.empty_after}}
    else
      _ -> {:error, :damaged}
    end
  end

  # Rooms that were remembered before there were floor plans.
  defp unpack_mix(%{} = given) when not is_map_key(given, :plan),
    do: given |> Map.merge(%{plan: nil, moves: :server}) |> unpack_mix()

  defp unpack_mix(given) do
    with true <- valid_mix?(given), {:ok, plan} <- unpack_plan(given.plan) do
      whispers = Map.new(given.whispers, fn {speaker, to} -> {speaker, MapSet.new(to)} end)
      distance = struct!(MixPolicy.Distance, given.distance)
      {:ok, struct!(MixPolicy, %{given | plan: plan, distance: distance, whispers: whispers})}
    end
  end

  defp unpack_plan(nil), do: {:ok, nil}
  defp unpack_plan(plan), do: FloorPlan.new(plan)

  @doc """
  The memory of a room whose app sets its options again. Settings of people stay: who was removed or
  silenced, who is in which zone.
  """
  @spec redefine(t, %{
          max_participants: pos_integer,
          empty_after: pos_integer | :never,
          stage: boolean,
          lock: Lock.t() | nil,
          maker: String.t() | nil,
          mix: MixPolicy.t()
        }) :: t
  def redefine(memory, %{lock: lock, mix: mix} = definition) do
    people = Map.take(memory.mix, [:cells, :volumes, :positions, :zones, :whispers])

    memory
    |> Map.merge(Map.take(definition, [:max_participants, :empty_after, :stage, :maker]))
    |> Map.merge(%{lock: lock && {lock.hash, lock.pass}, mix: Map.merge(pack_mix(mix), people)})
    |> Map.merge(Map.take(mix, [:auto_gain, :noise_suppression]))
  end

  # ---- Validation --------------------------------------------------------------------------------------------------------

  defp valid?(term) do
    match?(
      %{
        version: @version,
        name: _,
        incarnation: _,
        opened_at: _,
        max_participants: _,
        empty_after: _,
        stage: _,
        lock: _,
        maker: _,
        people: _,
        marks: _,
        barred: _,
        mix: _
      },
      term
    ) and text?(term.name) and text?(term.incarnation) and moment?(term.opened_at) and positive?(term.max_participants) and
      (term.empty_after == :never or positive?(term.empty_after)) and is_boolean(term.stage) and lock?(term.lock) and
      (term.maker == nil or text?(term.maker)) and map?(term.people, &text?/1, &absent?/1) and
      map?(term.marks, &text?/1, &mark?/1) and map?(term.barred, &barred?/1, &is_integer/1)
  end

  # The years 1970 to 9999, which `DateTime` takes.
  defp moment?(at), do: is_integer(at) and at in 0..253_402_300_799_000_000
  defp lock?(nil), do: true
  defp lock?({hash, pass}), do: text?(hash) and text?(pass)
  defp lock?(_other), do: false
  defp mark?(%{silenced: silenced, role: role}), do: is_boolean(silenced) and role in @roles
  defp mark?(_other), do: false
  defp barred?({:name, name}), do: text?(name)
  defp barred?(key), do: text?(key)

  defp absent?(%{name: name, session: session, owned: owned, hand: hand, deafened: deafened, muted: muted} = person) do
    text?(name) and is_boolean(muted) and is_boolean(Map.get(person, :moderator)) and is_binary(session) and
      byte_size(session) == 32 and is_boolean(owned) and
      is_boolean(hand) and
      is_boolean(deafened) and mark?(person) and grants?(Map.get(person, :grants, [])) and
      (person[:maker] == nil or text?(person.maker))
  end

  defp absent?(_other), do: false

  defp grants?(grants),
    do: is_list(grants) and List.improper?(grants) == false and Enum.all?(grants, &(&1 in Token.grants()))

  defp valid_mix?(%{kind: kind, select: select, stereo: stereo, distance: distance} = mix) do
    Enum.sort(Map.keys(mix)) == Enum.sort(Map.keys(pack_mix(%MixPolicy{}))) and kind in @kinds and
      select in @selects and
      mix.moves in [:server, :clients] and (mix.plan != nil or mix.moves == :server) and
      is_boolean(stereo) and is_float(mix.default_gain) and (mix.max_talkers == nil or positive?(mix.max_talkers)) and
      (mix.slots == nil or mix.slots in 1..8) and distance?(distance) and
      map?(mix.doors, &door?/1, &is_number/1) and map?(mix.cells, &text?/1, &row?(&1, fn cell -> cell?(cell) end)) and
      map?(mix.volumes, &text?/1, &row?(&1, fn volume -> is_number(volume) end)) and
      map?(mix.positions, &text?/1, &position?/1) and map?(mix.zones, &text?/1, &text?/1) and
      map?(mix.whispers, &text?/1, &(is_list(&1) and Enum.all?(&1, fn to -> text?(to) end)))
  end

  defp valid_mix?(_other), do: false

  defp distance?(%{model: model, ref_distance: ref, max_distance: max, rolloff_factor: factor} = distance),
    do: map_size(distance) == 4 and model in @models and Enum.all?([ref, max, factor], &is_float/1)

  defp distance?(_other), do: false
  defp door?({from, into}), do: zone?(from) and zone?(into)
  defp door?(_other), do: false
  defp zone?(zone), do: zone == nil or text?(zone)
  defp row?(row, cell?), do: map?(row, &text?/1, cell?)
  defp cell?({gain, pan}), do: is_float(gain) and is_float(pan)
  defp cell?(_other), do: false

  defp position?(%{x: x, y: y, z: z} = at),
    do: Enum.all?([x, y, z], &is_float/1) and facing?(Map.drop(at, [:x, :y, :z]))

  defp position?(_other), do: false
  defp facing?(none) when none == %{}, do: true
  defp facing?(%{facing: %{x: _, y: _, z: _} = facing} = only) when map_size(only) == 1, do: position?(facing)
  defp facing?(_other), do: false

  defp map?(map, key?, value?),
    do: is_map(map) and not is_struct(map) and Enum.all?(map, fn {key, value} -> key?.(key) and value?.(value) end)

  defp text?(text), do: is_binary(text) and String.valid?(text)
  defp positive?(number), do: is_integer(number) and number > 0

  # The difference between Unix time and this VM's monotonic clock, in milliseconds.
  defp offset, do: System.time_offset(:millisecond)
end
