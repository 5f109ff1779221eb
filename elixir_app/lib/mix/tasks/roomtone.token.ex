defmodule Mix.Tasks.Roomtone.Token do
  @shortdoc "Prints a token for a room"
  @moduledoc """
  Prints a token for a room: the token and nothing else, so that scripts can take it.

      TOKEN=$(mix roomtone.token --room standup --name ada)

  Options:

    * `--room` – the room (required)
    * `--name` – the person's identity and name (required)
    * `--grants` – of `speak`, `listen`, `moderate`, separated by commas; default `speak,listen`
    * `--ttl` – seconds for which it is good; default 3600

  It is signed with the secret that the server uses (`TOKEN_SECRET`, or the one in `config/dev.exs`). What goes wrong is said on
  standard error, with exit status 1.
  """

  use Mix.Task

  alias Roomtone.{Config, Native, Token}

  @switches [room: :string, name: :string, grants: :string, ttl: :integer]

  @impl true
  def run(args) do
    with {:ok, person, ttl} <- parse(args),
         :ok <- configure(),
         {:ok, token} <- Token.sign(person, ttl: ttl) do
      IO.puts(token)
    else
      {:error, reason} -> fail(reason)
    end
  end

  @doc false
  @spec parse([String.t()]) :: {:ok, map, pos_integer} | {:error, String.t() | tuple}
  def parse(args) do
    with {opts, [], []} <- OptionParser.parse(args, strict: @switches),
         {:room, room} when room != nil <- {:room, opts[:room]},
         {:name, name} when name != nil <- {:name, opts[:name]},
         {:ok, grants} <- grants(Keyword.get(opts, :grants, "speak,listen")),
         {:ttl, ttl} when ttl > 0 <- {:ttl, Keyword.get(opts, :ttl, 3600)} do
      {:ok, %{room: room, identity: name, grants: grants}, ttl}
    else
      {:room, nil} -> {:error, "--room is missing"}
      {:name, nil} -> {:error, "--name is missing"}
      {:ttl, ttl} -> {:error, "--ttl takes seconds, not #{ttl}"}
      {_opts, _rest, [{switch, _value} | _]} -> {:error, "#{switch} isn't an option, or lacks a value that fits"}
      {_opts, [extra | _], []} -> {:error, "#{extra} isn't an option"}
      {:error, _} = error -> error
    end
  end

  defp grants(text), do: text |> String.split(",", trim: true) |> Enum.map(&String.trim/1) |> Token.parse_grants()

  # Only the configuration is needed, not a running server: that may be running beside us, on the same ports. Whatever compiling
  # prints goes where errors go.
  defp configure do
    leader = Process.group_leader()
    Process.group_leader(self(), Process.whereis(:standard_error))

    try do
      Mix.Task.run("app.config")
      config = Config.install!(Application.get_all_env(:roomtone))
      if config.native == Native, do: Native.loaded(), else: :ok
    rescue
      error in Config.Error -> {:error, Exception.message(error)}
    after
      Process.group_leader(self(), leader)
    end
  end

  @spec fail(String.t() | term) :: no_return
  defp fail(reason) do
    IO.puts(:stderr, "mix roomtone.token: " <> if(is_binary(reason), do: reason, else: Roomtone.describe_error(reason)))
    exit({:shutdown, 1})
  end
end
