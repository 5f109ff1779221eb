defmodule PhoenixLite.Live do
  @moduledoc "The code that the page of a view and its socket share: routes, tokens, callbacks, rendering."
  alias Phoenix.LiveView.{Rendered, Socket}
  alias PhoenixLite.Tree

  @version 1
  # As in LiveView: two weeks for a page, a minute for a flash.
  @page_age 1_209_600
  @flash_age 60

  @type route :: %{
          view: module(),
          live_session: map(),
          params: map(),
          uri: URI.t()
        }

  @doc "The view of a URL, which begins with the `path:` of the endpoint's `:url`, if there is one."
  @spec route(module(), module(), String.t()) :: {:ok, route()} | :error
  def route(endpoint, router, url) when is_binary(url) do
    # Not `URI.new/1`, which is stricter than browsers: they leave brackets of a query as they are.
    with %URI{path: path} = uri <- URI.parse(url),
         {:ok, parts} <- decode(path || "/"),
         {:ok, parts} <- under(parts, PhoenixLite.EndpointConfig.path(endpoint)),
         %{private: %{phoenix_live_view: {view, live_session}}} = info <-
           Phoenix.Router.route_info(router, "GET", parts, uri.host) do
      params = Map.merge(Plug.Conn.Query.decode(uri.query || ""), info.path_params)
      {:ok, %{view: view, live_session: live_session, params: params, uri: uri}}
    else
      _ -> :error
    end
  rescue
    _invalid in [Plug.Conn.InvalidQueryError, ArgumentError] -> :error
  end

  def route(_endpoint, _router, _url), do: :error

  defp under(parts, base) do
    {beginning, rest} = Enum.split(parts, length(base))
    if beginning == base, do: {:ok, rest}, else: :error
  end

  defp decode(path) do
    parts = for part <- String.split(path, "/"), part != "", do: URI.decode(part)
    if Enum.all?(parts, &String.valid?/1), do: {:ok, parts}, else: :error
  rescue
    ArgumentError -> :error
  end

  ## Tokens

  @doc "Signs what a page takes with it for its socket."
  @spec sign(module(), :session | :static, map()) :: String.t()
  def sign(endpoint, kind, data) do
    Phoenix.Token.sign(endpoint, salt(endpoint), {@version, kind, data}, max_age: @page_age)
  end

  @doc "Returns the data of such a token."
  @spec verify(module(), :session | :static, term()) :: {:ok, map()} | :error
  def verify(endpoint, kind, token) do
    case Phoenix.Token.verify(endpoint, salt(endpoint), token, max_age: @page_age) do
      {:ok, {@version, ^kind, %{} = data}} -> {:ok, data}
      _ -> :error
    end
  end

  @doc "Signs a flash for the next page."
  @spec sign_flash(module(), map()) :: String.t()
  def sign_flash(endpoint, flash),
    do: Phoenix.Token.sign(endpoint, "flash:" <> salt(endpoint), flash, max_age: @flash_age)

  @doc "Returns the messages of a flash's token; none if it is forged or too old."
  @spec verify_flash(module(), term()) :: map()
  def verify_flash(endpoint, token) do
    case Phoenix.Token.verify(endpoint, "flash:" <> salt(endpoint), token, max_age: @flash_age) do
      {:ok, %{} = flash} -> flash
      _ -> %{}
    end
  end

  @doc "Signs the status with which the view of a path has refused its socket."
  @spec sign_reload(module(), integer(), String.t()) :: String.t()
  def sign_reload(endpoint, status, path) do
    Phoenix.Token.sign(endpoint, "reload:" <> salt(endpoint), {status, path}, max_age: @flash_age)
  end

  @doc "The status, of a token for this path."
  @spec verify_reload(module(), term(), String.t()) :: {:ok, integer()} | :error
  def verify_reload(endpoint, token, path) do
    case Phoenix.Token.verify(endpoint, "reload:" <> salt(endpoint), token, max_age: @flash_age) do
      {:ok, {status, ^path}} -> {:ok, status}
      _ -> :error
    end
  end

  defp salt(endpoint) do
    endpoint.config(:live_view, [])[:signing_salt] ||
      raise ArgumentError, "no live_view: [signing_salt: ..] in the config of #{inspect(endpoint)}"
  end

  ## Callbacks

  @doc "Returns a socket before mount."
  @spec socket(module(), module(), route(), map()) :: Socket.t()
  def socket(endpoint, router, route, flash) do
    %Socket{
      endpoint: endpoint,
      router: router,
      view: route.view,
      host_uri: %URI{scheme: route.uri.scheme, host: route.uri.host, port: route.uri.port},
      assigns: %{__changed__: %{}, flash: flash}
    }
  end

  @doc "Runs the hooks of mount, mount and handle_params, as far as nothing redirects."
  @spec mount(Socket.t(), route(), map(), map()) :: Socket.t()
  def mount(%Socket{view: view} = socket, route, params, session) do
    {result, socket} =
      Enum.reduce_while(route.live_session.on_mount, {:cont, socket}, fn hook, {_, socket} ->
        {module, argument} = if is_tuple(hook), do: hook, else: {hook, :default}

        case module.on_mount(argument, params, session, socket) do
          {:cont, %Socket{redirected: nil} = socket} ->
            {:cont, {:cont, socket}}

          {:halt, %Socket{redirected: to} = socket} when to != nil ->
            {:halt, {:halt, socket}}

          other ->
            raise "on_mount of #{inspect(module)} must give {:cont, socket}, or {:halt, socket} with a redirect, got: #{inspect(other)}"
        end
      end)

    socket =
      if result == :cont and exported?(view, :mount, 3), do: call_mount(view, params, session, socket), else: socket

    if socket.redirected, do: socket, else: handle_params(socket, route)
  end

  defp call_mount(view, params, session, socket) do
    case view.mount(params, session, socket) do
      {:ok, %Socket{} = socket} -> socket
      other -> raise "#{inspect(view)}.mount/3 in phoenix_lite must return {:ok, socket}, got: #{inspect(other)}"
    end
  end

  @doc "Tells a view its URL."
  @spec handle_params(Socket.t(), route()) :: Socket.t()
  def handle_params(%Socket{view: view} = socket, route) do
    url = URI.to_string(route.uri)
    if exported?(view, :handle_params, 3), do: noreply(view.handle_params(route.params, url, socket)), else: socket
  end

  @doc "Runs the hooks of a stage, until one halts."
  @spec hooks(Socket.t(), atom(), (function(), Socket.t() -> tuple())) :: tuple()
  def hooks(socket, stage, call) do
    socket.private
    |> Map.get(:hooks, %{})
    |> Map.get(stage, [])
    |> Enum.reduce_while({:cont, socket}, fn {_id, fun}, {:cont, socket} ->
      case call.(fun, socket) do
        {:cont, %Socket{}} = cont -> {:cont, cont}
        {:halt, %Socket{}} = halt -> {:halt, halt}
        {:halt, %{}, %Socket{}} = halt when stage == :handle_event -> {:halt, halt}
        other -> raise "a hook of #{stage} must give {:cont, socket} or {:halt, socket}, got: #{inspect(other)}"
      end
    end)
  end

  @doc "The socket of `{:noreply, socket}`."
  @spec noreply(term()) :: Socket.t()
  def noreply({:noreply, %Socket{} = socket}), do: socket
  def noreply(other), do: raise("a callback must give {:noreply, socket}, got: #{inspect(other)}")

  @doc "Does a view have this callback?"
  @spec exported?(module(), atom(), arity()) :: boolean()
  def exported?(view, name, arity), do: Code.ensure_loaded?(view) and function_exported?(view, name, arity)

  ## Rendering

  @doc "Renders, with `:all` or only what changed; the socket is ready for the next time then."
  @spec render(Socket.t(), :all | :changed) :: {Rendered.t(), Socket.t()}
  def render(%Socket{view: view} = socket, which) do
    assigns = Map.put(socket.assigns, :socket, socket)
    assigns = if which == :all, do: Map.put(assigns, :__changed__, nil), else: assigns
    rendered = assigns |> view.render() |> tree!(view)
    {rendered, %{socket | assigns: Map.put(socket.assigns, :__changed__, %{})}}
  end

  defp tree!(%Rendered{} = rendered, _module), do: rendered
  defp tree!(other, module), do: raise("#{inspect(module)} must render ~H, got: #{inspect(other)}")

  @doc "Returns the element of a view's page, with HTML in it."
  @spec container(Socket.t(), map(), iodata()) :: iodata()
  def container(socket, tokens, html) do
    attributes = [
      id: socket.id,
      "data-phx-main": true,
      "data-phx-session": tokens.session,
      "data-phx-static": tokens.static
    ]

    ["<div", Tree.attributes(attributes), ">", html, "</div>"]
  end
end
