defmodule Roomtone.Name do
  @moduledoc """
  What a room or a person may be called.

  Names are shown to other people, put into URLs and compared, so a name is brought to one form (Unicode NFC, no spaces around
  it) and refused when it could be mistaken for another or break the page: control and direction characters, invisible letters,
  stacks of accents, slashes and markup. Letters and digits of every script, emoji and ``space - _ . ' ’ @ + & ( ) ! , #`` are fine.
  """

  @typedoc "Why a name was refused."
  @type problem :: :not_text | :empty | :too_long | :forbidden_character | :nothing_readable

  @default_max 64
  @allowed ~r/\A[\p{L}\p{M}\p{N}\p{So} \-_.'’@+&()!,#]+\z/u
  # Letters and symbols by their Unicode category, yet nothing can be seen of them.
  @invisible ~r/[\x{115F}\x{1160}\x{3164}\x{FFA0}\x{2800}]/u
  @accent_tower ~r/\p{M}{5}/u
  @readable ~r/[\p{L}\p{N}\p{So}]/u

  @doc """
  The one form of a room name.

      iex> Roomtone.Name.room("  Stand-up 9:00")
      {:error, {:invalid_name, :forbidden_character}}
      iex> Roomtone.Name.room(" Stand-up ")
      {:ok, "Stand-up"}
  """
  @spec room(term) :: {:ok, String.t()} | {:error, {:invalid_name, problem}}
  def room(name), do: check(name, max_length())

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
         name = name |> String.normalize(:nfc) |> String.trim(" "),
         :ok <- refuse(name == "", :empty),
         :ok <- refuse(String.length(name) > max, :too_long),
         :ok <- refuse(not (name =~ @allowed), :forbidden_character),
         :ok <- refuse(name =~ @invisible or name =~ @accent_tower, :forbidden_character),
         :ok <- refuse(not (name =~ @readable), :nothing_readable) do
      {:ok, name}
    end
  end

  def check(_name, _max), do: {:error, {:invalid_name, :not_text}}

  defp refuse(true, problem), do: {:error, {:invalid_name, problem}}
  defp refuse(false, _problem), do: :ok

  defp max_length do
    case Roomtone.Config.fetch() do
      {:ok, config} -> config.max_name_length
      :error -> @default_max
    end
  end
end
