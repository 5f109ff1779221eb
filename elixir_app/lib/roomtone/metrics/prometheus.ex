defmodule Roomtone.Metrics.Prometheus do
  @moduledoc """
  Metrics as text, in the exposition format of Prometheus, version 0.0.4
  (https://prometheus.io/docs/instrumenting/exposition_formats/).

  Pure functions. `docs/decisions/0014-own-metrics-formatter.md` says why this isn't a library.
  """

  alias Roomtone.Metrics

  @doc "The media type of this text."
  @spec content_type() :: String.t()
  def content_type, do: "text/plain; version=0.0.4; charset=utf-8"

  @doc """
  The text of these metrics. A metric without samples is left out.

      iex> metric = %{name: "rooms", type: :gauge, help: "Rooms open.", samples: [{[shard: 0], 2}]}
      iex> [metric] |> Roomtone.Metrics.Prometheus.format() |> IO.iodata_to_binary()
      "# HELP rooms Rooms open.\\n# TYPE rooms gauge\\nrooms{shard=\\"0\\"} 2\\n"
  """
  @spec format([Metrics.metric()]) :: iolist
  def format(metrics), do: for(%{samples: [_ | _]} = metric <- metrics, do: metric(metric))

  defp metric(%{name: name, type: type, help: help, samples: samples}) do
    [
      ["# HELP ", name, ?\s, escape(help, ["\\", "\n"]), ?\n],
      ["# TYPE ", name, ?\s, Atom.to_string(type), ?\n],
      for({labels, value} <- samples, do: sample(name, labels, value))
    ]
  end

  defp sample(name, labels, %{buckets: buckets, sum: sum, count: count}) do
    [
      for({bound, up_to} <- buckets, do: line([name, "_bucket"], labels ++ [le: number(bound)], up_to)),
      line([name, "_bucket"], labels ++ [le: "+Inf"], count),
      line([name, "_sum"], labels, sum),
      line([name, "_count"], labels, count)
    ]
  end

  defp sample(name, labels, value), do: line(name, labels, value)

  defp line(name, labels, value), do: [name, labels(labels), ?\s, number(value), ?\n]

  defp labels([]), do: []
  defp labels(labels), do: [?{, labels |> Enum.map(&label/1) |> Enum.intersperse(?,), ?}]

  defp label({name, value}),
    do: [Atom.to_string(name), ?=, ?", value |> to_string() |> escape(["\\", "\n", "\""]), ?"]

  defp escape(text, special) do
    String.replace(text, special, fn
      "\n" -> "\\n"
      character -> "\\" <> character
    end)
  end

  defp number(integer) when is_integer(integer), do: Integer.to_string(integer)
  defp number(float), do: :erlang.float_to_binary(float, [:short])
end
