defmodule RoomtoneWeb.OperateChart do
  @moduledoc """
  A chart of the last ten minutes, as SVG: one or two lines over time, from zero to the highest value.

  The figures are in the text beside it too, and the second line is dashed, so that neither sight nor
  colours are needed. Colours and sizes are attributes: it also shows on pages without our style
  sheets, such as LiveDashboard's.
  """
  use Phoenix.Component

  alias Roomtone.Metrics.History

  @width 300
  @height 72

  attr :id, :string, required: true
  attr :title, :string, required: true
  attr :unit, :string, default: ""
  attr :points, :list, required: true, doc: "of `Roomtone.Metrics.History`"
  attr :lines, :list, required: true, doc: "of `{name, key or function of a point}`; `nil` is a gap"
  attr :most, :any, default: nil, doc: "the top of the chart, if that is fixed"

  @doc "The chart."
  def chart(assigns) do
    lines = for {name, read} <- assigns.lines, do: line(name, read, assigns.points)
    top = top(assigns.most || lines |> Enum.map(& &1.highest) |> Enum.max())
    lines = lines |> Enum.zip(["", "4 3"]) |> Enum.map(fn {line, dash} -> Map.put(line, :dash, dash) end)

    assigns =
      assign(assigns,
        lines: for(line <- lines, do: Map.put(line, :path, path(line.values, assigns.points, top))),
        summary: summary(assigns.title, lines, assigns.unit),
        top: number(top),
        view_box: "0 0 #{@width} #{@height}",
        width: @width,
        height: @height
      )

    ~H"""
    <figure class="chart" id={@id}>
      <figcaption>
        <span class="chart-title">{@title}</span>
        <span :for={line <- @lines} class="chart-now">
          <span :if={line.name != ""} class="chart-name">{line.name}</span> {line.now} {@unit}
        </span>
      </figcaption>
      <svg viewBox={@view_box} width="100%" height={@height} preserveAspectRatio="none" role="img" aria-label={@summary}>
        <line x1="0" x2={@width} y1="1" y2="1" stroke="currentColor" stroke-opacity="0.2" stroke-dasharray="2 3" />
        <line x1="0" x2={@width} y1={@height - 1} y2={@height - 1} stroke="currentColor" stroke-opacity="0.4" />
        <path
          :for={line <- @lines}
          d={line.path}
          fill="none"
          stroke="currentColor"
          stroke-width="1.5"
          stroke-dasharray={line.dash}
          stroke-linejoin="round"
          stroke-linecap="round"
          vector-effect="non-scaling-stroke"
        />
      </svg>
      <p class="chart-scale" aria-hidden="true">
        <span>10 min ago</span> <span>top: {@top} {@unit}</span> <span>now</span>
      </p>
    </figure>
    """
  end

  defp line(name, read, points) do
    values = for point <- points, do: if(is_function(read), do: read.(point), else: Map.fetch!(point, read))
    known = Enum.reject(values, &is_nil/1)

    %{
      name: name,
      values: values,
      now: values |> List.last() |> number(),
      highest: Enum.max(known, fn -> 0 end),
      lowest: Enum.min(known, fn -> 0 end)
    }
  end

  # Room above the highest value; and never zero, by which nothing can be divided.
  @doc """
  The top of a chart for its highest value: 1, 2 or 5 times a power of ten.

      iex> for highest <- [0, 0.03, 1, 1.2, 30, 501], do: RoomtoneWeb.OperateChart.top(highest)
      [1.0, 0.05, 1.0, 2.0, 50.0, 1.0e3]
  """
  @spec top(number) :: float
  def top(highest) when highest <= 0, do: 1.0

  def top(highest) do
    power = :math.pow(10, Float.floor(:math.log10(highest)))
    # A hair's breadth for what isn't exact in binary.
    Enum.find_value([1, 2, 5, 10], fn times -> if times * power * 1.000001 >= highest, do: times * power end)
  end

  # A gap begins a new stroke, which is a dot until there is a second value.
  defp path(values, points, top) do
    now = points |> List.last() |> at()

    values
    |> Enum.zip(points)
    |> Enum.map_reduce(:gap, fn
      {nil, _point}, _before -> {"", :gap}
      {value, point}, before -> {stroke(before, place(value, now - at(point), top)), :line}
    end)
    |> elem(0)
    |> IO.iodata_to_binary()
  end

  defp stroke(:gap, place), do: ["M", place, "h0"]
  defp stroke(:line, place), do: ["L", place]

  defp at(nil), do: 0
  defp at(point), do: point.at

  defp place(value, age, top) do
    x = max(@width - @width * age / History.window(), 0)
    y = @height - 1 - (@height - 2) * min(value / top, 1)
    [coordinate(x), " ", coordinate(y)]
  end

  defp coordinate(number), do: number |> round() |> Integer.to_string()

  defp summary(title, lines, unit) do
    words =
      for line <- lines do
        name = if line.name == "", do: "", else: "#{line.name}: "
        "#{name}now #{line.now} #{unit}, from #{number(line.lowest)} to #{number(line.highest)} in the last ten minutes"
      end

    "#{title}. #{Enum.join(words, ". ")}."
  end

  @doc """
  A figure in few digits.

      iex> for n <- [nil, 0, 7, 0.04567, 3.14159, 1234.5, 5_300_000], do: RoomtoneWeb.OperateChart.number(n)
      ["–", "0", "7", "0.046", "3.1", "1,235", "5.3 M"]
  """
  @spec number(number | nil) :: String.t()
  def number(nil), do: "–"
  def number(n) when n >= 1_000_000, do: "#{number(n / 1_000_000)} M"
  def number(n) when n >= 100, do: n |> round() |> Integer.to_string() |> thousands()
  def number(n) when is_integer(n) or n == 0, do: n |> round() |> Integer.to_string()
  def number(n) when n >= 1, do: n |> Float.round(1) |> short()
  def number(n), do: n |> Float.round(3) |> short()

  defp short(float), do: if(float == trunc(float), do: Integer.to_string(trunc(float)), else: Float.to_string(float))

  defp thousands(digits), do: String.replace(digits, ~r/\B(?=(\d{3})+$)/, ",")
end
