defmodule Mix.RoomtoneEdits do
  @moduledoc """
  Changes to the files of a Phoenix application, for the tasks `roomtone.install` and
  `roomtone.gen.live`.

  A change is a function of a file's text. It returns the new text, `:there` if the file has it
  already, or a reason why it can't be made, with the lines to add by hand. Nothing is written
  before the person has seen all changes and agreed.
  """

  @typedoc "A change to a file, or a new file."
  @type edit :: %{
          path: Path.t(),
          # Shown when the change can't be made.
          lines: String.t(),
          change: (String.t() -> {:ok, String.t()} | :there | {:error, String.t()}) | {:new, String.t()}
        }

  @typedoc "The result of looking at an edit."
  @type outcome ::
          {:change, Path.t(), old :: String.t() | nil, new :: String.t()}
          | {:there, Path.t()}
          | {:left, Path.t(), why :: String.t(), lines :: String.t()}

  @doc """
  Applies edits in memory, one after the other. The folder is the application's.
  """
  @spec plan([edit], Path.t()) :: [outcome]
  def plan(edits, folder) do
    {outcomes, _texts} =
      Enum.map_reduce(edits, %{}, fn edit, texts ->
        {now, texts} = read(texts, folder, edit.path)
        outcome = look(edit, now)

        case outcome do
          {:change, path, _old, new} -> {outcome, Map.put(texts, path, {:ok, new})}
          _unchanged -> {outcome, texts}
        end
      end)

    outcomes
  end

  defp read(texts, folder, path) do
    case texts do
      %{^path => text} -> {text, texts}
      _ -> {File.read(Path.join(folder, path)), texts}
    end
  end

  @doc "Looks at an edit, given what the file is: its text, or why it can't be read."
  @spec look(edit, {:ok, String.t()} | {:error, :file.posix()}) :: outcome
  def look(edit, now)
  def look(%{change: {:new, text}} = edit, {:error, :enoent}), do: {:change, edit.path, nil, text}
  def look(%{change: {:new, _text}} = edit, {:ok, _own}), do: {:there, edit.path}

  def look(edit, {:error, :enoent}), do: {:left, edit.path, "there is no such file", edit.lines}

  def look(edit, {:error, reason}),
    do: {:left, edit.path, "the file can't be read (#{:file.format_error(reason)})", edit.lines}

  def look(edit, {:ok, text}) do
    case edit.change.(text) do
      {:ok, new} -> {:change, edit.path, text, new}
      :there -> {:there, edit.path}
      {:error, why} -> {:left, edit.path, why, edit.lines}
    end
  end

  @doc """
  Shows what a plan changes, asks, and writes it. Options: `yes: true` doesn't ask, `dry_run: true`
  doesn't write. Returns what is left to do by hand.
  """
  @spec carry_out([outcome], Path.t(), keyword) :: {:done | :unchanged | :refused | :dry_run, [outcome]}
  def carry_out(outcomes, folder, opts) do
    shell = Mix.shell()
    changes = for {:change, _path, _old, _new} = change <- outcomes, do: change
    left = for {:left, _path, _why, _lines} = left <- outcomes, do: left

    for {:there, path} <- outcomes, do: shell.info("unchanged  #{path} has it already")
    for change <- changes, do: show(change)

    result =
      cond do
        changes == [] -> :unchanged
        opts[:dry_run] -> :dry_run
        opts[:yes] || shell.yes?("Make these changes?") -> write(changes, folder)
        true -> :refused
      end

    if result == :dry_run, do: shell.info("\nNothing was written: this was a dry run.")
    if result == :refused, do: shell.info("\nNothing was written.")
    Enum.each(left, &tell_left/1)
    {result, left}
  end

  defp show({:change, path, nil, new}) do
    Mix.shell().info([:green, "\nnew        ", :reset, path])
    new |> String.split("\n") |> Enum.drop(-1) |> show_lines()
  end

  # All of our changes add lines or replace one.
  defp show({:change, path, old, new}) do
    Mix.shell().info([:green, "\nchange     ", :reset, path])

    for {kind, lines} <- List.myers_difference(String.split(old, "\n"), String.split(new, "\n")),
        kind != :eq,
        line <- lines do
      if kind == :ins,
        do: Mix.shell().info([:green, "  + ", :reset, line]),
        else: Mix.shell().info([:red, "  - ", :reset, line])
    end
  end

  defp show_lines(lines), do: for(line <- lines, do: Mix.shell().info([:green, "  + ", :reset, line]))

  defp tell_left({:left, path, why, lines}) do
    Mix.shell().info([:yellow, "\nleft to do ", :reset, "#{path}: #{why}. Add by hand:\n"])
    for line <- String.split(String.trim_trailing(lines), "\n"), do: Mix.shell().info("    " <> line)
  end

  defp write(changes, folder) do
    for {:change, path, _old, new} <- changes do
      to = Path.join(folder, path)
      File.mkdir_p!(Path.dirname(to))
      File.write!(to, new)
    end

    :done
  end

  # ---- Changes ---------------------------------------------------------------------------------------------------------

  @doc "Inserts lines before or after the first match of a pattern, unless the text has `marker`."
  @spec insert(:before | :after, Regex.t(), String.t(), String.t()) ::
          (String.t() -> {:ok, String.t()} | :there | {:error, String.t()})
  def insert(where, pattern, lines, marker) do
    fn text ->
      cond do
        String.contains?(text, marker) ->
          :there

        match = Regex.run(pattern, text, return: :index) ->
          [{at, length} | _groups] = match
          at = if where == :before, do: at, else: at + length
          {before, rest} = {binary_part(text, 0, at), binary_part(text, at, byte_size(text) - at)}
          {:ok, before <> lines <> rest}

        true ->
          {:error, "it isn't as `mix phx.new` makes it"}
      end
    end
  end
end
