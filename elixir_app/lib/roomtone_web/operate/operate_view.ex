defmodule RoomtoneWeb.OperateView do
  @moduledoc """
  An operator's view of this server: state, charts, shards, rooms, and one room in detail. Function
  components of a `RoomtoneWeb.OperateReport`, for our own page and for LiveDashboard's.
  """
  use Phoenix.Component

  import RoomtoneWeb.OperateChart

  alias RoomtoneWeb.Format

  @most_people 200

  attr :report, :map, required: true, doc: "a `RoomtoneWeb.OperateReport`"

  @doc "The state of the server in a line, and its latest figures."
  def summary(assigns) do
    assigns = assign(assigns, point: List.last(assigns.report.points), words: words(assigns.report.status))

    ~H"""
    <p class={["notice", @report.status != :ok && "wrong"]} role="status" id="status">{@words}</p>
    <dl class="figures" id="figures">
      <div><dt>Rooms</dt><dd id="rooms-now">{@report.rooms_total}</dd></div>
      <div><dt>Participants</dt><dd id="participants-now">{@report.shards |> Enum.map(& &1.participants) |> Enum.sum()}</dd></div>
      <div :if={@point}><dt>In</dt><dd>{number(@point.bits_in / 1000)} kbit/s</dd></div>
      <div :if={@point}><dt>Out</dt><dd>{number(@point.bits_out / 1000)} kbit/s</dd></div>
      <div :if={@point}><dt>Busiest shard</dt><dd>{number(100 * @point.load)} %</dd></div>
      <div><dt>Up for</dt><dd>{duration(@report.uptime_s)}</dd></div>
      <div><dt>Version</dt><dd>{@report.version}</dd></div>
    </dl>
    """
  end

  defp words(:ok), do: "The media engine runs on all shards."
  defp words(:draining), do: "The server is about to stop, and takes nobody in."
  defp words(:no_media), do: Roomtone.describe_error(:no_media)
  defp words({:media_down, what}), do: "The media engine doesn't run: #{what}."

  attr :points, :list, required: true

  @doc "The charts of the last ten minutes."
  def charts(assigns) do
    ~H"""
    <p :if={@points == []} class="empty" id="no-points">The first figures come in a few seconds.</p>
    <div :if={@points != []} class="charts" id="charts">
      <.chart id="chart-people" title="Participants" points={@points} lines={[{"in rooms", :participants}, {"speaking", :speaking}]} />
      <.chart id="chart-packets" title="Packets" unit="/s" points={@points} lines={[{"in", :packets_in}, {"out", :packets_out}]} />
      <.chart id="chart-bits" title="Bandwidth" unit="kbit/s" points={@points} lines={[{"in", &kbits_in/1}, {"out", &kbits_out/1}]} />
      <.chart id="chart-late" title="Tick lateness, p99" unit="ms" points={@points} lines={[{"", :lateness_ms}]} />
      <.chart id="chart-work" title="Work in 20 ms, p99" unit="ms" points={@points} lines={[{"", :work_ms}]} />
      <.chart id="chart-load" title="Load of the busiest shard" unit="%" most={100} points={@points} lines={[{"", &load/1}]} />
      <.chart id="chart-buffer" title="Jitter buffer, p50" unit="ms" points={@points} lines={[{"", :buffer_ms}]} />
      <.chart id="chart-loss" title="Frames" unit="%" points={@points} lines={[{"missing", :missing}, {"concealed", :concealed}]} />
      <.chart id="chart-joins" title="Time to join, mean" unit="ms" points={@points} lines={[{"answered", :join_ms}, {"connected", :connect_ms}]} />
      <.chart id="chart-beam" title="Run queue" points={@points} lines={[{"normal", :run_queue}, {"dirty", :dirty_run_queue}]} />
      <.chart id="chart-gc" title="Garbage collections" unit="/s" points={@points} lines={[{"", :collections}]} />
      <.chart id="chart-memory" title="Memory of the BEAM" unit="MB" points={@points} lines={[{"", &megabytes/1}]} />
    </div>
    """
  end

  defp kbits_in(point), do: point.bits_in / 1000
  defp kbits_out(point), do: point.bits_out / 1000
  defp load(point), do: 100 * point.load
  defp megabytes(point), do: point.memory / 1_000_000

  attr :nodes, :list, required: true

  @doc "A row for each node of the cluster, and for each that isn't used."
  def nodes(assigns) do
    ~H"""
    <div class="scroll" role="region" aria-label="Table of nodes" tabindex="0">
      <table class="facts" id="nodes">
        <thead>
          <tr>
            <th scope="col">Node</th>
            <th scope="col">Role</th>
            <th scope="col">Region</th>
            <th scope="col">Release</th>
            <th scope="col">State</th>
            <th scope="col" class="number">Rooms</th>
            <th scope="col" class="number">Participants</th>
            <th scope="col" class="number">Load</th>
          </tr>
        </thead>
        <tbody>
          <tr :for={node <- @nodes}>
            <th scope="row">{node.node}</th>
            <td>{node.role}</td>
            <td>{node.region}</td>
            <td>{node.release}</td>
            <td>{node_state(node.state)}</td>
            <td class="number">{node.rooms}</td>
            <td class="number">{node.participants}</td>
            <td class="number">{node.load && number(100.0 * node.load) <> " %"}</td>
          </tr>
        </tbody>
      </table>
    </div>
    """
  end

  defp node_state(:ok), do: "runs"
  defp node_state(:draining), do: "is about to stop"
  defp node_state(:unattached), do: "isn't attached"
  defp node_state({:refused, why}), do: "isn't used: #{why}"

  attr :shards, :list, required: true

  @doc "A row for each shard."
  def shards(assigns) do
    ~H"""
    <div class="scroll" role="region" aria-label="Table of shards" tabindex="0">
      <table class="facts" id="shards">
        <thead>
          <tr>
            <th scope="col">Shard</th>
            <th scope="col">State</th>
            <th scope="col" class="number">Rooms</th>
            <th scope="col" class="number">Participants</th>
            <th scope="col" class="number">Load</th>
            <th scope="col" class="number">Shed level</th>
            <th scope="col" class="number">Late, p99</th>
            <th scope="col" class="number">Ticks skipped</th>
            <th scope="col" class="number">Commands waiting</th>
          </tr>
        </thead>
        <tbody>
          <tr :for={shard <- @shards}>
            <th scope="row">{shard.shard}</th>
            <td>{if shard.up, do: "runs", else: "is down"}</td>
            <td class="number">{shard.rooms}</td>
            <td class="number">{shard.participants}</td>
            <td class="number">{number(shard.load && 100.0 * shard.load)} %</td>
            <td class="number">{shard.shed_level}</td>
            <td class="number">{number(shard.late_ms)} ms</td>
            <td class="number">{number(shard.skipped)}</td>
            <td class="number">{shard.waiting}</td>
          </tr>
        </tbody>
      </table>
    </div>
    """
  end

  attr :trunks, :list, required: true, doc: "from `Roomtone.Media.Trunks.pairs/1`"
  attr :shards, :list, required: true

  @doc "A row for each two shards with trunks between them, and one for each shard with what it refused and left out."
  def trunks(assigns) do
    assigns = assign(assigns, untold: untold(assigns.shards, assigns.trunks))

    ~H"""
    <p :if={@trunks == []} class="empty" id="no-trunks">No room is on several media nodes.</p>
    <.trunk_figures :if={@trunks != []} ends={@trunks} id="trunks" />
    <p :if={@untold > 0} class="hint" id="untold-trunks">Without {@untold} further trunks, of which the shards count only the sums.</p>
    <div class="scroll" role="region" aria-label="Table of shards with trunks" tabindex="0">
      <table class="facts" id="trunk-shards">
        <thead>
          <tr>
            <th scope="col">Shard</th>
            <th scope="col">Media node</th>
            <th scope="col" class="number">Datagrams in</th>
            <th scope="col" class="number">Datagrams out</th>
            <th scope="col" class="number">Refused</th>
            <th scope="col" class="number">Packets that nobody there would hear</th>
          </tr>
        </thead>
        <tbody>
          <tr :for={shard <- @shards}>
            <th scope="row">{shard.shard}</th>
            <td>{shard.node}</td>
            <td class="number">{number(shard.trunk_in)}</td>
            <td class="number">{number(shard.trunk_out)}</td>
            <td class="number">{number(shard.trunk_refused)}</td>
            <td class="number">{number(shard.trunk_unheard)}</td>
          </tr>
        </tbody>
      </table>
    </div>
    """
  end

  defp untold(shards, trunks) do
    told = trunks |> Enum.map(& &1.trunks) |> Enum.sum()
    max((shards |> Enum.map(& &1.trunks) |> Enum.sum()) - told, 0)
  end

  attr :ends, :list, required: true
  attr :id, :string, required: true

  defp trunk_figures(assigns) do
    ~H"""
    <div class="scroll" role="region" aria-label="Table of trunks" tabindex="0">
      <table class="facts" id={@id}>
        <thead>
          <tr>
            <th scope="col">On shard</th>
            <th scope="col">To shard</th>
            <th scope="col" class="number">Trunks</th>
            <th scope="col" class="number">In</th>
            <th scope="col" class="number">Lost on the way in</th>
            <th scope="col" class="number">Out</th>
            <th scope="col" class="number">Round trip</th>
            <th scope="col" class="number">Jitter</th>
          </tr>
        </thead>
        <tbody>
          <tr :for={trunk <- @ends}>
            <th scope="row">{shard_on(trunk.shard, trunk.node)}</th>
            <td>{shard_on(trunk.peer_shard, trunk.peer_node)}</td>
            <td class="number">{Map.get(trunk, :trunks, 1)}</td>
            <td class="number">{number(trunk.bytes_in / 1000)} kB</td>
            <td class="number">{number(trunk.lost_in)} ({number(lost_percent(trunk))} %)</td>
            <td class="number">{number(trunk.bytes_out / 1000)} kB</td>
            <td class="number">{number(trunk.round_trip_ms)} ms</td>
            <td class="number">{number(trunk.jitter_ms)} ms</td>
          </tr>
        </tbody>
      </table>
    </div>
    """
  end

  defp shard_on(nil, _node), do: "unknown here"
  defp shard_on(shard, nil), do: "#{shard}"
  defp shard_on(shard, node), do: "#{shard} on #{node}"

  defp lost_percent(%{lost_in: 0}), do: 0
  defp lost_percent(%{lost_in: lost, datagrams_in: came}), do: 100.0 * lost / (lost + came)

  attr :report, :map, required: true

  attr :path, :any,
    required: true,
    doc: "a function from a room's name to the address of its details; `nil` for no links"

  @doc "A row for each room, the busiest first."
  def rooms(assigns) do
    ~H"""
    <p :if={@report.rooms == []} class="empty" id="no-rooms">No room is open.</p>
    <div :if={@report.rooms != []} class="scroll" role="region" aria-label="Table of rooms" tabindex="0">
      <table class="facts" id="rooms">
        <thead>
          <tr>
            <th scope="col">Room</th>
            <th scope="col">Kind</th>
            <th scope="col" class="number">Participants</th>
            <th scope="col" class="number">Speaking</th>
            <th scope="col">Open</th>
          </tr>
        </thead>
        <tbody>
          <tr :for={room <- @report.rooms}>
            <th scope="row">
              <.link :if={@path} patch={@path.(room.name)}>{room.name}</.link>
              <span :if={@path == nil}>{room.name}</span>
            </th>
            <td>{kind(room)}</td>
            <td class="number">{room.participant_count} of {room.max_participants}</td>
            <td class="number">{room.speaking_count}</td>
            <td>{Format.since(room.opened_at, @report.now)}</td>
          </tr>
        </tbody>
      </table>
    </div>
    <p :if={@report.rooms_total > length(@report.rooms)} class="hint">
      And {@report.rooms_total - length(@report.rooms)} more with fewer participants.
    </p>
    """
  end

  defp kind(room) do
    words = [to_string(room.kind), room.stereo && "stereo", room.stage && "stage", room.locked && "locked"]
    words |> Enum.filter(& &1) |> Enum.join(", ")
  end

  attr :room, :any, required: true, doc: "`{:ok, room}`, `{:error, reason}`, or `nil` while it is being read"
  attr :name, :string, required: true
  attr :journey, :any, default: nil, doc: "a function from an identity to the page of its packets' journey"

  @doc "One room: its participants and their connections."
  def room(assigns) do
    assigns = assign(assigns, most: @most_people)

    ~H"""
    <p :if={@room == nil} class="hint" id="room-wait">Reading the figures of {@name} …</p>
    <p :if={match?({:error, _}, @room)} class="notice wrong" id="room-error">{Roomtone.describe_error(elem(@room, 1))}</p>
    <.people :if={match?({:ok, _}, @room)} room={elem(@room, 1)} most={@most} journey={@journey} />
    """
  end

  attr :room, :map, required: true
  attr :most, :integer, required: true
  attr :journey, :any, required: true

  defp people(assigns) do
    ~H"""
    <p class="hint" id="room-shard">
      On shard {@room.shard}, {Format.people(length(@room.participants))}.
      <span :if={@journey && @room.participants != []}>A name leads to the journey of that participant's packets.</span>
    </p>
    <.trunk_figures :if={@room.trunks != []} ends={@room.trunks} id="room-trunks" />
    <div :if={@room.participants != []} class="scroll" role="region" aria-label="Table of participants" tabindex="0">
      <table class="facts" id="connections">
        <thead>
          <tr>
            <th scope="col">Participant</th>
            <th scope="col">State</th>
            <th scope="col" class="number">Packets in</th>
            <th scope="col" class="number">Lost</th>
            <th scope="col" class="number">Concealed</th>
            <th scope="col" class="number">Jitter</th>
            <th scope="col" class="number">Buffer</th>
            <th scope="col" class="number">Packets out</th>
            <th scope="col" class="number">Lost there</th>
            <th scope="col" class="number">Round trip</th>
          </tr>
        </thead>
        <tbody>
          <tr :for={{person, stats} <- Enum.take(@room.participants, @most)}>
            <th scope="row">
              <.link :if={@journey} navigate={@journey.(person.identity)} title="The journey of a packet">{person.name}</.link>
              <span :if={@journey == nil}>{person.name}</span>
            </th>
            <td>{state(person)}</td>
            <td class="number">{number(stats[:packets_in])}</td>
            <td class="number">{number(stats[:lost_in])}</td>
            <td class="number">{number(stats[:concealed])}</td>
            <td class="number">{number(stats[:jitter_ms])} ms</td>
            <td class="number">{number(stats[:buffer_ms])} ms</td>
            <td class="number">{number(stats[:packets_out])}</td>
            <td class="number">{number(percent(stats[:fraction_lost_out]))} %</td>
            <td class="number">{number(stats[:round_trip_ms])} ms</td>
          </tr>
        </tbody>
      </table>
    </div>
    <p :if={length(@room.participants) > @most} class="hint">And {length(@room.participants) - @most} more.</p>
    """
  end

  defp state(%{connected: false}), do: "not connected"
  defp state(%{speaking: true}), do: "speaking"
  defp state(%{silenced: true}), do: "muted by a moderator"
  defp state(%{muted: true}), do: "muted"
  defp state(%{role: :listener}), do: "listener"
  defp state(_person), do: "connected"

  defp percent(nil), do: nil
  defp percent(share), do: 100.0 * share

  @doc """
  A duration in its two largest units.

      iex> for s <- [5, 65, 7_260, 180_000], do: RoomtoneWeb.OperateView.duration(s)
      ["5 s", "1 min 5 s", "2 h 1 min", "2 d 2 h"]
  """
  @spec duration(non_neg_integer) :: String.t()
  def duration(s) when s < 60, do: "#{s} s"
  def duration(s) when s < 3600, do: "#{div(s, 60)} min #{rem(s, 60)} s"
  def duration(s) when s < 86_400, do: "#{div(s, 3600)} h #{s |> rem(3600) |> div(60)} min"
  def duration(s), do: "#{div(s, 86_400)} d #{s |> rem(86_400) |> div(3600)} h"
end
