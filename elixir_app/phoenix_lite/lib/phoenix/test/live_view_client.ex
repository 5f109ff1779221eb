defmodule PhoenixLite.TestClient do
  @moduledoc "The browser of a view in tests: it joins, keeps the tree by the client's rules, and waits for replies."
  use GenServer
  alias Phoenix.Channel.Server
  alias Phoenix.Socket
  alias Phoenix.Socket.{Message, Reply}

  @doc "Joins."
  @spec start(map()) :: {:ok, pid(), map()} | {:error, map()}
  def start(options) do
    # Linked only once it has joined, since a refused join is an answer and no crash.
    {:ok, pid} = GenServer.start(__MODULE__, options)

    case GenServer.call(pid, :join, 30_000) do
      {:ok, response} ->
        Process.link(pid)
        {:ok, pid, response}

      {:error, response} ->
        {:error, response}
    end
  end

  @impl true
  def init(options) do
    Process.monitor(options.test)
    {:ok, Map.merge(options, %{channel: nil, tree: nil, last: 1, waiting: %{}})}
  end

  @impl true
  def handle_call(:join, _from, state) do
    socket = %Socket{
      endpoint: state.endpoint,
      handler: Phoenix.LiveView.Socket,
      serializer: Phoenix.ChannelTest.NoopSerializer,
      transport: :live_view_test,
      transport_pid: self(),
      private: %{connect_info: state.connect_info}
    }

    message = %Message{topic: state.topic, event: "phx_join", payload: state.join, ref: "1", join_ref: "1"}

    case Server.join(socket, Phoenix.LiveView.Channel, message) do
      {:ok, %{rendered: rendered}, channel} ->
        Process.monitor(channel)
        {:reply, {:ok, %{channel: channel}}, merge(%{state | channel: channel}, rendered)}

      {:error, response} ->
        {:stop, :normal, {:error, response}, state}
    end
  end

  def handle_call({:push, event, payload}, from, state) do
    ref = to_string(state.last + 1)
    send(state.channel, %Message{topic: state.topic, event: event, payload: payload, ref: ref, join_ref: "1"})
    {:noreply, %{state | last: state.last + 1, waiting: Map.put(state.waiting, ref, from)}}
  end

  # The page then shows every message that the view got before this call.
  def handle_call(:html, _from, state) do
    _ = if Process.alive?(state.channel), do: :sys.get_state(state.channel)
    state = taken(state)
    {:reply, html(state.tree), state}
  end

  defp taken(state) do
    receive do
      %Message{event: "diff"} = message ->
        {:noreply, state} = handle_info(message, state)
        taken(state)
    after
      0 -> state
    end
  end

  @impl true
  def handle_info(%Reply{ref: ref, payload: payload}, state) do
    {from, waiting} = Map.pop(state.waiting, ref)
    state = merge(%{state | waiting: waiting}, payload[:diff] || %{})
    answer = Map.take(payload, [:live_redirect, :redirect, :link_redirect])
    if answer != %{} and not is_map_key(answer, :link_redirect), do: tell(state, {:away, answer})
    if from, do: GenServer.reply(from, if(answer == %{}, do: {:ok, html(state.tree)}, else: {:away, answer}))
    {:noreply, state}
  end

  def handle_info(%Message{event: "diff", payload: diff}, state), do: {:noreply, merge(state, diff)}

  def handle_info(%Message{event: event, payload: to}, state) when event in ["redirect", "live_redirect"] do
    tell(state, {:away, %{String.to_existing_atom(event) => to}})
    {:noreply, state}
  end

  def handle_info({:DOWN, _, :process, pid, _reason}, %{test: pid} = state), do: {:stop, :normal, state}

  def handle_info({:DOWN, _, :process, pid, reason}, %{channel: pid} = state) do
    case reason do
      {:shutdown, _} -> {:noreply, state}
      # The test ends with its view, unless it traps exits.
      _ -> {:stop, reason, state}
    end
  end

  def handle_info(_other, state), do: {:noreply, state}

  defp tell(state, message), do: send(state.test, {state.ref, message})

  ## The rules of the client

  defp merge(state, diff) do
    {special, diff} = Map.split(diff, ["e", "t", "r"])
    for [event, payload] <- special["e"] || [], do: tell(state, {:push_event, event, payload})
    %{state | tree: merge_node(state.tree, diff)}
  end

  @doc "The tree that a diff makes of one."
  @spec merge_node(term(), term()) :: term()
  def merge_node(_old, %{"s" => _} = new), do: new

  def merge_node(%{} = old, %{} = diff),
    do: Enum.reduce(diff, old, fn {key, value}, node -> merge_key(node, key, value) end)

  def merge_node(_old, new), do: new

  defp merge_key(node, "k", diff) do
    {count, diff} = Map.pop!(diff, "kc")
    old = Map.delete(node["k"], "kc")
    entries = for index <- 0..(count - 1)//1, into: %{}, do: entry(to_string(index), old, diff)
    Map.put(node, "k", Map.put(entries, "kc", count))
  end

  defp merge_key(node, key, value), do: Map.put(node, key, merge_node(node[key], value))

  defp entry(key, old, diff), do: {key, merge_node(old[key], Map.get(diff, key, %{}))}

  @doc "The HTML of a tree."
  @spec html(term()) :: String.t()
  def html(text) when is_binary(text), do: text

  def html(%{"s" => static, "k" => %{"kc" => count} = entries}) do
    Enum.map_join(0..(count - 1)//1, fn index -> html(Map.put(entries[to_string(index)], "s", static)) end)
  end

  def html(%{"s" => [first | static]} = node) do
    static
    |> Enum.with_index()
    |> Enum.reduce(first, fn {text, index}, html -> html <> html(Map.fetch!(node, to_string(index))) <> text end)
  end
end
