defmodule Roomtone.TestCluster do
  @moduledoc """
  Nodes of a cluster for tests: processes of the system of their own (`:peer`), with the real engine,
  connected by Erlang's distribution over loopback. The test's own node isn't one of them.
  """

  alias Roomtone.DomainCase

  @cookie ~c"roomtone_test_cluster"

  @typedoc "A node: how the test controls it, its name, and the port of its pages, if it has any."
  @type t :: %{peer: pid, node: node, port: :inet.port_number() | nil}

  @doc """
  Starts a node of a role with further settings, which belongs to the test and ends with it. It
  connects to `cluster_nodes`. `name:` is the part of its name before the @, `host:` the one after
  it, `args:` are further arguments of the virtual machine.
  """
  @spec start(:all | :web | :media, keyword) :: t
  def start(role, settings \\ []) do
    [node] = start_all([{role, settings}])
    node
  end

  @doc """
  Starts nodes at the same time. One that is to connect to another needs the other's `name:`, which
  `node_name/1` makes the name of a node.
  """
  @spec start_all([{:all | :web | :media, keyword}]) :: [t]
  def start_all(nodes) do
    nodes = for {role, settings} <- nodes, do: {role, Keyword.put_new_lazy(settings, :name, fn -> fresh_name(role) end)}

    booted =
      at_once(nodes, fn {_role, settings} ->
        start_peer(settings[:name], settings[:args] || [], settings[:host] || ~c"127.0.0.1")
      end)

    Enum.each(booted, &end_with_test/1)

    booted
    |> Enum.zip(nodes)
    |> at_once(fn {node, {role, settings}} ->
      case run(node, role, Keyword.drop(settings, [:name, :args, :host])) do
        :ok -> %{node | port: port(node, role)}
        {:error, why} -> raise "node #{node.node} doesn't start: #{inspect(why)}"
      end
    end)
  end

  defp at_once(items, fun) do
    for {:ok, result} <- Task.async_stream(items, fun, max_concurrency: length(items), timeout: :infinity), do: result
  end

  @doc "The name of a node on this machine that is started with `name: name`."
  @spec node_name(atom) :: node
  def node_name(name), do: :"#{name}@127.0.0.1"

  @doc "A node whose application isn't started yet."
  @spec boot(atom, [charlist], charlist) :: t
  def boot(name, args \\ [], host \\ ~c"127.0.0.1") do
    node = start_peer(name, args, host)
    end_with_test(node)
    node
  end

  defp end_with_test(node), do: ExUnit.Callbacks.on_exit(fn -> stop(node) end)

  defp start_peer(name, args, host) do
    paths = Enum.flat_map(:code.get_path(), &[~c"-pa", &1])

    # Controlled by its standard input, so that the test needs no distribution and none can be
    # lost. It ends when its input does.
    {:ok, peer, node} =
      :peer.start_link(%{
        name: name,
        host: host,
        # Long names have a dot.
        longnames: ?. in host,
        connection: :standard_io,
        args: args ++ [~c"-setcookie", @cookie, ~c"-kernel", ~c"prevent_overlapping_partitions", ~c"false" | paths],
        wait_boot: 120_000
      })

    Process.unlink(peer)
    %{peer: peer, node: node, port: nil}
  end

  @doc "Starts the application on a node; an error if it refuses to start."
  @spec run(t, :all | :web | :media, keyword) :: :ok | {:error, term}
  def run(node, role, settings) do
    endpoint = Application.get_env(:roomtone, RoomtoneWeb.Endpoint)
    endpoint = Keyword.merge(endpoint, server: true, http: [ip: {127, 0, 0, 1}, port: 0])

    ours =
      Keyword.merge(
        [
          {RoomtoneWeb.Endpoint, endpoint},
          role: role,
          native: Roomtone.Native,
          udp_ports: "0",
          shards: 1,
          data_dir: :off,
          health_port: "off",
          join_timeout_ms: 5_000
        ],
        settings
      )

    # Their log would come among the results of the tests.
    :ok = call(node, :application, :set_env, [[logger: [level: :emergency]]])

    for {app, _, _} <- Application.loaded_applications(),
        app not in [:kernel, :stdlib, :elixir, :logger, :roomtone],
        env = Application.get_all_env(app),
        env != [] do
      :ok = call(node, :application, :set_env, [[{app, env}]])
    end

    :ok = call(node, :application, :set_env, [[roomtone: Keyword.merge(Application.get_all_env(:roomtone), ours)]])
    {:ok, _apps} = call(node, :application, :ensure_all_started, [:elixir])

    case call(node, :application, :ensure_all_started, [:roomtone]) do
      {:ok, _apps} -> :ok
      {:error, why} -> {:error, why}
    end
  end

  @doc "Calls a function on a node."
  @spec call(t, module, atom, [term]) :: term
  def call(%{peer: peer}, module, function, arguments), do: :peer.call(peer, module, function, arguments, 120_000)

  @doc "A function that calls functions on a node, as `apply/3` does here."
  @spec caller(t) :: (module, atom, [term] -> term)
  def caller(node), do: &call(node, &1, &2, &3)

  @doc "Ends a node as `kill -9` does, and waits until it is gone."
  @spec kill(t) :: :ok
  def kill(node) do
    ref = Process.monitor(node.peer)
    os_pid = call(node, :os, :getpid, [])
    {_said, 0} = System.cmd("kill", ["-9", List.to_string(os_pid)])

    receive do
      {:DOWN, ^ref, :process, _peer, _reason} -> :ok
    after
      10_000 -> raise "it won't die"
    end
  end

  @doc "Ends a node."
  @spec stop(%{peer: pid}) :: :ok
  def stop(%{peer: peer}) do
    _gone_already = Roomtone.SafeCall.run(fn -> :peer.stop(peer) end)
    :ok
  catch
    :exit, _gone -> :ok
  end

  @doc "The cookie of all nodes."
  @spec cookie() :: atom
  def cookie, do: List.to_atom(@cookie)

  @doc "Waits until a web node is attached to as many media nodes."
  @spec await_media(t, pos_integer) :: true
  def await_media(web, count),
    do: DomainCase.eventually(fn -> length(call(web, Roomtone.Cluster.Table, :reports, [])) == count end)

  @doc "A name for a node that no other test has."
  @spec fresh_name(atom) :: atom
  def fresh_name(role), do: String.to_atom("#{role}#{System.unique_integer([:positive])}x#{System.pid()}")

  defp port(_node, :media), do: nil

  defp port(node, _role) do
    {:ok, {_address, port}} = call(node, RoomtoneWeb.Endpoint, :server_info, [:http])
    port
  end
