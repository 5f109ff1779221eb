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

  In an application that has [Igniter](https://hexdocs.pm/igniter), the changes go through it: the
  task composes with those of other packages, and `mix igniter.install roomtone` adds the dependency
  and runs it.
  """

  use Mix.RoomtoneGenerator

  @impl Mix.RoomtoneGenerator
  def takes, do: []

  @impl Mix.RoomtoneGenerator
  def example, do: "mix roomtone.install"

  @impl Mix.RoomtoneGenerator
  def argument([]), do: {:ok, nil}
  def argument(_more), do: {:error, "mix roomtone.install takes no arguments"}

  @impl Mix.RoomtoneGenerator
  def edits(app, nil), do: Mix.RoomtoneInstall.install(app)

  @impl Mix.RoomtoneGenerator
  def afterwards(left) do
    """
    #{if left == [], do: "Voice rooms are installed.", else: "Once the above is done, voice rooms are installed."} `mix phx.server`, then open
    http://localhost:4000/voice in two browsers (a private window counts as one), and join in both.

    lib/…_web/voice.ex decides who may enter. `mix roomtone.gen.live Standup` makes another page with a room of
    its own. The guide: docs/embedding.md. To test who hears whom: Roomtone.Test.
    """
  end
end
