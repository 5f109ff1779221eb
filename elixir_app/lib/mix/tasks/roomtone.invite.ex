defmodule Mix.Tasks.Roomtone.Invite do
  @shortdoc "Prints an invitation to a room"
  @moduledoc """
  Prints a link that invites whoever has it to a room: the link and nothing else.

      mix roomtone.invite --room standup --url https://voice.example

  Options:

    * `--room` – the room (required)
    * `--grants` – of `speak`, `listen`, `moderate`, separated by commas; default `speak,listen`
    * `--ttl` – seconds for which it can be taken, and is good; default a day, at most thirty
    * `--once` – only the first to take it gets in
    * `--url` – what the link begins with; default `http://localhost:4000`

  It is signed with the secret that the server uses (`TOKEN_SECRET`, or the one in `config/dev.exs`). What goes wrong is said on
  standard error, with exit status 1.
  """

  use Mix.Task

  alias Mix.RoomtoneTask
  alias Roomtone.Auth.Invitation

  @switches [room: :string, grants: :string, ttl: :integer, once: :boolean, url: :string]

  @impl true
  def run(args) do
    with {:ok, opts} <- parse(args),
         {:ok, grants} <- RoomtoneTask.grants(Keyword.get(opts, :grants, "speak,listen")),
         :ok <- RoomtoneTask.configure(),
         {:ok, jwt} <- Invitation.sign(opts[:room], [grants: grants] ++ Keyword.take(opts, [:ttl, :once])) do
      IO.puts(String.trim_trailing(Keyword.get(opts, :url, "http://localhost:4000"), "/") <> "/invitations/" <> jwt)
    else
      {:error, reason} -> RoomtoneTask.fail("roomtone.invite", reason)
    end
  end

  defp parse(args) do
    case OptionParser.parse(args, strict: @switches) do
      {opts, [], []} -> if opts[:room], do: {:ok, opts}, else: {:error, "--room is missing"}
      {_opts, _rest, [{switch, _value} | _]} -> {:error, "#{switch} isn't an option, or lacks a value that fits"}
      {_opts, [extra | _], []} -> {:error, "#{extra} isn't an option"}
    end
  end
end
