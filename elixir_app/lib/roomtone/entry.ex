defmodule Roomtone.Entry do
  @moduledoc """
  The way into a room: opening it, its lock, and joins. `Roomtone` has each of these functions, and
  their documentation.
  """

  import Roomtone.RoomCall, only: [ask: 2, ask_about: 3, keep: 1, kept_if: 3]

  alias Roomtone.{Admission, Config, MixPolicy, Name, Participant, RoomServer, Rooms, Telemetry, Token}
  alias Roomtone.Auth.Lock
  alias Roomtone.Cluster.Control
  alias Roomtone.Rooms.{Remembered, Successor}

  @doc "See `Roomtone.open_room/2`."
  @spec open(String.t(), keyword) :: {:ok, Roomtone.summary()} | {:error, Roomtone.open_error()}
  def open(name, opts) do
    with {:ok, name} <- Name.room(name),
         {mixing, opts} = Keyword.split(opts, MixPolicy.options()),
         :ok <- Admission.check_room(opts),
         {:ok, mix} <- MixPolicy.new(Keyword.put_new(mixing, :max_talkers, Config.get().max_talkers)),
         {passcode, opts} = Keyword.pop(opts, :passcode),
         {by, opts} = Keyword.pop(opts, :by),
         :ok <- if(by, do: Admission.check_join(by), else: :ok),
         {:ok, lock} <- if(passcode, do: Lock.new(passcode), else: {:ok, nil}),
         whose = if(by, do: [by: Admission.request("", "", by), new: true], else: []),
         {:ok, summary} <- Successor.await(fn -> Rooms.open(name, [mix: mix, lock: lock] ++ whose ++ opts) end) do
      :ok = keep(name)
      {:ok, summary}
    end
  end

  @doc "See `Roomtone.unlock/2`."
  @spec unlock(String.t(), term) :: {:ok, String.t() | nil} | {:error, :wrong_passcode | :busy | Roomtone.room_error()}
  def unlock(name, passcode) do
    with {:ok, lock} <- ask(name, :lock), do: if(lock, do: Lock.open(lock, passcode), else: {:ok, nil})
  end

  @doc "See `Roomtone.put_passcode/2`."
  @spec put_passcode(String.t(), String.t() | nil) ::
          :ok | {:error, :busy | {:invalid_option, :passcode} | Roomtone.room_error()}
  def put_passcode(name, passcode) do
    with true <- passcode == nil or Lock.passcode?(passcode) || {:error, {:invalid_option, :passcode}},
         {:ok, lock} <- if(passcode, do: Lock.new(passcode), else: {:ok, nil}),
         do: name |> ask({:put_lock, lock}) |> kept_if(name, true)
  end

  @doc "See `Roomtone.wrong_passcode/1`."
  @spec wrong_passcode(String.t()) :: :ok
  def wrong_passcode(name) do
    with {:ok, name} <- Name.room(name),
         pid when is_pid(pid) <- RoomServer.whereis(name),
         do: GenServer.cast(pid, :wrong_passcode)

    :ok
  end

  @doc "See `Roomtone.grants/2`."
  @spec grants(String.t(), keyword) ::
          {:ok, [Token.grant()]} | {:error, :passcode_needed | :removed | Roomtone.room_error()}
  def grants(name, opts) do
    request = opts |> Keyword.take([:pass, :invited, :maker]) |> Map.new()
    request = Map.put(request, :grants, Keyword.get(opts, :grants, [:speak, :listen]))
    name |> ask({:grants, request}) |> unless_closed(name, request)
  end

  # A room that isn't open may be one that only some people may open.
  defp unless_closed({:error, :room_not_found} = error, name, request) do
    with {:ok, name} <- Name.room(name), :ok <- may_open(name, request), do: error
  end

  defp unless_closed(result, _name, _request), do: result

  defp may_open(name, request) do
    with :here <- Control.at(name, {:may_open, name, request}),
         do: Remembered.may_open(name, request),
         else: ({:there, answer} -> answer)
  end

  @doc "See `Roomtone.outlook/3`."
  @spec outlook(String.t(), String.t(), keyword) :: {:ok, Roomtone.outlook()} | {:error, Roomtone.outlook_error()}
  def outlook(name, identity, opts) do
    with {:ok, name} <- Name.room(name),
         {:ok, identity} <- Name.identity(identity),
         :ok <- Admission.check_join(opts) do
      request = Admission.request(identity, identity, opts)

      case Successor.await(fn -> RoomServer.call(name, {:outlook, request}) end) do
        {:error, :room_not_found} when request.rejoin != nil -> {:error, :room_ended}
        result -> unless_closed(result, name, request)
      end
    end
  end

  @doc "See `Roomtone.join/4`."
  @spec join(String.t(), String.t(), String.t(), keyword) ::
          {:ok, %{participant: Roomtone.participant(), answer: String.t(), session: String.t(), room_id: String.t()}}
          | {:error, Roomtone.join_error()}
  def join(name, identity, offer, opts) do
    Telemetry.span([:join], %{room: name, participant: identity}, fn -> answer(name, identity, offer, opts) end)
  end

  @doc "As `join/4`, for a source, which has no offer."
  @spec join_source(String.t(), String.t(), keyword) :: {:ok, Roomtone.participant()} | {:error, Roomtone.join_error()}
  def join_source(name, identity, opts) do
    joined =
      Telemetry.span([:join], %{room: name, participant: identity}, fn -> answer(name, identity, :source, opts) end)

    with {:ok, %{participant: participant}} <- joined, do: {:ok, participant}
  end

  defp answer(name, identity, offer, opts) do
    with {:ok, name} <- Name.room(name),
         {:ok, identity} <- Admission.check_name(identity, opts),
         :ok <- Admission.check_join(opts),
         {:ok, shown} <- Admission.check_name(Keyword.get(opts, :name) || identity, opts),
         request = Admission.request(identity, shown, opts),
         {:ok, pid, person} <- Admission.admit(name, request, opts[:create] || false),
         {:ok, answer} <- Participant.negotiate(pid, offer, request.owner),
         {:ok, participant, room_id} <- RoomServer.call(name, {:joined, identity}) do
      {:ok, %{participant: participant, answer: answer, session: person.session, room_id: room_id}}
    else
      {:error, :not_found} -> {:error, :room_closed}
      {:error, _} = error -> error
    end
  end

  @doc "See `Roomtone.resume/4`."
  @spec resume(String.t(), String.t(), String.t(), pid) ::
          {:ok, Roomtone.participant()} | {:error, :not_found | :identity_taken | :media_busy | Roomtone.room_error()}
  def resume(name, identity, session, owner) when is_binary(session) and is_pid(owner) do
    with {:ok, name} <- Name.room(name),
         {:ok, identity} <- Name.identity(identity),
         {:ok, pid, person} <- RoomServer.call(name, {:resume, %{identity: identity, session: session, owner: owner}}),
         :ok <- Participant.adopt(pid, owner) do
      {:ok, Roomtone.Room.to_map(person)}
    end
  end

  @doc "See `Roomtone.transfer/3`."
  @spec transfer(String.t(), String.t(), String.t()) ::
          :ok | {:error, :not_found | :same_room | :no_page | {:room_full, non_neg_integer} | Roomtone.room_error()}
  def transfer(name, identity, to) do
    with {:ok, name} <- Name.room(name),
         {:ok, to} <- Name.room(to),
         :ok <- if(Name.key(name) == Name.key(to), do: {:error, :same_room}, else: :ok),
         :ok <- place_in(to),
         do: ask_about(name, identity, &{:transfer, &1, to})
  end

  # Full or not, it is asked again when they join.
  defp place_in(name) do
    case RoomServer.call(name, :describe) do
      {:ok, %{participants: people, max_participants: most}} when length(people) >= most -> {:error, {:room_full, most}}
      {:ok, _room} -> :ok
      {:error, :room_not_found} -> :ok
      {:error, _busy} = error -> error
    end
  end
end
