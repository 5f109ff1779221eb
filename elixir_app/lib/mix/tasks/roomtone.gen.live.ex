defmodule Mix.Tasks.Roomtone.Gen.Live do
  @shortdoc "Makes a LiveView with a voice room"

  @moduledoc """
  Makes a page with a voice room of its own in a Phoenix application that has voice rooms (`mix
  roomtone.install`).

      mix roomtone.gen.live Standup    # MyAppWeb.StandupLive at /standup, with the room "standup"

  It adds the view, its route, and the room's name to those that `MyAppWeb.Voice.who/2` lets people
  enter. Options: `--yes` and `--dry-run`, as of `mix roomtone.install`.
  """

  use Mix.RoomtoneGenerator

  @impl Mix.RoomtoneGenerator
  def takes, do: [:view]

  @impl Mix.RoomtoneGenerator
  def example, do: "mix roomtone.gen.live Standup"

  @impl Mix.RoomtoneGenerator
  def argument([name]) when is_binary(name) do
    module = String.replace_suffix(name, "Live", "")
    if name =~ ~r/\A[A-Z][A-Za-z0-9]{0,60}\z/ and module != "", do: {:ok, module}, else: wrong()
  end

  def argument(_other), do: wrong()

  defp wrong, do: {:error, "mix roomtone.gen.live takes the name of a view, such as Standup"}

  @impl Mix.RoomtoneGenerator
  defdelegate edits(app, module), to: Mix.RoomtoneInstall, as: :live

  @impl Mix.RoomtoneGenerator
  def afterwards(_left), do: nil
end
