defmodule RoomtoneWeb.JourneyLiveTest do
  use RoomtoneWeb.LiveCase

  alias Roomtone.Trace
  alias RoomtoneWeb.{Journey, JourneyFollower, JourneyView}

  @server ~w(receive find open insert wait decode mix encode seal send place)

  defp open_journey(page, room, name) do
    {:ok, view, _html} = live(RoomtoneWeb.BrowserSession.again(page.conn), journey_path(room, name))
    view
  end

  test "follows packets of the person who looks, and shows every stage of the server" do
    room = open_room()
    page = sit_down(room, "Ada")
    refute_received {:native, _shard, {:trace, _fields}}
    view = open_journey(page, room, "Ada")
    peer = page.media.peer
    assert_receive {:native, _shard, {:trace, %{talker: ^peer}}}, 5_000
    for stage <- @server, do: shown(view, ~s([data-stage="#{stage}"][data-known="measured"]))
    shown(view, "#journey-state", "a mix that 3 listeners share")
    assert has_element?(view, ~s([data-stage="wait"] td), "14 ms")
    # The browser's figures are marked as estimates.
    for stage <- ~w(capture uplink), do: refute(has_element?(view, ~s([data-stage="#{stage}"])))
    figures = %{"capture" => 0.5, "round_trip" => 30, "buffer" => 41.5, "decode" => 1, "playout" => "x", "other" => 1}
    render_hook(view, "browser", figures)

    for stage <- ~w(capture uplink downlink buffer decode_there),
        do: shown(view, ~s([data-stage="#{stage}"] .tag), "estimated")

    refute has_element?(view, ~s([data-stage="playout"]))
  end

  test "the panel of a room follows its person's packets while it is open" do
    room = open_room()
    %{view: view, media: %{peer: peer}} = sit_down(room, "Ada")
    refute_received {:native, _shard, {:trace, _fields}}
    view |> element("#show-journey") |> render_click()
    assert_receive {:native, _shard, {:trace, %{talker: ^peer}}}, 5_000
    shown(view, ~s(#journey-panel[data-state="going"]))
    shown(view, "#journey-state", "a mix that 3 listeners share")
    for step <- [1, 2, 4, 5, 6, 7, 8, 9], do: shown(view, ~s(#journey-panel [data-step="#{step}"]))
    # The browser told nothing yet of the way to the server and of what it plays.
    for step <- [3, 10], do: refute(has_element?(view, ~s(#journey-panel [data-step="#{step}"])))
    assert has_element?(view, ~s([data-step="5"][data-known="measured"] td), "14 ms")
    render_hook(view, "browser", %{"round_trip" => 30, "buffer" => 41.5})
    for step <- [3, 10], do: shown(view, ~s(#journey-panel [data-step="#{step}"][data-known="estimated"] td), "≈")
    shown(view, ~s(#journey-total[data-known="estimated"] td), "≈")

    # Another panel takes its place, and nothing is traced any more.
    view |> element("#show-invite") |> render_click()
    refute has_element?(view, "#journey-panel")
    eventually(fn -> :sys.get_state(view.pid).socket.assigns.follow == nil end)
    flush_traces()
    refute_receive {:native, _shard, {:trace, _fields}}, 50
  end

  defp flush_traces do
    receive do
      {:native, _shard, {:trace, _fields}} -> flush_traces()
    after
      0 -> :ok
    end
  end

  test "the panel traces nobody for a browser that isn't in the room" do
    room = open_room()
    sit_down(room, "Ada")
    %{view: view} = arrive(room, "Ben")
    view |> element("#show-journey") |> render_click()
    shown(view, "#journey-state", "You aren't in this room")
    refute_received {:native, _shard, {:trace, _fields}}
  end

  test "traces nobody for a browser that isn't in the room" do
    room = open_room()
    page = sit_down(room, "Ada")
    stranger = arrive(room, "Ben")
    view = open_journey(stranger, room, "Ben")
    shown(view, "#journey-state", "You aren't in this room")
    assert page.media.room
    refute_receive {:native, _shard, {:trace, _fields}}, 50
  end

  test "nobody asks for a packet of somebody who is muted" do
    room = open_room()
    %{view: view} = sit_down(room, "Ada")
    :ok = Roomtone.mute(room, "Ada")
    view |> element("#show-journey") |> render_click()
    shown(view, "#journey-state", "You are muted")
    refute_received {:native, _shard, {:trace, _fields}}
  end

  test "somebody whose room is busy or has closed isn't told to join" do
    follower = %JourneyFollower{room: open_room(), identity: "Ada"}

    for error <- [:room_busy, :room_closed, :media_busy],
        do: assert(JourneyFollower.ask(follower, {:error, error}).state == :busy)

    for error <- [:not_found, :room_not_found],
        do: assert(JourneyFollower.ask(follower, {:error, error}).state == :outside)
  end

  test "the stages of a packet add up to the whole way" do
    trace = %Trace{
      room: "r",
      talker: "ada",
      listener: "ben",
      way: :mixed,
      shared_by: 1,
      into_frame_us: 4_000.0,
      stages: [kernel: 0.0, shard: 100.0, room: 101.0, opened: 106.0, sealed: 8_000.0, sent: 8_050.0]
    }

    browser = Journey.browser(%{"capture" => 2, "round_trip" => 20, "buffer" => 40, "decode" => -1, "playout" => 1.0e9})

    assert browser == %{capture: 2.0, round_trip: 20.0, buffer: 40.0}
    journey = Enum.reduce(1..100, %Journey{}, fn _n, journey -> Journey.add(journey, trace, browser) end)
    assert length(journey.samples) == 60
    rows = Journey.rows(journey)
    assert_in_delta Enum.sum(Enum.map(rows, & &1.ms)), Journey.total(journey).ms, 0.001
    # Capture, frame, both encoders' look-ahead, both ways, the server, the place in the frame, the buffer.
    assert_in_delta Journey.total(journey).ms, 2 + 20 + 2 * 6.5 + 20 + 8.05 + 4 + 40, 0.001
    passed = Journey.add(%Journey{}, %{trace | way: :passed, shared_by: nil}, browser)
    assert_in_delta Journey.total(passed).ms, 2 + 20 + 6.5 + 20 + 8.05 + 4 + 40, 0.001
    assert Enum.all?(rows, &(&1.ms >= 0 and &1.p50 <= &1.p99))
    begins = Enum.map(rows, & &1.begin)
    assert begins == Enum.sort(begins)
  end

  test "a packet that went nowhere has no way to a listener" do
    trace = %Trace{
      room: "r",
      talker: "ada",
      listener: nil,
      way: :nowhere,
      shared_by: nil,
      into_frame_us: 0.0,
      stages: [shard: 0.0, room: 1.0, opened: 6.0]
    }

    stages =
      %Journey{} |> Journey.add(trace, %{round_trip: 20.0, buffer: 40.0}) |> Journey.rows() |> Enum.map(& &1.stage)

    assert stages == [:frame, :lookahead, :uplink, :find, :open]
  end

  @mixed %Trace{
    room: "r",
    talker: "ada",
    listener: "ben",
    way: :mixed,
    shared_by: 1,
    into_frame_us: 0.0,
    stages: [shard: 0.0, room: 1.0e3, opened: 3.0e3, sealed: 4.0e3, sent: 9.0e3]
  }
  @nowhere %{@mixed | listener: nil, way: :nowhere, shared_by: nil, stages: [shard: 0.0, room: 1.0e3, opened: 5.0e3]}

  test "a packet that reached nobody has no time from the microphone to an ear" do
    alone = Journey.add(%Journey{}, @nowhere, %{round_trip: 20.0})
    assert Journey.total(alone) == nil
    journey = %Journey{} |> Journey.add(@mixed, %{}) |> Journey.add(@nowhere, %{})
    # Frame, both encoders' look-ahead, the server.
    assert %{ms: nil, p50: 42.0, p99: 42.0, known: :measured} = Journey.total(journey)
    # An estimate in one that isn't among the sums makes no estimate of them.
    guessed = Journey.add(journey, @nowhere, %{round_trip: 20.0})
    assert %{p50: 42.0, known: :measured} = Journey.total(guessed)
    assert %{known: :estimated} = guessed |> Journey.add(@mixed, %{round_trip: 20.0}) |> Journey.total()
    refute rendered(&JourneyView.summary/1, alone, :unheard) =~ "journey-total"
    assert rendered(&JourneyView.summary/1, alone, :unheard) =~ "5.00 ms"
    assert [now, median] = cells(rendered(&JourneyView.summary/1, journey, :unheard))
    assert {now, median} == {"–", "42 ms"}
    refute rendered(&JourneyView.stages/1, alone, :unheard) =~ "journey-total"
  end

  test "a sum with an estimate in it is marked as one, and a figure that isn't there isn't" do
    measured = Journey.add(%Journey{}, @mixed, %{})
    assert cells(rendered(&JourneyView.summary/1, measured)) == ["42 ms", "42 ms"]
    refute rendered(&JourneyView.stages/1, measured) =~ "≈"
    estimated = Journey.add(measured, @mixed, %{round_trip: 10.0})
    assert cells(rendered(&JourneyView.summary/1, estimated)) == ["≈ 52 ms", "≈ 42 ms"]
    assert rendered(&JourneyView.stages/1, estimated) =~ "<strong>≈ 52 ms</strong>"
    # The newest has no way to a listener.
    without = rendered(&JourneyView.summary/1, Journey.add(estimated, @nowhere, %{}), :unheard)
    refute without =~ "≈ –"
    assert without =~ "–"
  end

  defp rendered(component, journey, state \\ :going) do
    follower = %JourneyFollower{room: "r", identity: "ada", journey: journey, state: state}
    render_component(component, follower: follower, mine: true)
  end

  # Those of the panel's last row.
  defp cells(html) do
    [_before, row] = String.split(html, ~s(id="journey-total"))
    for [_all, text] <- Regex.scan(~r{<td>(.*?)</td>}s, row), do: String.trim(text)
  end

  test "stages taken together have the sum of each packet's" do
    trace = fn times ->
      %Trace{
        room: "r",
        talker: "ada",
        listener: "ben",
        way: :mixed,
        shared_by: 1,
        into_frame_us: 0.0,
        stages: Enum.zip([:kernel, :shard, :room, :opened], times)
      }
    end

    journey =
      Enum.reduce([[0.0, 1.0e3, 9.0e3, 10.0e3], [0.0, 8.0e3, 9.0e3, 11.0e3]], %Journey{}, fn times, journey ->
        Journey.add(journey, trace.(times), %{})
      end)

    assert [in: group, none: nil] = Journey.groups(journey, in: [:receive, :find], none: [:buffer])
    # The medians of the two stages add up to 2 ms, though no packet took less than 9.
    assert %{begin: 26.5, ms: 9.0, p50: 9.0, p99: 9.0, known: :measured, stages: [:receive, :find]} = group
    estimated = Journey.add(journey, trace.([0.0, 1.0, 2.0, 3.0]), %{round_trip: 8.0})
    assert [{:way, %{known: :estimated, ms: 24.0}}] = Journey.groups(estimated, way: [:frame, :uplink])
  end
end
