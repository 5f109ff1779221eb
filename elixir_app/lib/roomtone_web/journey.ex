defmodule RoomtoneWeb.Journey do
  @moduledoc """
  The journey of a packet of sound from one microphone to another ear, in ten steps: how long each
  took for the last packet, and in the last minute.

  The server's part is measured (`Roomtone.Trace`). The rest is what the talker's own browser counts
  (`assets/js/journey_stats.js`), and some of it is estimated: half a round trip each way, and for
  the listener's browser the figures of the talker's. Pure data.
  """

  alias Roomtone.Trace

  @most 60

  # Stages of the talker's browser, in milliseconds.
  @lookahead_ms 6.5
  @browser_before [{:frame, 20.0}, {:lookahead, @lookahead_ms}]
  # Stages of the server, each with the moment at which it ends.
  @server [
    receive: :shard,
    find: :room,
    open: :opened,
    insert: :buffered,
    wait: :tick,
    decode: :decoded,
    mix: :mixed,
    encode: :encoded,
    seal: :sealed,
    send: :sent
  ]

  defstruct samples: []

  @typedoc "A stage's name."
  @type stage :: atom

  @typedoc "Figures of the browser, in milliseconds; unknown ones are missing."
  @type browser :: %{optional(:capture | :round_trip | :buffer | :decode | :playout) => float}

  @figures [
    capture: "capture",
    round_trip: "round_trip",
    buffer: "buffer",
    decode: "decode",
    playout: "playout"
  ]

  @typedoc "One packet: its stages in order, in milliseconds, and its trace."
  @type sample :: %{trace: Trace.t(), stages: [{stage, float}]}

  @typedoc "The packets of the last minute, the newest first."
  @type t :: %__MODULE__{samples: [sample]}

  @typedoc """
  A stage as it is drawn: `begin` and `ms` of the last packet, the median and the 99th percentile of
  the last minute; and whether it is measured, a constant of the codec, or estimated.
  """
  @type row :: %{
          stage: stage,
          begin: float | nil,
          ms: float | nil,
          p50: float,
          p99: float,
          known: :measured | :fixed | :estimated
        }

  @doc "The figures that a page sent, checked: numbers from 0 to 10,000, and no others."
  @spec browser(term) :: browser
  def browser(given) when is_map(given) do
    for {key, name} <- @figures,
        ms = given[name],
        is_number(ms) and ms >= 0 and ms <= 10_000,
        into: %{},
        do: {key, ms * 1.0}
  end

  def browser(_given), do: %{}

  @doc "Adds a packet."
  @spec add(t, Trace.t(), browser) :: t
  def add(%__MODULE__{samples: samples} = journey, trace, browser) do
    sample = %{trace: trace, stages: stages(trace, browser)}
    %{journey | samples: Enum.take([sample | samples], @most)}
  end

  defp stages(trace, browser) do
    half = if round_trip = browser[:round_trip], do: round_trip / 2
    server = server(trace)
    # Few browsers tell it. Ours does the same work.
    decode = browser[:decode] || (browser[:buffer] && server[:decode])

    # The encoder of a mix looks ahead as that of the talker did.
    after_server =
      [lookahead_again: if(trace.way == :mixed, do: @lookahead_ms)] ++
        [place: trace.into_frame_us / 1_000, downlink: half] ++
        [buffer: browser[:buffer], decode_there: decode, playout: browser[:playout]]

    known =
      [capture: browser[:capture]] ++
        @browser_before ++ [uplink: half] ++ server ++ if(arrived?(trace), do: after_server, else: [])

    for {_stage, ms} = stage <- known, ms != nil, do: stage
  end

  defp arrived?(trace), do: List.keymember?(trace.stages, :sent, 0)

  # Each stage takes from the moment before it to its own.
  defp server(%{stages: moments}) do
    names = Map.new(@server, fn {name, moment} -> {moment, name} end)

    moments
    |> Enum.chunk_every(2, 1, :discard)
    |> Enum.flat_map(fn [{_before, from}, {moment, to}] ->
      case names do
        %{^moment => name} -> [{name, (to - from) / 1_000}]
        _unknown -> []
      end
    end)
  end

  @doc "The last packet."
  @spec last(t) :: sample | nil
  def last(%__MODULE__{samples: samples}), do: List.first(samples)

  @doc "The stages that any packet of the last minute passed, in order."
  @spec rows(t) :: [row]
  def rows(%__MODULE__{samples: []}), do: []

  def rows(%__MODULE__{samples: [newest | _] = samples}) do
    {begins, _end} =
      Enum.map_reduce(newest.stages, 0.0, fn {stage, ms}, begin -> {{stage, {begin, ms}}, begin + ms} end)

    begins = Map.new(begins)
    times = samples |> Enum.flat_map(& &1.stages) |> Enum.group_by(&elem(&1, 0), &elem(&1, 1))

    for stage <- order(), taken = times[stage] do
      {begin, ms} = Map.get(begins, stage, {nil, nil})
      taken = Enum.sort(taken)
      %{stage: stage, begin: begin, ms: ms, p50: quantile(taken, 0.5), p99: quantile(taken, 0.99), known: known(stage)}
    end
  end

  defp known(stage) when stage in [:frame, :lookahead, :lookahead_again], do: :fixed
  defp known(stage), do: if(Keyword.has_key?(@server, stage) or stage == :place, do: :measured, else: :estimated)

  @doc """
  Several stages taken together, by name: as a row, with the stages; `nil` where no packet of the last
  minute passed any of them.
  """
  @spec groups(t, [{name, [stage]}]) :: [{name, map | nil}] when name: term
  def groups(%__MODULE__{samples: samples} = journey, groups) do
    rows = rows(journey)
    for {name, stages} <- groups, do: {name, group(samples, Enum.filter(rows, &(&1.stage in stages)))}
  end

  defp group(_samples, []), do: nil

  defp group([newest | _] = samples, rows) do
    stages = Enum.map(rows, & &1.stage)
    taken = samples |> Enum.map(&taken(&1, stages)) |> Enum.reject(&is_nil/1) |> Enum.sort()

    %{
      stages: stages,
      begin: rows |> Enum.map(& &1.begin) |> Enum.reject(&is_nil/1) |> Enum.min(fn -> nil end),
      ms: taken(newest, stages),
      p50: quantile(taken, 0.5),
      p99: quantile(taken, 0.99),
      known: if(Enum.any?(rows, &(&1.known == :estimated)), do: :estimated, else: :measured)
    }
  end

  defp taken(%{stages: passed}, stages) do
    case for {stage, ms} <- passed, stage in stages, do: ms do
      [] -> nil
      times -> Enum.sum(times)
    end
  end

  defp order do
    [:capture] ++
      Keyword.keys(@browser_before) ++
      [:uplink] ++ Keyword.keys(@server) ++ [:lookahead_again, :place, :downlink, :buffer, :decode_there, :playout]
  end

  @doc """
  From the microphone to the ear: the last packet (`nil` if that reached nobody), the median and the
  99th percentile of those that reached somebody, and whether a part is estimated; `nil` before the
  first of them.
  """
  @spec total(t) :: %{ms: float | nil, p50: float, p99: float, known: :measured | :estimated} | nil
  def total(%__MODULE__{samples: samples}) do
    case Enum.filter(samples, &arrived?(&1.trace)) do
      [] ->
        nil

      arrived ->
        [newest | _] = samples
        totals = arrived |> Enum.map(&whole/1) |> Enum.sort()

        %{
          ms: if(arrived?(newest.trace), do: whole(newest)),
          p50: quantile(totals, 0.5),
          p99: quantile(totals, 0.99),
          known: if(Enum.any?(arrived, &estimated?/1), do: :estimated, else: :measured)
        }
    end
  end

  defp whole(%{stages: stages}), do: Enum.sum(for {_stage, ms} <- stages, do: ms)
  defp estimated?(%{stages: stages}), do: Enum.any?(stages, fn {stage, _ms} -> known(stage) == :estimated end)

  # The least value that so great a share doesn't exceed.
  defp quantile(sorted, share), do: Enum.at(sorted, max(ceil(share * length(sorted)) - 1, 0))
end
