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

  @doc """
  Starts a child of a `DynamicSupervisor` and calls it, so that what the call waits for holds up no other
  child. A child that doesn't answer in time is killed, as nobody would know of it. One that refuses to
  start is the error `:ignore`, and a supervisor that is gone is an error as in `call/3`.
  """
  @spec start_child(Supervisor.supervisor(), Supervisor.child_spec() | {module, term}, term, timeout) ::
          {:ok, pid, answer :: term} | {:error, term}
  def start_child(supervisor, spec, request, timeout) do
    case run(fn -> DynamicSupervisor.start_child(supervisor, spec) end) do
      {:ok, {:ok, pid}} -> ask(pid, request, timeout)
      {:ok, {:ok, pid, _info}} -> ask(pid, request, timeout)
      {:ok, :ignore} -> {:error, :ignore}
      {:ok, {:error, _reason} = error} -> error
      {:error, _late_or_gone} = error -> error
    end
  end

  defp ask(pid, request, timeout) do
    case call(pid, request, timeout) do
      {:ok, answer} ->
        {:ok, pid, answer}

      {:error, _late_or_gone} = error ->
        Process.exit(pid, :kill)
        error
    end
  end

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
