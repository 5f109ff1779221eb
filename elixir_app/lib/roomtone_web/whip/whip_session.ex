defmodule RoomtoneWeb.WhipSession do
  @moduledoc """
  A WHIP session: one client that isn't our page, between its `POST` and its `DELETE`. It ends with its sound, too, since a WHIP
  client has no other way to say that it is gone; and with its room.

  After a loss it comes back to the room that its token was in last, and to no other of that name (`Roomtone.Auth.LastRoom`): to that end take
  a new token. It comes back as it was: there is nobody who could unmute it.

  A bearer token may be used for several sessions at once. The first is the identity of the token, the others get a suffix, such
  as `studio #k3f9`, so that all are different people in the room.
  """
  use GenServer, restart: :temporary

  alias Roomtone.{Auth, Config, SafeCall, Token, UnknownMessage}
  alias Roomtone.Auth.LastRoom

  require Logger

  @enforce_keys [:id, :room, :identity, :token_identity]
  defstruct @enforce_keys

  @type t :: %__MODULE__{id: String.t(), room: String.t(), identity: String.t(), token_identity: String.t()}

  @doc "Takes the client into the room; gives the session and the answer."
  @spec open(Token.t(), String.t(), String.t()) :: {:ok, t, String.t()} | {:error, term}
  def open(%Token{} = token, jwt, offer) do
    id = random(16)

    with {:ok, pid} <- DynamicSupervisor.start_child(RoomtoneWeb.WhipSupervisor, {__MODULE__, {id, token, jwt}}) do
      # The join has a time limit of its own, which is reported as such.
      GenServer.call(pid, {:join, offer}, :infinity)
    end
  end

  @doc "Ends a session; only for the bearer of a token of the same person and room."
  @spec close(String.t(), Token.t()) :: :ok | {:error, :no_such_session | :not_yours}
  def close(id, %Token{} = token) do
    case Registry.lookup(RoomtoneWeb.WhipSessions, id) do
      [{pid, _}] ->
        case SafeCall.call(pid, {:close, token}) do
          {:ok, answer} -> answer
          # It ended by itself between the two.
          {:error, _gone} -> {:error, :no_such_session}
        end

      [] ->
        {:error, :no_such_session}
    end
  end

  @doc false
  def start_link(arg), do: GenServer.start_link(__MODULE__, arg)

  @impl true
  def init({id, token, jwt}) do
    # So that a shutdown of the web takes the person out of the room.
    Process.flag(:trap_exit, true)
    Logger.metadata(room: token.room)
    {:ok, _} = Registry.register(RoomtoneWeb.WhipSessions, id, nil)
    {:ok, _} = Registry.register(RoomtoneWeb.WhipTokens, :crypto.hash(:sha256, jwt), nil)
    {:ok, %{id: id, token: token, jwt: jwt, identity: nil}}
  end

  @impl true
  def handle_call({:join, offer}, _from, state) do
    with :ok <- RoomtoneWeb.Auth.watch(state.token),
         :ok <- Roomtone.subscribe(state.token.room, only: [:left, :media_restart, :closed]),
         {:ok, identity, answer} <- join(state, offer) do
      Logger.metadata(participant: identity)

      session = %__MODULE__{
        id: state.id,
        room: state.token.room,
        identity: identity,
        token_identity: state.token.identity
      }

      {:reply, {:ok, session, answer}, %{state | identity: identity}, {:continue, :joined}}
    else
      {:error, reason} -> {:stop, {:shutdown, :refused}, {:error, reason}, state}
    end
  end

  def handle_call({:close, token}, _from, state) do
    if token.room == state.token.room and token.identity == state.token.identity,
      do: {:stop, {:shutdown, :closed}, :ok, state},
      else: {:reply, {:error, :not_yours}, state}
  end

  # The offer and the answer are behind us, and there is nothing more to do for as long as the call lasts: what they took is given back.
  @impl true
  def handle_continue(:joined, state), do: {:noreply, state, :hibernate}

  @impl true
  def handle_info({:roomtone, _room, {:left, identity, _reason}}, %{identity: identity} = state),
    do: {:stop, {:shutdown, :media_ended}, %{state | identity: nil}}

  # A WHIP client can't be asked for a new offer; it notices that its connection is gone, and comes again.
  def handle_info({:roomtone, _room, {:media_restart, whom}}, %{identity: identity} = state)
      when whom in [identity, :all],
      do: {:stop, {:shutdown, :media_restarted}, state}

  def handle_info({:session_ended, _session_id}, state), do: {:stop, {:shutdown, :signed_out}, state}

  # Not ours, which isn't empty: the one before, of somebody who was refused.
  def handle_info({:roomtone, _room, {:closed, :empty}}, state), do: {:noreply, state}
  def handle_info({:roomtone, _room, {:closed, _reason}}, state), do: {:stop, {:shutdown, :room_closed}, state}
  def handle_info({:roomtone, _room, _event}, state), do: {:noreply, state, :hibernate}
  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  @impl true
  def terminate(_reason, %{identity: nil}), do: :ok
  def terminate(_reason, %{identity: identity, token: token}), do: Roomtone.leave(token.room, identity)

  defp join(%{token: token} = state, offer) do
    case join_as(state, token.identity, token.name, offer) do
      {:error, :identity_taken} = taken ->
        if others_with_same_token?(state), do: join_with_suffix(state, offer, 3), else: taken

      result ->
        result
    end
  end

  # Among thousands two suffixes may be alike.
  defp join_with_suffix(%{token: token} = state, offer, tries) do
    suffix = " #" <> random(3)

    case join_as(state, with_suffix(token.identity, suffix), with_suffix(token.name, suffix), offer) do
      {:error, :identity_taken} when tries > 1 -> join_with_suffix(state, offer, tries - 1)
      result -> result
    end
  end

  defp join_as(%{token: token, jwt: jwt}, identity, name, offer) do
    own = [name: name, owner: :none, session: random(16), rejoin: LastRoom.get(jwt)]

    with {:ok, %{answer: answer, room_id: room_id}} <-
           Roomtone.join(token.room, identity, offer, Keyword.merge(Auth.join_options(token), own)) do
      LastRoom.put(jwt, room_id, token.expires_at)
      {:ok, identity, answer}
    end
  end

  defp others_with_same_token?(%{jwt: jwt}) do
    RoomtoneWeb.WhipTokens |> Registry.lookup(:crypto.hash(:sha256, jwt)) |> Enum.any?(fn {pid, _} -> pid != self() end)
  end

  defp with_suffix(name, suffix),
    do: String.slice(name, 0, Config.get().max_name_length - String.length(suffix)) <> suffix

  defp random(bytes), do: bytes |> :crypto.strong_rand_bytes() |> Base.encode32(case: :lower, padding: false)
end
