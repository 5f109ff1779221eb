defmodule Roomtone.Cluster.MembersTest do
  @moduledoc "Which nodes use each other, and what a node refuses to start with."
  use Roomtone.DomainCase, async: false

  alias Roomtone.TestCluster
  alias Roomtone.Cluster.{Members, Protocol, Table}

  @moduletag :media
  @moduletag capture_log: true
  @moduletag timeout: 600_000

  defp members(node), do: for(%{node: name} <- TestCluster.call(node, Table, :members, []), do: name)

  defp media_and_web(settings) do
    name = TestCluster.fresh_name(:media)
    TestCluster.start_all(media: [name: name], web: [cluster_nodes: [TestCluster.node_name(name)]] ++ settings)
  end

  defp refused(node), do: TestCluster.call(node, Members, :refused, [])

  test "nodes with another secret don't use each other, and both know why" do
    [media, web] = media_and_web(token_secret: String.duplicate("another secret ", 3))
    eventually(fn -> refused(web) == %{media.node => :other_secret} end)
    eventually(fn -> refused(media) == %{web.node => :other_secret} end)
    assert members(web) == []
    assert members(media) == []
    assert {:error, :no_media} = TestCluster.call(web, Roomtone, :health, [])
  end

  test "a node of another version isn't used, until it comes with one that fits" do
    media = TestCluster.start(:media)
    other = TestCluster.boot(TestCluster.fresh_name(:other))
    true = TestCluster.call(other, :net_kernel, :connect_node, [media.node])

    greeting = %{
      node: other.node,
      role: :web,
      region: nil,
      release: "9",
      speaks: {7, 9},
      digest: Protocol.digest(Application.get_env(:roomtone, :token_secret)),
      ids: 7,
      up_ms: 1,
      answer: true
    }

    greet(other, media, greeting)
    eventually(fn -> refused(media) == %{other.node => {:other_version, {7, 9}}} end)
    greet(other, media, %{greeting | speaks: {1, 9}})
    eventually(fn -> members(media) == [other.node] end)
    assert refused(media) == %{}
  end

  test "bytes of strangers change nothing" do
    media = TestCluster.start(:media)
    other = TestCluster.boot(TestCluster.fresh_name(:other))
    true = TestCluster.call(other, :net_kernel, :connect_node, [media.node])
    before = for name <- [Members, Roomtone.Cluster.Sessions], do: TestCluster.call(media, Process, :whereis, [name])

    for name <- [Members, Roomtone.Cluster.Sessions],
        message <- [
          :hello,
          {:roomtone_cluster, 1, {:hello, %{node: 7}}},
          {:roomtone_cluster, 1, {:attach, :no_pid}},
          {:roomtone_cluster, 99, 1}
        ] do
      TestCluster.call(other, :erlang, :send, [{name, media.node}, message])
    end

    greet(other, media, %{node: other.node})
    # It hasn't been greeted, so it gets no session.
    TestCluster.call(other, :erlang, :send, [
      {Roomtone.Cluster.Sessions, media.node},
      Protocol.pack({:attach, other_pid(other)})
    ])

    assert refused(media) == %{}
    assert TestCluster.call(media, Table, :sessions, []) == []

    assert before ==
             for(name <- [Members, Roomtone.Cluster.Sessions], do: TestCluster.call(media, Process, :whereis, [name]))
  end

  test "a node that leaves is no longer a member, and is again when it comes back" do
    [media, web] = media_and_web([])
    TestCluster.await_media(web, 1)
    TestCluster.kill(media)
    eventually(fn -> members(web) == [] end)
    assert {:error, :no_media} = TestCluster.call(web, Roomtone, :health, [])
    [name, _host] = media.node |> Atom.to_string() |> String.split("@")
    TestCluster.start(:media, name: String.to_atom(name))
    TestCluster.await_media(web, 1)
    assert members(web) == [media.node]
    # The same numbers as before, and another life.
    assert [1000] = TestCluster.call(web, Roomtone.Media, :shards, [])
  end

  test "a node of a cluster needs a name" do
    for settings <- [
          [role: :media],
          [role: :web],
          [cluster_nodes: "media1@10.0.0.7"],
          [cluster_dns: "roomtone.internal"]
        ] do
      assert {:error, {:bad_return, {_start, {:EXIT, {%Roomtone.Config.Error{message: message}, _stack}}}}} =
               start_here(settings)

      assert message =~ "which needs a name and a cookie"
    end
  after
    {:ok, _apps} = Application.ensure_all_started(:roomtone)
  end

  test "settings that make no sense are named" do
    {:error, problems} =
      Roomtone.Config.load(
        Application.get_all_env(:roomtone) ++
          [
            role: "proxy",
            cluster_nodes: "media1, media2@host",
            cluster_dns: "no host!",
            region: "a b",
            health_port: "x"
          ]
      )

    assert [
             "role (ROLE) takes all, web or media",
             "cluster_nodes (CLUSTER_NODES) has \"media1\"" <> _,
             "cluster_dns (CLUSTER_DNS) takes the name of a host" <> _,
             "region (REGION) takes" <> _,
             "health_port (HEALTH_PORT) takes a whole number from 1 to 65535, or off"
           ] = problems
  end

  defp greet(from, to, greeting),
    do: TestCluster.call(from, :erlang, :send, [{Members, to.node}, Protocol.pack({:hello, greeting})])

  defp other_pid(other), do: TestCluster.call(other, :erlang, :whereis, [:init])

  defp start_here(settings) do
    _stopped_already = Application.stop(:roomtone)
    before = Application.get_all_env(:roomtone)
    Application.put_all_env(roomtone: settings)
    result = Application.start(:roomtone)
    for {key, _value} <- settings, not Keyword.has_key?(before, key), do: Application.delete_env(:roomtone, key)
    result
  end
end
