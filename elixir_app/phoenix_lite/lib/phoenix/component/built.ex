defmodule Phoenix.Component.Built do
  @moduledoc "The components that every template has: `<.link>`, `<.form>`, `<.live_title>`, `<.focus_wrap>`."
  import Phoenix.Component
  import Phoenix.Component.Declarative
  Phoenix.Component.Declarative.__setup__(__MODULE__)
  @on_definition Phoenix.Component.Declarative
  @before_compile Phoenix.Component.Declarative

  @doc "A link: `navigate` to another view, `patch` of this one, or `href` to anywhere."
  attr :navigate, :string
  attr :patch, :string
  attr :href, :any
  attr :replace, :boolean, default: false
  attr :method, :string, default: "get"
  attr :csrf_token, :any, default: true
  attr :rest, :global, include: ~w(download hreflang referrerpolicy rel target type)
  slot :inner_block, required: true

  def link(%{navigate: to} = assigns) when is_binary(to), do: live_link(assigns, to, "redirect")
  def link(%{patch: to} = assigns) when is_binary(to), do: live_link(assigns, to, "patch")

  def link(%{href: href} = assigns) when href not in ["#", nil] do
    assigns = assign(assigns, :to, safe!(to_string(href)))

    if assigns.method == "get" do
      ~H|<a href={@to} {@rest}>{render_slot(@inner_block)}</a>|
    else
      token =
        if assigns.csrf_token == true, do: Plug.CSRFProtection.get_csrf_token_for(assigns.to), else: assigns.csrf_token

      assigns = assign(assigns, :token, token)

      ~H|<a href={@to} data-method={@method} data-to={@to} data-csrf={@token} {@rest}>{render_slot(@inner_block)}</a>|
    end
  end

  def link(assigns), do: ~H|<a href="#" {@rest}>{render_slot(@inner_block)}</a>|

  defp live_link(assigns, to, kind) do
    assigns = assign(assigns, to: to, kind: kind, state: if(assigns.replace, do: "replace", else: "push"))

    ~H|<a href={@to} data-phx-link={@kind} data-phx-link-state={@state} {@rest}>{render_slot(@inner_block)}</a>|
  end

  # A link that a stranger wrote must not be a script.
  defp safe!(href) do
    if href =~ ~r/\A[\x00-\x20]*(javascript|data|vbscript)\s*:/i,
      do: raise(ArgumentError, "unsafe href of a link: #{inspect(href)}"),
      else: href
  end

  @doc "A form. With `action` it is sent by the browser too, and has its token."
  attr :for, :any, required: true
  attr :as, :any, default: nil
  attr :action, :string, default: nil
  attr :method, :string, default: nil
  attr :csrf_token, :any, default: nil
  attr :errors, :list, default: []
  attr :rest, :global, include: ~w(autocomplete name rel enctype novalidate target)
  slot :inner_block, required: true

  def form(assigns) do
    form = if is_map(assigns.for), do: assigns.for, else: %{}
    opts = [as: assigns.as, errors: assigns.errors]
    form = if is_struct(form, Phoenix.HTML.Form), do: form, else: to_form(form, opts)
    method = assigns.method || if(assigns.action, do: "post")
    hidden = if method && String.downcase(method) not in ["get", "post"], do: method

    token =
      cond do
        assigns.csrf_token == false or assigns.action == nil or method == "get" -> nil
        is_binary(assigns.csrf_token) -> assigns.csrf_token
        true -> Plug.CSRFProtection.get_csrf_token_for(assigns.action)
      end

    rest = if form.id, do: Map.put_new(assigns.rest, :id, form.id), else: assigns.rest
    method = if hidden, do: "post", else: method
    assigns = assign(assigns, form: form, method: method, hidden: hidden, token: token, rest: rest)

    ~H"""
    <form action={@action} method={@method} {@rest}>
      <input :if={@hidden} name="_method" type="hidden" hidden value={@hidden} />
      <input :if={@token} name="_csrf_token" type="hidden" hidden value={@token} />
      {render_slot(@inner_block, @form)}
    </form>
    """
  end

  @doc "The title of the page; the client changes it as `page_title` does."
  attr :prefix, :string, default: nil
  attr :suffix, :string, default: nil
  attr :default, :string, default: nil
  slot :inner_block, required: true

  def live_title(assigns) do
    inner = assigns.inner_block |> render_slot() |> PhoenixLite.Tree.value() |> PhoenixLite.Tree.to_iodata()
    inner = inner |> IO.iodata_to_binary() |> String.trim()
    title = if inner == "", do: assigns.default, else: {:safe, inner}
    assigns = assign(assigns, :title, title)

    ~H|<title data-prefix={@prefix} data-default={@default} data-suffix={@suffix}>{@prefix}{@title}{@suffix}</title>|
  end

  @doc "Keeps the focus within, e.g. for a dialog."
  attr :id, :string, required: true
  attr :rest, :global
  slot :inner_block, required: true

  def focus_wrap(assigns) do
    ~H"""
    <div id={@id} phx-hook="Phoenix.FocusWrap" {@rest}>
      <div id={"#{@id}-start"} tabindex="0" aria-hidden="true"></div>
      {render_slot(@inner_block)}
      <div id={"#{@id}-end"} tabindex="0" aria-hidden="true"></div>
    </div>
    """
  end
end
