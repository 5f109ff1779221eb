defmodule Plug.Head do
  @moduledoc "Makes HEAD a GET; the server leaves the body out."
  @behaviour Plug
  @impl true
  def init(opts), do: opts
  @impl true
  def call(%Plug.Conn{method: "HEAD"} = conn, _opts), do: %{conn | method: "GET"}
  def call(conn, _opts), do: conn
end

defmodule Plug.MethodOverride do
  @moduledoc "A POST with the parameter `_method` of put, patch or delete counts as that."
  @behaviour Plug
  @impl true
  def init(opts), do: opts

  @impl true
  def call(%Plug.Conn{method: "POST", body_params: %{} = params} = conn, _opts) when not is_struct(params) do
    method = params["_method"]

    case is_binary(method) and String.upcase(method, :ascii) do
      method when method in ["PUT", "PATCH", "DELETE"] -> %{conn | method: method}
      _ -> conn
    end
  end

  def call(conn, _opts), do: conn
end

defmodule Plug.RequestId do
  @moduledoc """
  Names a request in the log and in the response. Options: `:http_header` ("x-request-id"), `:assign_as`.
  """
  @behaviour Plug
  require Logger

  @impl true
  def init(opts) when is_list(opts) do
    {Keyword.get(opts, :http_header, "x-request-id"), Keyword.get(opts, :assign_as)}
  end

  @impl true
  def call(conn, {header, assign_as}) do
    id = conn |> Plug.Conn.get_req_header(header) |> List.first() |> valid() || new()
    Logger.metadata(request_id: id)
    conn = if assign_as, do: Plug.Conn.assign(conn, assign_as, id), else: conn
    Plug.Conn.put_resp_header(conn, header, id)
  end

  # What a client sends ends up in our log, so it has to look like an id.
  defp valid(id) when is_binary(id) and byte_size(id) in 20..200, do: if(id =~ ~r/\A[A-Za-z0-9_.:+=\/-]+\z/, do: id)
  defp valid(_), do: nil

  defp new, do: Base.url_encode64(:crypto.strong_rand_bytes(15), padding: false)
end

defmodule Plug.Telemetry do
  @moduledoc """
  Tells how long requests take.

  With the application `:telemetry` there, it emits `event_prefix ++ [:start]` and `[:stop]` as Plug does. Without it, as usual
  under phoenix_lite, it logs method, path, status and time. `:log` is the level (`:info`), `false`, or `{module, function,
  args}`, called with the conn in front.
  """
  @behaviour Plug
  require Logger

  @impl true
  def init(opts) do
    prefix = Keyword.get(opts, :event_prefix) || raise ArgumentError, ":event_prefix is required"
    {prefix ++ [:start], prefix ++ [:stop], Map.new(Keyword.delete(opts, :event_prefix))}
  end

  @impl true
  def call(conn, {start_event, stop_event, opts}) do
    started = System.monotonic_time()
    execute(start_event, %{system_time: System.system_time()}, %{conn: conn, options: opts})

    Plug.Conn.register_before_send(conn, fn conn ->
      duration = System.monotonic_time() - started
      execute(stop_event, %{duration: duration}, %{conn: conn, options: opts})
      log(level(Map.get(opts, :log, :info), conn), conn, duration)
      conn
    end)
  end

  defp execute(event, measurements, metadata) do
    if function_exported?(:telemetry, :execute, 3), do: apply(:telemetry, :execute, [event, measurements, metadata])
  end

  defp level({module, function, args}, conn), do: apply(module, function, [conn | args])
  defp level(level, _conn), do: level

  defp log(false, _conn, _duration), do: :ok

  defp log(level, conn, duration) do
    Logger.log(level, fn ->
      microseconds = System.convert_time_unit(duration, :native, :microsecond)
      time = if microseconds > 1000, do: "#{div(microseconds, 1000)}ms", else: "#{microseconds}µs"
      [conn.method, ?\s, conn.request_path, " - ", Integer.to_string(conn.status), " in ", time]
    end)
  end
end
