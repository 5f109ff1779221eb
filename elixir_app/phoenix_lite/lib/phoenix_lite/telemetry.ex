defmodule :telemetry do
  @moduledoc """
  Events and their handlers, under the name of the library `telemetry`: `attach_many/4`, `detach/1`, `execute/3`.

  A handler runs in the process that executes the event. A handler that raises is logged and detached.
  """
  require Logger

  @type event :: [atom(), ...]
  @type handler :: (event(), map(), map(), term() -> term())

  # A row {event, id, function, config} for each event of a handler. The application's start makes the table.
  @table __MODULE__

  @doc false
  def create, do: :ets.new(@table, [:named_table, :public, :bag, read_concurrency: true])

  @doc "Calls `function` at each of these events, until its `id` is detached."
  @spec attach_many(term(), [event()], handler(), term()) :: :ok | {:error, :already_exists}
  def attach_many(id, events, function, config) when is_function(function, 4) do
    if :ets.select_count(@table, rows_of(id)) == 0 do
      :ets.insert(@table, for(event <- events, do: {event, id, function, config}))
      :ok
    else
      {:error, :already_exists}
    end
  end

  @doc "Detaches a handler from all its events."
  @spec detach(term()) :: :ok | {:error, :not_found}
  def detach(id) do
    if :ets.select_delete(@table, rows_of(id)) == 0, do: {:error, :not_found}, else: :ok
  end

  # An id may have atoms in it that a pattern would take for wildcards.
  defp rows_of(id), do: [{{:_, :"$1", :_, :_}, [{:"=:=", :"$1", {:const, id}}], [true]}]

  @doc "Calls the handlers of an event. Does nothing where the application isn't started, as in a mix task."
  @spec execute(event(), map(), map()) :: :ok
  def execute(event, measurements, metadata) do
    if :ets.whereis(@table) != :undefined do
      for {_event, id, function, config} <- :ets.lookup(@table, event),
          do: call(function, [event, measurements, metadata, config], id)
    end

    :ok
  end

  defp call(function, args, id) do
    apply(function, args)
  catch
    kind, reason ->
      Logger.error([
        "the telemetry handler #{inspect(id)} failed and is detached\n",
        Exception.format(kind, reason, __STACKTRACE__)
      ])

      detach(id)
  end
end
