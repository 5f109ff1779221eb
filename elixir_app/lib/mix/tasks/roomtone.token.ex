defmodule Mix.Tasks.Roomtone.Token do
  @shortdoc "Prints a token for a room"
  @moduledoc """
  Prints a token for a room: the token and nothing else, so that scripts can take it.

      TOKEN=$(mix roomtone.token --room standup --name ada)

  Options:

    * `--room` – the room (required)
    * `--name` – the person's identity and name (required)
    * `--grants` – of `speak`, `listen`, `moderate`, `move`, separated by commas; default
      `speak,listen`
    * `--ttl` – seconds for which it is valid; default 3600

  The server's secret signs it (`TOKEN_SECRET`, or the one in `config/dev.exs`). Errors go to
  standard error, with exit status 1.
  """

  use Mix.Task

  alias Mix.RoomtoneTask
  alias Roomtone.Token

  @switches [room: :string, name: :string, grants: :string, ttl: :integer]

  @impl true
  def run(args) do
    with {:ok, person, ttl} <- parse(args),
         :ok <- RoomtoneTask.configure(),
         {:ok, token} <- Token.sign(person, ttl: ttl) do
      IO.puts(token)
    else
      {:error, reason} -> RoomtoneTask.fail("roomtone.token", reason)
    end
  end

  @doc false
  @spec parse([String.t()]) :: {:ok, map, pos_integer} | {:error, String.t() | tuple}
  def parse(args) do
    with {opts, [], []} <- OptionParser.parse(args, strict: @switches),
         {:room, room} when room != nil <- {:room, opts[:room]},
         {:name, name} when name != nil <- {:name, opts[:name]},
         {:ok, grants} <- RoomtoneTask.grants(Keyword.get(opts, :grants, "speak,listen")),
         {:ttl, ttl} when ttl > 0 <- {:ttl, Keyword.get(opts, :ttl, 3600)} do
      {:ok, %{room: room, identity: name, grants: grants}, ttl}
    else
      {:room, nil} ->
        {:error, "--room is missing"}

      {:name, nil} ->
        {:error, "--name is missing"}

      {:ttl, ttl} ->
        {:error, "--ttl takes seconds, not #{ttl}"}

      {_opts, _rest, [{switch, _value} | _]} ->
        {:error, "#{switch} isn't an option, or its value is missing or invalid"}

      {_opts, [extra | _], []} ->
        {:error, "#{extra} isn't an option"}

      {:error, _} = error ->
        error
    end
  end
end
