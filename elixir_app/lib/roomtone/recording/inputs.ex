defmodule Roomtone.Recording.Inputs do
  @moduledoc """
  The process of a recording of all that goes into a room: every packet and command with its time, in
  files from which `mix roomtone.replay` plays the room again. `Roomtone.open_room/2` starts it with
  `record: :inputs`.

  There is a file of each media node that the room is on (`Roomtone.Recording.InputsFile`). The room's
  process has it begun before anybody can come in there, since a room is played again from its first
  moment or not at all. Files are written by the thread of the native library that writes all
  recordings. This process tells it who is who, and looks once a second whether it could write. When
  the file of the room's own node couldn't be written, is as long as it may be, or the disk was too
  slow, the recording ends with that reason, and the room goes on. A file of a further node may be
  missing, or end for itself: the log tells.

  When the room's media begin anew, so does the recording, in a further file. The former one goes on
  until the room there has ended: on a move to another media node people still speak and hear there.
  To subscribers and on the page it is a recording like any other, and a room has one at most.
  """

  use GenServer, restart: :temporary

  require Logger

  alias Roomtone.{Config, Media, RoomServer, SafeCall, UnknownMessage}
  alias Roomtone.Recording.InputsFile

  @look_ms 1_000
  @reattach_ms 50
  @most_reattaching 100
  @most_bytes 256 * 1024 * 1024
  @patience_ms 10_000
  # The room's process serves nobody meanwhile.
  @further_ms 1_000
  @start_ms 20_000
  # Each has up to `max_bytes`.
  @most_files 64

  @typedoc "The option `record` of `Roomtone.open_room/2`."
  @type wish :: :inputs | {:inputs, [file: Path.t(), max_bytes: pos_integer]}

  @type error :: :no_recordings | :media_busy | {:recording_failed, atom}

  @enforce_keys [:room, :id, :file, :most_bytes]
  # `home`: the file of the room's own media node; `others`: those of further nodes and former homes.
  # `part` and `nodes`: how many homes and nodes there were.
  defstruct [:room, :id, :file, :most_bytes, :server, :home] ++
              [others: [], part: 1, nodes: 1, peers: %{}, elsewhere: false, reattached: 0]

  # ---- For the room's process ------------------------------------------------------------------------------------------

  @doc false
  # A part of the documentation of `Roomtone.open_room/2`.
  @spec option_doc() :: String.t()
  def option_doc do
    """
    With `record: :inputs` everything that goes into the room is recorded, in a file in `recordings_dir`
    from which `mix roomtone.replay` plays the room again: see docs/recording.md. It has the voices of
    everybody, and the page shows that the room is recorded. `record: {:inputs, opts}` takes `file` and
    `max_bytes` (default 256 MiB). A room on several media nodes has a file of each. `stop_recording/1`
    ends it. A room that was restored after a restart isn't recorded.
    """
    |> String.trim_trailing()
  end

  @doc "Whether this can be the option `record` of a room."
  @spec wish?(term) :: boolean
  def wish?(wish) when wish in [nil, :inputs], do: true

  def wish?({:inputs, opts}) do
    allowed = [file: &path?/1, max_bytes: &(is_integer(&1) and &1 >= 1024 * 1024)]
    Keyword.keyword?(opts) and Enum.all?(opts, fn {key, value} -> allowed[key] != nil and allowed[key].(value) end)
  end

  def wish?(_other), do: false

  defp path?(path), do: is_binary(path) and path != "" and String.valid?(path) and not String.contains?(path, <<0>>)

  @doc "Has the inputs of a room recorded that was just opened, by the room's process."
  @spec start(wish, String.t(), Media.place()) :: {:ok, pid} | {:error, error}
  def start(wish, room, place) do
    opts = with({:inputs, opts} <- wish, do: opts, else: (:inputs -> []))

    with {:ok, file} <- file(room, opts) do
      most = Keyword.get(opts, :max_bytes, @most_bytes)
      args = %{room: room, id: place.room, file: file, most_bytes: most, server: self()}

      case SafeCall.start_child(Roomtone.Recording.Supervisor, {__MODULE__, args}, {:start, place}, @start_ms) do
        {:ok, pid, :ok} -> {:ok, pid}
        {:ok, _pid, {:error, _} = error} -> error
        {:error, _late_or_gone} -> {:error, :media_busy}
      end
    end
  end

  defp file(room, opts) do
    case {opts[:file], Config.get().recordings_dir} do
      {nil, nil} -> {:error, :no_recordings}
      {nil, folder} -> {:ok, Path.join(folder, Roomtone.Recording.folder_name(room) <> ".inputs")}
      {file, _folder} -> {:ok, Path.expand(file)}
    end
  end

  @doc """
  The room with this number was opened anew in the engine: the recording of its inputs, if there is
  one, goes on in a further file, before anybody joins.
  """
  @spec go_on(Media.id(), Media.place()) :: :ok
  def go_on(id, place), do: ask(id, {:go_on, place}, @patience_ms)

  @doc """
  The room with this number was opened on a further media node, which has a file of its own, before
  anybody comes in there. Waits for a second at most: the engine refuses a file that comes later, if
  people are there by then.
  """
  @spec further(Media.id(), Media.place()) :: :ok
  def further(id, place), do: ask(id, {:further, place}, @further_ms)

  defp ask(id, request, patience) do
    for {pid, _} <- Registry.lookup(Roomtone.Registry, {:inputs, id}), do: SafeCall.call(pid, request, patience)
    :ok
  end

  @doc false
  @spec start_link(map) :: GenServer.on_start()
  def start_link(args), do: GenServer.start_link(__MODULE__, args)

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @impl true
  def init(%{server: server} = args), do: {:ok, struct!(__MODULE__, %{args | server: Process.monitor(server)})}

  defp begin(state, path, place) do
    with {:ok, file} <- InputsFile.begin(path, state.room, state.most_bytes, place, self()),
         do: {:ok, InputsFile.watch(file)}
  end

  # In a task, so that the room's other media nodes don't wait for the disk of this one.
  defp begin_apart(%{room: room, most_bytes: most}, path, place, from) do
    owner = self()

    {:ok, _task} =
      Task.start_link(fn -> send(owner, {:begun, from, InputsFile.begin(path, room, most, place, owner)}) end)
  end

  defp full?(%{part: parts, nodes: nodes}), do: parts + nodes - 1 >= @most_files

  # "lobby.inputs", "lobby-part-2.inputs", "lobby-node-2.inputs"
  defp path(file, _kind, 1), do: file
  defp path(file, kind, n), do: Path.rootname(file) <> "-#{kind}-#{n}" <> Path.extname(file)

  @impl true
  def handle_call({:start, place}, _from, %{home: nil} = state) do
    case begin(state, state.file, place) do
      {:ok, file} ->
        {:ok, _owner} = Registry.register(Roomtone.Registry, {:inputs, state.id}, nil)
        Process.send_after(self(), :look, @look_ms)
        {:reply, :ok, %{state | home: file}}

      {:error, _why} = error ->
        {:stop, :normal, error, state}
    end
  end

  def handle_call(:stop, _from, state) do
    stop_all(state)
    {:stop, {:shutdown, :stopped}, {:ok, state.file}, state}
  end

  def handle_call({:go_on, place}, _from, state) do
    if full?(state), do: end_full(state), else: begin_part(state, state.part + 1, place)
  end

  def handle_call({:further, place}, from, state) do
    if full?(state) do
      Logger.warning(
        "the recording of inputs of #{state.room} has #{@most_files} files, and lacks a further media node"
      )

      {:reply, :ok, state}
    else
      state = %{state | nodes: state.nodes + 1}
      begin_apart(state, path(state.file, "node", state.nodes), place, from)
      {:noreply, state}
    end
  end

  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  defp end_full(state) do
    Logger.warning("the recording of inputs of #{state.room} ends: it has #{@most_files} files")
    stop_all(state)
    {:stop, {:shutdown, :too_long}, :ok, state}
  end

  defp begin_part(state, part, place) do
    case begin(state, path(state.file, "part", part), place) do
      {:ok, file} ->
        state = if InputsFile.lost?(state.home), do: state, else: with_other(state, state.home)
        {:reply, :ok, %{state | part: part, home: InputsFile.name(file, state.peers)}}

      {:error, why} ->
        stop_all(state)
        {:stop, {:shutdown, reason(why)}, :ok, state}
    end
  end

  @impl true
  def handle_cast({:mark, _no_timeline}, state), do: {:noreply, state}
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info({:room, {:peers, peers}}, state), do: {:noreply, named(state, peers)}
  def handle_info({:room, _where}, state), do: {:noreply, state}

  def handle_info({:begun, from, {:ok, file}}, state) do
    state = with_other(state, file |> InputsFile.watch() |> InputsFile.name(state.peers))
    GenServer.reply(from, :ok)
    {:noreply, state}
  end

  def handle_info({:begun, from, {:error, why}}, state) do
    Logger.warning("the recording of inputs of #{state.room} lacks a further media node: #{inspect(why)}")
    GenServer.reply(from, :ok)
    {:noreply, state}
  end

  # In a task: each may wait for its media node.
  def handle_info(:look, %{home: home, others: others} = state) do
    owner = self()
    {:ok, _task} = Task.start_link(fn -> send(owner, {:looked, statuses([home | others])}) end)
    {:noreply, state}
  end

  def handle_info({:looked, statuses}, state) do
    Process.send_after(self(), :look, @look_ms)
    state = %{state | others: Enum.filter(state.others, &goes_on?(&1, statuses[&1.path]))}

    case statuses[state.home.path] do
      # The room in the engine has ended: its process ends, too, or opens it anew.
      %{state: ended} when ended in [:running, :stopped] ->
        {:noreply, state}

      # Its media node doesn't answer, or it began after the look.
      unknown when unknown in [{:error, :media_lost}, nil] ->
        {:noreply, state}

      %{state: ended} ->
        stop_all(state)
        {:stop, {:shutdown, reason(ended)}, state}
    end
  end

  def handle_info(:reattach, state) do
    with {:ok, attached} <- RoomServer.call(state.room, {:attach_tap, self()}),
         :ok <- RoomServer.call(state.room, {:recording, self()}) do
      RoomServer.cast_recording(state.room, self())
      {:noreply, named(%{state | reattached: 0, server: Process.monitor(attached.pid)}, attached.peers)}
    else
      {:error, _being_replaced} when state.reattached < @most_reattaching ->
        Process.send_after(self(), :reattach, @reattach_ms)
        {:noreply, %{state | reattached: state.reattached + 1}}

      {:error, _gone} ->
        finish(state)
    end
  end

  # The room's process ended before this one had begun.
  def handle_info({:DOWN, ref, :process, _pid, _reason}, %{server: ref, home: nil} = state),
    do: {:stop, :normal, state}

  def handle_info({:DOWN, ref, :process, _pid, reason}, %{server: ref} = state) when reason in [:normal, :noproc],
    do: finish(state)

  def handle_info({:DOWN, ref, :process, _pid, _reason}, %{server: ref} = state) do
    send(self(), :reattach)
    {:noreply, state}
  end

  # The media node that wrote is gone. The room opens at another one.
  def handle_info({:DOWN, ref, :process, _holder, _reason}, %{home: %{monitor: ref} = home} = state),
    do: {:noreply, %{state | home: %{home | monitor: nil}}}

  def handle_info({:DOWN, ref, :process, _holder, _reason}, state) do
    {lost, others} = Enum.split_with(state.others, &(&1.monitor == ref))
    Enum.each(lost, &InputsFile.lost/1)
    {:noreply, %{state | others: others}}
  end

  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  # ---- Files -----------------------------------------------------------------------------------------------------------

  defp with_other(state, file), do: %{state | others: [file | state.others]}

  defp statuses(files), do: Map.new(at_once(files, &{&1.path, InputsFile.status(&1)}))

  # Those of a media node that is gone are dropped by its monitor.
  defp goes_on?(_file, unknown) when unknown in [{:error, :media_lost}, nil], do: true
  defp goes_on?(_file, %{state: :running}), do: true
  defp goes_on?(file, ended), do: InputsFile.close(file, ended) != :ok

  defp named(state, peers) do
    new = Map.drop(peers, Map.keys(state.peers))
    [home | others] = Enum.map([state.home | state.others], &InputsFile.name(&1, peers))
    noted(%{state | home: home, others: others, peers: peers}, new)
  end

  # Of people on a media node that isn't recorded there is what they say, and nothing of what they hear.
  defp noted(%{elsewhere: false} = state, new) do
    recorded = for file <- [state.home | state.others], do: file.room

    case Enum.find(new, fn {peer, _identity} -> elsewhere?(Media.Table.peer_place(peer), recorded) end) do
      nil ->
        state

      {_peer, identity} ->
        Logger.warning(
          "the recording of inputs of #{state.room} has nothing of what people on one of its media nodes are sent, " <>
            "the first of whom is #{identity}"
        )

        %{state | elsewhere: true}
    end
  end

  defp noted(state, _new), do: state

  defp elsewhere?(%{room: room}, recorded), do: room not in recorded
  defp elsewhere?(nil, _recorded), do: false

  # ---- End -------------------------------------------------------------------------------------------------------------

  defp finish(state) do
    reason = reason(stop_all(state).state)
    {:stop, {:shutdown, if(reason in [:stopped, :media_lost], do: :room_closed, else: reason)}, state}
  end

  # How the home's has ended.
  defp stop_all(state) do
    files = [state.home | state.others]
    [home | _others] = ended = at_once(files, &InputsFile.stop/1)
    for {file, status} <- Enum.zip(files, ended), do: InputsFile.close(file, status)
    home
  end

  # Each may wait for a disk.
  defp at_once(files, function) do
    tasks = for file <- files, do: Task.async(fn -> function.(file) end)
    Task.await_many(tasks, :infinity)
  end

  defp reason({:recording_failed, code}), do: code
  defp reason({:io, _text}), do: :io
  defp reason(:running), do: :io
  defp reason(why) when is_atom(why), do: why
end
