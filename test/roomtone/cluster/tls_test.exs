defmodule Roomtone.Cluster.TlsTest do
  @moduledoc "Nodes whose distribution runs over TLS, as docs/cluster.md sets it up."
  use Roomtone.DomainCase, async: false

  alias Roomtone.TestCluster
  alias Roomtone.Cluster.Table

  @moduletag :media
  @moduletag :tmp_dir
  @moduletag capture_log: true
  @moduletag timeout: 600_000

  # The arguments of nodes that share certificates of an authority, which is made here: one for each
  # side of a connection. docs/cluster.md has one for both.
  defp arguments(dir, name) do
    certificate = [digest: :sha256, key: {:namedCurve, :secp256r1}]
    # id-ce-subjectAltName
    host = {:Extension, {2, 5, 29, 17}, false, [dNSName: ~c"localhost"]}
    chain = %{root: certificate, intermediates: [], peer: [extensions: [host]] ++ certificate}
    sides = :public_key.pkix_test_data(%{server_chain: chain, client_chain: chain})
    server = files(Path.join(dir, "#{name}.server"), sides.server_config)
    client = files(Path.join(dir, "#{name}.client"), sides.client_config)
    options = Path.join(dir, "#{name}.conf")

    File.write!(options, """
    [{server, [#{server}, {verify, verify_peer}, {fail_if_no_peer_cert, true}]},
     {client, [#{client}, {verify, verify_peer}]}].
    """)

    [~c"-proto_dist", ~c"inet_tls", ~c"-ssl_dist_optfile", String.to_charlist(options)]
  end

  defp files(path, config) do
    {type, key} = config[:key]

    write = fn kind, entries ->
      File.write!(path <> kind, :public_key.pem_encode(for({type, der} <- entries, do: {type, der, :not_encrypted})))
    end

    write.(".pem", Certificate: config[:cert])
    write.(".key", [{type, key}])
    write.(".ca", for(authority <- config[:cacerts], do: {:Certificate, authority}))
    ~s({certfile, "#{path}.pem"}, {keyfile, "#{path}.key"}, {cacertfile, "#{path}.ca"})
  end

  defp members(node), do: for(%{node: name} <- TestCluster.call(node, Table, :members, []), do: name)
  defp connects?(one, other), do: TestCluster.call(one, :net_kernel, :connect_node, [other.node])

  test "nodes with certificates of one authority use each other, and others can't connect", %{tmp_dir: dir} do
    ours = arguments(dir, "ours")
    media = TestCluster.start(:media, args: ours, host: ~c"localhost")
    web = TestCluster.start(:web, args: ours, host: ~c"localhost", cluster_nodes: [media.node])
    TestCluster.await_media(web, 1)
    assert {:ok, _summary} = TestCluster.call(web, Roomtone, :open_room, ["attic"])
    # Each would be used if it could connect: they have the cookie and the secret.
    plain = TestCluster.start(:web, host: ~c"localhost")
    stranger = TestCluster.start(:web, args: arguments(dir, "theirs"), host: ~c"localhost")
    refute connects?(plain, media)
    refute connects?(stranger, media)
    assert members(media) == [web.node]
  end
end
