defmodule PhoenixLite.Render do
  @moduledoc "Rendering for `Phoenix.Controller.render/3` and for error pages."

  alias Phoenix.Controller
  alias Plug.Conn

  @doc false
  def render(conn, template, assigns) do
    format = Controller.get_format(conn) || "html"
    conn = conn |> Conn.merge_assigns(assigns) |> Controller.put_format(format)
    view = Controller.view_module(conn, format)
    content = conn |> page(view, template, format) |> encode(format)

    conn =
      if Conn.get_resp_header(conn, "content-type") == [],
        do: Conn.put_resp_content_type(conn, MIME.type(format)),
        else: conn

    Conn.send_resp(conn, conn.status || 200, content)
  end

  defp page(conn, view, template, format) do
    assigns = conn.assigns |> Map.put(:conn, conn)

    content = render_to_data(view, template, format, assigns)

    case {format, conn.private[:phoenix_root_layout]} do
      {"html", [html: {layout, name}]} ->
        inner = {:safe, Phoenix.HTML.Safe.to_iodata(content)}
        render_to_data(layout, name, format, Map.put(assigns, :inner_content, inner))

      _ ->
        content
    end
  end

  @doc "Renders a template: the view's function of that name, or its `render/2`."
  @spec render_to_data(module(), atom() | String.t(), String.t(), map()) :: term()
  def render_to_data(view, template, format, assigns) do
    name = to_string(template)

    cond do
      not Code.ensure_loaded?(view) ->
        raise ArgumentError, "no view #{inspect(view)} for template #{name} in #{format}"

      is_atom(template) and function_exported?(view, template, 1) ->
        apply(view, template, [assigns])

      function_exported?(view, :render, 2) ->
        view.render("#{name}.#{format}", assigns)

      true ->
        raise ArgumentError,
              "no #{name} template for #{format} in #{inspect(view)}: it has neither #{name}/1 nor render/2"
    end
  end

  @doc "Returns content as iodata. Text in HTML is escaped, as in Phoenix."
  @spec encode(term(), String.t()) :: iodata()
  def encode(content, "html"), do: Phoenix.HTML.Safe.to_iodata(content)
  def encode(content, "json"), do: Jason.encode_to_iodata!(content)
end
