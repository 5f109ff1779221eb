defmodule PhoenixLite.Server do
  @moduledoc """
  The server of an endpoint for HTTP, or that for HTTPS: a listener, a supervisor of connections and a
  drainer.

      Server (supervisor, rest_for_one)
      ├── connections (DynamicSupervisor): a PhoenixLite.Connection each
      ├── Listener: owns the socket, hands connections out
      └── Drainer: stops first, lets connections end
  """
  use Supervisor

  @doc "Starts a server; `config` has `:endpoint`, `:scheme`, `:ip`, `:port`, `:drain` (milliseconds) and for https `:files`."
  @spec start_link(map()) :: Supervisor.on_start()
  def start_link(config), do: Supervisor.start_link(__MODULE__, config)

  @impl true
  def init(config) do
    connections = Module.concat(config.endpoint, if(config.scheme == :https, do: HttpsConnections, else: Connections))
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
  def start_link(config), do: GenServer.start_link(__MODULE__, config, name: name(config.endpoint, config.scheme))

  @doc "The name of an endpoint's listener."
  @spec name(module(), :http | :https) :: module()
  def name(endpoint, scheme), do: Module.concat(endpoint, if(scheme == :https, do: HttpsListener, else: Listener))

  @doc "The address that it listens on."
  @spec address(module(), :http | :https) :: {:inet.ip_address(), :inet.port_number()}
  def address(endpoint, scheme), do: GenServer.call(name(endpoint, scheme), :address)

  @doc "Accepts no more connections."
  @spec drain(module(), :http | :https) :: :ok
  def drain(endpoint, scheme), do: GenServer.call(name(endpoint, scheme), :drain)

  @impl true
  def init(%{endpoint: endpoint, scheme: scheme} = config) do
    with {:ok, identity} <- PhoenixLite.Listening.identity(config.files),
         {:ok, listener, port} <- listen(config, identity) do
      Logger.info("Running #{inspect(endpoint)} with phoenix_lite at #{host(config.ip)}:#{port} (#{scheme})")
      {:ok, %{config: config, listener: listener, port: port}}
    else
      {:error, reason} ->
        words = "#{inspect(endpoint)} can't listen on #{host(config.ip)}:#{config.port} (#{scheme}): #{reason}"
        Logger.error(words)
        {:stop, {:listen, words}}
    end
  end

  defp listen(config, identity) do
    limits = PhoenixLite.Limits.listener(config.endpoint)
    PhoenixLite.Native.listen(text(config.ip), config.port, limits, identity, turn(config.turn))
  end

  defp turn(nil), do: nil
  defp turn({:local, <<0, name::binary>>}), do: name

  defp text(ip), do: ip |> :inet.ntoa() |> List.to_string()
  # As before a port.
  defp host(ip), do: if(tuple_size(ip) == 8, do: "[#{text(ip)}]", else: text(ip))

  @impl true
  def handle_call(:address, _from, state), do: {:reply, {state.config.ip, state.port}, state}
  def handle_call(:drain, _from, state), do: {:reply, PhoenixLite.Native.drain(state.listener), state}

  @impl true
  def handle_info({:lite_connection, connection, peer}, %{config: config} = state) do
    child = {PhoenixLite.Connection, {connection, peer, config}}

    case DynamicSupervisor.start_child(config.connections, child) do
      {:ok, pid} ->
        # A process or client that has ended by now closes the connection.
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
  Ends connections gracefully when the endpoint stops: it accepts no more, closes WebSockets with 1012, after
  which clients reconnect, and lets requests finish within the drain time.
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
    PhoenixLite.Listener.drain(config.endpoint, config.scheme)
    pids = for {_, pid, _, _} when is_pid(pid) <- DynamicSupervisor.which_children(config.connections), do: pid
    references = for pid <- pids, do: {pid, Process.monitor(pid)}
    Enum.each(pids, &send(&1, :lite_drain))
    wait(references, System.monotonic_time(:millisecond) + config.drain)
  catch
    # The listener crashed, which is why this process stops.
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
