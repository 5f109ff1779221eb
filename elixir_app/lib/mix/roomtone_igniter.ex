if Code.ensure_loaded?(Igniter) do
  defmodule Mix.RoomtoneIgniter do
    @moduledoc """
    Changes to an application through Igniter, which shows them, asks, formats and writes.

    Each file's new text comes from `Mix.RoomtoneEdits`, as without Igniter.
    """

    alias Mix.{RoomtoneApp, RoomtoneEdits, RoomtoneGenerator}

    @doc "Adds the changes of a task (`Mix.RoomtoneGenerator`) to those of Igniter."
    @spec run(Igniter.t(), module) :: Igniter.t()
    def run(igniter, task) do
      argument = RoomtoneGenerator.argument!(task, for(name <- task.takes(), do: igniter.args.positional[name]))

      case app(igniter) do
        nil -> Igniter.add_issue(igniter, RoomtoneApp.none())
        app -> app |> task.edits(argument) |> Enum.reduce({igniter, []}, &make/2) |> finish(task)
      end
    end

    defp app(igniter) do
      app = Igniter.Project.Application.app_name(igniter)
      RoomtoneApp.find(File.cwd!(), app, Mix.Project.deps_paths()[:roomtone], &read(igniter, &1))
    end

    # Files may exist only in Igniter, made by a task before this one.
    defp read(igniter, path) do
      if Igniter.exists?(igniter, path) do
        source = igniter |> Igniter.include_existing_file(path) |> Map.fetch!(:rewrite) |> Rewrite.source!(path)
        {:ok, Rewrite.Source.get(source, :content)}
      else
        {:error, :enoent}
      end
    end

    defp make(edit, {igniter, left}) do
      case RoomtoneEdits.look(edit, read(igniter, edit.path)) do
        {:change, path, nil, new} ->
          {create(igniter, path, new), left}

        {:change, path, _old, new} ->
          {Igniter.update_file(igniter, path, &Rewrite.Source.update(&1, :content, new)), left}

        {:there, _path} ->
          {igniter, left}

        {:left, path, why, lines} = outcome ->
          {Igniter.add_warning(igniter, "#{path}: #{why}. Add by hand:\n\n#{lines}"), [outcome | left]}
      end
    end

    # Igniter moves a new module to where its own settings want it, so a second run has to look for the module.
    defp create(igniter, path, text) do
      [_, module] = Regex.run(~r/^defmodule (\S+) do/, text)
      {there?, igniter} = Igniter.Project.Module.module_exists(igniter, Module.concat([module]))
      if there?, do: igniter, else: Igniter.create_new_file(igniter, path, text)
    end

    defp finish({igniter, left}, task) do
      case task.afterwards(Enum.reverse(left)) do
        nil -> igniter
        text -> Igniter.add_notice(igniter, text)
      end
    end
  end
end
