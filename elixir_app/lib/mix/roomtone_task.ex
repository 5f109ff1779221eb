defmodule Mix.RoomtoneTask do
  @moduledoc "Shared code of the tasks that make tokens and invitations."

  alias Roomtone.{Config, Native, Token}

  @doc """
  Reads the configuration. The task needs no running server: one may be running on the same ports.
  Compiler output goes to standard error.
  """
  @spec configure() :: :ok | {:error, term}
  def configure do
    leader = Process.group_leader()
    Process.group_leader(self(), Process.whereis(:standard_error))

    try do
      Mix.Task.run("app.config")
      config = Config.install!(Application.get_all_env(:roomtone))
      if config.native == Native, do: Native.loaded(), else: :ok
    rescue
      error in Config.Error -> {:error, Exception.message(error)}
    after
      Process.group_leader(self(), leader)
    end
  end

  @doc "Parses grants as written on a command line, separated by commas."
  @spec grants(String.t()) :: {:ok, [Token.grant()]} | {:error, term}
  def grants(text), do: text |> String.split(",", trim: true) |> Enum.map(&String.trim/1) |> Token.parse_grants()

  @doc "Prints on standard error why `task` failed, and exits with status 1."
  @spec fail(String.t(), String.t() | term) :: no_return
  def fail(task, reason) do
    IO.puts(:stderr, "mix #{task}: " <> if(is_binary(reason), do: reason, else: Roomtone.describe_error(reason)))
    exit({:shutdown, 1})
  end
end
