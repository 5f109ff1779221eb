defmodule Mix.Tasks.Roomtone.Gen.Live do
  @shortdoc "Makes a LiveView with a voice room"

  @moduledoc """
  Makes a page with a voice room of its own in a Phoenix application that has voice rooms (`mix
  roomtone.install`).

      mix roomtone.gen.live Standup    # MyAppWeb.StandupLive at /standup, with the room "standup"

  It adds the view, its route, and the room's name to those that `MyAppWeb.Voice.who/2` lets people
  enter. Options: `--yes` and `--dry-run`, as of `mix roomtone.install`.
  """

  use Mix.Task

  alias Mix.{RoomtoneApp, RoomtoneEdits, RoomtoneInstall}

  @impl true
  def run(args) do
    {opts, rest, invalid} = OptionParser.parse(args, strict: [yes: :boolean, dry_run: :boolean], aliases: [y: :yes])

    module =
      case {rest, invalid} do
        {[name], []} ->
          if name =~ ~r/\A[A-Z][A-Za-z0-9]{0,60}\z/, do: String.replace_suffix(name, "Live", ""), else: usage()

        _other ->
          usage()
      end

    if module == "", do: usage()
    app = RoomtoneApp.find!()
    app |> RoomtoneInstall.live(module) |> RoomtoneEdits.plan(app.folder) |> RoomtoneEdits.carry_out(app.folder, opts)
  end

  @spec usage() :: no_return
  defp usage, do: Mix.raise("mix roomtone.gen.live takes the name of a view, such as Standup, and --yes or --dry-run")
end
