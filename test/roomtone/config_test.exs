defmodule Roomtone.ConfigTest do
  use ExUnit.Case, async: true

  alias Roomtone.Config
  alias Roomtone.Config.{Network, Parse}

  doctest Parse, only: [role: 1, nodes: 1]

  @secret "a secret that is long enough for everything"
  @good [environment: :prod, native: Roomtone.FakeNative, token_secret: @secret]

  defp load(opts), do: Config.load(Keyword.merge(@good, opts))

  defp problem(opts) do
    assert {:error, [problem]} = load(opts)
    problem
  end

  test "has defaults for everything but the secret" do
    assert {:ok, config} = Config.load(@good)
    assert config.shards == min(System.schedulers_online(), :erlang.system_info(:dirty_io_schedulers) - 2)
    assert config.udp_ports == Enum.to_list(50_000..(50_000 + config.shards - 1))
    assert config.udp_bind == Network.any_address()
    assert {127, 0, 0, 1} in config.public_ip

    assert {config.max_participants, config.max_rooms, config.empty_room_ms, config.grace_ms} ==
             {100, 1000, 60_000, 15_000}
  end

  describe "udp_ports" do
    test "as one port gives consecutive ports, one for each shard" do
      assert {:ok, %{udp_ports: [6000, 6001, 6002]}} = load(udp_ports: "6000", shards: "3")
      assert {:ok, %{udp_ports: [6000]}} = load(udp_ports: 6000, shards: 1)
    end

    test "as a range, a list, or both" do
      assert {:ok, %{udp_ports: [6000, 6001]}} = load(udp_ports: "6000-6001", shards: 2)
      assert {:ok, %{udp_ports: [6000, 7000]}} = load(udp_ports: "6000, 7000", shards: 2)
      assert {:ok, %{udp_ports: [6000, 7000, 7001]}} = load(udp_ports: "6000,7000-7001", shards: 3)
      assert {:ok, %{udp_ports: [6000, 6001]}} = load(udp_ports: [6000, 6001], shards: 2)
    end

    test "and dirty I/O schedulers bound the number of shards" do
      online = System.schedulers_online()
      assert Parse.shards(nil, {:ok, {:from, 50_000}}, online + 2) == {:ok, online}
      assert Parse.shards(nil, {:ok, {:from, 50_000}}, online + 1) == {:ok, max(online - 1, 1)}
      assert Parse.shards(nil, {:ok, {:from, 50_000}}, 1) == {:ok, 1}
      assert Parse.shards(8, {:ok, {:from, 50_000}}, 10) == {:ok, 8}
      assert {:error, "(SHARDS) is 9; " <> _} = Parse.shards("9", {:ok, {:from, 50_000}}, 10)
      too_many = :erlang.system_info(:dirty_io_schedulers) - 1
      assert problem(shards: too_many) =~ "start Erlang with +SDio #{too_many + 2}"
    end

    test "bound the number of shards unless that is given too" do
      assert {:ok, %{shards: 1}} = load(udp_ports: [6000])

      assert problem(udp_ports: "6000,6001", shards: 3) =~
               "udp_ports (UDP_PORTS) has 2 ports; it takes one for each of the 3 shards"
    end

    test "may be chosen by the system" do
      assert {:ok, %{udp_ports: [0, 0]}} = load(udp_ports: "0", shards: 2)
    end

    test "that are invalid are refused by name" do
      for bad <- ["", "abc", "70000", "6001-6000", "6000-", "-1", "6000,,x", "1-60000", :any, [], ["6000"]] do
        assert problem(udp_ports: bad) =~ "udp_ports (UDP_PORTS)"
      end

      assert problem(udp_ports: "6000,6000", shards: 1) =~ "twice"
      assert problem(udp_ports: "65535", shards: 2) =~ "no room for 2 shards"
    end
  end

  describe "public_ip" do
    test "takes one or more addresses" do
      assert {:ok, %{public_ip: [{203, 0, 113, 5}]}} = load(public_ip: "203.0.113.5")

      assert {:ok, %{public_ip: [{203, 0, 113, 5}, {10, 0, 0, 1}]}} =
               load(public_ip: "203.0.113.5, 10.0.0.1,203.0.113.5")
    end

    test "with IPv6 needs an IPv6 socket" do
      assert problem(public_ip: "2001:db8::7", udp_bind: "0.0.0.0") =~ "UDP_BIND"
      assert {:ok, config} = load(public_ip: "2001:db8::7", udp_bind: "::", shards: 1)
      assert [%{bind: "[::]:50000", candidates: ["[2001:db8::7]:50000"]}] = Config.shard_addresses(config)
    end

    test "that is invalid is refused by name" do
      for bad <- ["", "example.org", "1.2.3", "1.2.3.4.5", 5, []],
          do: assert(problem(public_ip: bad) =~ "public_ip (PUBLIC_IP) takes IP addresses")
    end
  end

  describe "numbers" do
    test "may come as text" do
      assert {:ok, %{max_rooms: 7, max_participants: 3}} = load(max_rooms: "7", max_participants: " 3 ")
    end

    test "out of range are refused by name and range" do
      assert problem(max_rooms: 0) == "max_rooms takes a whole number from 1 to 1000000"
      assert problem(private_complexity: 11) =~ "private_complexity takes a whole number from 0 to 10"
      assert problem(grace_ms: "soon") =~ "grace_ms takes"
      assert problem(shards: "none") =~ "shards (SHARDS) takes a whole number from 1 to"
    end
  end

  describe "token_secret" do
    test "is required, with a minimum length" do
      assert problem(token_secret: nil) =~ "token_secret (TOKEN_SECRET) is missing"
      assert problem(token_secret: "short") =~ "has 5 bytes; it takes at least 32"
      assert problem(token_secret: :atom) =~ "takes a text"
    end

    test "from the repository works in development only" do
      for file <- ["config/dev.exs", "config/test.exs", "test/embedding/config/config.exs", "docs/embedding.md"] do
        [_, published] = Regex.run(~r/token_secret: (?:System.get_env\("TOKEN_SECRET", )?"([^"]+)"/, File.read!(file))
        assert problem(token_secret: published) =~ "which everyone knows"
        assert {:ok, _} = load(token_secret: published, environment: :dev)
      end
    end

    test "isn't shown" do
      {:ok, config} = load([])
      refute inspect(config) =~ @secret
    end
  end

  test "all errors are reported at once, when the application starts" do
    error =
      assert_raise Config.Error, fn ->
        Config.install!(environment: :dev, native: NoSuch, udp_ports: "x", token_secret: nil)
      end

    for key <- ["native takes a module", "udp_ports", "token_secret"], do: assert(error.message =~ key)
  end

  test "addresses of this machine are loopback and those that others can reach" do
    addresses = Network.local_addresses(true)
    assert hd(addresses) == {127, 0, 0, 1}
    assert addresses == Enum.uniq(addresses)
    assert length(addresses) <= 8
    refute Enum.any?(addresses, &match?({169, 254, _, _}, &1))
    refute Enum.any?(addresses, &match?({0xFE80, _, _, _, _, _, _, _}, &1))
    assert Enum.all?(Network.local_addresses(false), &(tuple_size(&1) == 4))
  end

  test "announce_recordings takes on, off or a file that is there" do
    assert {:ok, %{announce_recordings: false}} = load([])
    assert {:ok, %{announce_recordings: true}} = load(announce_recordings: "on")
    assert {:ok, %{announce_recordings: file}} = load(announce_recordings: "mix.exs")
    assert file == Path.expand("mix.exs")

    for wrong <- ["", "no such file", "\0", 5, nil],
        do: assert(problem(announce_recordings: wrong) =~ "(ANNOUNCE_RECORDINGS) takes on, off or the path")
  end

  test "record_rooms takes a switch, tracks or a function, and needs a folder of its own" do
    assert {:ok, %{record_rooms: false}} = load([])
    assert {:ok, %{record_rooms: true}} = load(record_rooms: "on", recordings_dir: "/recordings")
    assert {:ok, %{record_rooms: :tracks}} = load(record_rooms: "tracks", recordings_dir: "/recordings")
    assert {:ok, %{record_rooms: {String, :length}}} = load(record_rooms: {String, :length})
    assert problem(record_rooms: true) =~ "(RECORD_ROOMS) needs a folder: RECORDINGS_DIR"
    for wrong <- ["", "some", 5, {nil, :f}], do: assert(problem(record_rooms: wrong) =~ "takes on, off or tracks")
  end
end
