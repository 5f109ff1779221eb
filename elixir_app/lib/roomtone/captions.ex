defmodule Roomtone.Captions do
  @moduledoc """
  A room's captions as plain data: validation, rate limits, and those of the last while, for a page
  that shows them and for a WebVTT file. `Roomtone.caption/4` takes them.

  Nothing is kept on disk: the last #{500} stay in the memory of the room's process.
  """

  alias Roomtone.{Chat, RateLimit}

  @remembered 500
  # At once, and then a second: of one speaker, and of all.
  @speaker {10, 3}
  @room {40, 15}
  # Times may be this far in the past, and, because clocks differ, in the future.
  @oldest_s 600
  @newest_s 10
  # A caption without a beginning: as long as its text takes to say.
  @ms_a_letter 60
  @shortest_ms 1_000
  @longest_ms 7_000

  @typedoc "Something that a person said, as text. `id` increases with each."
  @type caption :: %{
          id: pos_integer,
          speaker: String.t(),
          name: String.t(),
          text: String.t(),
          from: DateTime.t(),
          until: DateTime.t()
        }

  @type error ::
          :empty_message
          | :not_text
          | {:message_too_long, pos_integer}
          | :too_many_messages
          | {:invalid_option, :from | :until}

  defstruct log: [], speakers: %{}, room: nil

  @type t :: %__MODULE__{log: [caption], speakers: %{String.t() => RateLimit.t()}, room: RateLimit.t() | nil}

  @doc "Refuses an option that `Roomtone.caption/4` doesn't have. The room checks the values."
  @spec known(keyword) :: :ok | {:error, {:invalid_option, atom}}
  def known(opts) do
    case Enum.find(opts, fn {key, _value} -> key not in [:from, :until] end) do
      nil -> :ok
      {key, _value} -> {:error, {:invalid_option, key}}
    end
  end

  @doc "Adds a caption; returns it as everybody receives it."
  @spec add(t, String.t(), String.t(), term, map) :: {:ok, t, caption} | {:error, error}
  def add(%__MODULE__{} = captions, speaker, name, text, opts) do
    with {:ok, text} <- Chat.text(text),
         {:ok, from, until} <- times(text, opts, DateTime.utc_now()),
         {:ok, captions} <- take(captions, speaker) do
      caption = %{
        id: System.unique_integer([:positive, :monotonic]),
        speaker: speaker,
        name: name,
        text: text,
        from: from,
        until: until
      }

      {:ok, %{captions | log: Enum.take([caption | captions.log], @remembered)}, caption}
    end
  end

  @doc "The captions of what was said since then, oldest first."
  @spec since(t, DateTime.t() | nil) :: [caption]
  def since(captions, nil), do: Enum.reverse(captions.log)

  def since(captions, then),
    do: for(caption <- Enum.reverse(captions.log), DateTime.compare(caption.until, then) != :lt, do: caption)

  @doc "Drops the rate limit of a speaker who left."
  @spec forget(t, String.t()) :: t
  def forget(captions, speaker), do: %{captions | speakers: Map.delete(captions.speakers, speaker)}

  @doc """
  Captions as a WebVTT file (W3C WebVTT 1), with the names of the speakers. Its time begins at
  `origin`: that of a recording, say; by default, with the first caption.

      iex> at = ~U[2026-11-29 10:00:00.000Z]
      iex> caption = %{id: 1, speaker: "ada", name: "Ada", text: "1 < 2", from: at, until: DateTime.add(at, 1500, :millisecond)}
      iex> Roomtone.Captions.web_vtt([caption])
      "WEBVTT\\n\\n00:00:00.000 --> 00:00:01.500\\n<v Ada>1 &lt; 2\\n"
  """
  @spec web_vtt([caption], DateTime.t() | nil) :: String.t()
  def web_vtt(captions, origin \\ nil) do
    captions = Enum.sort_by(captions, &DateTime.to_unix(&1.from, :millisecond))
    origin = origin || captions |> List.first() |> then(&(&1 && &1.from))
    IO.iodata_to_binary(["WEBVTT\n" | for(caption <- captions, do: cue(caption, origin))])
  end

  defp cue(caption, origin) do
    from = caption.from |> DateTime.diff(origin, :millisecond) |> max(0)
    until = caption.until |> DateTime.diff(origin, :millisecond) |> max(from + 1)
    # An empty line would end the cue.
    text = caption.text |> escape() |> String.replace(~r/\n+/, "\n")

    [
      "\n",
      clock(from),
      " --> ",
      clock(until),
      "\n<v ",
      caption.name |> escape() |> String.replace("\n", " "),
      ">",
      text,
      "\n"
    ]
  end

  defp clock(ms) do
    part = fn value, digits -> value |> Integer.to_string() |> String.pad_leading(digits, "0") end
    seconds = div(ms, 1_000)

    [part.(div(seconds, 3600), 2), ":", part.(rem(div(seconds, 60), 60), 2), ":"] ++
      [part.(rem(seconds, 60), 2), ".", part.(rem(ms, 1_000), 3)]
  end

  defp escape(text),
    do: text |> String.replace("&", "&amp;") |> String.replace("<", "&lt;") |> String.replace(">", "&gt;")

  defp times(text, opts, now) do
    until = Map.get(opts, :until, now)

    with :ok <- check(:until, until, now),
         from = Map.get_lazy(opts, :from, fn -> DateTime.add(until, -spoken_ms(text), :millisecond) end),
         :ok <- check(:from, from, now),
         :ok <- if(DateTime.compare(from, until) == :gt, do: {:error, {:invalid_option, :from}}, else: :ok),
         do: {:ok, from, until}
  end

  defp check(name, at, now) do
    if is_struct(at, DateTime) and DateTime.diff(now, at) in -@newest_s..(@oldest_s + div(@longest_ms, 1_000)),
      do: :ok,
      else: {:error, {:invalid_option, name}}
  end

  defp spoken_ms(text), do: (String.length(text) * @ms_a_letter) |> max(@shortest_ms) |> min(@longest_ms)

  defp take(captions, speaker) do
    with {:ok, own} <- captions.speakers |> Map.get_lazy(speaker, fn -> new(@speaker) end) |> RateLimit.take(),
         {:ok, all} <- RateLimit.take(captions.room || new(@room)) do
      {:ok, %{captions | speakers: Map.put(captions.speakers, speaker, own), room: all}}
    else
      {:error, _empty} -> {:error, :too_many_messages}
    end
  end

  defp new({burst, per_second}), do: RateLimit.new(burst, per_second)
end
