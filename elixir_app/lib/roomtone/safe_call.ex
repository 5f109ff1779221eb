defmodule Roomtone.SafeCall do
  @moduledoc """
  A `GenServer.call/3` to a process that may be gone: it returns an error where `GenServer.call/3`
  exits.

  It catches only the exits of this call, so that a bug of the caller still crashes the caller.
  """

  @typedoc """
    * `:timeout` – no answer came in time
    * `:gone` – the process isn't there, or ended normally before it answered
    * `:crashed` – it crashed during the call; its own log entry says how
  """
  @type error :: {:error, :timeout | :gone | :crashed}

  @doc "Calls `server`, and waits for the answer for `timeout` milliseconds."
  @spec call(GenServer.server(), term, timeout) :: {:ok, term} | error
  def call(server, request, timeout \\ 5_000), do: run(fn -> GenServer.call(server, request, timeout) end)

  @doc "As `call/3`, for functions that make such a call, for example those of supervisors."
  @spec run((() -> result)) :: {:ok, result} | error when result: term
  def run(fun) do
    {:ok, fun.()}
  catch
    :exit, {:timeout, {GenServer, :call, _arguments}} -> {:error, :timeout}
    :exit, {reason, {GenServer, :call, _arguments}} when reason != :calling_self -> {:error, ended(reason)}
    :exit, {:noproc, {PartitionSupervisor, :partitions, _arguments}} -> {:error, :gone}
  end

  defp ended(reason) when reason in [:noproc, :normal, :shutdown, :killed], do: :gone
  defp ended({:shutdown, _reason}), do: :gone
  defp ended({:nodedown, _node}), do: :gone
  defp ended(_failed), do: :crashed
end
