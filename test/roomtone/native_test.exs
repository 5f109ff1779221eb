defmodule Roomtone.NativeTest do
  @moduledoc """
  The real engine with the domain, without sound: every command and event that needs none.
  """
  use Roomtone.DomainCase, async: false

  alias Roomtone.{BrowserOffer, Media, Noise, Token}
  alias Roomtone.Media.{Table, Worker}

  @moduletag :media
  @moduletag capture_log: true
  @seeds 1..String.to_integer(System.get_env("PROPERTY_SEEDS", "12"))
  # An engine of one shard, as the configuration makes it.
  @own %{
    shards: [%{bind: "127.0.0.1:0", candidates: [], tcp: true}],
    bitrate: 32_000,
    shared_complexity: 5,
    private_bitrate: 64_000,
    private_complexity: 5,
    uplink_bitrate: 40_000,
    turn: nil
  }

  setup_all do
    # The system chooses the ports: tests may run beside a server.
    restart_with(native: Roomtone.Native, udp_ports: "0", shards: 2, join_timeout_ms: 5_000)
  end

  setup do
    {:ok, room: open_room()}
  end

  defp media(room, identity) do
    {:ok, place, peers, _} = Roomtone.RoomServer.call(room, :peers)
    for({peer, ^identity} <- peers, do: Map.put(place, :peer, peer)) |> List.first()
  end

  defp submit(shard, command) do
    {native, engine} = Media.engine()
    native.submit(engine, shard, command)
  end

  defp stats(shard), do: Media.shard_stats(shard)

  test "an offer is answered as RFC 8829 requires, with candidates", %{room: room} do
    assert {:ok, %{answer: answer}} = Roomtone.join(room, "ada", BrowserOffer.new())
    assert answer =~ "a=ice-lite\r\n"
    assert answer =~ "a=setup:passive\r\n"
    assert answer =~ ~r/^a=fingerprint:sha-256 /m
    assert answer =~ ~r/^m=audio \d+ UDP\/TLS\/RTP\/SAVPF 111/m
    assert [_, port] = Regex.run(~r/^a=candidate:.* 127\.0\.0\.1 (\d+) typ host/m, answer)
    assert String.to_integer(port) > 1023
    # Nobody has connected yet, so nobody is listed.
    assert {:ok, %{participants: [], participant_count: 0}} = Roomtone.room(room)
  end

  test "an invalid offer is refused with a code for the reason", %{room: room} do
    refused = fn offer ->
      assert {:error, {:offer_refused, code, text}} = Roomtone.join(room, "ada", offer)
      assert is_binary(text) and text != ""
      code
    end

    assert refused.("hello") == :malformed
    assert refused.("") == :malformed
    assert refused.(BrowserOffer.new(codec: "PCMU/8000")) == :no_opus
    assert refused.(String.replace(BrowserOffer.new(), ~r/a=fingerprint.*\r\n/, "")) == :no_fingerprint
    assert refused.(String.replace(BrowserOffer.new(), ~r/a=ice-ufrag.*\r\n/, "")) == :no_ice_credentials
    assert refused.(String.replace(BrowserOffer.new(), "m=audio", "m=video")) == :no_audio
    assert refused.(BrowserOffer.new(extra: String.duplicate("a=x\n", 20_000))) == :too_large
    assert {:ok, %{participants: []}} = Roomtone.room(room)
  end

  test "a further offer of the same connection is an ICE restart on the same peer", %{room: room} do
    fingerprint = BrowserOffer.fingerprint()
    {:ok, %{session: session, answer: first}} = Roomtone.join(room, "ada", BrowserOffer.new(fingerprint: fingerprint))
    before = media(room, "ada")

    assert {:ok, %{answer: second}} =
             Roomtone.join(room, "ada", BrowserOffer.new(fingerprint: fingerprint), session: session)

    assert media(room, "ada") == before
    ufrag = fn answer -> Regex.run(~r/a=ice-ufrag:(.*)\r/, answer) end
    assert ufrag.(first) != ufrag.(second)
    # Another certificate is another connection.
    assert {:ok, _} = Roomtone.join(room, "ada", BrowserOffer.new(), session: session)
    assert media(room, "ada").peer != before.peer
    eventually(fn -> Table.take_peer(before.peer) == :error end)
  end

  test "rooms and people that end here end in the engine", %{room: room} do
    {:ok, stats} = Roomtone.stats(room)
    shard = stats.shard
    # Rooms and peers left by other tests end a little later.
    eventually(fn -> match?(%{peers: 0, rooms: 1}, stats(shard)) end)
    {:ok, _} = Roomtone.join(room, "ada", BrowserOffer.new())
    {:ok, _} = Roomtone.join(room, "bob", BrowserOffer.new())
    eventually(fn -> stats(shard).peers == 2 end)
    :ok = Roomtone.leave(room, "ada")
    eventually(fn -> stats(shard).peers == 1 end)
    :ok = Roomtone.close_room(room)
    eventually(fn -> match?(%{peers: 0, rooms: 0}, stats(shard)) end)
  end

  test "a person has statistics", %{room: room} do
    {:ok, _} = Roomtone.join(room, "ada", BrowserOffer.new())
    assert {:ok, %{participants: %{"ada" => counters}, shard_stats: shard}} = Roomtone.stats(room)
    assert %{connected: false, packets_in: 0, packets_out: 0, lost_in: 0, oversized: 0, round_trip_ms: nil} = counters
    assert Enum.sort(Map.keys(counters)) == documented_figures()
    assert %{first_in_ms: nil, first_out_ms: nil} = counters
    assert %{bytes_in: 0, bytes_out: 0, frames_played: 0, commands_waiting: 0, buffer_delay: []} = shard
    assert shard.packets_oversized == 0
    assert is_float(counters.jitter_ms)
    assert shard.epoch >= 1
    assert shard.tick_lateness |> Enum.map(fn {_edge, count} -> count end) |> Enum.sum() == shard.ticks
  end

  test "a worker that is killed has a successor on the same shard", %{room: room} do
    {:ok, _} = Roomtone.join(room, "ada", BrowserOffer.new())
    %{shard: shard, peer: peer} = media(room, "ada")
    epoch = stats(shard).epoch
    worker = Worker.whereis(shard)
    kill(worker)
    eventually(fn -> Worker.whereis(shard) not in [nil, worker] end)
    assert {:ok, _} = Roomtone.join(room, "bob", BrowserOffer.new())
    assert {:ok, %{participants: %{"ada" => %{connected: false}}}} = Roomtone.stats(room)
    assert stats(shard).epoch == epoch
    assert media(room, "ada").peer == peer
    refute_received {:roomtone, ^room, {:media_restart, _}}
  end

  test "commands run during a slice: an answer doesn't wait for its end", %{room: room} do
    took =
      for n <- 1..5 do
        {microseconds, {:ok, _}} = :timer.tc(fn -> Roomtone.join(room, "ada #{n}", BrowserOffer.new()) end)
        microseconds
      end

    # A slice is a second; an answer takes milliseconds, unless the machine is busy. The first may
    # come anywhere in a slice.
    assert Enum.min(tl(took)) < 700_000
  end

  # Only debug builds can inject faults; tests use those.
  test "a shard that panics starts again, reopens its rooms and asks for offers", %{room: room} do
    {:ok, %{session: session}} = Roomtone.join(room, "ada", BrowserOffer.new())
    %{shard: shard} = media(room, "ada")
    epoch = stats(shard).epoch
    assert :ok = submit(shard, {:fault, %{scope: :shard, room: 0}})
    assert_receive {:roomtone, ^room, {:media_restart, :all}}, 5_000
    eventually(fn -> stats(shard).epoch == epoch + 1 end)
    assert {:ok, _} = Roomtone.join(room, "ada", BrowserOffer.new(), session: session)
    assert Roomtone.health() == :ok
  end

  test "a new events process finds out that a peer is gone", %{room: room} do
    {:ok, _} = Roomtone.join(room, "ada", BrowserOffer.new())
    %{shard: shard, room: id, peer: peer} = media(room, "ada")
    :ok = :sys.suspend(Media.Supervisor)
    kill(Process.whereis(Media.Events))
    :ok = submit(shard, {:leave, %{room: id, peer: peer}})
    eventually(fn -> stats(shard).peers == 0 end)
    :ok = :sys.resume(Media.Supervisor)
    assert_receive {:roomtone, ^room, {:media_restart, "ada"}}, 5_000
    assert {:ok, _} = Roomtone.join(room, "ada", BrowserOffer.new())
  end

  test "a new holder finds the engine", %{room: room} do
    {:ok, _} = Roomtone.join(room, "ada", BrowserOffer.new())
    kill(Process.whereis(Media))
    eventually(fn -> Process.whereis(Media) end)
    assert {:ok, _} = Roomtone.join(room, "bob", BrowserOffer.new())
    assert {:ok, %{participants: %{"ada" => %{}}}} = Roomtone.stats(room)
    refute_received {:roomtone, ^room, {:media_restart, _}}
  end

  test "an invalid command is refused and does no harm", %{room: room} do
    for bad <- [
          :nonsense,
          {:join, %{}},
          {:open_room, %{room: -1, stereo: false, slots: nil}},
          {:open_room, %{room: 1.5, stereo: false, slots: nil}},
          {:open_room, %{room: 1}},
          {:open_room, %{room: 1, stereo: :maybe, slots: nil}},
          {:open_room, %{room: 1, stereo: false, slots: -1}},
          {:open_room, %{room: 1, stereo: false, slots: nil, auto_gain: :loud}},
          {:set_voice, %{room: 1, peer: 1, voice: :loud}},
          {:set_voice, %{room: 1, peer: 1, voice: :even, suppress: :on}},
          {:leave, 5},
          "text",
          %{}
        ] do
      assert {bad, {:error, :bad_command}} == {bad, submit(0, bad)}
    end

    policy = %{room: 1, default_gain: 1.0, max_talkers: nil, select: :nearest}
    assert :ok = submit(0, {:set_policy, policy})
    assert {:error, :bad_command} = submit(0, {:set_policy, %{policy | select: :tallest}})

    for distance <- [{:round, 1.0, 2.0, 1.0}, {:linear, 1.0, 2.0}],
        do: assert({:error, :bad_command} = submit(0, {:set_places, %{room: 1, distance: distance, places: ""}}))

    for places <- [<<0::456, 1>>, <<1::64, 3, 0::384>>, :none],
        distance = {:linear, 1.0, 2.0, 1.0},
        do: assert({:error, :bad_command} = submit(0, {:set_places, %{room: 1, distance: distance, places: places}}))

    assert {:error, :no_shard} = submit(99, {:open_room, %{room: 1, stereo: false, slots: nil}})
    assert {:ok, _} = Roomtone.join(room, "ada", BrowserOffer.new())
  end

  # An engine that no other test uses, and all that it sends.
  defp own_engine do
    {:ok, engine} = Roomtone.Native.engine_start(@own, self())
    running = Task.async(fn -> run(engine) end)

    on_exit(fn -> Roomtone.Native.engine_stop(engine) end)
    assert_receive {:roomtone_media, 0, epoch, {:shard_started, _}}, 5_000
    {engine, epoch, running}
  end

  defp run(engine) do
    with :ok <- Roomtone.Native.run_shard(engine, 0, 100), do: run(engine)
  end

  defp commands(tap) do
    offer = BrowserOffer.new()

    [
      {:open_room, %{room: 1, stereo: false, slots: nil}},
      {:open_room, %{room: 2, stereo: true, slots: 4}},
      {:open_room, %{room: 3, stereo: false, slots: nil, auto_gain: true}},
      {:move_room, %{room: 1, to: 0}},
      {:join, %{room: 1, peer: 1, offer: offer, speak: true, listen: true}},
      {:reoffer, %{room: 1, peer: 1, replacement: 2, offer: offer, speak: true, listen: false}},
      {:set_speak, %{room: 1, peer: 1, speak: false}},
      {:set_listen, %{room: 1, peer: 1, listen: true}},
      {:set_voice, %{room: 1, peer: 1, voice: :plain}},
      {:set_voice, %{room: 1, peer: 1, voice: :even, suppress: true}},
      {:set_policy, %{room: 1, default_gain: 1.0, max_talkers: 3, select: :loudest}},
      {:set_gains, %{room: 1, cells: [{1, 2, 0.5}, {2, 1, {0.5, -1.0}}, {3, 1, nil}]}},
      {:set_places, %{room: 1, distance: {:inverse, 1.0, 9.0, 1.0}, places: <<1::64, 2, 0::384, 2::64, 0, 0::384>>}},
      {:trace, %{room: 1, talker: 1, listener: nil, reference: 7}},
      {:join_source, %{room: 1, peer: 3, speak: true}},
      {:feed, %{room: 1, peer: 3, items: [{<<0xFC, 0xFF, 0xFE>>, 40}, {:mark, 1}, {<<1, 2, 3>>, nil}]}},
      {:clear_source, %{room: 1, peer: 3}},
      {:join_tap, %{room: 1, peer: 4, tap: tap, sound: {:mix, 1.0, [{1, 0.5}], false}}},
      {:set_tap, %{room: 1, peer: 4, sound: {:talkers, [1, 3]}}},
      {:peer_stats, %{room: 1, peer: 1, reference: 9}},
      {:leave, %{room: 1, peer: 1}},
      {:close_room, %{room: 2}}
    ]
  end

  test "any term is a command or refused, and does the shard no harm" do
    {engine, epoch, running} = own_engine()
    {:ok, tap} = Roomtone.Native.tap_new(%{batch_ms: 20, format: :f32, rate: 48_000, channels: 1, source: :mix})
    commands = commands(tap)
    # All of them are commands as they are.
    for command <- commands, do: assert({command, :ok} == {command, Roomtone.Native.submit(engine, 0, command)})

    for seed <- @seeds do
      :rand.seed(:exsss, {seed, 11, 6})

      for _ <- 1..100 do
        command = commands |> Enum.random() |> Noise.change(&Noise.term/0)
        result = submit_in_time(engine, command)
        assert result in [:ok, {:error, :bad_command}], "seed #{seed}: #{inspect(command)} gave #{inspect(result)}"
      end
    end

    assert :ok = submit_in_time(engine, {:peer_stats, %{room: 1, peer: 1, reference: 1_000_001}})
    assert_receive {:roomtone_media, 0, ^epoch, {:peer_stats, %{reference: 1_000_001}}}, 10_000
    refute_received {:roomtone_media, _, _, {:room_failed, _}}
    assert %{epoch: ^epoch} = Roomtone.Native.shard_stats(engine, 0)
    Roomtone.Native.engine_stop(engine)
    assert Task.await(running) == :stopped
  end

  # The queue is bounded, and a shard takes a moment.
  defp submit_in_time(engine, command) do
    with {:error, :busy} <- Roomtone.Native.submit(engine, 0, command) do
      Process.sleep(5)
      submit_in_time(engine, command)
    end
  end

  test "every function of the NIF takes any terms, or refuses them as bad arguments" do
    pcm = for n <- 1..960, into: <<>>, do: <<n / 2_000::float-little-32>>
    {:ok, encoder} = Roomtone.Native.audio_encoder(32_000, 5, 1, :voip, true, 10)
    {:ok, decoder} = Roomtone.Native.audio_decoder(1)
    {:ok, detector} = Roomtone.Native.audio_voice_detector(16_000)
    {:ok, tap} = Roomtone.Native.tap_new(%{batch_ms: 20, format: :f32, rate: 48_000, channels: 1, source: :sum})

    {:ok, token} =
      Roomtone.Native.token_sign(%{"sub" => "ada", "exp" => 1_800_000_000}, "a secret of this test, long enough")

    calls = [
      engine_start: [@own, self()],
      tap_new: [%{batch_ms: 20, format: :s16, rate: 16_000, channels: 2, source: :talkers}],
      tap_read: [tap],
      tap_gains: [tap, 1.0, [{1, 0.5}]],
      token_sign: [%{"sub" => "ada", "exp" => 1_800_000_000}, "a secret of this test, long enough"],
      token_verify: [token, "a secret of this test, long enough", 1_700_000_000],
      password_verify: ["correct horse", "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAA"],
      audio_encoder: [32_000, 5, 1, :voip, true, 10],
      audio_encode: [encoder, pcm],
      audio_decoder: [2],
      audio_decode: [decoder, <<0xFC, 0xFF, 0xFE>>],
      audio_decode_fec: [decoder, <<0xFC, 0xFF, 0xFE>>, 960],
      audio_conceal: [decoder, 960],
      audio_mix: [[{pcm, 0.5}, {pcm, 1.0}], 1, true],
      audio_resample: [pcm, 48_000, 16_000, 1],
      audio_level: [pcm],
      audio_voice_detector: [8_000],
      audio_voice: [detector, pcm],
      audio_tone: [440.0, 0.5, 960, 48_000],
      audio_to_s16: [pcm],
      audio_from_s16: [<<1, 2, 3, 4>>],
      audio_tick_lateness: [10]
    ]

    for {name, arguments} <- calls, seed <- @seeds do
      :rand.seed(:exsss, {seed, 11, 7})

      for _ <- 1..20 do
        changed =
          Enum.map(arguments, &if(:rand.uniform(2) == 1, do: Noise.change(&1, fn -> Noise.term() end), else: &1))

        try do
          # An engine that was started after all.
          with {:ok, engine} when name == :engine_start <- apply(Roomtone.Native, name, changed),
               do: Roomtone.Native.engine_stop(engine)
        rescue
          _refused in [ArgumentError, ErlangError] -> :ok
        end
      end
    end

    assert {:ok, <<_::binary-size(3840)>>} = Roomtone.Native.audio_conceal(decoder, 960)
  end

  test "a port in use is reported with a readable error" do
    {:ok, socket} = :gen_udp.open(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(socket)

    options = %{@own | shards: [%{bind: "127.0.0.1:#{port}", candidates: [], tcp: true}]}

    assert {:error, {:bind_failed, text}} = Roomtone.Native.engine_start(options, self())
    assert text =~ "127.0.0.1:#{port}"
    :ok = :gen_udp.close(socket)

    # A port that is taken for TCP alone is an error of its own: the server then starts without TCP.
    {:ok, listener} = :gen_tcp.listen(port, ip: {127, 0, 0, 1})
    assert {:error, {:tcp_bind_failed, text}} = Roomtone.Native.engine_start(options, self())
    assert text =~ "TCP 127.0.0.1:#{port}"
    [shard] = options.shards
    assert {:ok, engine} = Roomtone.Native.engine_start(%{options | shards: [%{shard | tcp: false}]}, self())
    Roomtone.Native.engine_stop(engine)
    :ok = :gen_tcp.close(listener)
  end

  describe "tokens" do
    @now 1_800_000_000

    defp jwt(header, claims, secret) do
      signed = Base.url_encode64(header, padding: false) <> "." <> Base.url_encode64(claims, padding: false)
      signed <> "." <> Base.url_encode64(:crypto.mac(:hmac, :sha256, secret, signed), padding: false)
    end

    defp secret, do: Roomtone.Config.get().token_secret

    @claims ~s({"room":"standup","sub":"ada","grants":["speak"],"exp":#{@now + 60}})

    test "of our own are JWTs that anyone can read" do
      {:ok, jwt} = Token.sign(%{room: "standup", identity: "Zoë", grants: [:speak]}, now: @now, ttl: 60)
      [header, claims, signature] = String.split(jwt, ".")
      assert Base.url_decode64!(header, padding: false) =~ ~s("alg":"HS256")
      assert Base.url_decode64!(claims, padding: false) =~ ~s("sub":"Zoë")

      assert Base.url_decode64!(signature, padding: false) ==
               :crypto.mac(:hmac, :sha256, secret(), header <> "." <> claims)

      assert {:ok, %{identity: "Zoë", grants: [:speak], expires_at: expires}} = Token.verify(jwt, "standup", now: @now)
      assert expires == @now + 60
    end

    test "made elsewhere with our secret are valid" do
      assert {:ok, %{identity: "ada", name: "ada", issued_at: 0}} =
               Token.verify(jwt(~s({"alg":"HS256","typ":"JWT"}), @claims, secret()), "standup", now: @now)
    end

    test "without an algorithm, or with another, are invalid" do
      for algorithm <- ~w(none None NONE HS384 HS512 RS256 ES256 EdDSA hs256),
          header = ~s({"alg":"#{algorithm}","typ":"JWT"}) do
        token = jwt(header, @claims, secret())
        [header, claims, _signature] = String.split(token, ".")

        for forged <- [token, "#{header}.#{claims}.", "#{header}.#{claims}"] do
          assert {:error, reason} = Token.verify(forged, "standup", now: @now)
          assert {forged, reason in [:malformed, :bad_signature]} == {forged, true}
        end
      end
    end

    test "that expired, or have another secret, are invalid" do
      token = jwt(~s({"alg":"HS256"}), @claims, secret())
      assert {:error, :expired} = Token.verify(token, "standup", now: @now + 60)

      assert {:error, :bad_signature} =
               Token.verify(jwt(~s({"alg":"HS256"}), @claims, "another secret"), "standup", now: @now)
    end

    test "with claims of other shapes are refused" do
      header = ~s({"alg":"HS256"})

      for claims <- [
            "null",
            "[]",
            ~s("text"),
            "{}",
            "{",
            ~s({"room":"standup","sub":"ada"}),
            ~s({"room":"standup","sub":"ada","exp":"soon"}),
            ~s({"room":"standup","sub":{"a":1},"exp":#{@now + 60}}),
            ~s({"room":null,"sub":"ada","exp":#{@now + 60}}),
            ~s({"room":"standup","sub":"ada","exp":1e99}),
            ~s({"room":"standup","sub":"a\\u0000b","exp":#{@now + 60}})
          ] do
        assert {claims, {:error, :malformed}} ==
                 {claims, Token.verify(jwt(header, claims, secret()), "standup", now: @now)}
      end
    end
  end

  # The keys of `t:Roomtone.participant_stats/0`, which is defined there.
  defp documented_figures do
    {:ok, types} = Code.Typespec.fetch_types(Roomtone.Types)

    {_kind, {:participant_stats, {:type, _, :map, fields}, []}} =
      Enum.find(types, &match?({_, {:participant_stats, _, _}}, &1))

    Enum.sort(for {:type, _, :map_field_exact, [{:atom, _, key}, _]} <- fields, do: key)
  end
end
