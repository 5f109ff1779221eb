defmodule Tutorial do
  @moduledoc """
  Runs a chapter of the tutorial without Livebook: its Elixir cells, in order, with one binding.

  A cell that fails stops the run with the chapter's line number, so a chapter can't go stale unnoticed.
  """

  @doc "Runs the chapter in this folder whose name begins with `number`. `edit` may change the code of each cell before it runs."
  @spec run(String.t(), (String.t() -> String.t())) :: :ok
  def run(number, edit \\ & &1) do
    [path] = Path.wildcard(Path.join(__DIR__, number <> "-*.livemd"))

    path
    |> cells()
    |> Enum.reduce({[], env(path)}, fn {line, code}, {binding, env} ->
      {_value, binding, env} =
        edit.(code) |> Code.string_to_quoted!(file: path, line: line) |> Code.eval_quoted_with_env(binding, env)

      {binding, env}
    end)

    :ok
  end

  @doc "The Elixir cells of a chapter, each with the number of its first line."
  @spec cells(Path.t()) :: [{pos_integer, String.t()}]
  def cells(path) do
    source = File.read!(path)

    for [{start, _}, {from, length}] <- Regex.scan(~r/^```elixir\n(.*?)^```$/ms, source, return: :index) do
      line = source |> binary_part(0, start) |> String.split("\n") |> length()
      {line + 1, binary_part(source, from, length)}
    end
  end

  defp env(path), do: %{Code.env_for_eval([]) | file: path}
end
