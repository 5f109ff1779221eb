defmodule Roomtone.PeopleTest do
  @moduledoc """
  Hands, roles, a moderator's silence and the chat: events to people, and commands to the engine.
  """
  use Roomtone.DomainCase, async: false

  alias Roomtone.RoomServer

  setup do
    :ok = FakeNative.watch()
    room = open_room()
    {:ok, room: room, ada: come(room, "ada")}
  end

  defp come(room, identity, opts \\ []) do
    offer = FakeNative.offer(connect: true)
    {:ok, %{session: session}} = Roomtone.join(room, identity, offer, opts)
    assert_receive {:roomtone, ^room, {:connected, ^identity, true}}
    offer |> FakeNative.await_join() |> Map.put(:session, session)
  end

  defp person(room, identity) do
    {:ok, %{participants: people}} = Roomtone.room(room)
    Enum.find(people, &(&1.identity == identity))
  end

  test "a hand goes up and down, with one event for each change", %{room: room} do
    assert person(room, "ada").hand == false
    :ok = Roomtone.raise_hand(room, "ada")
    :ok = Roomtone.raise_hand(room, "ada")
    assert_receive {:roomtone, ^room, {:hand, "ada", true}}
    assert person(room, "ada").hand
    :ok = Roomtone.lower_hand(room, "ada")
    assert_receive {:roomtone, ^room, {:hand, "ada", false}}
    refute_received {:roomtone, ^room, {:hand, _, _}}
    assert {:error, :not_found} = Roomtone.raise_hand(room, "bob")
    assert {:error, {:invalid_name, :not_text}} = Roomtone.raise_hand(room, 17)
  end

  describe "a moderator's silence" do
    test "isn't undone by unmuting", %{room: room, ada: %{peer: peer}} do
      :ok = Roomtone.silence(room, "ada")
      assert_receive {:roomtone, ^room, {:silenced, "ada", true}}
      assert_receive {:native, _, {:set_speak, %{peer: ^peer, speak: false}}}
      :ok = Roomtone.mute(room, "ada")
      :ok = Roomtone.unmute(room, "ada")
      refute_received {:native, _, {:set_speak, %{peer: ^peer, speak: true}}}
      assert %{silenced: true, muted: false} = person(room, "ada")
      :ok = Roomtone.unsilence(room, "ada")
      # They may speak again, but open the microphone themselves.
      assert_receive {:roomtone, ^room, {:silenced, "ada", false}}
      assert %{silenced: false, muted: true} = person(room, "ada")
      refute_received {:native, _, {:set_speak, %{peer: ^peer, speak: true}}}
      :ok = Roomtone.unmute(room, "ada")
      assert_receive {:native, _, {:set_speak, %{peer: ^peer, speak: true}}}
    end

    test "doesn't affect people who muted themselves", %{room: room, ada: %{peer: peer}} do
      :ok = Roomtone.mute(room, "ada")
      :ok = Roomtone.silence(room, "ada")
      :ok = Roomtone.unsilence(room, "ada")
      assert person(room, "ada").muted
      refute_received {:native, _, {:set_speak, %{peer: ^peer, speak: true}}}
    end

    test "survives a new offer, and leaving and coming back", %{room: room, ada: ada} do
      :ok = Roomtone.silence(room, "ada")
      offer = FakeNative.offer()
      {:ok, _} = Roomtone.join(room, "ada", offer, session: ada.session, muted: false)
      assert_receive {:native, _, {:reoffer, %{offer: ^offer, speak: false}}}
      :ok = Roomtone.leave(room, "ada")
      offer = FakeNative.offer()
      {:ok, %{participant: %{silenced: true}}} = Roomtone.join(room, "ada", offer)
      assert_receive {:native, _, {:join, %{offer: ^offer, speak: false}}}
    end

    test "stops the speaking state, and late levels don't bring it back", %{room: room, ada: ada} do
      FakeNative.emit(ada.shard, {:speaking, %{room: ada.room, peer: ada.peer, speaking: true}})
      assert_receive {:roomtone, ^room, {:speaking, "ada", true}}
      :ok = Roomtone.silence(room, "ada")
      assert_receive {:roomtone, ^room, {:speaking, "ada", false}}
      FakeNative.emit(ada.shard, {:speaking, %{room: ada.room, peer: ada.peer, speaking: true}})
      _ = Roomtone.room(room)
      refute_receive {:roomtone, ^room, {:speaking, "ada", true}}, 20
    end
  end

  describe "a role" do
    test "of listener closes the microphone, of speaker leaves opening it to its owner", %{
      room: room,
      ada: %{peer: peer}
    } do
      :ok = Roomtone.put_role(room, "ada", :listener)
      assert_receive {:roomtone, ^room, {:role, "ada", :listener}}
      assert_receive {:native, _, {:set_speak, %{peer: ^peer, speak: false}}}
      :ok = Roomtone.unmute(room, "ada")
      refute_received {:native, _, {:set_speak, %{peer: ^peer, speak: true}}}
      :ok = Roomtone.raise_hand(room, "ada")
      :ok = Roomtone.put_role(room, "ada", :speaker)
      # The mute comes first, so that there is no moment in between.
      assert_receive {:roomtone, ^room, {:muted, "ada", true}}
      assert_receive {:roomtone, ^room, {:role, "ada", :speaker}}
      # The hand goes down because the request was granted.
      assert_receive {:roomtone, ^room, {:hand, "ada", false}}
      assert %{role: :speaker, hand: false, muted: true} = person(room, "ada")
      refute_received {:native, _, {:set_speak, %{peer: ^peer, speak: true}}}
      :ok = Roomtone.unmute(room, "ada")
      assert_receive {:native, _, {:set_speak, %{peer: ^peer, speak: true}}}
    end

    test "given by a moderator stays when a person returns, and they return muted", %{room: room} do
      room_on_stage = open_room(stage: true)
      come(room_on_stage, "bob")
      :ok = Roomtone.put_role(room_on_stage, "bob", :speaker)
      :ok = Roomtone.unmute(room_on_stage, "bob")
      :ok = Roomtone.leave(room_on_stage, "bob")
      assert {:ok, %{participant: person}} = Roomtone.join(room_on_stage, "bob", FakeNative.offer(), muted: false)
      assert %{role: :speaker, muted: true} = person
      assert %{muted: false} = person(room, "ada")
    end

    test "of speaker isn't for people whose token doesn't let them speak", %{room: room} do
      come(room, "bob", grants: [:listen])
      assert person(room, "bob").role == :listener
      assert {:error, {:not_granted, :speak}} = Roomtone.put_role(room, "bob", :speaker)
      assert {:error, {:invalid_option, :role}} = Roomtone.put_role(room, "bob", :king)
      assert {:error, :not_found} = Roomtone.put_role(room, "eve", :listener)
    end

    test "on a stage is listener for all except moderators, until one promotes them" do
      room = open_room(stage: true)
      offer = FakeNative.offer(connect: true)
      {:ok, %{participant: %{role: :listener}}} = Roomtone.join(room, "bob", offer)
      assert_receive {:native, _, {:join, %{offer: ^offer, speak: false}}}
      come(room, "mod", grants: [:speak, :listen, :moderate])
      assert %{role: :speaker, moderator: true} = person(room, "mod")
      assert %{moderator: false} = person(room, "bob")
      :ok = Roomtone.put_role(room, "bob", :speaker)
      :ok = Roomtone.leave(room, "bob")
      assert {:ok, %{participant: %{role: :speaker}}} = Roomtone.join(room, "bob", FakeNative.offer())
      assert {:ok, %{stage: true}} = Roomtone.room(room)
      assert {:error, {:invalid_option, :stage}} = Roomtone.open_room(unique_name(), stage: "yes")
    end
  end

  describe "a moderator's setting for a person" do
    setup %{room: room} do
      :ok = Roomtone.silence(room, "ada")
      :ok = Roomtone.raise_hand(room, "ada")
      come(room, "bob")
      :ok = Roomtone.put_role(room, "bob", :listener)
      :ok
    end

    @tag capture_log: true
    test "outlives the room's process", %{room: room} do
      kill(RoomServer.whereis(room))
      eventually(fn -> match?({:ok, %{participants: [_, _]}}, Roomtone.room(room)) end)
      assert %{silenced: true, hand: true} = person(room, "ada")
      assert %{role: :listener} = person(room, "bob")
    end

    @tag capture_log: true
    test "outlives the person's process", %{room: room, ada: ada} do
      kill(Roomtone.Media.Table.peer_pid(ada.peer))
      assert_receive {:roomtone, ^room, {:media_restart, "ada"}}
      offer = FakeNative.offer()
      {:ok, %{participant: %{silenced: true, hand: true}}} = Roomtone.join(room, "ada", offer, session: ada.session)
      assert_receive {:native, _, {:join, %{offer: ^offer, speak: false}}}
    end
  end

  test "a person returning with another token has its grants, and an event is sent", %{room: room, ada: ada} do
    {:ok, _} = Roomtone.join(room, "ada", FakeNative.offer(), session: ada.session, grants: [:listen, :moderate])
    assert_receive {:roomtone, ^room, {:moderator, "ada", true}}
    assert_receive {:roomtone, ^room, {:role, "ada", :listener}}
    assert %{moderator: true, role: :listener} = person(room, "ada")
    # With a restored voice the microphone stays closed, whatever their page asks for.
    {:ok, %{participant: %{muted: true}}} =
      Roomtone.join(room, "ada", FakeNative.offer(), session: ada.session, grants: [:speak, :listen], muted: false)

    assert_receive {:roomtone, ^room, {:moderator, "ada", false}}
    assert_receive {:roomtone, ^room, {:role, "ada", :speaker}}
  end

  describe "a removed person" do
    test "can't return for a while under any name, while others of that name can", %{room: room} do
      come(room, "eve", maker: "browser 7")
      :ok = Roomtone.leave(room, "eve", :removed)

      for name <- ["eve", "mallory"],
          do: assert({:error, :removed} = Roomtone.join(room, name, FakeNative.offer(), maker: "browser 7"))

      assert {:error, :removed} = Roomtone.grants(room, maker: "browser 7")
      assert {:ok, _} = Roomtone.join(room, "eve", FakeNative.offer(), maker: "browser 8")
      assert {:ok, _} = Roomtone.join(unique_name(), "eve", FakeNative.offer(), maker: "browser 7", create: true)
      assert Roomtone.describe_error(:removed) =~ "5 minutes"
    end

    test "is recognised by name without a maker, unlike a person who left voluntarily", %{room: room, ada: ada} do
      :ok = Roomtone.leave(room, "ada")
      assert {:ok, _} = Roomtone.join(room, "ada", FakeNative.offer(), session: ada.session)
      :ok = Roomtone.leave(room, "ada", :removed)
      assert {:error, :removed} = Roomtone.join(room, "ada", FakeNative.offer(), session: ada.session)
      assert {:error, :not_found} = Roomtone.resume(room, "ada", ada.session)
    end
  end

  test "a microphone is there until its person says that there is none", %{room: room} do
    assert person(room, "ada").microphone
    :ok = Roomtone.put_microphone(room, "ada", false)
    assert_receive {:roomtone, ^room, {:microphone, "ada", false}}
    refute person(room, "ada").microphone
    assert {:error, {:invalid_option, :microphone}} = Roomtone.put_microphone(room, "ada", "yes")
    assert {:error, :not_found} = Roomtone.put_microphone(room, "nobody", true)
  end

  test "a quality is the person's own report, and is sent when it changes", %{room: room, ada: ada} do
    assert person(room, "ada").quality == nil
    :ok = Roomtone.put_quality(room, "ada", :poor)
    assert_receive {:roomtone, ^room, {:quality, "ada", :poor}}
    assert person(room, "ada").quality == :poor
    assert {:error, {:invalid_option, :quality}} = Roomtone.put_quality(room, "ada", "poor")
    {:ok, _} = Roomtone.join(room, "ada", FakeNative.offer(), session: ada.session)
    assert_receive {:roomtone, ^room, {:connected, "ada", false}}
    assert person(room, "ada").quality == nil
  end

  describe "member" do
    test "is the person with this session, and with the grant if one is given", %{room: room, ada: %{session: session}} do
      assert {:ok, %{identity: "ada"}} = Roomtone.member(room, "ada", session)
      assert {:error, :identity_taken} = Roomtone.member(room, "ada", "another session")
      assert {:error, {:not_granted, :moderate}} = Roomtone.member(room, "ada", session, :moderate)
      assert {:error, :not_found} = Roomtone.member(room, "bob", session)
      assert {:error, :room_not_found} = Roomtone.member(unique_name(), "ada", session)
      %{session: session} = come(room, "mod", grants: [:listen, :moderate])
      assert {:ok, %{moderator: true}} = Roomtone.member(room, "mod", session, :moderate)
    end
  end

  describe "captions" do
    test "go to everybody with their times, and to a WebVTT file", %{room: room} do
      until = DateTime.utc_now()
      from = DateTime.add(until, -1_500, :millisecond)
      assert {:ok, %{id: id}} = Roomtone.caption(room, "ada", " One --> two\n\n<b>three</b> ", from: from, until: until)
      said = %{id: id, speaker: "ada", name: "ada", text: "One --> two\n\n<b>three</b>", from: from, until: until}
      assert_receive {:roomtone, ^room, {:caption, ^said}}
      # By default it ended just now.
      assert {:ok, later} = Roomtone.caption(room, "ada", "More")
      assert DateTime.diff(later.until, later.from, :millisecond) == 1_000
      assert {:ok, [^said, ^later] = captions} = Roomtone.captions(room)
      assert {:ok, [^said, ^later]} = Roomtone.captions(room, "ada")

      assert Roomtone.Captions.web_vtt([said]) ==
               "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\n<v ada>One --&gt; two\n&lt;b&gt;three&lt;/b&gt;\n"

      hour_ago = DateTime.add(from, -3_600)
      assert Roomtone.Captions.web_vtt(captions, hour_ago) =~ "\n01:00:00.000 --> 01:00:01.500\n"
    end

    test "need a speaker who is there, a text and times that can be", %{room: room} do
      assert {:error, :not_found} = Roomtone.caption(room, "eve", "Hello")
      assert {:error, :not_found} = Roomtone.captions(room, "eve")
      assert {:error, :empty_message} = Roomtone.caption(room, "ada", " \u202e\n\0")
      assert {:error, :not_text} = Roomtone.caption(room, "ada", <<255>>)
      assert {:error, {:message_too_long, 500}} = Roomtone.caption(room, "ada", String.duplicate("é", 501))
      now = DateTime.utc_now()
      assert {:error, {:invalid_option, :from}} = Roomtone.caption(room, "ada", "Hello", from: DateTime.add(now, -700))
      assert {:error, {:invalid_option, :until}} = Roomtone.caption(room, "ada", "Hello", until: DateTime.add(now, 60))
      assert {:error, {:invalid_option, :until}} = Roomtone.caption(room, "ada", "Hello", until: "now")
      late = [from: now, until: DateTime.add(now, -1)]
      assert {:error, {:invalid_option, :from}} = Roomtone.caption(room, "ada", "Hello", late)
      assert {:error, {:invalid_option, :style}} = Roomtone.caption(room, "ada", "Hello", style: "bold")
    end

    test "are ten at once, then three a second", %{room: room} do
      results = for n <- 1..20, do: Roomtone.caption(room, "ada", "Line #{n}")
      assert Enum.all?(Enum.take(results, 10), &match?({:ok, _}, &1))
      assert {:error, :too_many_messages} in results
    end
  end

  describe "chat" do
    test "goes to everybody, in order, and isn't kept for later arrivals", %{room: room} do
      {:ok, %{id: first}} = Roomtone.say(room, "ada", " Hello\r\nyou ")
      {:ok, %{id: second}} = Roomtone.say(room, "ada", "<b>there</b>")
      assert first < second

      assert_receive {:roomtone, ^room,
                      {:chat, %{id: ^first, from: "ada", name: "ada", text: "Hello\nyou", at: %DateTime{}}}}

      assert_receive {:roomtone, ^room, {:chat, %{id: ^second, text: "<b>there</b>"}}}
      assert {:ok, [%{id: ^first}, %{id: ^second}]} = Roomtone.chat(room, "ada")
      come(room, "bob")
      assert {:ok, []} = Roomtone.chat(room, "bob")
      {:ok, _} = Roomtone.say(room, "ada", "Hello Bob")
      assert {:ok, [%{text: "Hello Bob"}]} = Roomtone.chat(room, "bob")
    end

    test "needs a present author and a text", %{room: room} do
      assert {:error, :not_found} = Roomtone.say(room, "eve", "Hello")
      assert {:error, :not_found} = Roomtone.chat(room, "eve")
      assert {:error, :empty_message} = Roomtone.say(room, "ada", " \u202e\n\0")
      assert {:error, {:message_too_long, 500}} = Roomtone.say(room, "ada", String.duplicate("é", 501))
      assert {:error, {:message_too_long, 500}} = Roomtone.say(room, "ada", String.duplicate("x", 10_000_000))
      assert {:error, :not_text} = Roomtone.say(room, "ada", <<255>>)
      assert {:error, :not_text} = Roomtone.say(room, "ada", %{})
      refute_received {:roomtone, ^room, {:chat, _}}

      for problem <- [:empty_message, {:message_too_long, 500}, :not_text, :too_many_messages],
          do: assert(Roomtone.describe_error(problem) =~ "essage")
    end

    test "is slowed for a person who writes too much, and nobody else", %{room: room} do
      come(room, "bob")
      results = for n <- 1..20, do: Roomtone.say(room, "ada", "line #{n}")
      assert {:error, :too_many_messages} in results
      assert Enum.count(results, &match?({:ok, _}, &1)) in 5..7
      assert {:ok, _} = Roomtone.say(room, "bob", "Ada, please")
    end

    test "is slowed when everybody writes at once", %{room: room} do
      people = for n <- 1..20, do: "person #{n}"
      for identity <- people, do: {:ok, _} = Roomtone.join(room, identity, FakeNative.offer())
      results = for identity <- people, n <- 1..5, do: Roomtone.say(room, identity, "line #{n}")
      assert {:error, :too_many_messages} in results
      {:ok, seen} = Roomtone.chat(room, "ada")
      assert length(seen) == Enum.count(results, &match?({:ok, _}, &1))
    end
  end

  test "volumes are those that were set", %{room: room} do
    :ok = Roomtone.put_volume(room, "ada", "bob", 0.25)
    :ok = Roomtone.put_volume(room, "ada", "eve", 1)
    assert {:ok, %{"bob" => 0.25} = volumes} = Roomtone.volumes(room, "ada")
    assert map_size(volumes) == 1
    assert {:ok, none} = Roomtone.volumes(room, "bob")
    assert none == %{}
  end

  describe "a moderator who leaves" do
    setup do
      Application.put_env(:roomtone, :hand_on_ms, 50)
      on_exit(fn -> Application.delete_env(:roomtone, :hand_on_ms) end)
    end

    test "hands on to the earliest arrival who may speak", %{} do
      room = open_room(maker: "host's browser")
      come(room, "host", maker: "host's browser")
      come(room, "guest", grants: [:listen])
      ben = come(room, "ben")
      come(room, "cleo")
      :ok = Roomtone.leave(room, "host")
      assert_receive {:roomtone, ^room, {:moderator, "ben", true}}
      assert {:ok, %{moderator: true}} = Roomtone.member(room, "ben", ben.session, :moderate)
      # With a new offer, under a token without the grant to moderate.
      {:ok, _} = Roomtone.join(room, "ben", FakeNative.offer(), session: ben.session, grants: [:speak, :listen])
      assert {:ok, %{moderator: true}} = Roomtone.member(room, "ben", ben.session, :moderate)
      refute person(room, "cleo").moderator
      # The room's maker moderates whenever they come.
      come(room, "host", maker: "host's browser")
      assert person(room, "host").moderator
    end

    test "hands on to nobody if one returns in time, or if the app appoints moderators" do
      Application.put_env(:roomtone, :hand_on_ms, 60_000)
      room = open_room(maker: "host's browser")
      come(room, "host", maker: "host's browser")
      come(room, "ben")
      :ok = Roomtone.leave(room, "host")
      come(room, "host", maker: "host's browser")
      refute Roomtone.Room.leaderless?(:sys.get_state(RoomServer.whereis(room)).room)

      lesson = open_room()
      come(lesson, "teacher", grants: [:speak, :listen, :moderate])
      come(lesson, "pupil")
      :ok = Roomtone.leave(lesson, "teacher")
      refute Roomtone.Room.leaderless?(:sys.get_state(RoomServer.whereis(lesson)).room)
    end
  end

  test "a returning person reads the chat they had, and others only later lines", %{room: room, ada: ada} do
    ben = come(room, "ben")
    {:ok, _} = Roomtone.say(room, "ada", "one")
    cleo = come(room, "cleo")
    {:ok, _} = Roomtone.say(room, "ben", "two")

    texts = fn identity ->
      {:ok, said} = Roomtone.chat(room, identity)
      Enum.map(said, & &1.text)
    end

    assert [texts.("ada"), texts.("ben"), texts.("cleo")] == [["one", "two"], ["one", "two"], ["two"]]

    for {identity, session} <- [{"ben", ben.session}, {"cleo", cleo.session}] do
      before = texts.(identity)
      :ok = Roomtone.leave(room, identity)
      {:ok, _} = Roomtone.join(room, identity, FakeNative.offer(), session: session)
      assert texts.(identity) == before
    end

    # Another session under the same name is another person; so is a removed one.
    :ok = Roomtone.leave(room, "ben")
    {:ok, _} = Roomtone.join(room, "ben", FakeNative.offer(), [])
    assert texts.("ben") == []
    assert ada.session
  end
end
