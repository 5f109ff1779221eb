defmodule Roomtone.Lobby do
  @moduledoc """
  Notifies the watchers of the list of rooms when it changes: at once, and then at most twice a
  second, however much happens.

  Rooms only report that something changed. This process builds the list, once for all watchers, and
  not at all while there are none. Messages are `t:Roomtone.lobby_message/0`.
  """

  use GenServer

  alias Roomtone.{RoomServer, UnknownMessage}
  alias Roomtone.Cluster.{Control, Directory}

  @pause_ms 500
  # A page shows no more; the busiest rooms come first.
  @listed 100
  @watchers __MODULE__.Watchers

  @doc false
  @spec child_spec(term) :: Supervisor.child_spec()
  def child_spec(_arg) do
    children = [
      {Registry, keys: :duplicate, name: @watchers},
      %{id: __MODULE__, start: {__MODULE__, :start_link, []}}
    ]

    %{
      id: __MODULE__,
      type: :supervisor,
      start: {Supervisor, :start_link, [children, [strategy: :one_for_one]]}
    }
  end

  @doc "Reports that something about the rooms changed."
  @spec changed() :: :ok
  def changed do
    if Control.shared?(), do: Directory.changed()
    send(__MODULE__, :changed)
    :ok
  rescue
    # The process is being replaced; the next one begins by notifying everybody.
    ArgumentError -> :ok
  end

  @doc "Subscribes the calling process; calling it twice has no further effect."
  @spec watch() :: :ok
  def watch do
    if Registry.keys(@watchers, self()) == [], do: {:ok, _owner} = Registry.register(@watchers, :rooms, nil)
    :ok
  end

  @doc "Ends `watch/0`."
  @spec unwatch() :: :ok
  def unwatch, do: Registry.unregister(@watchers, :rooms)

  @doc "The rooms with most people in them, as many as a page shows, and the total number of rooms."
  @spec list() :: %{rooms: [Roomtone.summary()], total: non_neg_integer}
  def list do
    rooms = RoomServer.summaries()
    listed = rooms |> Enum.sort_by(&{-&1.participant_count, &1.name}) |> Enum.take(@listed)
    %{rooms: listed, total: length(rooms)}
  end

  @doc false
  @spec start_link() :: GenServer.on_start()
  def start_link, do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @typedoc """
  `told`: the list as the watchers have it; `resting`: they were notified just now; `dirty`:
  something has changed since.
  """
  @type state :: %{
          told: %{rooms: [Roomtone.summary()], total: non_neg_integer} | nil,
          resting: boolean,
          dirty: boolean
        }

  @impl true
  def init(nil), do: {:ok, %{told: nil, resting: false, dirty: false}, {:continue, :begin}}

  @impl true
  def handle_continue(:begin, state), do: {:noreply, tell(state)}

  @impl true
  def handle_info(:changed, %{resting: true} = state), do: {:noreply, %{state | dirty: true}}
  def handle_info(:changed, state), do: {:noreply, tell(state)}
  def handle_info(:rested, %{dirty: true} = state), do: {:noreply, tell(state)}
  def handle_info(:rested, state), do: {:noreply, %{state | resting: false}}
  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  @impl true
  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  defp tell(state) do
    Process.send_after(self(), :rested, @pause_ms)
    watchers = Registry.lookup(@watchers, :rooms)
    list = if watchers != [], do: list()
    if list != state.told, do: for({pid, _value} <- watchers, do: send(pid, {:roomtone, :rooms, list}))
    %{state | told: list, resting: true, dirty: false}
  end
end
