defmodule Roomtone.Cluster.RemoteEngineTest do
  @moduledoc "A web node whose rooms have their sound on a media node."
  use Roomtone.DomainCase, async: false

  import RoomtoneWeb.RawClient, only: [free_port: 0]

  alias Roomtone.{Crowd, TestCluster}

  @moduletag :media
  @moduletag capture_log: true
  @moduletag timeout: 600_000

  setup_all do
    name = TestCluster.fresh_name(:media)
    ports = [turn_port: free_port(), health_port: free_port()]
    web = [cluster_nodes: [TestCluster.node_name(name)]]
    [media, web] = TestCluster.start_all(media: [name: name] ++ ports, web: web)
    TestCluster.await_media(web, 1)
    {:ok, media: media, web: web, turn_port: ports[:turn_port], health_port: ports[:health_port]}
  end

  describe "with one media node" do
    test "people hear each other through it, while the room is on the web node", %{web: web, media: media} do
      room = unique_name()
      {:ok, _summary} = TestCluster.call(web, Roomtone, :open_room, [room])

      report =
        Crowd.run(
          web.port,
          room,
          2,
          3,
          [],
          fn _people ->
            # The room's process is here, its engine there.
            assert TestCluster.call(web, Roomtone.RoomServer, :whereis, [room])
            assert [_room] = TestCluster.call(media, Roomtone.Cluster.Table, :rooms, [ids(web)])
            {:ok, stats} = TestCluster.call(web, Roomtone, :stats, [room])
            assert map_size(stats.participants) == 5
            assert Enum.all?(stats.participants, fn {_identity, counters} -> counters.connected end)
          end,
          TestCluster.caller(web)
        )

      assert report["joined"] == 5
      assert report["thrown_out"] == []
      assert report["unheard"] == []
      # Everybody has left.
      eventually(fn -> match?({:ok, %{participants: []}}, TestCluster.call(web, Roomtone, :room, [room])) end)
      :ok = TestCluster.call(web, Roomtone, :close_room, [room])
    end

    test "the web node has no native library, and still signs and verifies tokens", %{web: web, media: media} do
      assert {:error, "a node with ROLE=web" <> _} = TestCluster.call(web, Roomtone.Native, :loaded, [])
      assert :ok = TestCluster.call(media, Roomtone.Native, :loaded, [])
      {:ok, token} = TestCluster.call(web, Roomtone.Token, :sign, [%{room: "den", identity: "ada"}])
      assert {:ok, %{identity: "ada"}} = TestCluster.call(web, Roomtone.Token, :verify, [token, "den"])
      assert {:error, :bad_signature} = TestCluster.call(web, Roomtone.Token, :verify, [token <> "x", "den"])

      {:ok, hash} =
        TestCluster.call(web, Roomtone.Cluster.RemoteEngine, :password_hash, ["pass", "saltsaltsalt", {8, 1, 1}])

      assert {:ok, true} = TestCluster.call(web, Roomtone.Cluster.RemoteEngine, :password_verify, ["pass", hash])
    end

    test "an agent's WebSocket on the web node hears people, added", %{web: web} do
      room = unique_name()
      {:ok, _summary} = TestCluster.call(web, Roomtone, :open_room, [room])
      assert TestCluster.call(web, TestCluster.SoundDesk, :hear_as_agent, [room]) in 4_000..7_000
      :ok = TestCluster.call(web, Roomtone, :close_room, [room])
    end

    test "a room that closes is closed in the engine", %{web: web, media: media} do
      {:ok, _summary} = TestCluster.call(web, Roomtone, :open_room, ["attic"])
      eventually(fn -> TestCluster.call(media, Roomtone.Cluster.Table, :rooms, [ids(web)]) != [] end)
      :ok = TestCluster.call(web, Roomtone, :close_room, ["attic"])
      eventually(fn -> TestCluster.call(media, Roomtone.Cluster.Table, :rooms, [ids(web)]) == [] end)
      eventually(fn -> TestCluster.call(media, Roomtone.Media, :shard_stats, [0]).rooms == 0 end)
    end

    test "browsers are told the TURN servers of the media node, with credentials that it accepts", context do
      %{web: web, media: media, turn_port: port} = context
      config = TestCluster.call(web, Roomtone.Config, :get, [])
      assert [server] = TestCluster.call(web, Roomtone.Turn, :ice_servers, ["ada", config, 1_700_000_000])
      assert "turn:127.0.0.1:#{port}?transport=udp" in server.urls
      config = TestCluster.call(media, Roomtone.Config, :get, [])
      assert [^server] = TestCluster.call(media, Roomtone.Turn, :ice_servers, ["ada", config, 1_700_000_000])
    end

    test "the media node answers for its health on a port of its own", %{media: media, health_port: port} do
      at = %{media | port: port}
      assert {200, health} = get(at, "/healthz")
      assert %{"status" => "ok", "role" => "media", "web_nodes" => 1} = Phoenix.json_library().decode!(health)

      for path <- ["/", "/healthz/../../etc/passwd", "/rooms"],
          do: assert({404, ~s({"error":"not_found"})} = get(at, path))
    end
  end

  test "without a media node there is an error, and none once there is one" do
    web = TestCluster.start(:web)
    assert {:error, :no_media} = TestCluster.call(web, Roomtone, :health, [])
    assert {:error, :no_media} = TestCluster.call(web, Roomtone, :open_room, ["attic"])
    assert {:error, :no_media} = TestCluster.call(web, Roomtone.Token, :sign, [%{room: "den", identity: "ada"}])
    assert {503, health} = get(web, "/healthz")
    assert health =~ ~s("status":"no_media")
    # The lobby is there, and a way into a room leads back to it, with the reason.
    assert {200, _lobby} = get(web, "/")
    assert {302, _redirected} = get(web, "/rooms/attic?name=Ada")
    port = free_port()
    media = TestCluster.start(:media, cluster_nodes: [web.node], health_port: port)
    TestCluster.await_media(web, 1)
    eventually(fn -> TestCluster.call(web, Roomtone, :health, []) == :ok end)
    assert {:ok, _summary} = TestCluster.call(web, Roomtone, :open_room, ["attic"])
    assert [%{node: web_node, role: :web}] = TestCluster.call(media, Roomtone.Cluster.Table, :members, [])
    assert web_node == web.node
    eventually(fn -> match?({200, _health}, get(web, "/healthz")) end)
    # The media node is about to stop.
    :ok = TestCluster.call(media, Roomtone.Drain, :run, [0])
    assert {503, health} = get(%{media | port: port}, "/healthz")
    assert health =~ "draining"
  end

  defp get(node, path) do
    url = String.to_charlist("http://127.0.0.1:#{node.port}#{path}")
    {:ok, {{_version, status, _reason}, _headers, body}} = :httpc.request(:get, {url, []}, [autoredirect: false], [])
    {status, List.to_string(body)}
  end

  defp ids(web), do: TestCluster.call(web, Roomtone.Media, :ids, [])
end
