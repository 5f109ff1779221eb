defmodule Roomtone.Hosted do
  @moduledoc """
  Roomtone under the supervisor of another application: `{Roomtone, opts}`.

  Two children: everything that `Roomtone.Application` starts, and a process that ends first, and
  drains (`Roomtone.Drain`) before anything stops.
  """

  use Supervisor

  alias Roomtone.{Config, Drain}

  @doc false
  @spec child_spec(keyword) :: Supervisor.child_spec()
  def child_spec(opts), do: %{id: Roomtone, start: {__MODULE__, :start_link, [opts]}, type: :supervisor}

  @doc false
  @spec start_link(keyword) :: Supervisor.on_start()
  def start_link(opts) do
    if Process.whereis(Roomtone.Supervisor) do
      raise Config.Error,
        message:
          "Roomtone is running already, as an application of its own; `config :roomtone, start: false` prevents that"
    end

    Supervisor.start_link(__MODULE__, opts, name: __MODULE__)
  end

  @impl true
  def init(opts) do
    # The settings of parts that read them where they are used, such as the web's.
    Application.put_all_env(roomtone: opts)
    env = Application.get_all_env(:roomtone)

    children = [
      %{id: Roomtone.Supervisor, start: {Roomtone.Application, :start_link, [env]}, type: :supervisor},
      __MODULE__.Drainer
    ]

    Supervisor.init(children, strategy: :one_for_one)
  end

  defmodule Drainer do
    @moduledoc "Drains when its supervisor ends; a restart of Roomtone itself is no reason to."

    # It ends by itself after `drain_seconds`.
    use GenServer, shutdown: :infinity

    @doc false
    @spec start_link(term) :: GenServer.on_start()
    def start_link(_arg), do: GenServer.start_link(__MODULE__, nil)

    @impl true
    def init(nil) do
      Process.flag(:trap_exit, true)
      {:ok, nil}
    end

    @impl true
    def terminate(_reason, nil) do
      if Process.whereis(Roomtone.Registry), do: Drain.run(Config.get().drain_seconds)
      :ok
    end
  end
end
