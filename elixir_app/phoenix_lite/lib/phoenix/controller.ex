defmodule Phoenix.Controller do
  @moduledoc """
  Controllers: `use Phoenix.Controller, formats: [:html, :json]`, then actions of `conn` and `params`.

  Has plugs, `render/3` with views and root layouts as modules of functions, `json/2`, `html/2`,
  `redirect/2`, the flash, and the plugs of a browser pipeline.
  """

  alias Plug.Conn

  @doc false
  defmacro __using__(opts) do
    quote do
      import Phoenix.Controller
      import Plug.Conn
      import Plug.Builder, only: [plug: 1, plug: 2]

      @behaviour Plug
      @phoenix_controller_opts unquote(opts)
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
    conn = Macro.var(:conn, nil)
    inner = quote(do: Phoenix.Controller.__action__(unquote(conn), __MODULE__, action))
    body = Plug.Builder.compile(env, Module.get_attribute(env.module, :plugs), conn, inner)

    quote do
      @doc false
      def __pipeline__(unquote(conn), action), do: unquote(body)

      @doc false
      def __views__, do: Phoenix.Controller.__views__(__MODULE__, @phoenix_controller_opts)
    end
  end

  @doc false
  def __views__(controller, opts) do
    case opts[:formats] do
      nil ->
        []

      formats ->
        base = controller |> Module.split() |> List.update_at(-1, &String.replace_suffix(&1, "Controller", ""))

        for format <- formats do
          {format, view(base, format |> to_string() |> String.upcase())}
        end
    end
  end

  defp view(base, suffix), do: base |> List.update_at(-1, &(&1 <> to_string(suffix))) |> Module.concat()

  @doc false
  def __call__(conn, action, controller) do
    conn
    |> Conn.merge_private(phoenix_controller: controller, phoenix_action: action)
    |> put_new_views(controller.__views__())
    |> controller.__pipeline__(action)
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
      other -> raise "#{inspect(controller)}.#{action}/2 must return a conn, got: #{inspect(other)}"
    end
  end

  # The action itself has no clause for the client's parameters, so this is the client's error.
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

  ## Where we are

  @doc "The endpoint."
  @spec endpoint_module(Conn.t()) :: module()
  def endpoint_module(conn), do: conn.private.phoenix_endpoint

  ## Responses

  @doc "Responds with JSON."
  @spec json(Conn.t(), term()) :: Conn.t()
  def json(conn, data) do
    body = Jason.encode_to_iodata!(data)
    send(conn, conn.status || 200, "application/json", body)
  end

  @doc "Redirects `to:` a path or `external:` to a URL."
  @spec redirect(Conn.t(), keyword()) :: Conn.t()
  def redirect(conn, opts) when is_list(opts) do
    url = target(opts)
    html = Plug.HTML.html_escape(url)
    body = ~s(<!DOCTYPE html><title>Moved</title><a href="#{html}">The page is here</a>)
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

  @doc "Sets the view of a format, e.g. `html: PageHTML`."
  @spec put_view(Conn.t(), keyword(module())) :: Conn.t()
  def put_view(%Conn{} = conn, views) do
    Conn.put_private(conn, :phoenix_view, Map.merge(conn.private[:phoenix_view] || %{}, Map.new(views)))
  end

  defp put_new_views(conn, views) do
    Conn.put_private(conn, :phoenix_view, Map.merge(Map.new(views), conn.private[:phoenix_view] || %{}))
  end

  @doc "Sets the layout around everything, e.g. `html: {Layouts, :root}`."
  @spec put_root_layout(Conn.t(), html: {module(), atom()}) :: Conn.t()
  def put_root_layout(conn, html: {module, name}),
    do: Conn.put_private(conn, :phoenix_root_layout, html: {module, name})

  @doc "Returns the view for a format."
  @spec view_module(Conn.t(), String.t()) :: module()
  def view_module(conn, format) do
    views = conn.private[:phoenix_view] || %{}

    find(views, format) ||
      raise("no view for the format #{inspect(format)}; views: #{inspect(views)}, see put_view/2")
  end

  defp find(map, format), do: Enum.find_value(map, fn {key, value} -> to_string(key) == format && value end)

  @doc "The format of the response."
  @spec get_format(Conn.t()) :: String.t() | nil
  def get_format(conn), do: conn.private[:phoenix_format]

  @doc "Sets the format of the response."
  @spec put_format(Conn.t(), String.t() | atom()) :: Conn.t()
  def put_format(conn, format), do: Conn.put_private(conn, :phoenix_format, to_string(format))

  @doc "Renders a template with assigns: the function of that name of the view."
  @spec render(Conn.t(), atom() | String.t(), keyword() | map()) :: Conn.t()
  defdelegate render(conn, template, assigns), to: PhoenixLite.Render

  ## Plugs of browser pipelines

  @doc "A plug: which formats this pipeline gives, the first is the default."
  @spec accepts(Conn.t(), [String.t()]) :: Conn.t()
  defdelegate accepts(conn, formats), to: PhoenixLite.Browser

  @doc "A plug: sets the headers that every page should have, and `headers`."
  @spec put_secure_browser_headers(Conn.t(), Enumerable.t()) :: Conn.t()
  defdelegate put_secure_browser_headers(conn, headers), to: PhoenixLite.Browser

  @doc "A plug: `Plug.CSRFProtection`."
  @spec protect_from_forgery(Conn.t(), keyword()) :: Conn.t()
  def protect_from_forgery(conn, opts), do: Plug.CSRFProtection.call(conn, Plug.CSRFProtection.init(opts))

  @doc "A plug: the messages for the next page."
  @spec fetch_flash(Conn.t(), keyword()) :: Conn.t()
  defdelegate fetch_flash(conn, opts), to: PhoenixLite.Browser

  @doc "Puts a message for this page, or the next if this redirects."
  @spec put_flash(Conn.t(), atom() | String.t(), term()) :: Conn.t()
  defdelegate put_flash(conn, key, message), to: PhoenixLite.Browser

  @doc "Returns the phrase of a status, from a template such as \"404.html\"."
  @spec status_message_from_template(String.t()) :: String.t()
  def status_message_from_template(template) do
    template |> String.split(".") |> hd() |> String.to_integer() |> Conn.Status.reason_phrase()
  rescue
    _ -> "Internal Server Error"
  end
end
