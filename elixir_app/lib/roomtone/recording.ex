defmodule Roomtone.Recording do
  @moduledoc """
  The process of a recording: has the engine's taps write the sound of a room to a folder, and writes
  down what happens meanwhile. `Roomtone.record/2` starts it.

  The files are written by one thread of the native library for all recordings, from the packets that
  the room has anyway. This process opens the taps, tells the thread who is who, adds the room's
  events to the timeline, and looks once a second whether the thread could write. When it couldn't, as
  on a full disk, the recording ends with that reason. The room goes on.

  The room's subscribers receive `{:recording, true, nil}`, and `{:recording, false, reason}` at the
  end. The recording ends by `Roomtone.stop_recording/1` and with its room.
  """

  use GenServer, restart: :temporary

  require Logger

  alias Roomtone.{Config, RoomServer, SafeCall, Subscribers, Tap, UnknownMessage}
  alias Roomtone.Media.Library
  alias Roomtone.Recording.{Announcement, Place}
  alias Roomtone.Room.Recorder

  @look_ms 1_000
  @reattach_ms 50
  @most_reattaching 100
  @events [:joined, :left, :muted, :silenced, :role, :caption]
  @longest_mark 500
  # Once a second.
  @most_going_on 30
  @reserve_tries 4
  @reserve_ms 250
  # More than these calls to the room take.
  @wait_ms 30_000

  @type error ::
          :already_recording
          | :no_recordings
          | :not_mixed
          | :media_busy
          | :media_lost
          | {:invalid_option, atom}
          | {:recording_failed, atom}
          | Roomtone.room_error()

  @enforce_keys [:room, :opts]
  defstruct [:room, :opts, :former, :folder, :library, :monitor, :handle, :server] ++
              [by: :somebody, taps: [], names: %{}, reattached: 0]

  # ---- For callers -----------------------------------------------------------------------------------------------------

  @doc false
  # A part of the documentation of `Roomtone.record/2`.
  @spec options_doc() :: String.t()
  def options_doc do
    """
      * `folder` – default a new one in `recordings_dir` (`Roomtone.Config`)
      * `mix` – whether `mix.ogg` is written; default `true`, but in a room of kind `:forward`, which
        makes no mix
      * `tracks` – whether each person gets a file; default `false`, but in a room of kind `:forward`
      * `announce` – whether the beginning and the end are heard in the room: `true` for notes, or the
        path of a sound file (on the node of the room) for the beginning; default `announce_recordings` (`Roomtone.Config`)
    """
    |> String.trim_trailing()
  end

  @doc false
  @spec start(String.t(), keyword, Recorder.by()) :: {:ok, Path.t()} | {:error, error}
  def start(room, opts, by \\ :somebody), do: start(room, opts, by, nil)

  # `former` is the task that waits in the room for a recording to go on; its place is taken.
  defp start(room, opts, by, former) do
    with {:ok, opts} <- check(opts),
         {:ok, folder} <- folder(room, opts) do
      args = %{room: room, opts: Map.put(opts, :folder, folder), by: by, former: former}

      case SafeCall.start_child(Roomtone.Recording.Supervisor, {__MODULE__, args}, :start, 20_000) do
        {:ok, _pid, result} -> result
        {:error, _late_or_gone} -> {:error, :media_busy}
      end
    end
  end

  @doc false
  @spec stop(pid) :: {:ok, Path.t()} | {:error, :not_recording}
  def stop(pid) do
    case SafeCall.call(pid, :stop, 10_000) do
      {:ok, result} -> result
      {:error, _late_or_gone} -> {:error, :not_recording}
    end
  end

  @doc false
  @spec mark(pid, String.t()) :: :ok
  def mark(pid, text), do: GenServer.cast(pid, {:mark, String.slice(text, 0, @longest_mark)})

  defp check(opts) do
    allowed = [
      folder: &(is_binary(&1) and &1 != "" and String.valid?(&1) and not String.contains?(&1, <<0>>)),
      mix: &is_boolean/1,
      tracks: &is_boolean/1,
      announce: &Announcement.wish?/1
    ]

    case Enum.find(opts, fn {key, value} -> not (Keyword.has_key?(allowed, key) and allowed[key].(value)) end) do
      nil -> {:ok, Map.merge(%{announce: Config.get().announce_recordings}, Map.new(opts))}
      {key, _value} -> {:error, {:invalid_option, key}}
    end
  end

  defp folder(_room, %{folder: folder}), do: {:ok, Path.expand(folder)}

  defp folder(room, _opts) do
    case Config.get().recordings_dir do
      nil -> {:error, :no_recordings}
      folder -> {:ok, Path.join(folder, folder_name(room))}
    end
  end

  # Names of rooms hold signs that not each system takes in a file's name. Two recordings of a room in
  # one second are told apart by the number.
  @doc false
  @spec folder_name(String.t()) :: String.t()
  def folder_name(room) do
    time = DateTime.utc_now() |> DateTime.truncate(:second) |> DateTime.to_iso8601(:basic)
    number = System.unique_integer([:positive]) |> rem(1_000)
    "#{String.replace(room, ~r/[^\p{L}\p{N}_-]/u, "-")}-#{time}-#{number}"
  end

  @doc false
  @spec start_link(map) :: GenServer.on_start()
  def start_link(args), do: GenServer.start_link(__MODULE__, args)

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @impl true
  def init(args), do: {:ok, struct!(__MODULE__, args)}

  @impl true
  def handle_call(:start, _from, state) do
    :ok = Subscribers.add(state.room, @events)

    with {:ok, %{kind: kind} = attached} <- RoomServer.call(state.room, {:attach_tap, self()}),
         # Where it would begin, the room ends in a moment.
         {:moving, false} <- {:moving, attached.moving},
         {:ok, wished} <- wishes(state.opts, kind),
         # Two calls at the same time: the second makes no folder.
         :ok <- if(state.former, do: :ok, else: Place.take(state.room, state.by)),
         {:ok, state, mix, tracks} <- begin(state, wished, attached.place),
         state = watch(state, attached),
         {:ok, state} <- tap(state, :mix, mix),
         {:ok, state} <- tap(state, :each, tracks),
         {:ok, %{participants: people}} <- RoomServer.call(state.room, :describe),
         # As the last step: a failure before it leaves the task that waits in its place, and it tries again.
         :ok <- take_over(state) do
      enter(state, "started", room: state.room, at: DateTime.to_iso8601(DateTime.utc_now()))
      for person <- people, do: enter(state, "here", identity: person.identity, name: person.name)
      RoomServer.cast_recording(state.room, self())
      Process.send_after(self(), :look, @look_ms)
      # A part that goes on isn't another recording.
      if state.former == nil, do: Announcement.play(state.room, :began, state.opts.announce)
      {:reply, {:ok, state.folder}, state}
    else
      {:moving, true} -> {:stop, :normal, {:error, :media_busy}, state}
      {:error, _} = error -> {:stop, :normal, error, state}
    end
  end

  def handle_call(:stop, _from, state) do
    status = stop_writing(state)
    Announcement.play(state.room, :ended, state.opts.announce)
    {:stop, {:shutdown, :stopped}, {:ok, state.folder}, told(state, status)}
  end

  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast({:mark, text}, state) do
    enter(state, "mark", text: text)
    {:noreply, state}
  end

  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info({:room, {:peers, peers}}, state), do: {:noreply, named(state, peers)}
  # The taps follow the room by themselves.
  def handle_info({:room, _where}, state), do: {:noreply, state}

  def handle_info({:roomtone, _room, event}, state) do
    note(state, event)
    {:noreply, state}
  end

  def handle_info(:look, state) do
    Process.send_after(self(), :look, @look_ms)

    case Library.run(state.library, :record_status, [state.handle]) do
      %{state: :running} ->
        {:noreply, state}

      {:error, :media_lost} ->
        {:noreply, state}

      status ->
        Announcement.play(state.room, :ended, state.opts.announce)
        {:stop, {:shutdown, reason(status)}, told(state, status)}
    end
  end

  # The room closes, which this process sees too, or the engine didn't take the tap back.
  def handle_info({:roomtone_tap, _tap, {:ended, {:failed, reason}}}, state), do: finish(state, reason)
  # The media node that wrote is gone.
  def handle_info({:DOWN, ref, :process, _holder, _reason}, %{monitor: ref} = state), do: finish(state, :media_lost)
  def handle_info({:roomtone_tap, _tap, _ended}, state), do: {:noreply, state}

  def handle_info(:reattach, state) do
    with {:ok, attached} <- RoomServer.call(state.room, {:attach_tap, self()}),
         :ok <- Place.take(state.room, state.by) do
      RoomServer.cast_recording(state.room, self())
      {:noreply, watch(%{state | reattached: 0}, attached)}
    else
      {:error, :room_not_found} ->
        finish(state, :room_closed)

      {:error, _being_replaced} when state.reattached < @most_reattaching ->
        Process.send_after(self(), :reattach, @reattach_ms)
        {:noreply, %{state | reattached: state.reattached + 1}}

      {:error, _hangs} ->
        finish(state, :room_closed)
    end
  end

  def handle_info({:DOWN, ref, :process, _pid, reason}, %{server: ref} = state) when reason in [:normal, :noproc],
    do: finish(state, :room_closed)

  def handle_info({:DOWN, ref, :process, _pid, _reason}, %{server: ref} = state) do
    send(self(), :reattach)
    {:noreply, state}
  end

  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  defp take_over(%{former: nil}), do: :ok
  defp take_over(state), do: RoomServer.call(state.room, {:recording_goes_on, state.former, self()})

  # ---- Beginning -------------------------------------------------------------------------------------------------------

  # A room that forwards makes no mix.
  defp wishes(%{mix: true}, %{slots: slots}) when slots != nil, do: {:error, :not_mixed}

  defp wishes(opts, %{slots: slots, stereo: stereo}) do
    mix = Map.get(opts, :mix, slots == nil)
    tracks = Map.get(opts, :tracks, slots != nil)
    if mix or tracks, do: {:ok, %{mix: mix, tracks: tracks, stereo: stereo}}, else: {:error, {:invalid_option, :mix}}
  end

  defp begin(state, wished, place) do
    options =
      Map.merge(wished, %{
        folder: state.opts.folder,
        room: state.room,
        date: DateTime.utc_now() |> DateTime.truncate(:second) |> DateTime.to_iso8601()
      })

    with {:ok, library} <- Library.beside(place.shard),
         {:ok, {handle, mix, tracks}} <- Library.run(library, :record_start, [options]) do
      state = %{state | library: library, monitor: Library.monitor(library), handle: handle, folder: options.folder}
      {:ok, state, mix && {mix, wished.stereo}, tracks}
    else
      {:error, why} when is_atom(why) ->
        {:error, :media_busy}

      {:error, {code, text}} ->
        Logger.error("no recording of #{state.room}: #{text}")
        {:error, {:recording_failed, code}}
    end
  end

  defp tap(state, _what, nil), do: {:ok, state}
  defp tap(state, what, {handle, stereo}), do: tap(state, what, handle, if(stereo, do: 2, else: 1))
  defp tap(state, what, handle), do: tap(state, what, handle, 1)

  defp tap(state, what, handle, channels) do
    with {:ok, tap} <- Tap.start_unread(state.room, what, {handle, state.library}, channels),
         do: {:ok, %{state | taps: [tap | state.taps]}}
  end

  defp watch(state, %{pid: pid, peers: peers}), do: named(%{state | server: Process.monitor(pid)}, peers)

  defp named(state, peers) do
    new = for {peer, identity} <- peers, not is_map_key(state.names, peer), do: {peer, identity}
    if new != [], do: Library.run(state.library, :record_names, [state.handle, new])
    %{state | names: peers}
  end

  # ---- Timeline --------------------------------------------------------------------------------------------------------

  defp note(state, {:joined, person}), do: enter(state, "joined", identity: person.identity, name: person.name)
  defp note(state, {:left, identity, _reason}), do: enter(state, "left", identity: identity)
  defp note(state, {:muted, identity, on}), do: enter(state, if(on, do: "muted", else: "unmuted"), identity: identity)

  defp note(state, {:silenced, identity, on}),
    do: enter(state, if(on, do: "silenced", else: "unsilenced"), identity: identity)

  defp note(state, {:role, identity, role}), do: enter(state, "role", identity: identity, role: role)

  defp note(state, {:caption, caption}) do
    fields = [identity: caption.speaker, text: caption.text, from: DateTime.to_iso8601(caption.from)]
    enter(state, "caption", fields ++ [until: DateTime.to_iso8601(caption.until)])
  end

  defp note(_state, _event), do: :ok

  defp enter(state, event, fields) do
    fields = for {key, value} <- fields, do: {to_string(key), to_string(value)}
    Library.run(state.library, :record_enter, [state.handle, event, fields])
    :ok
  end

  # ---- End -------------------------------------------------------------------------------------------------------------

  # The next part doesn't wait for the disk of this one, and its end doesn't wait for the room's process.
  defp finish(state, reason) do
    writing = Task.async(fn -> stop_writing(state) end)
    if reason == :media_lost, do: go_on(state)
    status = Task.await(writing, :infinity)
    {:stop, {:shutdown, if(reason(status) == :stopped, do: reason, else: reason(status))}, told(state, status)}
  end

  # Of a media node that is gone, nothing is known.
  defp stop_writing(state) do
    with {:error, :media_lost} <- Library.run(state.library, :record_stop, [state.handle]),
         do: %{state: :stopped, bytes: 0, lost_ms: 0}
  end

  # The room goes on at another media node, and so does its recording: in a further folder, there. Until
  # then a task is the room's recorder, so that it can be stopped.
  defp go_on(%{room: room, opts: opts, by: by, folder: folder}) do
    opts = Map.to_list(%{opts | folder: next_folder(folder)})
    wait = fn -> receive(do: (:go_on -> go_on(room, opts, by, folder, @most_going_on)), after: (@wait_ms -> :ok)) end

    with {:ok, task} <- Task.Supervisor.start_child(Roomtone.Cluster.Tasks, wait),
         :ok <- reserve(room, {task, folder}, by, @reserve_tries) do
      send(task, :go_on)
    else
      {:error, why} -> ended_for_good(room, why)
    end
  end

  # The room's process opens its media anew at that moment, or is replaced.
  defp reserve(room, waiting, by, tries) do
    case Place.wait(room, waiting, by) do
      {:error, why} when why in [:room_busy, :room_closed] and tries > 0 ->
        Process.sleep(@reserve_ms)
        reserve(room, waiting, by, tries - 1)

      answer ->
        answer
    end
  end

  # The process of the room may have been replaced, and the new one knows of no recording.
  defp go_on(room, opts, by, folder, tries) do
    with :ok <- Place.wait(room, {self(), folder}, by),
         {:ok, _folder} <- start(room, opts, by, self()) do
      :ok
    else
      {:error, why} when why not in [:room_not_found, :not_recording] and tries > 0 ->
        Process.sleep(@look_ms)
        go_on(room, opts, by, folder, tries - 1)

      {:error, why} ->
        ended_for_good(room, why)
    end
  end

  defp ended_for_good(_room, :room_not_found), do: :ok
  defp ended_for_good(room, why), do: Logger.error("the recording of #{room} doesn't go on: #{inspect(why)}")

  # "monday", "monday-part-2", "monday-part-3"
  defp next_folder(folder) do
    case Regex.run(~r/^(.*)-part-(\d+)$/s, folder) do
      [_whole, first, number] -> "#{first}-part-#{String.to_integer(number) + 1}"
      nil -> folder <> "-part-2"
    end
  end

  defp told(state, %{state: ended, bytes: bytes, lost_ms: lost}) do
    if ended == :stopped and lost == 0,
      do: Logger.info("the recording #{state.folder} has #{bytes} bytes"),
      else: Logger.warning("the recording #{state.folder} ended: #{inspect(ended)}; #{lost} ms of it are lost")

    for tap <- state.taps, do: Tap.stop(tap)
    %{state | taps: []}
  end

  defp reason(%{state: {:io, _text}}), do: :io
  defp reason(%{state: :running}), do: :io
  defp reason(%{state: state}), do: state
end
