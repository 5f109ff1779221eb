defmodule Roomtone.Chat do
  @moduledoc """
  A room's text chat as plain data: what may be said, how often, and the little that is remembered of it.

  Nothing is kept: the last #{50} messages stay in the memory of the room's process, so that a page that reconnects still shows
  what was said since its person came. Whoever comes later gets what is said from then on; whoever was there before and comes back with the same
  session, after a reload say, gets what they had.
  """

  alias Roomtone.RateLimit

  @remembered 50
  @max_characters 500
  # Five lines at once, and one every two seconds; of all people together ten a second, since each goes to everybody.
  @person {5, 0.5}
  @room {30, 10}

  # Of so many people who left it is known since when they had been there.
  @known 500

  defstruct log: [], people: %{}, room: nil, known: %{}

  @type t :: %__MODULE__{
          log: [Roomtone.chat_message()],
          people: %{String.t() => RateLimit.t()},
          room: RateLimit.t() | nil,
          known: %{binary => DateTime.t()}
        }

  @doc """
  Says something; the message as everybody gets it.

  `{:error, reason, chat}`: `:empty_message`, `{:message_too_long, characters}`, `:not_text` or `:too_many_messages`.
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

  @doc "What was said since then, the oldest first."
  @spec since(t, DateTime.t()) :: [Roomtone.chat_message()]
  def since(chat, then) do
    chat.log |> Enum.take_while(&(DateTime.compare(&1.at, then) != :lt)) |> Enum.reverse()
  end

  @doc "What somebody may read: what was said since they first came, or since they came back too late to be remembered."
  @spec read(t, Roomtone.Room.Person.t()) :: [Roomtone.chat_message()]
  def read(chat, person), do: since(chat, Map.get(chat.known, digest(person), person.joined_at))

  @doc "Somebody left: what they could read, they can read again when they come back."
  @spec leave(t, Roomtone.Room.Person.t() | nil) :: t
  def leave(chat, nil), do: chat

  def leave(chat, person) do
    known = Map.put_new(chat.known, digest(person), person.joined_at)
    # Those who came first have least to gain: the log has what was said last.
    known =
      if map_size(known) > @known,
        do: Map.delete(known, known |> Enum.min_by(&elem(&1, 1), DateTime) |> elem(0)),
        else: known

    forget(%{chat | known: known}, person.identity)
  end

  # Whoever knows a session is that person: it must not end up in a log.
  defp digest(person), do: :crypto.hash(:sha256, [person.identity, 0, person.session])

  @doc "Somebody is gone: there is no more to count."
  @spec forget(t, String.t()) :: t
  def forget(chat, identity), do: %{chat | people: Map.delete(chat.people, identity)}

  @doc """
  The text as it is sent: trimmed, lines of one kind, nothing that can't be seen.

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
  # Bytes first, as the rest takes time in proportion.
  def text(text) when is_binary(text) and byte_size(text) > @max_characters * 8,
    do: {:error, {:message_too_long, @max_characters}}

  def text(text) when is_binary(text) do
    if String.valid?(text), do: text |> clean() |> sized(), else: {:error, :not_text}
  end

  def text(_other), do: {:error, :not_text}

  # Control characters, and those that turn the direction of what follows, of others' lines too.
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
