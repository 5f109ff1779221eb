defmodule Phoenix.LiveViewTest do
  @moduledoc """
  Views with the test as their browser.

      @endpoint MyApp.Endpoint
      import Phoenix.ConnTest
      import Phoenix.LiveViewTest

      {:ok, view, html} = live(build_conn(), "/rooms")
      assert view |> element("button", "Join") |> render_click() =~ "joined"
  """
  alias Phoenix.LiveViewTest.{Element, View}
  alias PhoenixLite.{TestClient, TestDOM}

  defmodule View do
    @moduledoc "A view under test."
    defstruct [:pid, :proxy, :id, :module, :endpoint, :uri]
    @type t :: %__MODULE__{}
  end

  defmodule Element do
    @moduledoc "An element of a view under test."
    defstruct [:view, :selector, :text, form: nil]
    @type t :: %__MODULE__{}
  end

  ## Arriving

  @doc "Gets a page of `@endpoint` and joins its view."
  defmacro live(conn, path) do
    # `get/2` is the caller's, who imports Phoenix.ConnTest, as in LiveView.
    quote do
      conn = unquote(conn)
      Phoenix.LiveViewTest.__live__(get(conn, unquote(path)), conn)
    end
  end

  @doc "Joins the view of a page."
  defmacro live(conn) do
    quote do
      conn = unquote(conn)
      Phoenix.LiveViewTest.__live__(conn, conn)
    end
  end

  @doc "Parameters for `get_connect_params/1`."
  @spec put_connect_params(Plug.Conn.t(), map()) :: Plug.Conn.t()
  def put_connect_params(conn, params), do: Plug.Conn.put_private(conn, :lite_connect_params, params)

  @doc false
  def __live__(%Plug.Conn{status: status} = conn, _before) when status in 300..308 do
    to = Phoenix.ConnTest.redirected_to(conn, status)
    kind = if conn.private[:phoenix_live_redirect], do: :live_redirect, else: :redirect
    {:error, {kind, %{to: to, flash: conn.assigns[:flash] || %{}}}}
  end

  def __live__(%Plug.Conn{} = conn, before) do
    html = Phoenix.ConnTest.html_response(conn, 200)
    page = TestDOM.parse(html)

    case TestDOM.find(page, "[data-phx-main]") do
      [container] -> join(conn, before, html, container)
      [] -> {:error, :nosession}
    end
  end

  defp join(conn, before, html, container) do
    id = TestDOM.attribute(container, "id")
    {module, _, _} = conn.private.phoenix_live_view
    ref = make_ref()
    uri = Plug.Conn.request_url(conn)

    params = Map.merge(%{"_mounts" => 0}, Plug.Adapters.Test.Conn.strings(before.private[:lite_connect_params] || %{}))

    options = %{
      test: self(),
      ref: ref,
      endpoint: conn.private.phoenix_endpoint,
      topic: "lv:" <> id,
      connect_info: %{
        session: Plug.Conn.get_session(conn),
        uri: URI.parse(uri),
        peer_data: Plug.Conn.get_peer_data(conn),
        user_agent: conn |> Plug.Conn.get_req_header("user-agent") |> List.first(),
        x_headers: []
      },
      join: %{
        "url" => uri,
        "params" => params,
        "session" => TestDOM.attribute(container, "data-phx-session"),
        "static" => TestDOM.attribute(container, "data-phx-static")
      }
    }

    case TestClient.start(options) do
      {:ok, proxy, %{channel: pid}} ->
        view = %View{
          pid: pid,
          proxy: {ref, options.topic, proxy},
          id: id,
          module: module,
          endpoint: options.endpoint,
          uri: uri
        }

        {:ok, view, html}

      {:error, %{reason: reason}} ->
        {:error, reason}

      {:error, away} ->
        {:error, away(away)}
    end
  end

  defp away(%{live_redirect: to}), do: {:live_redirect, to}
  defp away(%{redirect: to}), do: {:redirect, Map.delete(to, :status)}

  ## Looking

  @doc "The HTML of a view or an element, as it is now."
  @spec render(View.t() | Element.t()) :: String.t()
  def render(%View{} = view), do: call(view, :html)
  def render(%Element{} = element), do: element |> node!() |> TestDOM.to_html()

  @doc "The title of the page."
  @spec page_title(View.t()) :: String.t() | nil
  def page_title(%View{} = view) do
    _ = render(view)
    call(view, :title)
  end

  @doc "An element, by a selector and a text."
  @spec element(View.t(), String.t(), String.t() | Regex.t() | nil) :: Element.t()
  def element(%View{} = view, selector, text \\ nil), do: %Element{view: view, selector: selector, text: text}

  @doc "A form, with what a person would fill in."
  @spec form(View.t(), String.t(), map() | keyword()) :: Element.t()
  def form(%View{} = view, selector, data \\ %{}), do: %Element{view: view, selector: selector, form: data}

  @doc "Is there such an element?"
  @spec has_element?(Element.t()) :: boolean()
  def has_element?(%Element{} = element), do: found(element) != []

  @doc "Is there such an element?"
  @spec has_element?(View.t(), String.t(), String.t() | Regex.t() | nil) :: boolean()
  def has_element?(%View{} = view, selector, text \\ nil), do: has_element?(element(view, selector, text))

  defp found(%Element{view: view, selector: selector, text: text}),
    do: view |> render() |> TestDOM.parse() |> TestDOM.find(selector, text)

  defp node!(%Element{selector: selector} = element) do
    case found(element) do
      [node] -> node
      [] -> raise ArgumentError, "no element #{inspect(selector)} #{inspect(element.text)} in\n#{render(element.view)}"
      many -> raise ArgumentError, "#{length(many)} elements #{inspect(selector)}:\n#{TestDOM.to_html(many)}"
    end
  end

  @doc "The HTML of a function component."
  @spec render_component(function(), map() | keyword()) :: String.t()
  def render_component(component, assigns \\ %{}) when is_function(component, 1) do
    assigns |> Map.new() |> Map.put_new(:__changed__, nil) |> component.() |> rendered_to_string()
  end

  @doc "The HTML of `~H`."
  @spec rendered_to_string(term()) :: String.t()
  def rendered_to_string(rendered), do: rendered |> Phoenix.HTML.Safe.to_iodata() |> IO.iodata_to_binary()

  ## Doing

  @doc "Clicks on an element."
  @spec render_click(Element.t(), map()) :: String.t() | {:error, term()}
  def render_click(element, value \\ %{})

  def render_click(%Element{} = element, value) do
    node = node!(element)

    if TestDOM.attribute(node, "disabled"),
      do: raise(ArgumentError, "a disabled element can't be clicked: #{TestDOM.to_html(node)}")

    case {TestDOM.attribute(node, "phx-click"), TestDOM.attribute(node, "data-phx-link"),
          TestDOM.attribute(node, "href")} do
      {nil, "patch", href} -> render_patch(element.view, href)
      {nil, "redirect", href} -> {:error, {:live_redirect, %{to: href, kind: kind(node)}}}
      {nil, nil, href} when is_binary(href) -> {:error, {:redirect, %{to: href}}}
      {nil, _, _} -> raise ArgumentError, "nothing happens on a click on #{TestDOM.to_html(node)}"
      {command, _, _} -> command(element.view, "click", command, Map.merge(values(node), strings(value)))
    end
  end

  def render_click(%View{} = view, event), do: render_click(view, event, %{})

  @doc "Sends a click."
  @spec render_click(View.t(), String.t() | atom(), map()) :: String.t() | {:error, term()}
  def render_click(%View{} = view, event, value), do: event(view, "click", event, strings(value))

  for {name, binding} <- [render_submit: "phx-submit", render_change: "phx-change"] do
    @doc "The form's event (`#{binding}`), with more values; or of a view, the event."
    @spec unquote(name)(Element.t() | View.t(), map() | String.t()) :: String.t() | {:error, term()}
    def unquote(name)(element, value \\ %{})
    def unquote(name)(%Element{} = element, value), do: send_form(element, unquote(binding), value)
    def unquote(name)(%View{} = view, event), do: unquote(name)(view, event, %{})

    @doc "Sends the event of a form."
    @spec unquote(name)(View.t(), String.t() | atom(), map()) :: String.t() | {:error, term()}
    def unquote(name)(%View{} = view, event, value),
      do: event(view, "form", event, Plug.Conn.Query.encode(strings(value)))
  end

  for {name, type} <- [render_keydown: "keydown", render_keyup: "keyup", render_blur: "blur", render_focus: "focus"] do
    @doc "The event of `phx-#{type}` (or `phx-window-#{type}`) of an element."
    @spec unquote(name)(Element.t() | View.t(), map() | String.t()) :: String.t() | {:error, term()}
    def unquote(name)(element, value \\ %{})

    def unquote(name)(%Element{} = element, value) do
      node = node!(element)
      bindings = ["phx-" <> unquote(type), "phx-window-" <> unquote(type)]

      command =
        Enum.find_value(bindings, &TestDOM.attribute(node, &1)) || raise ArgumentError, "no #{unquote(type)} on it"

      command(element.view, unquote(type), command, Map.merge(values(node), strings(value)))
    end

    def unquote(name)(%View{} = view, event), do: event(view, unquote(type), event, %{})

    @doc "Sends the event."
    @spec unquote(name)(View.t(), String.t() | atom(), map()) :: String.t() | {:error, term()}
    def unquote(name)(%View{} = view, event, value), do: event(view, unquote(type), event, strings(value))
  end

  @doc "Sends what a hook would, with `pushEvent`."
  @spec render_hook(View.t() | Element.t(), String.t() | atom(), map()) :: String.t() | {:error, term()}
  def render_hook(view_or_element, event, value \\ %{})
  def render_hook(%View{} = view, event, value), do: event(view, "hook", event, strings(value))

  def render_hook(%Element{} = element, event, value) do
    unless TestDOM.attribute(node!(element), "phx-hook"), do: raise(ArgumentError, "no phx-hook on #{element.selector}")
    render_hook(element.view, event, value)
  end

  @doc "Goes to another URL of the view, as a link with `patch` does."
  @spec render_patch(View.t(), String.t()) :: String.t() | {:error, term()}
  def render_patch(%View{} = view, path) do
    {ref, _, _} = view.proxy
    result = answer(call(view, {:push, "live_patch", %{"url" => view.uri |> URI.merge(path) |> URI.to_string()}}), path)
    if is_binary(result), do: send(self(), {ref, {:patch, %{to: path, kind: "push"}}})
    result
  end

  defp kind(node), do: TestDOM.attribute(node, "data-phx-link-state")

  defp values({_, attributes, _}) do
    values = for {"phx-value-" <> name, value} <- attributes, into: %{}, do: {name, value}

    case List.keyfind(attributes, "value", 0) do
      {_, value} -> Map.put(values, "value", value)
      nil -> values
    end
  end

  # Of JS commands those that the server hears of.
  defp command(view, type, "[" <> _ = command, value) do
    ops = for [op, args] <- Phoenix.json_library().decode!(command), op in ["push", "navigate", "patch"], do: {op, args}

    Enum.reduce(ops, render(view), fn
      {"push", args}, _ -> event(view, type, args["event"], Map.merge(value, args["value"] || %{}))
      {"patch", args}, _ -> render_patch(view, args["href"])
      {"navigate", args}, _ -> {:error, {:live_redirect, %{to: args["href"], kind: "push"}}}
    end)
  end

  defp command(view, type, event, value), do: event(view, type, event, value)

  defp send_form(element, binding, value) do
    node = node!(element)
    names = TestDOM.names(node)
    given = Enum.flat_map([element.form || %{}, value], &pairs/1)

    for {name, _} <- given, element.form && name not in names and (name <> "[]") not in names and name != "_target" do
      raise ArgumentError, "the form #{element.selector} has no input #{name}, only #{inspect(names)}"
    end

    kept = for {name, _} = field <- TestDOM.fields(node), not List.keymember?(given, name, 0), do: field

    encoded =
      Enum.map_join(kept ++ given, "&", fn {name, value} ->
        URI.encode_www_form(name) <> "=" <> URI.encode_www_form(value)
      end)

    case TestDOM.attribute(node, binding) do
      nil -> raise ArgumentError, "no #{binding} on #{element.selector}"
      "[" <> _ -> raise ArgumentError, "forms with JS commands aren't supported by these tests"
      event -> event(element.view, "form", event, encoded)
    end
  end

  defp pairs(data) do
    for pair <- data |> strings() |> Plug.Conn.Query.encode() |> String.split("&", trim: true) do
      [name, value] = String.split(pair, "=", parts: 2)
      {URI.decode_www_form(name), URI.decode_www_form(value)}
    end
  end

  defp strings(value), do: Plug.Adapters.Test.Conn.strings(value)

  defp event(view, type, event, value) do
    answer(call(view, {:push, "event", %{"type" => type, "event" => to_string(event), "value" => value}}), nil)
  end

  defp answer({:ok, html}, _path), do: html
  defp answer({:away, %{link_redirect: true}}, path), do: {:error, {:live_redirect, %{to: path, kind: "push"}}}
  defp answer({:away, away}, _path), do: {:error, away(away)}

  defp call(%View{proxy: {_, _, pid}}, message), do: GenServer.call(pid, message, 30_000)

  @doc "Gets the page that a redirect leads to: `{:ok, view, html}` for views, `{:ok, conn}` for others."
  defmacro follow_redirect(reason, conn, to \\ nil) do
    quote do
      conn = unquote(conn)
      {path, conn} = Phoenix.LiveViewTest.__follow__(unquote(reason), conn, unquote(to), @endpoint)
      page = Phoenix.ConnTest.dispatch(conn, @endpoint, :get, path, nil)
      if page.private[:phoenix_live_view], do: Phoenix.LiveViewTest.__live__(page, conn), else: {:ok, page}
    end
  end

  @doc false
  def __follow__({:error, {kind, %{to: path} = opts}}, conn, to, endpoint) when kind in [:redirect, :live_redirect] do
    if to && to != path, do: ExUnit.Assertions.flunk("expected a redirect to #{to}, got one to #{path}")
    conn = Phoenix.ConnTest.ensure_recycled(conn)

    conn =
      case opts[:flash] do
        token when is_binary(token) ->
          Phoenix.ConnTest.put_req_cookie(conn, "__phoenix_flash__", token)

        %{} = flash when flash != %{} ->
          Phoenix.ConnTest.put_req_cookie(conn, "__phoenix_flash__", PhoenixLite.Live.sign_flash(endpoint, flash))

        _ ->
          conn
      end

    {path, conn}
  end

  def __follow__(other, _conn, _to, _endpoint),
    do: ExUnit.Assertions.flunk("expected a redirect, got: #{inspect(other)}")

  ## Asserting

  @doc "Waits for a patch, and gives its path."
  @spec assert_patch(View.t(), timeout() | String.t()) :: String.t()
  def assert_patch(view, to_or_timeout \\ timeout())
  def assert_patch(view, to) when is_binary(to), do: assert_patch(view, to, timeout())

  def assert_patch(%View{proxy: {ref, _, _}}, timeout) do
    receive do
      {^ref, {:patch, %{to: to}}} -> to
    after
      timeout -> ExUnit.Assertions.flunk("expected a patch, none came within #{timeout} ms")
    end
  end

  @doc "Waits for a patch to a path."
  @spec assert_patch(View.t(), String.t(), timeout()) :: :ok
  def assert_patch(%View{proxy: {ref, _, _}}, to, timeout) do
    receive do
      {^ref, {:patch, %{to: ^to}}} -> :ok
    after
      timeout -> ExUnit.Assertions.flunk("expected a patch to #{to}, none came within #{timeout} ms")
    end
  end

  @doc "There was a patch to a path."
  @spec assert_patched(View.t(), String.t()) :: :ok
  def assert_patched(view, to), do: assert_patch(view, to, 0)

  @doc "Waits for a redirect, and gives its path and flash."
  @spec assert_redirect(View.t(), timeout() | String.t()) :: {String.t(), map()} | map()
  def assert_redirect(view, to_or_timeout \\ timeout())
  def assert_redirect(view, to) when is_binary(to), do: assert_redirect(view, to, timeout())

  def assert_redirect(%View{proxy: {ref, _, _}} = view, timeout) do
    receive do
      {^ref, {:away, away}} -> away |> away() |> elem(1) |> then(&{&1.to, flash(view, &1)})
    after
      timeout -> ExUnit.Assertions.flunk("expected a redirect, none came within #{timeout} ms")
    end
  end

  @doc "Waits for a redirect to a path, and gives its flash."
  @spec assert_redirect(View.t(), String.t(), timeout()) :: map()
  def assert_redirect(view, to, timeout) do
    case assert_redirect(view, timeout) do
      {^to, flash} -> flash
      {other, _} -> ExUnit.Assertions.flunk("expected a redirect to #{to}, got one to #{other}")
    end
  end

  @doc "There was a redirect to a path; gives its flash."
  @spec assert_redirected(View.t(), String.t()) :: map()
  def assert_redirected(view, to), do: assert_redirect(view, to, 0)

  defp flash(view, %{flash: token}) when is_binary(token), do: PhoenixLite.Live.verify_flash(view.endpoint, token)
  defp flash(_view, _to), do: %{}

  defp timeout, do: Application.get_env(:ex_unit, :assert_receive_timeout, 100)

  @doc "Waits for an event from `push_event/3`, whose payload matches a pattern."
  defmacro assert_push_event(view, event, payload, timeout \\ nil) do
    quote do
      %{proxy: {ref, _, _}} = unquote(view)
      timeout = unquote(timeout) || Application.get_env(:ex_unit, :assert_receive_timeout, 100)
      ExUnit.Assertions.assert_receive({^ref, {:push_event, unquote(event), unquote(payload)}}, timeout)
    end
  end

  @doc "No such event comes."
  defmacro refute_push_event(view, event, payload, timeout \\ nil) do
    quote do
      %{proxy: {ref, _, _}} = unquote(view)
      timeout = unquote(timeout) || Application.get_env(:ex_unit, :refute_receive_timeout, 100)
      ExUnit.Assertions.refute_receive({^ref, {:push_event, unquote(event), unquote(payload)}}, timeout)
    end
  end

  @doc "Waits for the reply to a hook."
  defmacro assert_reply(view, payload, timeout \\ nil) do
    quote do
      %{proxy: {ref, _, _}} = unquote(view)
      timeout = unquote(timeout) || Application.get_env(:ex_unit, :assert_receive_timeout, 100)
      ExUnit.Assertions.assert_receive({^ref, {:reply, unquote(payload)}}, timeout)
    end
  end
end
