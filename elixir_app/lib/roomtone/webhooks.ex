defmodule Roomtone.Webhooks do
  @moduledoc """
  Tells another server what happens in rooms: opened, closed, joined, left. Off unless `WEBHOOK_URL`
  is set. `docs/telemetry.md` shows what is sent and how to check it.

  Events wait in a queue of at most 10,000. Up to fifty of them are one delivery, and one delivery
  is on its way at a time, so that the receiver gets events in the order in which they happened. A
  delivery that fails is sent again after a second, then two, four and so on up to a minute; after
  ten attempts it is given up. While the queue is full, its oldest events are dropped. Events
  that were sent, given up or dropped are counted (`roomtone_webhook_events_total`).

  `notify/3` is a cast: rooms never wait for a receiver. If this process dies, its queue is lost.
  """

  use GenServer

  require Logger

  alias Roomtone.{Config, EventLog, Telemetry, UnknownMessage}
  alias Roomtone.Webhooks.{Client, Signature}

  @types %{
    [:room, :opened] => "room.opened",
    [:room, :closed] => "room.closed",
    [:participant, :joined] => "participant.joined",
    [:participant, :left] => "participant.left"
  }

  @defaults [
    most: 10_000,
    batch: 50,
    attempts: 10,
    timeout_ms: 5_000,
    backoff_ms: 1_000,
    longest_backoff_ms: 60_000,
    ssl: []
  ]
  # At the end there is one more attempt, which takes no longer than the supervisor waits.
  @last_ms 2_000

  @type event :: %{type: String.t(), time: String.t(), room: String.t()}

  @typep delivery :: %{id: String.t(), body: iodata, count: pos_integer, attempt: pos_integer}

  @typedoc """
    * `queue` – events that wait, `length` of them
    * `delivery` – the one that is being sent, or sent again when `retry` is over
    * `request` – the request on its way, with its start and the timer that ends it
  """
  @type state :: %{
          url: String.t(),
          key: binary,
          opts: keyword,
          queue: :queue.queue(event),
          length: non_neg_integer,
          delivery: delivery | nil,
          request: {reference, started :: integer, timer :: reference} | nil,
          retry: reference | nil
        }

  @doc "The names of what is sent."
  @spec types() :: [String.t()]
  def types, do: @types |> Map.values() |> Enum.sort()

  @doc "Takes an event of `Roomtone.Telemetry`, if it is one that is sent and somebody wants it."
  @spec notify([atom, ...], map, map, GenServer.server()) :: :ok
  def notify(name, measurements, about, server \\ __MODULE__) do
    case @types do
      %{^name => type} -> if GenServer.whereis(server), do: enqueue(server, event(type, measurements, about)), else: :ok
      _not_sent -> :ok
    end
  end

  defp enqueue(server, event), do: GenServer.cast(server, {:event, event})

  defp event(type, measurements, about) do
    %{type: type, time: DateTime.to_iso8601(DateTime.utc_now()), room: about.room}
    |> put(:participant, about[:participant])
    |> put(:participants, measurements[:participants])
    |> put(:reason, if(is_map_key(about, :reason), do: EventLog.reason(about.reason)))
    |> put(:seconds, with(native when native != nil <- measurements[:duration], do: seconds(native)))
  end

  defp put(event, _key, nil), do: event
  defp put(event, key, value), do: Map.put(event, key, value)

  defp seconds(native), do: System.convert_time_unit(native, :native, :millisecond) / 1000

  @doc "How many events wait. Asks no process."
  @spec waiting() :: non_neg_integer
  def waiting, do: :persistent_term.get({__MODULE__, :waiting}, nil) |> read()

  defp read(nil), do: 0
  defp read(counter), do: :counters.get(counter, 1)

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @doc """
  Options: `name`; `url` and `secret` in place of those of the configuration; and the limits named in
  `@defaults`, which tests make smaller.
  """
  @spec start_link(keyword) :: GenServer.on_start()
  def start_link(opts) do
    opts = List.wrap(opts)
    GenServer.start_link(__MODULE__, opts, name: Keyword.get(opts, :name, __MODULE__))
  end

  @impl true
  def init(opts) do
    config = Config.get()
    url = Keyword.get(opts, :url, config.webhook_url)
    secret = Keyword.get(opts, :secret, config.webhook_secret)

    if url == nil do
      :ignore
    else
      # So that `terminate/2` runs when the supervisor ends.
      Process.flag(:trap_exit, true)
      Client.start()
      {:ok, key} = Signature.key(secret)
      opts = Keyword.merge(@defaults, opts)
      {:ok, shown(%{url: url, key: key, opts: opts} |> Map.merge(empty()))}
    end
  end

  defp empty, do: %{queue: :queue.new(), length: 0, delivery: nil, request: nil, retry: nil}

  @impl true
  def handle_cast({:event, event}, state) do
    state = %{state | queue: :queue.in(event, state.queue), length: state.length + 1}
    {:noreply, state |> bound() |> send_next() |> shown()}
  end

  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info({:timeout, timer, :late}, %{request: {ref, _started, timer}} = state) do
    Client.cancel(ref)
    {:noreply, state |> failed(:timeout) |> shown()}
  end

  def handle_info({:timeout, timer, :again}, %{retry: timer} = state),
    do: {:noreply, attempt(%{state | retry: nil, delivery: %{state.delivery | attempt: state.delivery.attempt + 1}})}

  # Of a timer that was cancelled too late.
  def handle_info({:timeout, _timer, _what}, state), do: {:noreply, state}

  def handle_info(message, %{request: {ref, _started, _timer}} = state) when elem(message, 0) == :http do
    case Client.result(message, ref) do
      :ok -> {:noreply, state |> succeeded() |> send_next() |> shown()}
      {:error, reason} -> {:noreply, state |> failed(reason) |> shown()}
      :more -> {:noreply, state}
    end
  end

  # The rest of a request that was cancelled.
  def handle_info(message, state) when elem(message, 0) == :http, do: {:noreply, state}
  def handle_info({:EXIT, _pid, reason}, state), do: {:stop, reason, state}
  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  @impl true
  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  # Events that wait are sent once, if the receiver answers in time: the last participants leave while the server stops.
  @impl true
  def terminate(reason, state) when reason in [:normal, :shutdown] do
    deadline = System.monotonic_time(:millisecond) + @last_ms
    state |> settle(deadline) |> finish(deadline)
    gauge(0)
  end

  def terminate(_crash, _state), do: gauge(0)

  defp settle(%{request: nil} = state, _deadline), do: state

  defp settle(%{request: {ref, _started, _timer}} = state, deadline),
    do: if(await(ref, deadline) == :ok, do: succeeded(state), else: answered(state))

  defp finish(state, deadline) do
    left = deadline - System.monotonic_time(:millisecond)
    state = if state.delivery, do: state, else: next_delivery(state)

    if state.delivery != nil and left > 0 do
      with {:ok, ref} <- post(state, left), :ok <- await(ref, deadline), do: finish(succeeded(state), deadline)
    end
  end

  defp await(ref, deadline) do
    receive do
      message when elem(message, 0) == :http -> with :more <- Client.result(message, ref), do: await(ref, deadline)
    after
      max(deadline - System.monotonic_time(:millisecond), 0) -> {:error, :timeout}
    end
  end

  # ---- The queue -------------------------------------------------------------------------------------------------------

  defp bound(state) do
    if state.length > state.opts[:most] do
      Telemetry.execute([:webhook, :dropped], %{count: 1}, %{})
      bound(%{state | queue: :queue.drop(state.queue), length: state.length - 1})
    else
      state
    end
  end

  defp send_next(%{delivery: nil, length: length} = state) when length > 0, do: state |> next_delivery() |> attempt()
  defp send_next(state), do: state

  defp next_delivery(%{length: 0} = state), do: state

  defp next_delivery(state) do
    count = min(state.length, state.opts[:batch])
    {events, queue} = :queue.split(count, state.queue)
    id = "msg_" <> Base.url_encode64(:crypto.strong_rand_bytes(16), padding: false)

    # The same in each attempt, by which a receiver recognises what it has.
    body =
      Roomtone.JSON.encode!(%{
        type: "events",
        timestamp: DateTime.to_iso8601(DateTime.utc_now()),
        data: :queue.to_list(events)
      })

    %{
      state
      | queue: queue,
        length: state.length - count,
        delivery: %{id: id, body: body, count: count, attempt: 1}
    }
  end

  defp shown(state) do
    gauge(state.length + if(state.delivery, do: state.delivery.count, else: 0))
    state
  end

  defp gauge(waiting) do
    counter =
      with nil <- :persistent_term.get({__MODULE__, :waiting}, nil) do
        counter = :counters.new(1, [])
        :persistent_term.put({__MODULE__, :waiting}, counter)
        counter
      end

    :counters.put(counter, 1, waiting)
  end

  # ---- A delivery ------------------------------------------------------------------------------------------------------

  defp attempt(state) do
    case post(state, state.opts[:timeout_ms]) do
      {:ok, ref} ->
        # The client's own time doesn't begin before there is a connection.
        timer = :erlang.start_timer(state.opts[:timeout_ms], self(), :late)
        %{state | request: {ref, System.monotonic_time(), timer}}

      {:error, reason} ->
        failed(state, reason)
    end
  end

  defp post(%{delivery: delivery} = state, timeout) do
    headers = Signature.headers(state.key, delivery.id, System.system_time(:second), delivery.body)
    Client.post(state.url, headers, delivery.body, timeout, state.opts[:ssl])
  end

  defp succeeded(%{delivery: delivery} = state) do
    if delivery.attempt > 1, do: Logger.info("the webhook receiver answers again")
    measured = %{duration: took(state), count: delivery.count, attempts: delivery.attempt}
    Telemetry.execute([:webhook, :sent], measured, %{})
    %{answered(state) | delivery: nil}
  end

  defp took(%{request: {_ref, started, _timer}}), do: System.monotonic_time() - started
  defp took(_at_the_end), do: 0

  defp answered(%{request: {_ref, _started, timer}} = state) do
    :erlang.cancel_timer(timer)
    %{state | request: nil}
  end

  defp answered(state), do: state

  defp failed(%{delivery: delivery} = state, reason) do
    state = answered(state)
    if delivery.attempt == 1, do: Logger.warning("the webhook receiver can't be told: #{describe(reason)}")

    if delivery.attempt < state.opts[:attempts] do
      %{state | retry: :erlang.start_timer(backoff(delivery.attempt, state.opts), self(), :again)}
    else
      Logger.error("#{delivery.count} events for the webhook receiver are given up: #{describe(reason)}")
      measured = %{count: delivery.count, attempts: delivery.attempt}
      Telemetry.execute([:webhook, :failed], measured, %{reason: reason_name(reason)})
      # Not at once: whatever is next would meet the same.
      %{next_delivery(%{state | delivery: nil}) | retry: nil} |> later()
    end
  end

  defp later(%{delivery: nil} = state), do: state

  defp later(state) do
    timer = :erlang.start_timer(state.opts[:longest_backoff_ms], self(), :again)
    %{state | delivery: %{state.delivery | attempt: 0}, retry: timer}
  end

  # Up to half as much again, so that many servers don't come back to a receiver together.
  defp backoff(attempt, opts) do
    wait = min(opts[:backoff_ms] * Integer.pow(2, attempt - 1), opts[:longest_backoff_ms])
    wait + :rand.uniform(div(wait, 2) + 1) - 1
  end

  # The reasons of a connection that failed may hold anything.
  defp describe({:status, status}), do: "status #{status}"
  defp describe({:redirected, status}), do: "it redirects (status #{status}), which isn't followed"
  defp describe({:no_authorities, why}), do: "this system has no certificate authorities to verify it by (#{why})"
  defp describe({:failed_connect, details}), do: "no connection: #{connect_reason(details)}"
  defp describe(reason), do: EventLog.reason(reason)

  defp connect_reason(details) when is_list(details) do
    case List.last(details) do
      {_family, _options, {:tls_alert, {alert, _text}}} -> "TLS alert #{EventLog.reason(alert)}"
      {_family, _options, reason} -> EventLog.reason(reason)
      _other -> "other"
    end
  end

  defp connect_reason(_other), do: "other"

  defp reason_name(reason), do: Telemetry.result_name(reason)
end
