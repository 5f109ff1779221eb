defmodule Roomtone.Name do
  @moduledoc """
  Checks and normalises the names of rooms and people.

  Names are shown to other people, put into URLs and compared. So a name is brought to one form
  (Unicode NFC, no spaces around it, one between words) and refused when it could be mistaken for
  another or break the page: control and direction characters, invisible letters, stacks of accents,
  slashes and markup. Letters and digits of every script, emoji and ``space - – _ . ' ’ “ ” @ + & (
  ) ! , # %`` are allowed.

  People who agree on a name by voice write it differently. Names with the same `key/1` count as the
  same name: a room is shown as its opener wrote it, and two people in a room can't have the same
  name.
  """

  @typedoc "Why a name was refused."
  @type problem :: :not_text | :empty | :too_long | :forbidden_character | :nothing_readable

  @default_max 64
  defguardp alphanumeric(c) when c in ?a..?z or c in ?A..?Z or c in ?0..?9
  defguardp plain(c) when alphanumeric(c) or c in ~c"-_.'@+&()!,#%"
  @fine "\\p{L}\\p{M}\\p{N}\\p{So} \\-–_.'’“”@+&()!,#%"
  # Skin tones, and the joiner of two emoji.
  @allowed Regex.compile!("\\A[" <> @fine <> "\\x{1F3FB}-\\x{1F3FF}\\x{200D}]+\\z", "u")
  @refused Regex.compile!("[^" <> @fine <> "\\x{1F3FB}-\\x{1F3FF}]", "u")
  # A skin tone without an emoji before it, or a joiner that isn't between two emoji.
  @alone ~r/(?<![\p{So}\x{FE0F}])[\x{1F3FB}-\x{1F3FF}]|(?<![\p{So}\x{FE0F}\x{1F3FB}-\x{1F3FF}])\x{200D}|\x{200D}(?!\p{So})/u
  # Letters and symbols by their Unicode category, but invisible.
  @invisible ~r/[\x{115F}\x{1160}\x{3164}\x{FFA0}\x{2800}]/u
  @accent_tower ~r/\p{M}{5}/u
  @readable ~r/[\p{L}\p{N}\p{So}]/u

  @doc """
  The normal form of a room name; if a room of the same `key/1` is open or remembered, that room's
  name.

      iex> Roomtone.Name.room("  Stand-up 9:00")
      {:error, {:invalid_name, :forbidden_character}}
      iex> Roomtone.Name.room(" Stand-up ")
      {:ok, "Stand-up"}
  """
  @spec room(term) :: {:ok, String.t()} | {:error, {:invalid_name, problem}}
  def room(name), do: with({:ok, name} <- check(name, max_length()), do: {:ok, Roomtone.Rooms.Spellings.of(name)})

  @doc """
  The normal form of a person's identity or display name.

      iex> Roomtone.Name.identity("Zoë")
      {:ok, "Zoë"}
      iex> Roomtone.Name.identity("..")
      {:error, {:invalid_name, :nothing_readable}}
  """
  @spec identity(term) :: {:ok, String.t()} | {:error, {:invalid_name, problem}}
  def identity(name), do: check(name, max_length())

  @doc "As `room/1`, with the maximum length (in graphemes) as an argument."
  @spec check(term, pos_integer) :: {:ok, String.t()} | {:error, {:invalid_name, problem}}
  def check(name, max) when is_binary(name) do
    if byte_size(name) <= max and plain?(name), do: {:ok, name}, else: check_any(name, max)
  end

  def check(_name, _max), do: {:error, {:invalid_name, :not_text}}

  defp check_any(name, max) do
    # The length in bytes first: normalising isn't for arbitrarily long input.
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

  # Whether a name is in its normal form for certain. Names are checked at each call, and the checks of Unicode cost sixty times as much.
  defp plain?(<<c, rest::binary>>) when alphanumeric(c), do: plain_rest?(rest)
  defp plain?(_name), do: false

  defp plain_rest?(<<c, rest::binary>>) when plain(c), do: plain_rest?(rest)
  defp plain_rest?(<<?\s, c, rest::binary>>) when plain(c), do: plain_rest?(rest)
  defp plain_rest?(rest), do: rest == ""

  @doc """
  The key by which names are compared: it unites compatible forms of a letter (Unicode NFKC), upper
  and lower case, any dash, quotation mark or number of spaces. It isn't for display.

      iex> Roomtone.Name.key("Stand–up  X") == Roomtone.Name.key("stand-up x")
      true
      iex> Roomtone.Name.key("Ｃafé") == Roomtone.Name.key("CAFÉ")
      true
      iex> Roomtone.Name.key("Cafe") == Roomtone.Name.key("Café")
      false
  """
  @spec key(String.t()) :: String.t()
  def key(name), do: if(plain?(name), do: String.downcase(name, :ascii), else: key_of_any(name))

  defp key_of_any(name) do
    # Twice, because folding may produce text that isn't normalised.
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
  The first character of a text that no name may have, if it is visible.

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
