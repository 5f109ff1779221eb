defmodule PhoenixLite.VersionsTest do
  use ExUnit.Case, async: true

  @app Path.expand("../../..", __DIR__)

  # The clients of the app's pages, and those of the walks in test/client.
  for folder <- ["assets", "phoenix_lite/test/client"] do
    test "the versions that phoenix_lite imitates are those of #{folder}" do
      folder = Path.join(@app, unquote(folder))
      %{"dependencies" => asked} = read(folder, "package.json")
      %{"packages" => locked} = read(folder, "package-lock.json")

      for {package, version} <- PhoenixLite.Versions.imitated() do
        assert {package, asked[package]} == {package, version}
        assert {package, locked["node_modules/" <> package]["version"]} == {package, version}
      end
    end
  end

  defp read(folder, file), do: folder |> Path.join(file) |> File.read!() |> Jason.decode!()
end
