defmodule Roomtone.Cluster.Natives do
  @moduledoc """
  Runs what other nodes ask of a media node that isn't about sound: for web nodes, which have no
  native library, signing and verifying tokens with this node's `TOKEN_SECRET` and hashing passwords;
  for `Roomtone.Media.Library`, processes that hold handles; and `Roomtone.Cluster.drain/2`.

  A password takes tens of milliseconds, so it has a task of its own; at most #{8} run at once, and
  beyond that the answer is `{:error, :busy}`.
  """

  use GenServer

  alias Roomtone.{Config, Drain, UnknownMessage}
  alias Roomtone.Cluster.{Holder, Protocol}

  @doc false
  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc false
  @spec most_tasks() :: pos_integer
  def most_tasks, do: 8

  @impl true
  def init(nil), do: {:ok, nil}

  @impl true
  def handle_call(message, from, state) do
    config = Config.get()

    case Protocol.unpack(message) do
      {:ok, {:run, :token_sign, [claims]}} when is_map(claims) ->
        {:reply, config.native.token_sign(claims, config.token_secret), state}

      {:ok, {:run, :token_verify, [token, now]}} when is_binary(token) and is_integer(now) ->
        {:reply, config.native.token_verify(token, config.token_secret, now), state}

      {:ok, {:run, :password_hash, [password, salt, {_memory, _rounds, _lanes} = cost]}} ->
        task(from, fn -> config.native.password_hash(password, salt, cost) end, state)

      {:ok, {:run, :password_verify, [password, hash]}} ->
        task(from, fn -> config.native.password_verify(password, hash) end, state)

      {:ok, {:run, :hold, [owner]}} when is_pid(owner) ->
        case DynamicSupervisor.start_child(Roomtone.Cluster.Holders, {Holder, owner}) do
          {:ok, holder} -> {:reply, {:ok, holder}, state}
          {:error, _reason} -> {:reply, {:error, :busy}, state}
        end

      {:ok, {:run, :drain, [seconds]}} when is_integer(seconds) and seconds >= 0 ->
        task(from, fn -> Drain.run(seconds) end, state)

      _other ->
        UnknownMessage.call(__MODULE__, message, from, state)
    end
  end

  defp task(from, fun, state) do
    case Task.Supervisor.start_child(Roomtone.Cluster.Tasks, fn -> GenServer.reply(from, fun.()) end) do
      {:ok, _pid} -> {:noreply, state}
      {:error, :max_children} -> {:reply, {:error, :busy}, state}
    end
  end

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)
end
