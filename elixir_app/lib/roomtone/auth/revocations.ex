defmodule Roomtone.Auth.Revocations do
  @moduledoc """
  Tells those who act on a token that what it stands on is gone: a user whose password or grants changed or who is no user any more, an
  invitation that was called back. A process that watches gets `{:session_ended, what}`.
  """

  alias Roomtone.Cluster.Spent

  @typedoc "The thing that a token stands on."
  @type what :: {:user | :invitation, String.t()}

  @doc "From now on the calling process is told."
  @spec watch(what) :: :ok
  def watch(what) do
    {:ok, _owner} = Registry.register(__MODULE__, what, nil)
    :ok
  end

  @doc "Tells everybody who watches it; of an invitation also those on other nodes."
  @spec ended(what) :: :ok
  def ended({:user, _name} = what), do: ended_here(what)

  def ended({:invitation, _id} = what) do
    ended_here(what)
    Spent.tell({:ended, what})
  end

  @doc "Tells everybody on this node who watches it."
  @spec ended_here(what) :: :ok
  def ended_here(what) do
    Registry.dispatch(__MODULE__, what, fn watchers ->
      for {pid, _} <- watchers, do: send(pid, {:session_ended, what})
    end)
  end

  @doc false
  @spec child_spec(term) :: Supervisor.child_spec()
  def child_spec(_arg), do: Registry.child_spec(keys: :duplicate, name: __MODULE__)
end
