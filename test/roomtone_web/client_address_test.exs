defmodule RoomtoneWeb.ClientAddressTest do
  @moduledoc "The client behind proxies, and what a client may write into the headers of one."
  use ExUnit.Case, async: true

  alias RoomtoneWeb.ClientAddress

  doctest ClientAddress

  @proxy {127, 0, 0, 1}
  @client {198, 51, 100, 7}

  defp settings(trusted \\ "127.0.0.0/8, 10.0.0.0/8, 2001:db8:aa::/48", header \\ :auto) do
    {:ok, networks} = ClientAddress.networks(trusted)
    %{trusted: networks, header: header}
  end

  defp resolve(peer, headers, settings \\ settings()), do: ClientAddress.resolve(peer, headers, settings)
  defp xff(value), do: [{"x-forwarded-for", value}]
  defp forwarded(value), do: [{"forwarded", value}]

  test "is read from the right end, over trusted proxies" do
    assert resolve(@proxy, xff("198.51.100.7")) == @client
    assert resolve(@proxy, xff("203.0.113.1, 198.51.100.7")) == @client
    assert resolve(@proxy, xff("203.0.113.1, 198.51.100.7, 10.1.2.3")) == @client
    assert resolve(@proxy, xff("203.0.113.1") ++ xff("198.51.100.7, 10.0.0.1")) == @client
    assert resolve(@proxy, xff("198.51.100.7:4711")) == @client
    assert resolve(@proxy, xff("[2001:db8::7]:4711")) == {0x2001, 0xDB8, 0, 0, 0, 0, 0, 7}
    assert resolve(@proxy, xff("::ffff:198.51.100.7")) == @client
    assert resolve({0, 0, 0, 0, 0, 0xFFFF, 0x7F00, 1}, xff("198.51.100.7")) == @client
    assert resolve({0x2001, 0xDB8, 0xAA, 1, 0, 0, 0, 1}, xff("198.51.100.7")) == @client
  end

  test "is the peer where that isn't a trusted proxy, whatever it says" do
    for headers <- [[], xff("198.51.100.7"), forwarded("for=198.51.100.7")] do
      assert resolve({203, 0, 113, 9}, headers) == {203, 0, 113, 9}
      assert resolve(@proxy, headers, settings("off")) == @proxy
    end
  end

  test "a proxy that names nobody counts as the client" do
    for garbage <- [
          "",
          "unknown",
          "_hidden",
          "1.2.3",
          "1.2.3.4.5",
          "999.1.1.1",
          "198.51.100.7, nobody",
          <<255, 254>>,
          ",,,"
        ] do
      assert resolve(@proxy, xff(garbage)) == @proxy
      assert resolve(@proxy, forwarded("for=" <> garbage)) == @proxy
    end
  end

  test "Forwarded is RFC 7239: parameters in any order, quotes, several elements" do
    assert resolve(@proxy, forwarded("for=198.51.100.7;proto=https;by=10.0.0.1")) == @client
    assert resolve(@proxy, forwarded("By=10.0.0.1; FOR=\"198.51.100.7:80\"")) == @client
    assert resolve(@proxy, forwarded("for=203.0.113.1, for=198.51.100.7")) == @client
    assert resolve(@proxy, forwarded("for=\"[2001:db8::7]\"")) == {0x2001, 0xDB8, 0, 0, 0, 0, 0, 7}
    # A comma within quotes parts nothing.
    assert resolve(@proxy, forwarded("for=198.51.100.7;host=\"a, for=203.0.113.1\"")) == @client
    # An element that names nobody is a hop all the same.
    assert resolve(@proxy, forwarded("for=203.0.113.1, proto=https")) == @proxy
  end

  test "of two headers, the one that the proxies set counts" do
    both = xff("198.51.100.7") ++ forwarded("for=203.0.113.1")
    assert resolve(@proxy, both) == @client
    assert resolve(@proxy, both, settings("127.0.0.1", :x_forwarded_for)) == @client
    assert resolve(@proxy, both, settings("127.0.0.1", :forwarded)) == {203, 0, 113, 1}
    assert resolve(@proxy, forwarded("for=203.0.113.1"), settings("127.0.0.1", :x_forwarded_for)) == @proxy
  end

  test "the scheme is the trusted proxy's to tell" do
    proto = &[{"x-forwarded-proto", &1}]
    assert ClientAddress.scheme(@proxy, proto.("https"), settings()) == :https
    assert ClientAddress.scheme(@proxy, proto.("https, http"), settings()) == :http
    assert ClientAddress.scheme(@proxy, forwarded("for=1.2.3.4;proto=HTTPS"), settings()) == :https
    assert ClientAddress.scheme(@proxy, proto.("gopher"), settings()) == nil
    assert ClientAddress.scheme({203, 0, 113, 9}, proto.("https"), settings()) == nil
  end

  test "settings that can't be are refused in words" do
    for wrong <- ["10.0.0.0/33", "10.0.0.0/x", "10.0.0", "::1/129", "proxy.example", 7, [nil], <<255>>] do
      assert {:error, "TRUSTED_PROXIES takes" <> _} = ClientAddress.networks(wrong)
    end
  end

  # A thousand headers of random pieces: whatever a client wrote to the left of what the proxy appended changes nothing, and nothing raises.
  test "nothing that a client writes gets it another address" do
    :rand.seed(:exsss, {1, 2, 3})

    pieces = [
      "198.51.100.9",
      "10.0.0.1",
      "127.0.0.1",
      "::1",
      "[::1]:80",
      "unknown",
      ",",
      ";",
      "\"",
      "\\",
      "for=",
      "=",
      " ",
      <<255>>,
      "a"
    ]

    for _ <- 1..1_000 do
      forged = Enum.map_join(1..:rand.uniform(12), fn _ -> Enum.random(pieces) end)
      assert resolve(@proxy, xff(forged <> ", 198.51.100.7")) == @client
      assert resolve(@proxy, xff(forged) ++ xff("198.51.100.7, 10.0.0.2")) == @client
      assert tuple_size(resolve(@proxy, forwarded(forged))) in [4, 8]
      # In Forwarded an open quote swallows what follows; the client then is the proxy, and not somebody of its choice.
      assert resolve(@proxy, forwarded(forged <> ",for=198.51.100.7")) in [@client, @proxy]
    end
  end
end
