defmodule Roomtone.Auth.Users do
  @moduledoc """
  The file of named users: one a line, `name:hash` or `name:hash:grants`. `mix roomtone.user` writes it; a running server notices.

      Ada Lovelace:$argon2id$v=19$m=19456,t=2,p=1$…$…
      Ben:$argon2id$v=19$m=19456,t=2,p=1$…$…:speak,listen,moderate
      Cleo:$argon2id$v=19$m=19456,t=2,p=1$…$…:speak,listen,operate

  Empty lines and those that begin with `#` are left alone. Grants are those in every room, by default to speak and to listen;
  `operate` is the grant to see the whole server (`/operate`), and means nothing in rooms.
  """
  use GenServer

  alias Roomtone.Auth.Revocations
  alias Roomtone.{Config, Name, Token, UnknownMessage}

  require Logger

  @derive {Inspect, except: [:hash]}
  @enforce_keys [:name, :hash]
  defstruct [:name, :hash, grants: [:speak, :listen], operate: false]

  @type t :: %__MODULE__{name: String.t(), hash: String.t(), grants: [Token.grant()], operate: boolean}

  @look_ms 1_000
  @most_bytes 10_000_000

  # Letters that look like Latin ones, in lower case: Cyrillic and Greek, and two digits. A capital I is an l in most fonts, and case
  # doesn't count, so whatever is an i or an l is one.
  @lookalikes Enum.zip(
                String.graphemes("авекмнорстухіјѕԁһԛԝαεικνορτυχ01iıӏ"),
                String.graphemes("abekmhopctyxljsdhqwaelkvoptuxollll")
              )
              |> Map.new()

  @doc "The user of a name, in whatever case it is written. Asks no process."
  @spec get(String.t()) :: t | nil
  def get(name) do
    case :ets.lookup(__MODULE__, fold(name)) do
      [{_folded, user}] -> user
      [] -> nil
    end
  end

  @doc "Whether the name is a user's, or so like one that people would take it for theirs."
  @spec reserved?(String.t()) :: boolean
  def reserved?(name), do: get(name) != nil

  @doc """
  The part of a name that is compared: neither case nor accents, nor signs between the letters, nor which alphabet a letter is from that looks
  the same in several.

      iex> Roomtone.Auth.Users.fold("Ada L.") == Roomtone.Auth.Users.fold("аdа-l")
      true
  """
  @spec fold(String.t()) :: String.t()
  def fold(name) do
    letters = name |> String.normalize(:nfkd) |> String.downcase() |> String.replace(~r/[^\p{L}\p{N}\p{So}]/u, "")
    for <<letter::utf8 <- letters>>, into: "", do: Map.get(@lookalikes, <<letter::utf8>>, <<letter::utf8>>)
  end

  # ---- The file --------------------------------------------------------------------------------------------------------

  @doc "Reads a file of users; errors name the line."
  @spec read(Path.t()) :: {:ok, [t]} | {:error, String.t()}
  def read(path) do
    with {:ok, %{size: size}} when size <= @most_bytes <- File.stat(path),
         {:ok, text} <- File.read(path) do
      parse(text)
    else
      {:ok, _large} -> {:error, "is larger than #{div(@most_bytes, 1_000_000)} MB"}
      {:error, reason} -> {:error, "can't be read: #{:file.format_error(reason)}"}
    end
  end

  @doc "The users in the text of a file."
  @spec parse(String.t()) :: {:ok, [t]} | {:error, String.t()}
  def parse(text) do
    text
    |> String.split("\n")
    |> Enum.with_index(1)
    |> Enum.reduce_while({:ok, [], MapSet.new()}, fn {line, number}, {:ok, users, names} ->
      case parse_line(String.trim(line)) do
        :none ->
          {:cont, {:ok, users, names}}

        {:ok, user} ->
          if fold(user.name) in names,
            do: {:halt, {:error, "line #{number}: there is a user of this name, or one too like it, already"}},
            else: {:cont, {:ok, [user | users], MapSet.put(names, fold(user.name))}}

        {:error, why} ->
          {:halt, {:error, "line #{number}: #{why}"}}
      end
    end)
    |> case do
      {:ok, users, _names} -> {:ok, Enum.reverse(users)}
      error -> error
    end
  end

  defp parse_line(""), do: :none

  defp parse_line(line) do
    case String.split(line, ":") do
      [name, "$argon2" <> _ = hash] -> user(name, hash, "speak,listen")
      [name, "$argon2" <> _ = hash, grants] -> user(name, hash, grants)
      _ -> if String.starts_with?(line, "#"), do: :none, else: {:error, "it takes name:hash or name:hash:grants"}
    end
  end

  defp user(name, hash, grants) do
    with {:ok, name} <- Name.identity(name),
         {:ok, grants, operate} <- parse_grants(grants) do
      {:ok, %__MODULE__{name: name, hash: hash, grants: grants, operate: operate}}
    else
      {:error, reason} -> {:error, Roomtone.describe_error(reason)}
    end
  end

  @doc """
  Grants as the file has them: those of rooms, and whether `operate` is among them.

      iex> Roomtone.Auth.Users.parse_grants("speak, listen,operate")
      {:ok, [:speak, :listen], true}
  """
  @spec parse_grants(String.t()) :: {:ok, [Token.grant()], operate :: boolean} | {:error, {:unknown_grant, String.t()}}
  def parse_grants(text) do
    names = text |> String.split(",", trim: true) |> Enum.map(&String.trim/1)
    {operate, names} = Enum.split_with(names, &(&1 == "operate"))
    with {:ok, grants} <- Token.parse_grants(names), do: {:ok, grants, operate != []}
  end

  @doc """
  Grants as the file has them.

      iex> Roomtone.Auth.Users.format_grants(%Roomtone.Auth.Users{name: "ada", hash: "", operate: true})
      "speak,listen,operate"
  """
  @spec format_grants(t) :: String.t()
  def format_grants(%__MODULE__{grants: grants, operate: operate}),
    do: Enum.map_join(grants ++ if(operate, do: [:operate], else: []), ",", &Atom.to_string/1)

  @doc "Makes or replaces a user in the text of a file; other lines stay as they are."
  @spec put(String.t(), t) :: String.t()
  def put(text, %__MODULE__{} = user) do
    line = "#{user.name}:#{user.hash}:#{format_grants(user)}"
    {kept, place} = without(text, user.name)
    kept |> List.insert_at(place || -1, line) |> Enum.join("\n") |> Kernel.<>("\n")
  end

  @doc "Takes a user out of the text of a file."
  @spec delete(String.t(), String.t()) :: {:ok, String.t()} | {:error, :not_found}
  def delete(text, name) do
    case without(text, name) do
      {_kept, nil} -> {:error, :not_found}
      {kept, _place} -> {:ok, Enum.map_join(kept, &(&1 <> "\n"))}
    end
  end

  defp without(text, name) do
    lines = text |> String.trim_trailing("\n") |> String.split("\n") |> Enum.reject(&(&1 == "" and text == ""))
    place = Enum.find_index(lines, &match?({:ok, %{name: other}} when is_binary(other), same(&1, name)))
    {if(place, do: List.delete_at(lines, place), else: lines), place}
  end

  defp same(line, name) do
    with {:ok, user} <- parse_line(String.trim(line)), true <- fold(user.name) == fold(name), do: {:ok, user}
  end

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @doc false
  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc "Looks now whether the file has changed, and not only at the next second."
  @spec look() :: :ok
  def look, do: GenServer.call(__MODULE__, :look)

  @typep state :: %{file: Path.t() | nil, stamp: term}

  @impl true
  def init(nil) do
    # Users by their folded names, for whoever asks.
    :ets.new(__MODULE__, [:named_table, :protected, :set, read_concurrency: true])
    {:ok, look(%{file: Config.get().users_file, stamp: nil}), {:continue, :look_again}}
  end

  @impl true
  def handle_continue(:look_again, %{file: nil} = state), do: {:noreply, state}

  def handle_continue(:look_again, state) do
    Process.send_after(self(), :look, @look_ms)
    {:noreply, state}
  end

  @impl true
  def handle_call(:look, _from, state), do: {:reply, :ok, look(state)}
  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info(:look, state), do: {:noreply, look(state), {:continue, :look_again}}
  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  @spec look(state) :: state
  defp look(%{file: nil} = state), do: state

  defp look(%{file: file, stamp: before} = state) do
    case File.stat(file, time: :posix) do
      {:ok, %File.Stat{mtime: mtime, size: size, inode: inode}} ->
        if {mtime, size, inode} == before, do: state, else: read(state, {mtime, size, inode})

      {:error, reason} ->
        complain(state, {:error, reason}, "can't be read: #{:file.format_error(reason)}")
    end
  end

  defp read(%{file: file} = state, stamp) do
    case read(file) do
      {:ok, users} ->
        users = Map.new(users, &{fold(&1.name), &1})
        changed = for {folded, user} <- :ets.tab2list(__MODULE__), users[folded] != user, do: {folded, user}
        :ets.insert(__MODULE__, Map.to_list(users))
        for {folded, _user} <- changed, not is_map_key(users, folded), do: :ets.delete(__MODULE__, folded)
        for {_folded, user} <- changed, do: Revocations.ended({:user, user.name})
        %{state | stamp: stamp}

      {:error, why} ->
        complain(state, stamp, why)
    end
  end

  # Users whom we knew stay known: half a file isn't a reason to turn everybody away. Said once for each change.
  defp complain(%{stamp: stamp} = state, stamp, _why), do: state

  defp complain(state, stamp, why) do
    Logger.error("the file of users #{why}; those known before stay")
    %{state | stamp: stamp}
  end
end
