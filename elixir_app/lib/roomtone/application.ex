defmodule Roomtone.Application do
  @moduledoc """
  Starts Roomtone: registries, media, rooms, and last the children from `config :roomtone, children:
  […]` (the web layer). With `config :roomtone, start: false` it starts nothing, and `{Roomtone,
  opts}` under the host's supervisor does: see `Roomtone.Hosted`.

  `:rest_for_one`, so every process is younger than those it depends on: when the media supervisor
  gives up, rooms and endpoint restart with it. The application stops in reverse: requests end
  first, the engine last, which says goodbye to connected clients. Before that, `Roomtone.Drain`
  notifies everybody and waits a while.
  """

  use Application

  alias Roomtone.{Cluster, Config, Drain, LogRedaction, Native}

  @impl true
  def start(_type, _args) do
    env = Application.get_all_env(:roomtone)
    if Keyword.get(env, :start, true), do: start_link(env), else: Supervisor.start_link([], strategy: :one_for_one)
  end

  @doc "Starts everything with these settings. `Roomtone.Hosted` calls it too."
  @spec start_link(keyword) :: Supervisor.on_start()
  def start_link(env) do
    LogRedaction.install()
    config = Config.install!(env)
    check_native(config.native)
    Cluster.Supervisor.prepare!(config)
    Drain.reset()

    children =
      List.flatten([
        {Registry, keys: :unique, name: Roomtone.Registry},
        Roomtone.Observers,
        Roomtone.Subscribers,
        Roomtone.Lobby,
        Roomtone.Store,
        if(Cluster.Supervisor.needed?(config), do: Cluster.Table, else: []),
        {Roomtone.Media.Supervisor, config},
        if(Cluster.Supervisor.needed?(config), do: {Cluster.Supervisor, config}, else: []),
        # A media node has neither rooms of its own nor pages.
        if(config.role == :media, do: [], else: rooms_and_web(env, config))
      ])

    Supervisor.start_link(children, strategy: :rest_for_one, name: Roomtone.Supervisor)
  end

  defp rooms_and_web(env, config) do
    [
      Roomtone.Rooms.Supervisor,
      {DynamicSupervisor, name: Roomtone.Source.Supervisor},
      {Registry, keys: :unique, name: Roomtone.Tap.Registry},
      {DynamicSupervisor, name: Roomtone.Tap.FeedSupervisor},
      {DynamicSupervisor, name: Roomtone.Tap.Supervisor},
      {DynamicSupervisor, name: Roomtone.Recording.Supervisor},
      Roomtone.Auth.Supervisor
    ] ++ Keyword.get(env, :children, []) ++ demo(config)
  end

  # Its people speak into the engine, which a web node doesn't have.
  defp demo(%{demo: true, role: :all}), do: [Roomtone.Demo]
  defp demo(_config), do: []

  # The stop begins here (SIGTERM), while everything still runs.
  @impl true
  def prep_stop(state) do
    # Nobody to say goodbye to, if the host's supervisor started Roomtone: it has ended by now.
    if Process.whereis(Roomtone.Supervisor), do: Drain.run(Config.get().drain_seconds)
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
