defmodule Mix.Tasks.Roomtone.Invite do
  @shortdoc "Prints an invitation to a room"
  @moduledoc """
  Prints a link that invites its holder to a room: the link and nothing else.

      mix roomtone.invite --room standup --url https://voice.example

  Options:

    * `--room` – the room (required)
    * `--grants` – of `speak`, `listen`, `moderate`, separated by commas; default `speak,listen`
    * `--ttl` – seconds for which the invitation is valid; default a day, at most thirty days
    * `--once` – only the first person to use it gets in
    * `--url` – the beginning of the link; default `http://localhost:4000`

  The server's secret signs it (`TOKEN_SECRET`, or the one in `config/dev.exs`). Errors go to
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
      {opts, [], []} ->
        if opts[:room], do: {:ok, opts}, else: {:error, "--room is missing"}

      {_opts, _rest, [{switch, _value} | _]} ->
        {:error, "#{switch} isn't an option, or its value is missing or invalid"}

      {_opts, [extra | _], []} ->
        {:error, "#{extra} isn't an option"}
    end
  end
end
