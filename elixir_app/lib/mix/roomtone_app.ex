defmodule Mix.RoomtoneApp do
  @moduledoc "The Phoenix application that a task changes: its names and folders."

  @enforce_keys [:folder, :app, :web, :web_path, :read]
  defstruct [:folder, :app, :web, :web_path, :read, :dependency, bandit: true]

  @typedoc "Reads a file of the application, by its path below the application's folder."
  @type read :: (Path.t() -> {:ok, String.t()} | {:error, :file.posix()})

  @typedoc """
    * `app`, `web` – such as `:my_app` and `"MyAppWeb"`
    * `web_path` – the folder of the web, such as `"lib/my_app_web"`
    * `read` – reads its files
    * `dependency` – the folder of a Roomtone that isn't in `deps`, relative to the application
    * `bandit` – `false` if its settings name another server than Bandit, or none: Phoenix then takes Cowboy
  """
  @type t :: %__MODULE__{
          folder: Path.t(),
          app: atom,
          web: String.t(),
          web_path: Path.t(),
          read: read,
          dependency: Path.t() | nil,
          bandit: boolean
        }

  @doc "Finds the application in the current folder; raises `Mix.Error` where there is none."
  @spec find!() :: t
  def find! do
    config = Mix.Project.config()
    folder = File.cwd!()

    if Mix.Project.umbrella?(),
      do: Mix.raise("this is an umbrella: run the task in the folder of the application that has the endpoint")

    case find(folder, config[:app], Mix.Project.deps_paths()[:roomtone]) do
      nil -> Mix.raise(none())
      app -> app
    end
  end

  @doc "The reason why a task changes nothing where `find/4` finds no application."
  @spec none() :: String.t()
  def none, do: "there is no lib/*_web/endpoint.ex here: the task changes applications that `mix phx.new` made"

  @doc """
  The application in a folder; `nil` if it has no endpoint. `read` reads a file, by its path below the folder.
  """
  @spec find(Path.t(), atom, Path.t() | nil, read | nil) :: t | nil
  def find(folder, app, dependency, read \\ nil) do
    read = read || (&File.read(Path.join(folder, &1)))

    paths =
      ["lib/#{app}_web"] ++
        (folder |> Path.join("lib/*_web") |> Path.wildcard() |> Enum.map(&Path.relative_to(&1, folder)))

    with {path, {:ok, text}} <- endpoint(paths, read),
         [_, web] <- Regex.run(~r/^defmodule (\S+)\.Endpoint do/m, text) do
      %__MODULE__{
        folder: folder,
        app: app,
        web: web,
        web_path: path,
        dependency: outside(dependency, folder),
        bandit: bandit?(read.("config/config.exs")),
        read: read
      }
    else
      _none -> nil
    end
  end

  defp endpoint(paths, read) do
    Enum.find_value(paths, fn path ->
      with {:ok, text} <- read.(Path.join(path, "endpoint.ex")), do: {path, {:ok, text}}, else: (_none -> nil)
    end)
  end

  defp bandit?({:ok, settings}), do: settings =~ ~r/^[^#\n]*Bandit\.PhoenixAdapter/m
  # In an umbrella they are elsewhere, and among what is left to do.
  defp bandit?({:error, _reason}), do: true

  defp outside(nil, _folder), do: nil

  defp outside(dependency, folder) do
    if String.starts_with?(dependency, Path.join(folder, "deps") <> "/"), do: nil, else: relative(dependency, folder)
  end

  # With `..` where needed, which `Path.relative_to/2` of older Elixirs can't do.
  defp relative(path, from) do
    {path, from} = {Path.split(Path.expand(path)), Path.split(Path.expand(from))}
    common = Enum.zip(path, from) |> Enum.take_while(fn {a, b} -> a == b end) |> length()
    Path.join(List.duplicate("..", length(from) - common) ++ Enum.drop(path, common))
  end
end
