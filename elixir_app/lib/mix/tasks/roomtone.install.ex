defmodule Mix.Tasks.Roomtone.Install do
  @shortdoc "Puts voice rooms into a Phoenix application"

  @moduledoc """
  Puts voice rooms into a Phoenix application that `mix phx.new` made.

      mix roomtone.install             # shows the changes, and asks
      mix roomtone.install --yes       # doesn't ask
      mix roomtone.install --dry-run   # writes nothing

  It adds the settings (with secrets of your own for development and tests, and a line in
  `runtime.exs` that reads the one of production), the socket and the static files to the endpoint,
  the style sheet to the root layout, the hook to `app.js`, a module that decides who may enter
  which room, a page with a room at `/voice`, and a test of who hears whom.

  Running it again changes nothing that is there. Where a file isn't as `mix phx.new` makes it, the
  task leaves the file as it is and prints the lines to add. In an umbrella, run it in the folder of
  the application that has the endpoint: the settings, which are in the umbrella's own folder, are
  then among the lines to add.
  """

  use Mix.Task

  alias Mix.{RoomtoneApp, RoomtoneEdits, RoomtoneInstall}

  @impl true
  def run(args) do
    {opts, rest, invalid} = OptionParser.parse(args, strict: [yes: :boolean, dry_run: :boolean], aliases: [y: :yes])
    if rest != [] or invalid != [], do: Mix.raise("mix roomtone.install takes --yes and --dry-run")
    app = RoomtoneApp.find!()

    {result, left} =
      app |> RoomtoneInstall.install() |> RoomtoneEdits.plan(app.folder) |> RoomtoneEdits.carry_out(app.folder, opts)

    if result in [:done, :unchanged], do: next(left)
  end

  defp next(left) do
    Mix.shell().info("""

    #{if left == [], do: "Voice rooms are installed.", else: "Once the above is done, voice rooms are installed."} `mix phx.server`, then open
    http://localhost:4000/voice in two browsers (a private window counts as one), and join in both.

    lib/…_web/voice.ex decides who may enter. `mix roomtone.gen.live Standup` makes another page with a room of
    its own. The guide: docs/embedding.md. To test who hears whom: Roomtone.Test.
    """)
  end
end
