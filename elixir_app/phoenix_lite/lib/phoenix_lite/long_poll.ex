defmodule PhoenixLite.LongPoll do
  @moduledoc """
  A socket for clients whose way lets no WebSocket through: Phoenix's long polling, as the npm client `phoenix`
  1.8 speaks it.

  `GET <socket>/longpoll` waits for messages, `POST` brings some, one a line. The HTTP status is always 200, and
  the JSON in the body has the one that counts:

  | status | |
  | --- | --- |
  | 200 | messages, or what was posted is handled |
  | 204 | no message came within the window, so the client polls again |
  | 400, 413 | what was posted can't be read, or is too large |
  | 403 | the origin is foreign, or `connect/3` refused |
  | 410 | a new session, with its `token`; without one the session is over |
  | 500 | no session could be started, or it didn't answer |

  A session is a process (`PhoenixLite.LongPoll.Session`), found by the signed token that only its client has.
  """
  alias Plug.Conn
  alias PhoenixLite.LongPoll.Session

  @salt "phoenix_lite long poll"
  # The client sends at most so many at a time.
  @batch 100
  @most_waiting_posts 32
  @post_timeout_ms 10_000
  @token_seconds 14 * 24 * 3600

  @doc "The supervisor of an endpoint's sessions, and their registry."
  @spec children(module()) :: [Supervisor.child_spec() | {module(), term()}]
  def children(endpoint) do
    [
      {Registry, keys: :unique, name: registry(endpoint)},
      {DynamicSupervisor,
       name: supervisor(endpoint), strategy: :one_for_one, max_children: PhoenixLite.Limits.poll_sessions()}
    ]
  end

  @doc "Answers a poll or a post whose origin is allowed."
  @spec call(Conn.t(), module(), module(), keyword()) :: Conn.t()
  def call(%Conn{method: "GET"} = conn, endpoint, module, opts) do
    case session(conn, endpoint) do
      {:ok, pid} -> poll(conn, pid, opts)
      :gone -> answer(conn, 410)
      :none -> start(conn, endpoint, module, opts)
    end
  end

  def call(%Conn{method: "POST"} = conn, endpoint, _module, opts) do
    case session(conn, endpoint) do
      {:ok, pid} -> post(conn, pid, opts)
      _none -> answer(conn, 410)
    end
  end

  def call(conn, _endpoint, _module, _opts), do: Conn.send_resp(conn, 400, "")

  @doc "Answers with a status."
  @spec answer(Conn.t(), pos_integer(), map()) :: Conn.t()
  def answer(conn, status, more \\ %{}) do
    conn
    |> Conn.put_resp_header("content-type", "application/json; charset=utf-8")
    |> Conn.put_resp_header("cache-control", "no-store")
    |> Conn.send_resp(200, Phoenix.json_library().encode_to_iodata!(Map.put(more, "status", status)))
  end

  # A first poll has no token, or one of the app's that isn't ours.
  defp session(conn, endpoint) do
    with token when is_binary(token) <- conn.params["token"],
         {:ok, id} <- Phoenix.Token.verify(endpoint, @salt, token, max_age: @token_seconds) do
      case Registry.lookup(registry(endpoint), id) do
        [{pid, _}] -> {:ok, pid}
        [] -> :gone
      end
    else
      {:error, :expired} -> :gone
      _ -> :none
    end
  end

  defp start(conn, endpoint, module, opts) do
    token = conn |> Conn.get_req_header("x-phoenix-authtoken") |> List.first()
    id = 18 |> :crypto.strong_rand_bytes() |> Base.url_encode64()

    map = %{
      endpoint: endpoint,
      transport: :longpoll,
      options: opts,
      params: conn.params,
      connect_info: PhoenixLite.ConnectInfo.build(conn, endpoint, opts[:connect_info], if(opts[:auth_token], do: token))
    }

    child = {Session, {{:via, Registry, {registry(endpoint), id}}, module, map}}

    case DynamicSupervisor.start_child(supervisor(endpoint), child) do
      {:ok, _pid} ->
        token = Phoenix.Token.sign(endpoint, @salt, id, max_age: @token_seconds)
        answer(conn, 410, %{"token" => token, "messages" => []})

      {:error, {:shutdown, :refused}} ->
        answer(conn, 403)

      # There are as many as there may be, or `connect/3` raised, which is in the log.
      {:error, _} ->
        answer(conn, 500)
    end
  end

  defp poll(conn, pid, opts) do
    monitor = Process.monitor(pid)
    Session.poll(pid, monitor)
    {status, messages} = await(pid, monitor, opts[:longpoll] + 5_000)
    Process.demonitor(monitor, [:flush])
    more = if status in [200, 204], do: %{"token" => conn.params["token"], "messages" => messages}, else: %{}
    answer(conn, status, more)
  end

  defp await(pid, monitor, timeout) do
    receive do
      {^monitor, status, messages} ->
        {status, messages}

      {:DOWN, ^monitor, _, _, _} ->
        {410, []}

      # The process of the connection ends as soon as this request is answered.
      {:lite_closed, _} = closed ->
        Session.unpoll(pid, monitor)
        send(self(), closed)
        {204, []}

      :lite_drain ->
        send(pid, :lite_drain)
        await(pid, monitor, timeout)
    after
      timeout ->
        Session.unpoll(pid, monitor)
        {500, []}
    end
  end

  defp post(conn, pid, opts) do
    limit = PhoenixLite.Limits.socket(opts).message_bytes

    with {:ok, body, conn} <- Conn.read_body(conn, length: 2 * limit),
         {:ok, messages} <- messages(body, limit),
         :ok <- room(pid) do
      answer(conn, Session.post(pid, messages, @post_timeout_ms))
    else
      {:more, _, conn} -> answer(conn, 413)
      {:error, status} when is_integer(status) -> answer(conn, status)
      {:error, _} -> answer(conn, 400)
    end
  end

  # The client waits for an answer before it posts again, so only others have many under way.
  defp room(pid) do
    case Process.info(pid, :message_queue_len) do
      {_, length} when length > @most_waiting_posts -> {:error, 500}
      _ -> :ok
    end
  end

  # Text is a JSON array; anything else is a binary message in Base64.
  defp messages(body, limit) do
    lines = :binary.split(body, "\n", [:global])

    if length(lines) > @batch do
      {:error, 413}
    else
      Enum.reduce_while(lines, {:ok, []}, fn line, {:ok, messages} ->
        case message(line) do
          {:ok, {data, _}} when byte_size(data) > limit -> {:halt, {:error, 413}}
          {:ok, message} -> {:cont, {:ok, [message | messages]}}
          :error -> {:halt, {:error, 400}}
        end
      end)
      |> reversed()
    end
  end

  defp reversed({:ok, messages}), do: {:ok, Enum.reverse(messages)}
  defp reversed(error), do: error

  # Frames of a WebSocket are checked for UTF-8 as well.
  defp message("[" <> _ = line), do: if(String.valid?(line), do: {:ok, {line, :text}}, else: :error)

  defp message(line) do
    with {:ok, data} <- Base.decode64(String.trim_trailing(line, "\r")), do: {:ok, {data, :binary}}
  end

  defp registry(endpoint), do: Module.concat(endpoint, PollRegistry)
  defp supervisor(endpoint), do: Module.concat(endpoint, PollSessions)
end
