defmodule Phoenix.PubSub do
  @moduledoc """
  Publish and subscribe on one node or a cluster.

      {Phoenix.PubSub, name: MyApp.PubSub}

  Subscribers are entries of a `Registry`; other nodes are reached through `:pg`. Messages of processes of one node arrive in the
  order they were sent.
  """

  @type t :: atom()
  @type topic :: binary()
  @type message :: term()

  @doc false
  def child_spec(opts) do
    name = Keyword.get(opts, :name) || raise ArgumentError, "Phoenix.PubSub expects :name"
    %{id: name, start: {PhoenixLite.PubSubSupervisor, :start_link, [name, opts]}, type: :supervisor}
  end

  @doc "Subscribes the calling process; twice means that messages come twice. Option: `:metadata` for dispatchers."
  @spec subscribe(t(), topic(), keyword()) :: :ok | {:error, term()}
  def subscribe(pubsub, topic, opts \\ []) when is_atom(pubsub) and is_binary(topic) do
    with {:ok, _} <- Registry.register(pubsub, topic, opts[:metadata]), do: :ok
  end

  @doc "Ends all subscriptions of the calling process to this topic."
  @spec unsubscribe(t(), topic()) :: :ok
  def unsubscribe(pubsub, topic) when is_atom(pubsub) and is_binary(topic), do: Registry.unregister(pubsub, topic)

  @doc "Sends to all subscribers, on all nodes."
  @spec broadcast(t(), topic(), message(), module()) :: :ok | {:error, term()}
  def broadcast(pubsub, topic, message, dispatcher \\ __MODULE__) do
    remote(pubsub, topic, message, dispatcher)
    dispatch(pubsub, :none, topic, message, dispatcher)
  end

  @doc "Sends to all subscribers but `from`."
  @spec broadcast_from(t(), pid(), topic(), message(), module()) :: :ok | {:error, term()}
  def broadcast_from(pubsub, from, topic, message, dispatcher \\ __MODULE__) when is_pid(from) do
    remote(pubsub, topic, message, dispatcher)
    dispatch(pubsub, from, topic, message, dispatcher)
  end

  @doc "Like `broadcast/4`, but raises."
  @spec broadcast!(t(), topic(), message(), module()) :: :ok
  def broadcast!(pubsub, topic, message, dispatcher \\ __MODULE__), do: broadcast(pubsub, topic, message, dispatcher)

  @doc "Like `broadcast_from/5`, but raises."
  @spec broadcast_from!(t(), pid(), topic(), message(), module()) :: :ok
  def broadcast_from!(pubsub, from, topic, message, dispatcher \\ __MODULE__) do
    broadcast_from(pubsub, from, topic, message, dispatcher)
  end

  @doc "Sends to the subscribers of this node."
  @spec local_broadcast(t(), topic(), message(), module()) :: :ok
  def local_broadcast(pubsub, topic, message, dispatcher \\ __MODULE__) do
    dispatch(pubsub, :none, topic, message, dispatcher)
  end

  @doc "Sends to the subscribers of this node but `from`."
  @spec local_broadcast_from(t(), pid(), topic(), message(), module()) :: :ok
  def local_broadcast_from(pubsub, from, topic, message, dispatcher \\ __MODULE__) do
    dispatch(pubsub, from, topic, message, dispatcher)
  end

  @doc "Sends to the subscribers of `node`."
  @spec direct_broadcast(node(), t(), topic(), message(), module()) :: :ok
  def direct_broadcast(node, pubsub, topic, message, dispatcher \\ __MODULE__) do
    send({Module.concat(pubsub, Remote), node}, {:broadcast, topic, message, dispatcher})
    :ok
  end

  @doc "The name of this node."
  @spec node_name(t()) :: node()
  def node_name(_pubsub), do: node()

  @doc false
  def dispatch(entries, from, message) do
    for {pid, _} <- entries, pid != from, do: send(pid, message)
    :ok
  end

  defp dispatch(pubsub, from, topic, message, dispatcher) do
    # Partitions have a call each; they run in this process.
    Registry.dispatch(pubsub, topic, {dispatcher, :dispatch, [from, message]})
    :ok
  end

  defp remote(pubsub, topic, message, dispatcher) do
    for pid <- :pg.get_members(__MODULE__, pubsub), node(pid) != node() do
      send(pid, {:broadcast, topic, message, dispatcher})
    end

    :ok
  end
end

defmodule PhoenixLite.PubSubSupervisor do
  @moduledoc false
  use Supervisor

  def start_link(name, opts), do: Supervisor.start_link(__MODULE__, {name, opts})

  @impl true
  def init({name, opts}) do
    partitions = Keyword.get(opts, :pool_size, 1)

    children = [
      {Registry, name: name, keys: :duplicate, partitions: partitions},
      %{id: PhoenixLite.PubSubRemote, start: {PhoenixLite.PubSubRemote, :start_link, [name]}}
    ]

    Supervisor.init(children, strategy: :rest_for_one)
  end
end

defmodule PhoenixLite.PubSubRemote do
  @moduledoc "Takes broadcasts of other nodes."
  use GenServer

  def start_link(pubsub), do: GenServer.start_link(__MODULE__, pubsub, name: Module.concat(pubsub, Remote))

  @impl true
  def init(pubsub) do
    :ok = :pg.join(Phoenix.PubSub, pubsub, self())
    {:ok, pubsub}
  end

  @impl true
  def handle_info({:broadcast, topic, message, dispatcher}, pubsub) do
    Phoenix.PubSub.local_broadcast(pubsub, topic, message, dispatcher)
    {:noreply, pubsub}
  end

  def handle_info(_message, pubsub), do: {:noreply, pubsub}
end
