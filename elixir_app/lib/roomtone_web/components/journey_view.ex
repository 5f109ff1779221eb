defmodule RoomtoneWeb.JourneyView do
  @moduledoc """
  How a packet's journey looks (`RoomtoneWeb.Journey`): in ten steps with every stage, for the page of
  its own, and a row for each step, for the panel of a room.
  """
  use RoomtoneWeb, :html

  alias RoomtoneWeb.Journey

  # Of the bars' coordinates.
  @width 1_000

  attr :follower, :map, required: true, doc: "`RoomtoneWeb.JourneyFollower`"
  attr :mine, :boolean, required: true, doc: "whether the packets are those of the person who looks"

  @doc "All stages, under the steps that they belong to."
  def stages(assigns) do
    assigns = figures(assigns)

    ~H"""
    <p role="status" id="journey-state">{words(@follower, @mine)}</p>
    <p :if={@total} id="journey-total">
      {if @mine, do: "From your microphone to the listener's ear", else: "As far as the server knows it"}: <strong>{about(@total, :ms)}</strong>, in the last minute {about(
        @total,
        :p50
      )} (median) and {about(@total, :p99)} (99th percentile).
    </p>
    <ol>
      <li :for={{step, number} <- Enum.with_index(steps(), 1)} id={"step-#{number}"}>
        <h2>{step.title}</h2>
        <p>{step.text} <span class="where">More: <code>docs/journey.md</code>, step {number}.</span></p>
        <table :if={Enum.any?(step.stages, &is_map_key(@rows, elem(&1, 0)))}>
          <thead>
            <tr>
              <th scope="col">Stage</th>
              <th scope="col"><span class="visually-hidden">When</span></th>
              <th scope="col">Now</th>
              <th scope="col">Median</th>
              <th scope="col">99 %</th>
            </tr>
          </thead>
          <tbody>
            <tr :for={{stage, name} <- step.stages} :if={is_map_key(@rows, stage)} data-stage={stage} data-known={@rows[stage].known}>
              <th scope="row">{name} <span :if={@rows[stage].known == :estimated} class="tag">estimated</span></th>
              <td><.bars rows={[@rows[stage]]} scale={@scale} /></td>
              <td>{ms(@rows[stage].ms)}</td>
              <td>{ms(@rows[stage].p50)}</td>
              <td>{ms(@rows[stage].p99)}</td>
            </tr>
          </tbody>
        </table>
      </li>
    </ol>
    """
  end

  attr :follower, :map, required: true, doc: "`RoomtoneWeb.JourneyFollower`"

  @doc "A row for each step of my packets, and what they add up to."
  def summary(assigns) do
    assigns = assigns |> assign(:mine, true) |> figures()
    groups = for step <- steps(), do: {step.short, Keyword.keys(step.stages)}
    assigns = assign(assigns, :groups, Journey.groups(assigns.follower.journey, groups))

    ~H"""
    <p role="status" id="journey-state">{words(@follower, true)}</p>
    <table :if={@rows != %{}}>
      <thead>
        <tr>
          <th scope="col">Step</th>
          <th scope="col">Now</th>
          <th scope="col">Median</th>
        </tr>
      </thead>
      <tbody>
        <tr :for={{name, group, number} <- numbered(@groups)} data-step={number} data-known={group.known}>
          <th scope="row">
            {number}. {name} <.bars rows={for stage <- group.stages, row = @rows[stage], do: row} scale={@scale} />
          </th>
          <td>{about(group, :ms)}</td>
          <td>{about(group, :p50)}</td>
        </tr>
      </tbody>
      <tfoot :if={@total}>
        <tr id="journey-total" data-known={@total.known}>
          <th scope="row">From your microphone to the listener's ear</th>
          <td>{about(@total, :ms)}</td>
          <td>{about(@total, :p50)}</td>
        </tr>
      </tfoot>
    </table>
    <p :if={@rows != %{}} class="hint">≈ marks steps with an estimate in them. The median is that of the last minute.</p>
    """
  end

  # The steps that no packet of the last minute passed are left out, and the others keep their numbers.
  defp numbered(groups) do
    for {{name, group}, number} <- Enum.with_index(groups, 1), group != nil, do: {name, group, number}
  end

  # A figure that isn't there is no estimate.
  defp about(figures, key) do
    case figures[key] do
      nil -> ms(nil)
      ms -> if(figures.known == :estimated, do: "≈ ", else: "") <> ms(ms)
    end
  end

  attr :rows, :list, required: true, doc: "of `Journey.rows/1`"
  attr :scale, :float, required: true

  defp bars(assigns) do
    assigns = assign(assigns, :width, @width)

    ~H"""
    <svg viewBox={"0 0 #{@width} 12"} preserveAspectRatio="none" aria-hidden="true">
      <rect
        :for={row <- @rows}
        :if={row.ms}
        x={round(row.begin * @scale)}
        y="1"
        width={max(round(row.ms * @scale), 3)}
        height="10"
        class={row.known}
      />
    </svg>
    """
  end

  defp figures(%{follower: %{journey: journey}} = assigns) do
    total = Journey.total(journey)
    rows = Map.new(Journey.rows(journey), &{&1.stage, &1})
    drawn = for {_stage, %{ms: ms}} <- rows, ms != nil, do: ms
    assign(assigns, rows: rows, total: total, scale: @width / max(Enum.sum(drawn), 1.0))
  end

  defp words(%{state: :going, journey: journey}, _mine?), do: gone(Journey.last(journey).trace)
  defp words(%{state: state}, true), do: my(state)
  defp words(%{state: state}, false), do: their(state)

  defp my(:asking), do: "Waiting for a packet of yours."
  defp my(:outside), do: "You aren't in this room. Once you have joined it, your packets are followed."
  defp my(:muted), do: "You are muted, so there is no packet to follow."
  defp my(:busy), do: "The room follows as many packets as it can at the moment. Yours will be followed in a moment."
  defp my(:silent), do: "Your browser sends no packets at the moment."
  # Those of the demo room, for instance: a visitor is alone with them.
  defp my(:unheard),
    do:
      "The last packet went to nobody: no person hears you, or you weren't loud enough. " <>
        "Programs that listen, such as an agent or a recording, aren't followed here."

  defp their(:asking), do: "Waiting for a packet of theirs."
  defp their(:outside), do: "They aren't in this room any more."

  defp their(:busy),
    do: "The room follows as many packets as it can at the moment. Theirs will be followed in a moment."

  defp their(:unheard),
    do:
      "The last packet went to nobody: no person hears them, or they weren't loud enough. " <>
        "Programs that listen, such as an agent or a recording, aren't followed here."

  defp their(_silent), do: "They send no packets at the moment."

  defp gone(%{way: :mixed, shared_by: 1} = trace),
    do: "The last packet went to #{listener(trace)}, in a mix of their own."

  defp gone(%{way: :mixed} = trace),
    do: "The last packet went to #{listener(trace)}, in a mix that #{trace.shared_by} listeners share."

  defp gone(trace),
    do: "The last packet went to #{listener(trace)} as it came: neither decoded, mixed nor encoded again."

  defp listener(%{listener: nil}), do: "a program that listens"
  defp listener(%{listener: listener}), do: listener

  defp ms(nil), do: "–"
  defp ms(ms) when ms < 0.1, do: "#{round(ms * 1_000)} µs"
  defp ms(ms) when ms < 10, do: "#{:erlang.float_to_binary(ms * 1.0, decimals: 2)} ms"
  defp ms(ms), do: "#{round(ms)} ms"

  defp steps do
    [
      %{
        title: "The microphone fills a frame",
        short: "Fill a frame",
        text:
          "The device hands its samples to the browser, which collects 20 ms of them, 960 samples. The first of them waits for the last.",
        stages: [capture: "Device to browser", frame: "Fill the frame"]
      },
      %{
        title: "Opus makes a packet of it",
        short: "Encode",
        text:
          "960 samples become about a hundred bytes. The codec looks 6.5 ms ahead, which everybody who uses Opus pays.",
        stages: [lookahead: "Look ahead"]
      },
      %{
        title: "The packet travels to the server",
        short: "To the server",
        text:
          "It goes by UDP, which repeats nothing and waits for nothing. Half a round trip is our estimate of the way.",
        stages: [uplink: "Way to the server"]
      },
      %{
        title: "The server finds its sender and opens it",
        short: "Receive and decrypt",
        text:
          "The kernel hands the datagram to a shard, which knows the sender by the address that ICE has checked. SRTP then checks and decrypts it.",
        stages: [receive: "Kernel to shard", find: "Find the sender (ICE)", open: "Open (SRTP)"]
      },
      %{
        title: "The jitter buffer evens out the network",
        short: "Jitter buffer",
        text:
          "Packets come unevenly, and sound has to be even. Each packet waits as long as the jitter of its talker requires.",
        stages: [insert: "Into the buffer", wait: "Wait for the tick"]
      },
      %{
        title: "A tick turns packets into sound",
        short: "Decode",
        text:
          "Every 20 ms the room takes a frame of each talker who is heard. Opus decodes it, or conceals that it is missing.",
        stages: [decode: "Decode (Opus)"]
      },
      %{
        title: "The sound becomes part of the listener's mix",
        short: "Mix",
        text:
          "Each listener's mix has everybody but themselves, at the gains of distance, zones and own volume. Listeners with equal gains share one mix.",
        stages: [mix: "Mix"]
      },
      %{
        title: "The mix becomes a packet and leaves",
        short: "Encode and encrypt",
        text:
          "One encode serves all who share a mix; SRTP encrypts it for each of them. All packets of a tick go to the kernel together.",
        stages: [
          encode: "Encode (Opus)",
          seal: "Encrypt (SRTP)",
          send: "Shard to kernel",
          lookahead_again: "Look ahead"
        ]
      },
      %{
        title: "The packet travels to the listener",
        short: "To the listener",
        text:
          "It takes the other half of a round trip; yours stands in for the listener's. Your sound also begins somewhere within the frame of the mix.",
        stages: [place: "Place in the frame", downlink: "Way to the listener"]
      },
      %{
        title: "The listener's browser plays it",
        short: "Their browser",
        text:
          "Its own jitter buffer waits, Opus decodes, and the device plays. Your browser's figures stand in for the listener's.",
        stages: [buffer: "Jitter buffer", decode_there: "Decode (Opus)", playout: "Play"]
      }
    ]
  end
end
