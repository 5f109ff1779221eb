defmodule Phoenix.LiveView.Channel do
  @moduledoc "The process of a view, behind the topic `lv:` and its id."
  use GenServer
  require Logger
  alias Phoenix.Channel.Server
  alias Phoenix.LiveView
  alias Phoenix.Socket.{Message, Reply}
  alias PhoenixLite.{Live, Tree}

  # A client of another version logs a warning.
  @version Map.fetch!(PhoenixLite.Versions.imitated(), "phoenix_live_view")

  @doc false
  def child_spec(transport) do
    %{
      id: __MODULE__,
      start: {GenServer, :start_link, [__MODULE__, transport, [hibernate_after: 15_000]]},
      restart: :temporary,
      shutdown: 5_000
    }
  end

  @impl true
  def init(transport), do: {:ok, {:joining, Process.monitor(transport)}}

  ## Joining

  @impl true
  def handle_info({Server, :join, {transport, ref}, params, phx}, {:joining, monitor}) do
    Process.put(:"$callers", [transport])

    case join(params, phx) do
      {:ok, response, state} ->
        send(transport, {ref, {:ok, response}})
        {:noreply, state}

      {:error, response} ->
        send(transport, {ref, {:error, response}})
        {:stop, :shutdown, {:joining, monitor}}
    end
  end

  def handle_info({:DOWN, _, :process, _, _}, {:joining, _} = state), do: {:stop, {:shutdown, :closed}, state}

  def handle_info({:DOWN, _, :process, pid, _reason}, %{transport_pid: pid} = state),
    do: {:stop, {:shutdown, :closed}, state}

  def handle_info(%Message{topic: topic, event: "phx_leave", ref: ref}, %{topic: topic} = state) do
    reply(state, ref, %{})
    stop({:shutdown, :left}, state)
  end

  def handle_info(%Message{topic: topic, event: "live_patch", ref: ref, payload: payload}, %{topic: topic} = state) do
    case own_route(state, payload["url"]) do
      {:ok, route} ->
        state.socket
        |> LiveView.clear_flash()
        |> Live.handle_params(route)
        |> finish(ref, %{}, %{state | uri: route.uri})

      :error ->
        reply(state, ref, %{link_redirect: true})
        {:noreply, state}
    end
  end

  def handle_info(%Message{topic: topic, event: "event", ref: ref, payload: payload}, %{topic: topic} = state) do
    %{"event" => event, "type" => type, "value" => value} = payload
    {reply, socket} = event(event, params(type, value, payload), state.socket)
    finish(socket, ref, reply, state)
  end

  # The client asks about live components even where there are none.
  def handle_info(%Message{topic: topic, event: "cids_" <> _, ref: ref}, %{topic: topic} = state) do
    reply(state, ref, %{cids: []})
    {:noreply, state}
  end

  def handle_info(message, %{socket: socket} = state) do
    socket =
      case Live.hooks(socket, :handle_info, &apply(&1, [message, &2])) do
        {:halt, socket} ->
          socket

        {:cont, socket} ->
          if Live.exported?(socket.view, :handle_info, 2) do
            Live.noreply(socket.view.handle_info(message, socket))
          else
            Logger.error("#{inspect(socket.view)} has no handle_info/2 for #{inspect(message)}")
            socket
          end
      end

    finish(socket, nil, %{}, state)
  end

  @impl true
  def terminate(reason, %{socket: %{view: view} = socket}) do
    if Live.exported?(view, :terminate, 2), do: view.terminate(reason, socket), else: :ok
  end

  def terminate(_reason, _state), do: :ok

  defp join(%{"session" => token} = params, %{topic: "lv:" <> id, endpoint: endpoint} = phx) do
    with {:ok, %{id: ^id} = verified} <- Live.verify(endpoint, :session, token),
         {:ok, static} <- static(endpoint, params["static"], id),
         %{} = session <- session(phx.private.connect_info) do
      url = params["redirect"] || params["url"]

      case Live.route(endpoint, verified.router, url) do
        {:ok, %{live_session: %{name: name}} = route} when name == verified.live_session_name ->
          flash = flash(endpoint, params, static)
          Plug.CSRFProtection.load_state(nil, session["_csrf_token"])
          join(phx, verified, route, flash, Map.merge(session, verified.live_session_extra))

        _ ->
          {:error, %{reason: "unauthorized"}}
      end
    else
      # The client loads the page again.
      _ -> {:error, %{reason: "stale"}}
    end
  end

  defp join(_params, _phx), do: {:error, %{reason: "stale"}}

  defp static(_endpoint, token, _id) when token in [nil, ""], do: {:ok, %{flash: %{}}}

  defp static(endpoint, token, id) do
    case Live.verify(endpoint, :static, token) do
      {:ok, %{id: ^id} = static} -> {:ok, static}
      _ -> :error
    end
  end

  # Nil when the client's token doesn't belong to it: see `PhoenixLite.ConnectInfo`.
  defp session(%{session: session}), do: session
  defp session(_info), do: %{}

  defp flash(endpoint, %{"flash" => token}, _static) when is_binary(token), do: Live.verify_flash(endpoint, token)
  defp flash(_endpoint, %{"params" => %{"_mounts" => 0}}, static), do: static.flash
  defp flash(_endpoint, _params, _static), do: %{}

  defp join(phx, verified, route, flash, session) do
    socket = Live.socket(phx.endpoint, verified.router, route, flash)
    socket = %{socket | id: verified.id, transport_pid: phx.transport_pid, root_pid: self()}

    state = %{
      socket: socket,
      tree: nil,
      title: nil,
      uri: route.uri,
      topic: phx.topic,
      join_ref: phx.join_ref,
      serializer: phx.serializer,
      transport_pid: phx.transport_pid,
      live_session: route.live_session.name
    }

    socket |> Live.mount(route, route.params, session) |> joined(state)
  rescue
    # For a client's error, such as a name that is gone, the client loads the error's page by HTTP.
    error ->
      status = error |> Plug.Exception.status() |> Plug.Conn.Status.code()

      if status in 400..499,
        do:
          {:error, %{reason: "reload", status: status, token: Live.sign_reload(phx.endpoint, status, route.uri.path)}},
        else: reraise(error, __STACKTRACE__)
  end

  defp joined(%{redirected: nil} = socket, state) do
    {json, state} = update(socket, %{}, state)
    {:ok, %{rendered: json, liveview_version: @version}, state}
  end

  defp joined(%{redirected: redirected} = socket, _state) do
    {kind, to} = away(redirected, socket)
    {:error, %{kind => to}}
  end

  ## Events

  defp params("form", value, payload) when is_binary(value) do
    meta = if is_map(payload["meta"]), do: payload["meta"], else: %{}

    case value |> Plug.Conn.Query.decode() |> Map.merge(meta) do
      %{"_target" => target} = params when is_binary(target) -> %{params | "_target" => path(target)}
      params -> params
    end
  end

  defp params(_type, value, _payload), do: value

  defp path(target), do: ~r/[^\[\]]+/ |> Regex.scan(target) |> List.flatten()

  defp event("lv:clear-flash", %{"key" => key}, socket), do: {%{}, LiveView.clear_flash(socket, key)}
  defp event("lv:clear-flash", _params, socket), do: {%{}, LiveView.clear_flash(socket)}

  defp event(event, params, socket) do
    case Live.hooks(socket, :handle_event, &apply(&1, [event, params, &2])) do
      {:halt, socket} -> {%{}, socket}
      {:halt, reply, socket} -> {%{"r" => reply}, socket}
      {:cont, socket} -> event |> socket.view.handle_event(params, socket) |> event_result(socket.view)
    end
  end

  defp event_result({:noreply, %LiveView.Socket{} = socket}, _view), do: {%{}, socket}
  defp event_result({:reply, %{} = reply, %LiveView.Socket{} = socket}, _view), do: {%{"r" => reply}, socket}

  defp event_result(other, view) do
    raise "#{inspect(view)}.handle_event/3 must return {:noreply, socket} or {:reply, map, socket}, got: #{inspect(other)}"
  end

  ## After a callback

  defp finish(%{redirected: nil} = socket, ref, reply, state) do
    {json, state} = update(socket, reply, state)

    cond do
      ref && json == %{} -> reply(state, ref, %{})
      ref -> reply(state, ref, %{diff: json})
      json != %{} -> push(state, "diff", json)
      true -> :ok
    end

    {:noreply, state}
  end

  defp finish(%{redirected: redirected} = socket, ref, _reply, state) do
    {kind, to} = away(redirected, socket)
    if (events = events(socket)) != [], do: push(state, "diff", %{"e" => events})
    if ref, do: reply(state, ref, %{kind => to}), else: push(state, to_string(kind), to)
    stop({:shutdown, kind}, %{state | socket: socket})
  end

  defp away({kind, to}, socket), do: {kind, with_flash(to, socket)}

  defp with_flash(to, %{assigns: %{flash: flash}}) when flash == %{}, do: to
  defp with_flash(to, socket), do: Map.put(to, :flash, Live.sign_flash(socket.endpoint, socket.assigns.flash))

  # A URL of this very view.
  defp own_route(%{socket: %{view: view, router: router, endpoint: endpoint}, live_session: name}, url) do
    case Live.route(endpoint, router, url) do
      {:ok, %{view: ^view, live_session: %{name: ^name}} = route} -> {:ok, route}
      _ -> :error
    end
  end

  # The diff to what the client has, with the title, events and a reply.
  defp update(socket, reply, state) do
    title = socket.assigns[:page_title]
    events = events(socket)
    which = if state.tree, do: :changed, else: :all

    {json, tree, socket} =
      if which == :changed and socket.assigns.__changed__ == %{} do
        {%{}, state.tree, socket}
      else
        {rendered, socket} = Live.render(socket, which)
        {diff, tree} = Tree.diff(state.tree, rendered)
        {if(diff == :same, do: %{}, else: elem(diff, 1)), tree, socket}
      end

    socket = %{socket | private: Map.delete(socket.private, :events)}
    json = Map.merge(json, reply)
    json = if title && title != state.title, do: Map.put(json, "t", title), else: json
    json = if events == [], do: json, else: Map.put(json, "e", events)
    {json, %{state | socket: socket, tree: tree, title: title}}
  end

  defp events(socket), do: socket.private |> Map.get(:events, []) |> Enum.reverse()

  defp reply(state, ref, response) do
    reply = %Reply{topic: state.topic, join_ref: state.join_ref, ref: ref, status: :ok, payload: response}
    send(state.transport_pid, state.serializer.encode!(reply))
  end

  defp push(state, event, payload) do
    message = %Message{topic: state.topic, join_ref: state.join_ref, ref: nil, event: event, payload: payload}
    send(state.transport_pid, state.serializer.encode!(message))
  end

  defp stop(reason, state) do
    send(state.transport_pid, {:socket_close, self(), reason})
    {:stop, reason, state}
  end
end
