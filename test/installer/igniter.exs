# The part of Igniter that Mix.RoomtoneIgniter calls, for machines without Hex. Files are a map in memory, and nothing is
# formatted or asked. test/igniter_test.exs uses it.

defmodule Igniter do
  @moduledoc false
  defstruct files: %{}, rewrite: %{}, args: nil, issues: [], warnings: [], notices: []

  def exists?(igniter, path), do: is_map_key(igniter.files, path) or is_map_key(igniter.rewrite, path)

  def include_existing_file(igniter, path) do
    source = igniter.rewrite[path] || %{path: path, content: Map.fetch!(igniter.files, path)}
    %{igniter | rewrite: Map.put(igniter.rewrite, path, source)}
  end

  def create_new_file(igniter, path, content) do
    if exists?(igniter, path), do: raise("#{path} is there")
    %{igniter | rewrite: Map.put(igniter.rewrite, path, %{path: path, content: content})}
  end

  def update_file(igniter, path, change) do
    igniter = include_existing_file(igniter, path)
    %{igniter | rewrite: Map.update!(igniter.rewrite, path, change)}
  end

  def add_issue(igniter, text), do: %{igniter | issues: [text | igniter.issues]}
  def add_warning(igniter, text), do: %{igniter | warnings: [text | igniter.warnings]}
  def add_notice(igniter, text), do: %{igniter | notices: [text | igniter.notices]}
end

defmodule Igniter.Project.Application do
  @moduledoc false
  def app_name(_igniter), do: :shop
end

defmodule Igniter.Project.Module do
  @moduledoc false
  def module_exists(igniter, module) do
    texts = Map.values(igniter.files) ++ for {_path, source} <- igniter.rewrite, do: source.content
    {Enum.any?(texts, &(&1 =~ "defmodule #{inspect(module)} do")), igniter}
  end
end

defmodule Igniter.Mix.Task.Info do
  @moduledoc false
  defstruct group: nil, positional: [], example: nil
end

defmodule Igniter.Mix.Task do
  @moduledoc false
  @callback info([String.t()], String.t() | nil) :: map
  @callback igniter(struct) :: struct

  defmacro __using__(_opts) do
    quote do
      use Mix.Task
      @behaviour Igniter.Mix.Task
      @impl Mix.Task
      def run(_args), do: raise("Igniter would run #{inspect(__MODULE__)}")
    end
  end
end

defmodule Rewrite do
  @moduledoc false
  def source!(rewrite, path), do: Map.fetch!(rewrite, path)
end

defmodule Rewrite.Source do
  @moduledoc false
  def get(source, :content), do: source.content
  def update(source, :content, content), do: %{source | content: content}
end
