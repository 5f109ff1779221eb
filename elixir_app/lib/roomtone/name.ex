defmodule Roomtone.Name do
  @moduledoc """
  What a room or a person may be called.

  Names are shown to other people, put into URLs and compared, so a name is brought to one form (Unicode NFC, no spaces around
  it, one between words) and refused when it could be mistaken for another or break the page: control and direction characters, invisible
  letters, stacks of accents, slashes and markup. Letters and digits of every script, emoji and ``space - – _ . ' ’ “ ” @ + & ( ) ! , # %`` are
  fine.

  People who agree on a name by voice write it in their own ways. Names that have one `key/1` are one name: a room is shown as whoever
  opened it wrote it, and two people in a room can't be called the same.
  """

  @typedoc "Why a name was refused."
  @type problem :: :not_text | :empty | :too_long | :forbidden_character | :nothing_readable

  @default_max 64
  @fine "\\p{L}\\p{M}\\p{N}\\p{So} \\-–_.'’“”@+&()!,#%"
  # Tones of skin, and what joins two emoji to one.
  @allowed Regex.compile!("\\A[" <> @fine <> "\\x{1F3FB}-\\x{1F3FF}\\x{200D}]+\\z", "u")
  @refused Regex.compile!("[^" <> @fine <> "\\x{1F3FB}-\\x{1F3FF}]", "u")
  # A tone without an emoji before it, or a joiner that isn't between two.
  @alone ~r/(?<![\p{So}\x{FE0F}])[\x{1F3FB}-\x{1F3FF}]|(?<![\p{So}\x{FE0F}\x{1F3FB}-\x{1F3FF}])\x{200D}|\x{200D}(?!\p{So})/u
  # Letters and symbols by their Unicode category, yet nothing can be seen of them.
  @invisible ~r/[\x{115F}\x{1160}\x{3164}\x{FFA0}\x{2800}]/u
  @accent_tower ~r/\p{M}{5}/u
  @readable ~r/[\p{L}\p{N}\p{So}]/u

  @doc """
  The one form of a room name; where a room of the same `key/1` is open, or remembered, the name of that one.

      iex> Roomtone.Name.room("  Stand-up 9:00")
      {:error, {:invalid_name, :forbidden_character}}
      iex> Roomtone.Name.room(" Stand-up ")
      {:ok, "Stand-up"}
  """
  @spec room(term) :: {:ok, String.t()} | {:error, {:invalid_name, problem}}
  def room(name), do: with({:ok, name} <- check(name, max_length()), do: {:ok, Roomtone.Rooms.Spellings.of(name)})

  @doc """
  The one form of a person's identity or display name.

      iex> Roomtone.Name.identity("Zoë")
      {:ok, "Zoë"}
      iex> Roomtone.Name.identity("..")
      {:error, {:invalid_name, :nothing_readable}}
  """
  @spec identity(term) :: {:ok, String.t()} | {:error, {:invalid_name, problem}}
  def identity(name), do: check(name, max_length())

  @doc "As `room/1`, with the greatest length (in characters as people count them) as an argument."
  @spec check(term, pos_integer) :: {:ok, String.t()} | {:error, {:invalid_name, problem}}
  def check(name, max) when is_binary(name) do
    # Length first, in bytes: normalising is not for arbitrarily long input.
    with :ok <- refuse(byte_size(name) > max * 16, :too_long),
         :ok <- refuse(not String.valid?(name), :not_text),
         name = name |> String.normalize(:nfc) |> String.trim(" ") |> String.replace(~r/ {2,}/, " "),
         :ok <- refuse(name == "", :empty),
         :ok <- refuse(String.length(name) > max, :too_long),
         :ok <- refuse(not (name =~ @allowed), :forbidden_character),
         :ok <- refuse(name =~ @invisible or name =~ @accent_tower or name =~ @alone, :forbidden_character),
         :ok <- refuse(not (name =~ @readable), :nothing_readable) do
      {:ok, name}
    end
  end

  def check(_name, _max), do: {:error, {:invalid_name, :not_text}}

  @doc """
  What names are compared by: compatible forms of a letter are one (Unicode NFKC), upper and lower case too, and any dash, quotation mark or
  number of spaces. Not to be shown.

      iex> Roomtone.Name.key("Stand–up  X") == Roomtone.Name.key("stand-up x")
      true
      iex> Roomtone.Name.key("Ｃafé") == Roomtone.Name.key("CAFÉ")
      true
      iex> Roomtone.Name.key("Cafe") == Roomtone.Name.key("Café")
      false
  """
  @spec key(String.t()) :: String.t()
  def key(name) do
    # Twice, since folding may bring about what isn't normal any more.
    name
    |> String.normalize(:nfkc)
    |> :string.casefold()
    |> String.normalize(:nfkc)
    |> String.replace(~r/[\x{2010}-\x{2015}]/u, "-")
    |> String.replace(~r/[\x{2018}\x{2019}]/u, "'")
    |> String.replace(~r/[\x{201C}\x{201D}]/u, "\"")
    |> String.replace(~r/\s+/u, " ")
    |> String.trim()
  end

  @doc """
  The first character of a text that no name may have, if there is one that can be seen.

      iex> Roomtone.Name.offender("a/b")
      "/"
      iex> Roomtone.Name.offender("a\u200Bb")
      nil
  """
  @spec offender(String.t()) :: String.t() | nil
  def offender(text) do
    with true <- String.valid?(text), [found | _] <- Regex.run(@refused, text), true <- String.printable?(found) do
      if found =~ ~r/\A[\p{P}\p{S}]\z/u, do: found
    else
      _none -> nil
    end
  end

  defp refuse(true, problem), do: {:error, {:invalid_name, problem}}
  defp refuse(false, _problem), do: :ok

  defp max_length do
    case Roomtone.Config.fetch() do
      {:ok, config} -> config.max_name_length
      :error -> @default_max
    end
  end
end
