defmodule RoomtoneWeb.JourneyLive do
  @moduledoc """
  `/rooms/:room/journey`: the way of one of my packets, about once a second, in ten steps.

  The page follows packets of the person who looks: `Roomtone.member/4` says whether this browser is
  in the room under that name. For operators (`RoomtoneWeb.OperateAccess`), `/operate/journey` follows
  those of any participant, `of` by identity: the server's stages, and nothing of what is said. While
  nobody looks, nothing is traced.
  """
  use RoomtoneWeb, :live_view

  alias RoomtoneWeb.{Auth, Journey, OperateAccess}

  @every_ms 1_000
  @width 1_000

  @impl true
  def mount(%{"of" => of, "room" => room}, session, socket) when is_binary(of) and is_binary(room) do
    if OperateAccess.operate?(socket.assigns[:visitor], session) and String.valid?(of) and String.valid?(room) do
      back = path("/operate?" <> URI.encode_query(room: room))
      {:ok, follow(socket, "The journey of #{of}'s sound", %{room: room, identity: of, session: nil}, back, session)}
    else
      {:ok, redirect(socket, to: path("/"))}
    end
  end

  def mount(%{"room" => given} = params, _session, socket) when is_binary(given) do
    case Auth.enter(socket.assigns.visitor, given, params["name"]) do
      {:ok, entry} ->
        {:ok, follow(socket, "The journey of my sound", entry, back(entry, params["name"]), nil)}

      # The page of the room tells why.
      {:error, _reason} ->
        {:ok, push_navigate(socket, to: room_path(String.slice(given, 0, 200), params["name"] || ""))}
    end
  end

  def mount(_params, _session, socket), do: {:ok, redirect(socket, to: path("/"))}

  # With the session of an operator's page.
  defp follow(socket, title, entry, back, operator) do
    if connected?(socket), do: send(self(), :ask)

    assign(socket,
      page_title: title,
      entry: entry,
      operator: operator,
      back: back,
      journey: %Journey{},
      browser: %{},
      ref: nil,
      unanswered: 0,
      state: :asking
    )
  end

  defp back(entry, name), do: room_path(entry.room, if(is_binary(name), do: name))

  @impl true
  def handle_event("browser", figures, %{assigns: %{operator: nil}} = socket),
    do: {:noreply, assign(socket, browser: Journey.browser(figures))}

  def handle_event(_unknown, _params, socket), do: {:noreply, socket}

  @impl true
  def handle_info(:ask, socket) do
    Process.send_after(self(), :ask, @every_ms)
    {:noreply, ask(socket)}
  end

  # The page counts the questions without an answer itself, and has asked again by then.
  def handle_info({:roomtone_trace, _ref, {:error, _no_packet}}, socket), do: {:noreply, socket}

  def handle_info({:roomtone_trace, ref, trace}, %{assigns: %{ref: ref}} = socket) do
    journey = Journey.add(socket.assigns.journey, trace, socket.assigns.browser)
    state = if trace.way == :nowhere, do: :unheard, else: :going
    {:noreply, assign(socket, journey: journey, ref: nil, unanswered: 0, state: state)}
  end

  # An answer to an earlier question, which came too late.
  def handle_info({:roomtone_trace, _ref, _trace}, socket), do: {:noreply, socket}
  def handle_info(other, socket), do: Roomtone.UnknownMessage.info(__MODULE__, other, socket)

  defp ask(%{assigns: %{entry: entry, ref: ref}} = socket) do
    unanswered = socket.assigns.unanswered + if(ref, do: 1, else: 0)

    with {:ok, me} <- member(socket),
         {:ok, ref} <- Roomtone.trace(entry.room, entry.identity) do
      state = if unanswered > 1, do: silent(me), else: socket.assigns.state
      assign(socket, ref: ref, unanswered: unanswered, state: state)
    else
      {:error, :media_busy} -> assign(socket, ref: nil)
      {:error, _not_in_the_room} -> assign(socket, ref: nil, unanswered: 0, state: :outside)
    end
  end

  defp member(%{assigns: %{operator: nil, entry: entry}}),
    do: Roomtone.member(entry.room, entry.identity, entry.session)

  # Their grant may have been taken back.
  defp member(%{assigns: %{operator: session}} = socket),
    do: if(OperateAccess.operate?(socket.assigns[:visitor], session), do: {:ok, %{}}, else: {:error, :not_found})

  defp silent(%{muted: true}), do: :muted
  defp silent(_me), do: :silent

  # ---- The page --------------------------------------------------------------------------------------------------------

  @impl true
  def render(assigns) do
    rows = Journey.rows(assigns.journey)
    last = Journey.last(assigns.journey)
    total = Journey.total(assigns.journey)

    assigns =
      assign(assigns,
        rows: Map.new(rows, &{&1.stage, &1}),
        total: total,
        trace: last && last.trace,
        steps: steps(),
        scale: if(total, do: @width / max(total.ms, 1.0), else: 0.0),
        width: @width
      )

    ~H"""
    <Layouts.app flash={@flash} visitor={@visitor} class="packet-journey">
      <div id="journey" phx-hook="Journey" data-state={@state}>
        <h1>{@page_title}</h1>
        <p class="lead">
          Once a second the server follows one packet{if @operator == nil, do: " of yours"}, with the time at every stage. Nobody else's packets are followed.
        </p>
        <p role="status" id="journey-state">{words(@state, @operator == nil, @trace)}</p>
        <p :if={@total} id="journey-total">
          {if @operator == nil, do: "From your microphone to the listener's ear", else: "As far as the server knows it"}: <strong>{ms(@total.ms)}</strong>, in the last minute {ms(@total.p50)} (median) and {ms(@total.p99)} (99th percentile).
        </p>
        <ol>
          <li :for={{step, number} <- Enum.with_index(@steps, 1)} id={"step-#{number}"}>
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
                  <td>
                    <svg viewBox={"0 0 #{@width} 12"} preserveAspectRatio="none" aria-hidden="true">
                      <rect
                        :if={@rows[stage].ms}
                        x={round(@rows[stage].begin * @scale)}
                        y="1"
                        width={max(round(@rows[stage].ms * @scale), 3)}
                        height="10"
                        class={@rows[stage].known}
                      />
                    </svg>
                  </td>
                  <td>{ms(@rows[stage].ms)}</td>
                  <td>{ms(@rows[stage].p50)}</td>
                  <td>{ms(@rows[stage].p99)}</td>
                </tr>
              </tbody>
            </table>
          </li>
        </ol>
        <p><.link class="button primary" navigate={@back}>Back to the room</.link></p>
      </div>
    </Layouts.app>
    """
  end

  defp words(:going, _mine?, trace), do: gone(trace)
  defp words(:asking, true, _trace), do: "Waiting for a packet of yours."
  defp words(:outside, true, _trace), do: "You aren't in this room. Join it, and come back to this page."
  defp words(:muted, true, _trace), do: "You are muted, so there is no packet to follow."
  defp words(:silent, true, _trace), do: "Your browser sends no packets at the moment."

  defp words(:unheard, true, _trace),
    do: "The last packet went to nobody: nobody hears you, or you weren't loud enough to be heard."

  defp words(:asking, false, _trace), do: "Waiting for a packet of theirs."
  defp words(:outside, false, _trace), do: "They aren't in this room any more."
  defp words(:unheard, false, _trace), do: "The last packet went to nobody: nobody hears them."
  defp words(_silent, false, _trace), do: "They send no packets at the moment."

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
        text: "The browser collects 20 ms of sound, 960 samples. The first of them waits for the last.",
        stages: [frame: "Fill the frame"]
      },
      %{
        title: "Opus makes a packet of it",
        text:
          "960 samples become about a hundred bytes. The codec looks 6.5 ms ahead, which everybody who uses Opus pays.",
        stages: [lookahead: "Look ahead"]
      },
      %{
        title: "The packet travels to the server",
        text:
          "It goes by UDP, which repeats nothing and waits for nothing. Half a round trip is our estimate of the way.",
        stages: [uplink: "Way to the server"]
      },
      %{
        title: "The server finds its sender and opens it",
        text:
          "The kernel hands the datagram to a shard, which knows the sender by the address that ICE has checked. SRTP then checks and decrypts it.",
        stages: [receive: "Kernel to shard", find: "Find the sender (ICE)", open: "Open (SRTP)"]
      },
      %{
        title: "The jitter buffer evens out the network",
        text:
          "Packets come unevenly, and sound has to be even. Each packet waits as long as the jitter of its talker requires.",
        stages: [insert: "Into the buffer", wait: "Wait for the tick"]
      },
      %{
        title: "A tick turns packets into sound",
        text:
          "Every 20 ms the room takes a frame of each talker who is heard. Opus decodes it, or conceals that it is missing.",
        stages: [decode: "Decode (Opus)"]
      },
      %{
        title: "The sound becomes part of the listener's mix",
        text:
          "Each listener's mix has everybody but themselves, at the gains of distance, zones and own volume. Listeners with equal gains share one mix.",
        stages: [mix: "Mix"]
      },
      %{
        title: "The mix becomes a packet and leaves",
        text:
          "One encode serves all who share a mix; SRTP encrypts it for each of them. All packets of a tick go to the kernel together.",
        stages: [encode: "Encode (Opus)", seal: "Encrypt (SRTP)", send: "Shard to kernel"]
      },
      %{
        title: "The packet travels to the listener",
        text:
          "It takes the other half of a round trip; yours stands in for the listener's. Your sound also begins somewhere within the frame of the mix.",
        stages: [place: "Place in the frame", downlink: "Way to the listener"]
      },
      %{
        title: "The listener's browser plays it",
        text:
          "Its own jitter buffer waits, Opus decodes, and the device plays. Your browser's figures stand in for the listener's.",
        stages: [buffer: "Jitter buffer", decode_there: "Decode (Opus)", playout: "Play"]
      }
    ]
  end
end
