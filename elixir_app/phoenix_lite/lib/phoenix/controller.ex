defmodule Phoenix.Controller do
  @moduledoc """
  Controllers: `use Phoenix.Controller, formats: [:html, :json]`, then actions of `conn` and `params`.

  Has plugs with guards, `action_fallback/1`, `render/2`, views, layouts and root layouts as modules of functions, `json/2`,
  `text/2`, `html/2`, `redirect/2`, flash, and the plugs of a browser pipeline.
  """

  alias Plug.Conn

  @unsent [:unset, :set, :set_chunked, :set_file]

  @doc false
  defmacro __using__(opts) do
    quote do
      import Phoenix.Controller
      import Plug.Conn
      import Plug.Builder, only: [plug: 1, plug: 2]

      @behaviour Plug
      @phoenix_controller_opts unquote(opts)
      @phoenix_fallback nil
      Module.register_attribute(__MODULE__, :plugs, accumulate: true)
      @before_compile Phoenix.Controller

      @doc false
      @impl Plug
      def init(action), do: action

      @doc false
      @impl Plug
      def call(conn, action), do: Phoenix.Controller.__call__(conn, action, __MODULE__)

      @doc false
      def action(%Plug.Conn{private: %{phoenix_action: action}} = conn, _opts) do
        apply(__MODULE__, action, [conn, conn.params])
      end

      defoverridable init: 1, call: 2, action: 2
    end
  end

  @doc false
  defmacro __before_compile__(env) do
    # Guards of plugs see these three.
    [conn, controller, action] = Enum.map([:conn, :controller, :action], &Macro.var(&1, nil))
    inner = quote(do: Phoenix.Controller.__action__(unquote(conn), unquote(controller), unquote(action)))
    opts = [init_mode: Phoenix.plug_init_mode(), conn: conn, inner: inner]
    {_, body} = Plug.Builder.compile(env, Module.get_attribute(env.module, :plugs), opts)

    quote do
      @doc false
      def __pipeline__(unquote(conn), unquote(controller), unquote(action)), do: unquote(body)

      @doc false
      def __fallback__, do: @phoenix_fallback

      @doc false
      def __views__, do: Phoenix.Controller.__views__(__MODULE__, @phoenix_controller_opts)
    end
  end

  @doc "Names the plug that turns what isn't a conn, returned by an action, into a response."
  defmacro action_fallback(plug) do
    plug = Plug.Builder.expand_alias(plug, __CALLER__)
    quote do: @phoenix_fallback(unquote(plug))
  end

  @doc false
  def __views__(controller, opts) do
    case opts[:formats] do
      nil ->
        []

      formats ->
        base = controller |> Module.split() |> List.update_at(-1, &String.replace_suffix(&1, "Controller", ""))

        for format <- formats do
          case format do
            {format, suffix} -> {format, view(base, suffix)}
            format -> {format, view(base, format |> to_string() |> String.upcase())}
          end
        end
    end
  end

  defp view(base, suffix), do: base |> List.update_at(-1, &(&1 <> to_string(suffix))) |> Module.concat()

  @doc false
  def __call__(conn, action, controller) do
    conn
    |> Conn.merge_private(phoenix_controller: controller, phoenix_action: action)
    |> put_new_views(controller.__views__())
    |> controller.__pipeline__(controller, action)
  end

  @doc false
  def __action__(conn, controller, action) do
    result =
      try do
        controller.action(conn, controller.init(action))
      rescue
        error in FunctionClauseError -> reraise clause_error(error, controller, action, __STACKTRACE__), __STACKTRACE__
      end

    case result do
      %Conn{} = conn -> conn
      other -> fallback(conn, controller, other)
    end
  end

  # No clause of the action itself: the client's parameters are to blame, not we.
  defp clause_error(%{module: controller, function: action, arity: 2} = error, controller, action, stack) do
    case stack do
      [{^controller, ^action, [%Conn{}, params], _} | _] ->
        message = "#{inspect(controller)}.#{action}/2 has no clause for the parameters #{inspect(params)}"
        %Phoenix.ActionClauseError{message: message}

      _ ->
        error
    end
  end

  defp clause_error(error, _controller, _action, _stack), do: error

  defp fallback(conn, controller, other) do
    case controller.__fallback__() do
      nil ->
        raise "expected #{inspect(controller)}.#{action_name(conn)}/2 to return a Plug.Conn, got: #{inspect(other)}"

      plug ->
        plug.call(conn, plug.init(other))
    end
  end

  ## Where we are

  @doc "The action."
  @spec action_name(Conn.t()) :: atom()
  def action_name(conn), do: conn.private.phoenix_action

  @doc "The controller."
  @spec controller_module(Conn.t()) :: module()
  def controller_module(conn), do: conn.private.phoenix_controller

  @doc "The router."
  @spec router_module(Conn.t()) :: module()
  def router_module(conn), do: conn.private.phoenix_router

  @doc "The endpoint."
  @spec endpoint_module(Conn.t()) :: module()
  def endpoint_module(conn), do: conn.private.phoenix_endpoint

  @doc "The path, with the query or other parameters."
  @spec current_path(Conn.t(), map() | nil) :: String.t()
  def current_path(conn, params \\ nil)
  def current_path(%{query_string: ""} = conn, nil), do: conn.request_path
  def current_path(conn, nil), do: conn.request_path <> "?" <> conn.query_string
  def current_path(conn, params) when params == %{}, do: conn.request_path
  def current_path(conn, params), do: conn.request_path <> "?" <> Conn.Query.encode(params)

  @doc "The URL, on the endpoint's host."
  @spec current_url(Conn.t()) :: String.t()
  def current_url(conn), do: endpoint_module(conn).url() <> current_path(conn)

  ## Responses

  @doc "Responds with JSON."
  @spec json(Conn.t(), term()) :: Conn.t()
  def json(conn, data) do
    body = Phoenix.json_library().encode_to_iodata!(data)
    send(conn, conn.status || 200, "application/json", body)
  end

  @doc "Responds with text."
  @spec text(Conn.t(), String.Chars.t()) :: Conn.t()
  def text(conn, data), do: send(conn, conn.status || 200, "text/plain", to_string(data))

  @doc "Responds with HTML."
  @spec html(Conn.t(), iodata()) :: Conn.t()
  def html(conn, data), do: send(conn, conn.status || 200, "text/html", data)

  @doc "Redirects `to:` a path or `external:` to a URL."
  @spec redirect(Conn.t(), keyword()) :: Conn.t()
  def redirect(conn, opts) when is_list(opts) do
    url = target(opts)
    html = Plug.HTML.html_escape(url)
    body = ~s(<html><body>You are being <a href="#{html}">redirected</a>.</body></html>)
    conn |> Conn.put_resp_header("location", url) |> send(conn.status || 302, "text/html", body)
  end

  defp target(opts) do
    case opts do
      [external: url] -> to_string(url)
      [to: "//" <> _ = path] -> not_a_path!(path)
      [to: "/\\" <> _ = path] -> not_a_path!(path)
      [to: "/" <> _ = path] -> path
      [to: other] -> not_a_path!(other)
      _ -> raise ArgumentError, "redirect/2 takes :to or :external"
    end
  end

  # Browsers take // and /\ for another host: an open redirect.
  defp not_a_path!(path), do: raise(ArgumentError, "the :to of redirect/2 must be a path, got: #{inspect(path)}")

  defp send(conn, status, type, body) do
    conn |> ensure_type(type) |> Conn.send_resp(status, body)
  end

  defp ensure_type(conn, type) do
    if Conn.get_resp_header(conn, "content-type") == [], do: Conn.put_resp_content_type(conn, type), else: conn
  end

  ## Views

  @doc "Sets the view, a module or one a format, e.g. `html: PageHTML`."
  @spec put_view(Conn.t(), module() | keyword()) :: Conn.t()
  def put_view(%Conn{state: state} = conn, views) when state in @unsent do
    Conn.put_private(conn, :phoenix_view, Map.merge(conn.private[:phoenix_view] || %{}, by_format(views)))
  end

  defp put_new_views(conn, views) do
    Conn.put_private(conn, :phoenix_view, Map.merge(Map.new(views), conn.private[:phoenix_view] || %{}))
  end

  @doc "Sets the layout, e.g. `html: {Layouts, :app}`, or `false`."
  @spec put_layout(Conn.t(), false | keyword()) :: Conn.t()
  def put_layout(conn, layout), do: put_layouts(conn, :phoenix_layout, layout)

  @doc "Sets the layout around everything, e.g. `html: {Layouts, :root}`, or `false`."
  @spec put_root_layout(Conn.t(), false | keyword()) :: Conn.t()
  def put_root_layout(conn, layout), do: put_layouts(conn, :phoenix_root_layout, layout)

  defp put_layouts(conn, key, false), do: Conn.put_private(conn, key, %{})

  defp put_layouts(conn, key, layouts) when is_list(layouts) do
    Conn.put_private(conn, key, Map.merge(conn.private[key] || %{}, Map.new(layouts)))
  end

  defp by_format(views) when is_list(views), do: Map.new(views)
  defp by_format(view) when is_atom(view), do: %{_: view}

  @doc "The view for a format."
  @spec view_module(Conn.t(), String.t() | nil) :: module()
  def view_module(conn, format \\ nil) do
    format = format || get_format(conn) || "html"
    views = conn.private[:phoenix_view] || %{}

    find(views, format) || views[:_] ||
      raise("no view for the format #{inspect(format)}; views: #{inspect(views)}, see put_view/2")
  end

  defp find(map, format), do: Enum.find_value(map, fn {key, value} -> to_string(key) == format && value end)

  @doc "The format of the response."
  @spec get_format(Conn.t()) :: String.t() | nil
  def get_format(conn), do: conn.private[:phoenix_format]

  @doc "Sets the format of the response."
  @spec put_format(Conn.t(), String.t() | atom()) :: Conn.t()
  def put_format(conn, format), do: Conn.put_private(conn, :phoenix_format, to_string(format))

  @doc "Renders the template of this action, or of the name given."
  @spec render(Conn.t(), keyword() | map() | atom() | String.t()) :: Conn.t()
  def render(conn, template_or_assigns \\ [])
  def render(conn, template) when is_atom(template) or is_binary(template), do: render(conn, template, [])
  def render(conn, assigns), do: render(conn, action_name(conn), assigns)

  @doc "Renders a template with assigns: the function of that name of the view."
  @spec render(Conn.t(), atom() | String.t(), keyword() | map()) :: Conn.t()
  defdelegate render(conn, template, assigns), to: PhoenixLite.Render

  ## Plugs of browser pipelines

  @doc "A plug: which formats this pipeline gives, the first is the default."
  @spec accepts(Conn.t(), [String.t()]) :: Conn.t()
  defdelegate accepts(conn, formats), to: PhoenixLite.Browser

  @doc "A plug: headers that every page should have, and `headers`."
  @spec put_secure_browser_headers(Conn.t(), map()) :: Conn.t()
  defdelegate put_secure_browser_headers(conn, headers \\ %{}), to: PhoenixLite.Browser

  @doc "A plug: `Plug.CSRFProtection`."
  @spec protect_from_forgery(Conn.t(), keyword()) :: Conn.t()
  def protect_from_forgery(conn, opts \\ []), do: Plug.CSRFProtection.call(conn, Plug.CSRFProtection.init(opts))

  @doc "The token for forms of this page."
  @spec get_csrf_token() :: String.t()
  defdelegate get_csrf_token(), to: Plug.CSRFProtection

  @doc "Forgets the token."
  @spec delete_csrf_token() :: :ok
  defdelegate delete_csrf_token(), to: Plug.CSRFProtection

  @doc "A plug: the messages for the next page."
  @spec fetch_flash(Conn.t(), keyword()) :: Conn.t()
  defdelegate fetch_flash(conn, opts \\ []), to: PhoenixLite.Browser

  @doc "Puts a message for this page, or the next if this redirects."
  @spec put_flash(Conn.t(), atom() | String.t(), term()) :: Conn.t()
  defdelegate put_flash(conn, key, message), to: PhoenixLite.Browser

  @doc "Removes all messages."
  @spec clear_flash(Conn.t()) :: Conn.t()
  defdelegate clear_flash(conn), to: PhoenixLite.Browser

  @doc "The phrase of a template such as \"404.html\"."
  @spec status_message_from_template(String.t()) :: String.t()
  def status_message_from_template(template) do
    template |> String.split(".") |> hd() |> String.to_integer() |> Conn.Status.reason_phrase()
  rescue
    _ -> "Internal Server Error"
  end
end
