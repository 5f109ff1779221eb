defmodule Mix.Tasks.Phx.Gen.Secret do
  @shortdoc "Prints a secret"
  @moduledoc "Prints a random secret, of 64 characters or as many as said."
  use Mix.Task

  @impl true
  def run([]), do: run(["64"])

  def run([length]) do
    case Integer.parse(length) do
      {length, ""} when length >= 32 ->
        Mix.shell().info(
          length
          |> :crypto.strong_rand_bytes()
          |> Base.encode64(padding: false)
          |> binary_part(0, length)
        )

      _ ->
        Mix.raise("mix phx.gen.secret expects a number, 32 or more")
    end
  end
end
