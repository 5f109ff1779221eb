defmodule Mix.RoomtoneGenerator do
  @moduledoc """
  A task that changes a Phoenix application.

  Where the application has [Igniter](https://hexdocs.pm/igniter), the task is an
  `Igniter.Mix.Task`, so that it composes with those of other packages, and `mix igniter.install
  roomtone` finds it. Otherwise it shows its changes, asks, and makes them itself. The changes are
  the same.

  Igniter is looked for when the task is compiled: the dependency is optional, and is compiled
  before Roomtone where an application has it.
  """

  alias Mix.{RoomtoneApp, RoomtoneEdits}

  @doc "The arguments other than options, by name: `[:view]`."
  @callback takes() :: [atom]

  @doc "A call, shown with errors."
  @callback example() :: String.t()

  @doc "Checks the arguments, and makes of them what `c:edits/2` takes."
  @callback argument([String.t()]) :: {:ok, term} | {:error, String.t()}

  @doc "The changes to an application."
  @callback edits(RoomtoneApp.t(), term) :: [RoomtoneEdits.edit()]

  @doc "Text for the end, given what is left to do by hand; `nil` for none."
  @callback afterwards([RoomtoneEdits.outcome()]) :: String.t() | nil

  @doc false
  defmacro __using__(_opts) do
    if Code.ensure_loaded?(Igniter) do
      quote do
        use Igniter.Mix.Task
        @behaviour Mix.RoomtoneGenerator

        @impl Igniter.Mix.Task
        def info(_args, _composing_task),
          do: %Igniter.Mix.Task.Info{group: :roomtone, positional: takes(), example: example()}

        @impl Igniter.Mix.Task
        def igniter(igniter), do: Mix.RoomtoneIgniter.run(igniter, __MODULE__)
      end
    else
      quote do
        use Mix.Task
        @behaviour Mix.RoomtoneGenerator

        @impl Mix.Task
        def run(args), do: Mix.RoomtoneGenerator.run(__MODULE__, args)
      end
    end
  end

  @doc "Runs a task without Igniter."
  @spec run(module, [String.t()]) :: :ok
  def run(task, args) do
    {opts, rest, invalid} = OptionParser.parse(args, strict: [yes: :boolean, dry_run: :boolean], aliases: [y: :yes])
    if invalid != [], do: Mix.raise("#{task.example()} takes the options --yes and --dry-run")

    argument = argument!(task, rest)
    app = RoomtoneApp.find!()

    {result, left} =
      app |> task.edits(argument) |> RoomtoneEdits.plan(app.folder) |> RoomtoneEdits.carry_out(app.folder, opts)

    text = if result in [:done, :unchanged], do: task.afterwards(left)
    if text, do: Mix.shell().info("\n" <> text)
    :ok
  end

  @doc "Checks the arguments of a task, and returns what `c:edits/2` takes; raises `Mix.Error` if they are wrong."
  @spec argument!(module, [String.t()]) :: term
  def argument!(task, args) do
    case task.argument(args) do
      {:ok, argument} -> argument
      {:error, why} -> Mix.raise(why)
    end
  end
end
