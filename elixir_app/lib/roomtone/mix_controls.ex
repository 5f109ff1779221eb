defmodule Roomtone.MixControls do
  @moduledoc """
  The functions that change a room's mix: who hears whom, and how loud. `Roomtone` has each of them,
  too. docs/mixing.md describes their effect.
  """

  import Roomtone.RoomCall, only: [ask: 2, ask_about: 3]

  alias Roomtone.{FloorPlan, MixPolicy, Name, Positions, RoomServer}
  alias Roomtone.MixPolicy.Check

  @typedoc "The errors of a table of gains."
  @type table_error ::
          {:invalid_gain, {String.t(), String.t()}}
          | {:invalid_row, term}
          | {:invalid_option, :mix}
          | Roomtone.mix_error()

  @doc """
  Replaces the gains of all pairs: `%{listener => %{speaker => gain}}`. A missing pair has the
  room's `default_gain`. Gains are linear, from 0 (the sound never leaves the server) to 10 (+20
  dB).

  Names may belong to people yet to come, and apply to anybody who has them. In a room with `stereo:
  true` a cell may also be `{gain, pan}`, with `pan` between left (-1) and right (1).

      iex> {:ok, _} = Roomtone.open_room("stage")
      iex> Roomtone.put_mix("stage", %{"ada" => %{"bob" => 0.5, "eve" => 0.1}, "bob" => %{"eve" => 0}})
      :ok
      iex> Roomtone.put_mix("stage", %{"ada" => %{"bob" => 11}})
      {:error, {:invalid_gain, {"ada", "bob"}}}
  """
  @spec put_mix(String.t(), %{String.t() => %{String.t() => number | {number, number}}}) ::
          :ok | {:error, table_error}
  def put_mix(name, table) do
    with {:ok, table} <- Check.table(table, false), do: ask(name, {:mix, {:put_cells, table}})
  end

  @doc """
  Changes a few cells of `put_mix/2` and keeps the rest. `nil` resets a cell to the room's default.

      iex> {:ok, _} = Roomtone.open_room("studio")
      iex> Roomtone.update_mix("studio", %{"ada" => %{"bob" => 2, "eve" => nil}})
      :ok
  """
  @spec update_mix(String.t(), %{String.t() => %{String.t() => number | {number, number} | nil}}) ::
          :ok | {:error, table_error}
  def update_mix(name, table) do
    with {:ok, table} <- Check.table(table, true), do: ask(name, {:mix, {:update_cells, table}})
  end

  @doc """
  Whether a person is brought to the level of others, in a room with `auto_gain: :auto`: their own
  switch. It is on for people and off for sources (`Roomtone.speak_into/4`).

      iex> {:ok, _} = Roomtone.open_room("cloakroom")
      iex> Roomtone.put_auto_gain("cloakroom", "ada", false)
      {:error, :not_found}
  """
  @spec put_auto_gain(String.t(), String.t(), boolean) ::
          :ok | {:error, :not_found | {:invalid_option, :auto_gain} | Roomtone.room_error()}
  def put_auto_gain(name, identity, on?) when is_boolean(on?), do: set(name, identity, {:auto_gain, on?})
  def put_auto_gain(_name, _identity, _other), do: {:error, {:invalid_option, :auto_gain}}

  @doc """
  Whether a person's noise is suppressed, in a room that mixes: their own switch. It begins as the
  room's `noise_suppression`, and off for sources (`Roomtone.speak_into/4`). A room of kind `:forward`
  keeps it, as it keeps `put_auto_gain/3`, without effect.

      iex> {:ok, _} = Roomtone.open_room("terrace", noise_suppression: :on)
      iex> Roomtone.put_noise_suppression("terrace", "ada", false)
      {:error, :not_found}
  """
  @spec put_noise_suppression(String.t(), String.t(), boolean) ::
          :ok | {:error, :not_found | {:invalid_option, :noise_suppression} | Roomtone.room_error()}
  def put_noise_suppression(name, identity, on?) when is_boolean(on?),
    do: set(name, identity, {:noise_suppression, on?})

  def put_noise_suppression(_name, _identity, _other), do: {:error, {:invalid_option, :noise_suppression}}

  @doc """
  Whether a person makes music: nothing is done to their sound, it may be stereo, and their page sends
  it unprocessed, at 128 kbit/s. See docs/mixing.md.

      iex> {:ok, _} = Roomtone.open_room("woodshed")
      iex> Roomtone.put_music("woodshed", "ada", true)
      {:error, :not_found}
  """
  @spec put_music(String.t(), String.t(), boolean) ::
          :ok | {:error, :not_found | {:invalid_option, :music} | Roomtone.room_error()}
  def put_music(name, identity, on?) when is_boolean(on?), do: set(name, identity, {:music, on?})
  def put_music(_name, _identity, _other), do: {:error, {:invalid_option, :music}}

  # The room's process submits it before it answers.
  defp set(name, identity, change) do
    with {:ok, identity} <- Name.identity(identity),
         {:ok, _pid} <- ask(name, {:set, identity, change}),
         do: :ok
  end

  @doc """
  Sets a listener's own volume for a speaker: 0 to 2, on top of everything else, for this listener
  only.

      iex> {:ok, _} = Roomtone.open_room("den")
      iex> Roomtone.put_volume("den", "ada", "bob", 0.5)
      :ok
      iex> Roomtone.put_volume("den", "ada", "bob", 2.5)
      {:error, {:invalid_volume, "bob"}}
  """
  @spec put_volume(String.t(), String.t(), String.t(), number) ::
          :ok | {:error, {:invalid_volume, String.t()} | Roomtone.mix_error()}
  def put_volume(name, listener, speaker, volume) do
    with {:ok, listener} <- Name.identity(listener),
         {:ok, speaker} <- Name.identity(speaker),
         {:ok, volume} <- Check.volume(volume, speaker),
         do: ask(name, {:mix, {:put_volume, listener, speaker, volume}})
  end

  @doc """
  The volumes that a person has set with `put_volume/4`, by speaker; a missing speaker is at 1.

      iex> {:ok, _} = Roomtone.open_room("loft")
      iex> Roomtone.put_volume("loft", "ada", "bob", 0.5)
      iex> Roomtone.volumes("loft", "ada")
      {:ok, %{"bob" => 0.5}}
  """
  @spec volumes(String.t(), String.t()) :: {:ok, %{String.t() => float}} | {:error, Roomtone.room_error()}
  def volumes(name, listener), do: ask_about(name, listener, &{:volumes, &1})

  @doc """
  Sets where a person is in a `:spatial` room. `nil` is nowhere, which sounds as near as can be to
  everybody. Call it as often as they move: the resulting gains are sent at most every 20 ms.

  In a room with `stereo: true`, `facing`, the direction in which a listener looks, decides who is
  on their left and who on their right; without it they look along -z.

      iex> {:ok, _} = Roomtone.open_room("plaza", kind: :spatial, distance: [model: :linear, max_distance: 20])
      iex> Roomtone.put_position("plaza", "ada", %{x: 1, y: 0, z: -2.5, facing: %{x: 0, y: 0, z: 1}})
      :ok
      iex> Roomtone.put_position("plaza", "ada", %{x: 1, y: :up, z: 0})
      {:error, {:invalid_position, :y}}
  """
  @spec put_position(String.t(), String.t(), map | nil) ::
          :ok | {:error, {:invalid_position, atom} | {:not_spatial, MixPolicy.kind()} | Roomtone.mix_error()}
  def put_position(name, identity, position) do
    with {:ok, identity} <- Name.identity(identity),
         {:ok, position} <- if(position == nil, do: {:ok, nil}, else: Check.position(position)),
         do: ask(name, {:mix, {:put_position, identity, position}})
  end

  @doc """
  Sets where many people are, in one call: as `put_position/3` for each. A wrong position changes
  nothing for anybody. Meant for a game's server, once in each of its ticks.

      iex> {:ok, _} = Roomtone.open_room("arena", kind: :spatial)
      iex> Roomtone.put_positions("arena", %{"ada" => %{x: 1, y: 0, z: 2}, "bob" => nil})
      :ok
      iex> Roomtone.put_positions("arena", %{"ada" => %{x: 1, y: 0}})
      {:error, {:invalid_position, :z}}
  """
  @spec put_positions(String.t(), %{String.t() => map | nil}) ::
          :ok
          | {:error,
             {:invalid_position, atom}
             | {:invalid_option, :positions}
             | {:not_spatial, MixPolicy.kind()}
             | Roomtone.mix_error()}
  def put_positions(name, %{} = positions) when not is_struct(positions) do
    checked =
      Check.map_ok(positions, fn {identity, position} ->
        with {:ok, identity} <- Name.identity(identity),
             {:ok, position} <- if(position == nil, do: {:ok, nil}, else: Check.position(position)),
             do: {:ok, {identity, position}}
      end)

    with {:ok, positions} <- checked, do: ask(name, {:mix, {:put_positions, positions}})
  end

  def put_positions(_name, _other), do: {:error, {:invalid_option, :positions}}

  @doc """
  A step that a person takes by themselves, in a room with `positions: :clients`: to the point `x`,
  `y` of its floor plan. A step that is too far for the time since the last one, or leads through a
  wall or off the plan, isn't taken: the result is `:put_back` with the place where they still are.
  Accepted steps are told to the mix and to the subscribers every 50 ms.

      iex> {:ok, _} = Roomtone.open_room("square", kind: :spatial, positions: :clients)
      iex> Roomtone.walk("square", "ada", %{x: 20, y: 19})
      {:error, :not_found}
      iex> {:ok, _} = Roomtone.open_room("maze", kind: :spatial)
      iex> Roomtone.walk("maze", "ada", %{x: 20, y: 19})
      {:error, :positions_from_server}
  """
  @spec walk(String.t(), String.t(), %{x: number, y: number}) ::
          {:ok, FloorPlan.point()}
          | {:put_back, FloorPlan.point(), :outside | :too_far | :wall}
          | {:error, :not_found | :positions_from_server | {:invalid_position, :x | :y | :z} | Roomtone.room_error()}
  def walk(name, identity, to) do
    with {:ok, %{x: x, z: y}} <- Check.position(on_plane(to)),
         # As a rule somebody of exactly this name is in a room of exactly that name, and no name has to be checked: that takes four
         # times as long as the step where it has more than plain letters.
         unknown when unknown in [:elsewhere, {:error, :not_found}] <-
           Positions.walk(RoomServer.whereis_here(name), identity, {x, y}),
         {:ok, identity} <- Name.identity(identity),
         {:ok, name} <- Name.room(name),
         :elsewhere <- Positions.walk(RoomServer.whereis_here(name), identity, {x, y}),
         do: RoomServer.call(name, {:walk, identity, {x, y}})
  end

  defp on_plane(%{x: x, y: y}), do: %{x: x, y: 0, z: y}
  defp on_plane(_other), do: nil

  @doc """
  The floor plan of a room, who may move people on it, and where they are; `nil` in a room without a
  plan.

      iex> {:ok, _} = Roomtone.open_room("bureau", kind: :spatial, positions: :clients, plan: "office")
      iex> {:ok, map} = Roomtone.floor_map("bureau")
      iex> {map.plan.title, map.moves, map.positions}
      {"Office", :clients, %{}}
  """
  @spec floor_map(String.t()) ::
          {:ok,
           %{
             plan: FloorPlan.t(),
             moves: :server | :clients,
             range: float | nil,
             positions: %{String.t() => FloorPlan.point()}
           }
           | nil}
          | {:error, Roomtone.room_error()}
  def floor_map(name), do: ask(name, :floor_map)

  @doc """
  Puts a person into a zone, or with `nil` outside of all zones. People hear each other within their
  zone; between zones `put_door_gains/2` decides.

      iex> {:ok, _} = Roomtone.open_room("office")
      iex> Roomtone.put_zone("office", "ada", "meeting")
      :ok
  """
  @spec put_zone(String.t(), String.t(), String.t() | nil) :: :ok | {:error, Roomtone.mix_error()}
  def put_zone(name, identity, zone) do
    with {:ok, identity} <- Name.identity(identity),
         {:ok, zone} <- Check.zone(zone),
         do: ask(name, {:mix, {:put_zone, identity, zone}})
  end

  @doc """
  Replaces how loud one zone is in another: `%{{from, into} => gain}`. A door that is named in one
  direction only is the same in the other. A missing door is shut.

      iex> {:ok, _} = Roomtone.open_room("theatre", door_gains: %{{"hall", "foyer"} => 0.3})
      iex> Roomtone.put_door_gains("theatre", %{{"hall", "foyer"} => 0.1, {"foyer", "hall"} => 0})
      :ok
  """
  @spec put_door_gains(String.t(), %{{String.t() | nil, String.t() | nil} => number}) ::
          :ok | {:error, {:invalid_door_gain, term} | {:invalid_option, :door_gains} | Roomtone.mix_error()}
  def put_door_gains(name, doors) do
    with {:ok, doors} <- Check.doors(doors), do: ask(name, {:mix, {:put_doors, doors}})
  end

  @doc """
  Lets only these listeners hear the speaker from now on, and no louder than zones, distance and
  cells allow; with `nil` all hear them again. A listener who leaves the room is dropped from the
  list.

      iex> {:ok, _} = Roomtone.open_room("salon")
      iex> Roomtone.whisper("salon", "ada", ["bob"])
      :ok
      iex> Roomtone.whisper("salon", "ada", nil)
      :ok
  """
  @spec whisper(String.t(), String.t(), [String.t()] | nil) ::
          :ok | {:error, {:invalid_option, :listeners} | Roomtone.mix_error()}
  def whisper(name, speaker, listeners) do
    with {:ok, speaker} <- Name.identity(speaker),
         {:ok, listeners} <- if(listeners == nil, do: {:ok, nil}, else: Check.identities(listeners)),
         do: ask(name, {:mix, {:whisper, speaker, listeners}})
  end
end
