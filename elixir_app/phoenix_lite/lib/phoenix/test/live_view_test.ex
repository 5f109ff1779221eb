defmodule Phoenix.LiveViewTest do
  @moduledoc """
  Views with the test as their browser.

      @endpoint MyApp.Endpoint
      import Phoenix.ConnTest
      import Phoenix.LiveViewTest

      {:ok, view, html} = live(build_conn(), "/rooms")
      assert view |> element("button", "Join") |> render_click() =~ "joined"
  """
  import ExUnit.Assertions
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
    # The caller imports `get/2` from Phoenix.ConnTest, as in LiveView.
    quote do
      Phoenix.LiveViewTest.__live__(get(unquote(conn), unquote(path)))
    end
  end

  @doc false
  def __live__(%Plug.Conn{status: status} = conn) when status in 300..308 do
    to = Phoenix.ConnTest.redirected_to(conn, status)
    kind = if conn.private[:phoenix_live_redirect], do: :live_redirect, else: :redirect
    {:error, {kind, %{to: to, flash: conn.assigns[:flash] || %{}}}}
  end

  def __live__(%Plug.Conn{} = conn) do
    html = Phoenix.ConnTest.html_response(conn, 200)
    page = TestDOM.parse(html)

    case TestDOM.find(page, "[data-phx-main]") do
      [container] -> join(conn, html, container)
      [] -> {:error, :nosession}
    end
  end

  defp join(conn, html, container) do
    id = TestDOM.attribute(container, "id")
    {module, _live_session} = conn.private.phoenix_live_view
    ref = make_ref()
    uri = Plug.Conn.request_url(conn)

    options = %{
      test: self(),
      ref: ref,
      endpoint: conn.private.phoenix_endpoint,
      topic: "lv:" <> id,
      connect_info: %{session: Plug.Conn.get_session(conn), peer_data: Plug.Conn.get_peer_data(conn)},
      join: %{
        "url" => uri,
        "params" => %{"_mounts" => 0},
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
  defp away(%{redirect: to}), do: {:redirect, to}

  ## Looking

  @doc "The HTML of a view or an element, as it is now."
  @spec render(View.t() | Element.t()) :: String.t()
  def render(%View{} = view), do: call(view, :html)
  def render(%Element{} = element), do: element |> node!() |> TestDOM.to_html()

  @doc "An element, by a selector and a text."
  @spec element(View.t(), String.t(), String.t() | Regex.t() | nil) :: Element.t()
  def element(%View{} = view, selector, text \\ nil), do: %Element{view: view, selector: selector, text: text}

  @doc "A form, with what a person would fill in."
  @spec form(View.t(), String.t(), map() | keyword()) :: Element.t()
  def form(%View{} = view, selector, data), do: %Element{view: view, selector: selector, form: data}

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
  def render_component(component, assigns) when is_function(component, 1) do
    assigns |> Map.new() |> Map.put_new(:__changed__, nil) |> component.() |> rendered_to_string()
  end

  @doc "The HTML of `~H`."
  @spec rendered_to_string(term()) :: String.t()
  def rendered_to_string(rendered), do: rendered |> Phoenix.HTML.Safe.to_iodata() |> IO.iodata_to_binary()

  ## Doing

  @doc "Clicks on an element."
  @spec render_click(Element.t()) :: String.t() | {:error, term()}
  def render_click(%Element{} = element) do
    node = node!(element)

    if TestDOM.attribute(node, "disabled"),
      do: raise(ArgumentError, "a disabled element can't be clicked: #{TestDOM.to_html(node)}")

    case {TestDOM.attribute(node, "phx-click"), TestDOM.attribute(node, "data-phx-link"),
          TestDOM.attribute(node, "href")} do
      {nil, "patch", href} -> render_patch(element.view, href)
      {nil, "redirect", href} -> {:error, {:live_redirect, %{to: href, kind: kind(node)}}}
      {nil, nil, href} when is_binary(href) -> {:error, {:redirect, %{to: href}}}
      {nil, _, _} -> raise ArgumentError, "a click does nothing on #{TestDOM.to_html(node)}"
      {event, _, _} -> event(element.view, "click", event, values(node))
    end
  end

  @doc "Sends a form by its `phx-submit`."
  @spec render_submit(Element.t()) :: String.t() | {:error, term()}
  def render_submit(%Element{} = form), do: send_form(form, "phx-submit")

  @doc "Changes a form, which sends it by its `phx-change`."
  @spec render_change(Element.t()) :: String.t() | {:error, term()}
  def render_change(%Element{} = form), do: send_form(form, "phx-change")

  @doc "Presses a key on an element with `phx-keydown` or `phx-window-keydown`; `value` has the key."
  @spec render_keydown(Element.t(), map()) :: String.t() | {:error, term()}
  def render_keydown(%Element{} = element, value) do
    node = node!(element)
    event = Enum.find_value(["phx-keydown", "phx-window-keydown"], &TestDOM.attribute(node, &1))
    unless event, do: raise(ArgumentError, "no key does anything on #{TestDOM.to_html(node)}")
    event(element.view, "keydown", event, Map.merge(values(node), strings(value)))
  end

  @doc "Sends an event of a hook (`pushEvent`)."
  @spec render_hook(View.t(), String.t(), map()) :: String.t() | {:error, term()}
  def render_hook(%View{} = view, event, value), do: event(view, "hook", event, strings(value))

  # As a link with `patch` does.
  defp render_patch(view, path) do
    {ref, _, _} = view.proxy
    result = answer(call(view, {:push, "live_patch", %{"url" => view.uri |> URI.merge(path) |> URI.to_string()}}), path)
    if is_binary(result), do: send(self(), {ref, {:patch, path}})
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

  defp send_form(element, binding) do
    node = node!(element)
    names = TestDOM.names(node)
    given = pairs(element.form)

    for {name, _} <- given, name not in names do
      raise ArgumentError, "the form #{element.selector} has no input #{name}, only #{inspect(names)}"
    end

    kept = for {name, _} = field <- TestDOM.fields(node), not List.keymember?(given, name, 0), do: field

    encoded =
      Enum.map_join(kept ++ given, "&", fn {name, value} ->
        URI.encode_www_form(name) <> "=" <> URI.encode_www_form(value)
      end)

    case TestDOM.attribute(node, binding) do
      nil -> raise ArgumentError, "no #{binding} on #{element.selector}"
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
    answer(call(view, {:push, "event", %{"type" => type, "event" => event, "value" => value}}), nil)
  end

  defp answer({:ok, html}, _path), do: html
  defp answer({:away, %{link_redirect: true}}, path), do: {:error, {:live_redirect, %{to: path, kind: "push"}}}
  defp answer({:away, away}, _path), do: {:error, away(away)}

  defp call(%View{proxy: {_, _, pid}}, message), do: GenServer.call(pid, message, 30_000)

  ## Asserting

  @doc "Asserts that the view was patched to this path."
  @spec assert_patched(View.t(), String.t()) :: true
  def assert_patched(%View{proxy: {ref, _, _}}, to), do: assert_received({^ref, {:patch, ^to}})

  @doc "Waits for a redirect to a path, and returns its flash."
  @spec assert_redirect(View.t(), String.t(), timeout()) :: map()
  def assert_redirect(%View{proxy: {ref, _, _}} = view, to, timeout \\ timeout()) do
    assert_receive {^ref, {:away, away}}, timeout
    {_kind, opts} = away(away)
    assert opts.to == to
    flash(view, opts)
  end

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
end
