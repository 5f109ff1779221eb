defmodule PhoenixLite.Server do
  @moduledoc """
  The listening side of an endpoint: a listener, a supervisor of connections and a drainer.

      Server (supervisor, rest_for_one)
      ├── connections (DynamicSupervisor): a PhoenixLite.Connection each
      ├── Listener: owns the socket, hands connections out
      └── Drainer: stops first, lets connections end
  """
  use Supervisor

  @doc "Starts a server; `config` has `:endpoint`, `:ip`, `:port`, `:scheme` and `:drain` (milliseconds)."
  @spec start_link(map()) :: Supervisor.on_start()
  def start_link(config), do: Supervisor.start_link(__MODULE__, config)

  @impl true
  def init(config) do
    connections = Module.concat(config.endpoint, Connections)
    config = Map.put(config, :connections, connections)

    children = [
      # The drainer has waited by then, so whatever is left ends at once.
      {DynamicSupervisor, name: connections, strategy: :one_for_one},
      {PhoenixLite.Listener, config},
      {PhoenixLite.Drainer, config}
    ]

    Supervisor.init(children, strategy: :rest_for_one)
  end
end

defmodule PhoenixLite.Listener do
  @moduledoc "Owns a listening socket and starts a process for each connection."
  use GenServer
  require Logger

  @doc false
  def start_link(config), do: GenServer.start_link(__MODULE__, config, name: name(config.endpoint))

  @doc "The name of an endpoint's listener."
  @spec name(module()) :: module()
  def name(endpoint), do: Module.concat(endpoint, Listener)

  @doc "The address that it listens on."
  @spec address(module()) :: {:inet.ip_address(), :inet.port_number()}
  def address(endpoint), do: GenServer.call(name(endpoint), :address)

  @doc "Accepts no more connections."
  @spec drain(module()) :: :ok
  def drain(endpoint), do: GenServer.call(name(endpoint), :drain)

  @impl true
  def init(config) do
    case PhoenixLite.Native.listen(text(config.ip), config.port, PhoenixLite.Limits.listener()) do
      {:ok, listener, port} ->
        Logger.info("Running #{inspect(config.endpoint)} with phoenix_lite at #{text(config.ip)}:#{port} (http)")
        {:ok, %{config: config, listener: listener, port: port}}

      {:error, reason} ->
        Logger.error(
          "#{inspect(config.endpoint)} can't listen on #{text(config.ip)}:#{config.port}: #{inspect(reason)}"
        )

        {:stop, {:listen, config.ip, config.port, reason}}
    end
  end

  defp text(ip), do: ip |> :inet.ntoa() |> List.to_string()

  @impl true
  def handle_call(:address, _from, state), do: {:reply, {state.config.ip, state.port}, state}
  def handle_call(:drain, _from, state), do: {:reply, PhoenixLite.Native.drain(state.listener), state}

  @impl true
  def handle_info({:lite_connection, connection, peer}, %{config: config} = state) do
    child = {PhoenixLite.Connection, {connection, peer, config}}

    case DynamicSupervisor.start_child(config.connections, child) do
      {:ok, pid} ->
        # It may have died by now, or the client gone; both ends take care of themselves.
        _ = PhoenixLite.Native.attach(connection, pid)

      error ->
        Logger.error("no process for a connection: #{inspect(error)}")
        PhoenixLite.Native.abort(connection)
    end

    {:noreply, state}
  end

  def handle_info(_message, state), do: {:noreply, state}
end

defmodule PhoenixLite.Drainer do
  @moduledoc """
  Ends connections kindly when the endpoint stops: no new ones, WebSockets close with 1012 (clients reconnect), requests under
  way may finish within the drain time.
  """
  use GenServer

  @doc false
  def child_spec(config) do
    %{id: __MODULE__, start: {GenServer, :start_link, [__MODULE__, config]}, shutdown: config.drain + 1_000}
  end

  @impl true
  def init(config) do
    Process.flag(:trap_exit, true)
    {:ok, config}
  end

  @impl true
  def terminate(_reason, config) do
    PhoenixLite.Listener.drain(config.endpoint)
    pids = for {_, pid, _, _} when is_pid(pid) <- DynamicSupervisor.which_children(config.connections), do: pid
    references = for pid <- pids, do: {pid, Process.monitor(pid)}
    Enum.each(pids, &send(&1, :lite_drain))
    wait(references, System.monotonic_time(:millisecond) + config.drain)
  catch
    # The listener crashed, and that is why we stop.
    :exit, _ -> :ok
  end

  defp wait([], _deadline), do: :ok

  defp wait([{_pid, reference} | rest], deadline) do
    receive do
      {:DOWN, ^reference, _, _, _} -> wait(rest, deadline)
    after
      max(deadline - System.monotonic_time(:millisecond), 0) -> :ok
    end
  end
end
