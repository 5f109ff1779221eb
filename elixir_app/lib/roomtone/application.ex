defmodule Roomtone.Application do
  @moduledoc """
  Starts Roomtone: registries, media, rooms, and last what `config :roomtone, children: […]` adds (the web layer).

  `:rest_for_one`, so that whatever a process stands on is older than itself: when media fail beyond their supervisor's patience,
  rooms and endpoint are started anew with them. Stopped in reverse: first no requests come in, last the engine ends,
  which says goodbye to whoever is still connected. Before all that, `Roomtone.Drain` tells everybody and waits a while.
  """

  use Application

  alias Roomtone.{Config, Drain, Native}

  @impl true
  def start(_type, _args) do
    env = Application.get_all_env(:roomtone)
    config = Config.install!(env)
    check_native(config.native)
    Drain.reset()

    children =
      [
        {Registry, keys: :unique, name: Roomtone.Registry},
        Roomtone.Subscribers,
        Roomtone.Lobby,
        Roomtone.Store,
        {Roomtone.Media.Supervisor, config},
        Roomtone.Rooms.Supervisor,
        Roomtone.Auth.Supervisor
      ] ++ Keyword.get(env, :children, [])

    Supervisor.start_link(children, strategy: :rest_for_one, name: Roomtone.Supervisor)
  end

  # Asked to stop, with everything still running: SIGTERM comes here.
  @impl true
  def prep_stop(state) do
    Drain.run(Config.get().drain_seconds)
    state
  end

  defp check_native(Native) do
    with {:error, why} <- Native.loaded() do
      raise Config.Error,
        message:
          "Roomtone's media engine (priv/native/roomtone_nif) can't be loaded; `mix compile` builds it with cargo.\n" <>
            why
    end
  end

  defp check_native(_other), do: :ok
end
