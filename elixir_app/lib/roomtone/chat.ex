defmodule Roomtone.Chat do
  @moduledoc """
  A room's text chat as plain data: validation, rate limits, and a short history.

  Nothing is kept on disk: the last #{50} messages stay in the memory of the room's process, so that
  a page that reconnects still shows the messages since its person arrived. A newcomer sees messages
  from then on. A person who returns with the same session (after a reload, for example) gets what
  they had.
  """

  alias Roomtone.RateLimit

  @remembered 50
  @max_characters 500
  # Five lines at once, then one every two seconds; all people together ten a second, because each
  # line goes to everybody.
  @person {5, 0.5}
  @room {30, 10}

  # For this many people who left, the chat remembers since when they had been in the room.
  @known 500

  defstruct log: [], people: %{}, room: nil, known: %{}

  @type t :: %__MODULE__{
          log: [Roomtone.chat_message()],
          people: %{String.t() => RateLimit.t()},
          room: RateLimit.t() | nil,
          known: %{binary => DateTime.t()}
        }

  @doc """
  Posts a line; returns the message as everybody receives it.

  Errors are `{:error, reason, chat}`: `:empty_message`, `{:message_too_long, characters}`,
  `:not_text` or `:too_many_messages`.
  """
  @spec say(t, String.t(), String.t(), term) :: {:ok, t, Roomtone.chat_message()} | {:error, term, t}
  def say(%__MODULE__{} = chat, identity, name, text) do
    with {:ok, text} <- text(text),
         {:ok, chat} <- take(chat, identity) do
      message = %{
        id: System.unique_integer([:positive, :monotonic]),
        from: identity,
        name: name,
        text: text,
        at: DateTime.utc_now()
      }

      {:ok, %{chat | log: Enum.take([message | chat.log], @remembered)}, message}
    else
      {:error, reason} -> {:error, reason, chat}
    end
  end

  @doc "The messages since then, oldest first."
  @spec since(t, DateTime.t()) :: [Roomtone.chat_message()]
  def since(chat, then) do
    chat.log |> Enum.take_while(&(DateTime.compare(&1.at, then) != :lt)) |> Enum.reverse()
  end

  @doc """
  The messages that a person may read: from their first arrival, or from their return if that was
  too late to be remembered.
  """
  @spec read(t, Roomtone.Room.Person.t()) :: [Roomtone.chat_message()]
  def read(chat, person), do: since(chat, Map.get(chat.known, digest(person), person.joined_at))

  @doc "Notes that a person left: they may read the same messages again when they come back."
  @spec leave(t, Roomtone.Room.Person.t() | nil) :: t
  def leave(chat, nil), do: chat

  def leave(chat, person) do
    known = Map.put_new(chat.known, digest(person), person.joined_at)
    # The earliest arrivals have least to lose: the log holds only the latest lines.
    known =
      if map_size(known) > @known,
        do: Map.delete(known, known |> Enum.min_by(&elem(&1, 1), DateTime) |> elem(0)),
        else: known

    forget(%{chat | known: known}, person.identity)
  end

  # A session identifies its person, so it must not end up in a log.
  defp digest(person), do: :crypto.hash(:sha256, [person.identity, 0, person.session])

  @doc "Drops the rate limit of a person who left."
  @spec forget(t, String.t()) :: t
  def forget(chat, identity), do: %{chat | people: Map.delete(chat.people, identity)}

  @doc """
  The text as it is sent: trimmed, with uniform line ends, without invisible characters.

      iex> Roomtone.Chat.text("  two\\r\\nlines ")
      {:ok, "two\\nlines"}
      iex> Roomtone.Chat.text(" \\n ")
      {:error, :empty_message}
      iex> Roomtone.Chat.text(String.duplicate("x", 501))
      {:error, {:message_too_long, 500}}
      iex> Roomtone.Chat.text(17)
      {:error, :not_text}
  """
  @spec text(term) :: {:ok, String.t()} | {:error, :empty_message | :not_text | {:message_too_long, pos_integer}}
  # The bytes are counted first: the rest takes time in proportion to them.
  def text(text) when is_binary(text) and byte_size(text) > @max_characters * 8,
    do: {:error, {:message_too_long, @max_characters}}

  def text(text) when is_binary(text) do
    if String.valid?(text), do: text |> clean() |> sized(), else: {:error, :not_text}
  end

  def text(_other), do: {:error, :not_text}

  # Control characters, and those that change the direction of following text, even of other
  # people's lines.
  @unseen ~r/[\x{0}-\x{8}\x{b}-\x{1f}\x{7f}-\x{9f}\x{202a}-\x{202e}\x{2066}-\x{2069}]/u

  defp clean(text) do
    text
    |> String.replace(~r/\r\n?/, "\n")
    |> String.replace(@unseen, "")
    |> String.replace(~r/\n{3,}/, "\n\n")
    |> String.normalize(:nfc)
    |> String.trim()
  end

  defp sized(""), do: {:error, :empty_message}

  defp sized(text) do
    if String.length(text) <= @max_characters, do: {:ok, text}, else: {:error, {:message_too_long, @max_characters}}
  end

  defp take(chat, identity) do
    with {:ok, mine} <- chat.people |> Map.get_lazy(identity, fn -> new(@person) end) |> RateLimit.take(),
         {:ok, all} <- RateLimit.take(chat.room || new(@room)) do
      {:ok, %{chat | people: Map.put(chat.people, identity, mine), room: all}}
    else
      {:error, _empty} -> {:error, :too_many_messages}
    end
  end

  defp new({burst, per_second}), do: RateLimit.new(burst, per_second)
end