end

defmodule Roomtone.TestCluster.Witness do
  @moduledoc "A process on a node of a test that subscribes to a room, and keeps what it is told."

  @doc "Starts it; it lives as long as the node, and can be the owner of people."
  @spec start(String.t()) :: pid
  def start(room) do
    caller = self()

    pid =
      spawn(fn ->
        :ok = Roomtone.subscribe(room, levels: false)
        send(caller, {self(), :subscribed})
        keep([])
      end)

    receive do
      {^pid, :subscribed} -> pid
    end
  end

  @doc "The events so far, oldest first."
  @spec events(pid) :: [Roomtone.event()]
  def events(pid) do
    send(pid, {:events, self()})

    receive do
      {^pid, events} -> events
    end
  end

  @doc "Whether as many processes of this node are in a function of a module just now."
  @spec inside?(module, pos_integer) :: boolean
  def inside?(module, count \\ 1) do
    count <=
      Enum.count(Process.list(), fn pid ->
        with {:current_stacktrace, stack} <- Process.info(pid, :current_stacktrace),
             do: List.keymember?(stack, module, 0),
             else: (nil -> false)
      end)
  end

  @doc "A handler of telemetry that has a witness keep its events."
  @spec handle([atom], map, map, pid) :: term
  def handle(name, measurements, metadata, witness),
    do: send(witness, {:roomtone, nil, {name, measurements, metadata}})

  defp keep(events) do
    receive do
      {:events, from} ->
        send(from, {self(), Enum.reverse(events)})
        keep(events)

      {:roomtone, _room, event} ->
        keep([event | events])
    end
  end
end
