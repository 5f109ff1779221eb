defmodule Phoenix.PubSub do
  @moduledoc """
  Publish and subscribe on one node: `{Phoenix.PubSub, name: MyApp.PubSub}`.

  Subscribers are entries of a `Registry`. Messages of one process arrive in the order it sent them. Unlike
  Phoenix's PubSub, broadcasts don't reach other nodes.
  """

  @type t :: atom()
  @type topic :: binary()

  @doc false
  def child_spec(opts), do: Registry.child_spec(keys: :duplicate, name: Keyword.fetch!(opts, :name))

  @doc "Subscribes the calling process. A process that subscribes twice gets each message twice."
  @spec subscribe(t(), topic()) :: :ok | {:error, term()}
  def subscribe(pubsub, topic) when is_atom(pubsub) and is_binary(topic) do
    with {:ok, _} <- Registry.register(pubsub, topic, nil), do: :ok
  end

  @doc "Sends to all subscribers."
  @spec broadcast(t(), topic(), term()) :: :ok
  def broadcast(pubsub, topic, message), do: dispatch(pubsub, topic, message, :none)

  @doc "Sends to all subscribers but `from`."
  @spec broadcast_from(t(), pid(), topic(), term()) :: :ok
  def broadcast_from(pubsub, from, topic, message) when is_pid(from), do: dispatch(pubsub, topic, message, from)

  defp dispatch(pubsub, topic, message, from) do
    Registry.dispatch(pubsub, topic, fn entries ->
      for {pid, _} <- entries, pid != from, do: send(pid, message)
    end)
  end
end
