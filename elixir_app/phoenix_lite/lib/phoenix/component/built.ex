defmodule Phoenix.Component.Built do
  @moduledoc "The components that every template has: `<.link>`, `<.form>` and `<.live_title>`."
  import Phoenix.Component
  import Phoenix.Component.Declarative
  Phoenix.Component.Declarative.__setup__(__MODULE__)
  @on_definition Phoenix.Component.Declarative
  @before_compile Phoenix.Component.Declarative

  @doc "A link: `navigate` goes to another view, `patch` to another address of this one."
  attr :navigate, :string
  attr :patch, :string
  attr :rest, :global
  slot :inner_block, required: true

  def link(%{navigate: to} = assigns) when is_binary(to), do: live_link(assigns, to, "redirect")
  def link(%{patch: to} = assigns) when is_binary(to), do: live_link(assigns, to, "patch")

  defp live_link(assigns, to, kind) do
    assigns = assign(assigns, to: to, kind: kind)

    ~H|<a href={@to} data-phx-link={@kind} data-phx-link-state="push" {@rest}>{render_slot(@inner_block)}</a>|
  end

  @doc "A form. With `action` the browser sends it, so it is a POST and has the CSRF token of the page."
  attr :for, :map, required: true
  attr :action, :string, default: nil
  attr :rest, :global, include: ~w(autocomplete name rel enctype novalidate target)
  slot :inner_block, required: true

  def form(assigns) do
    token = if assigns.action, do: Plug.CSRFProtection.get_csrf_token()
    assigns = assign(assigns, method: if(assigns.action, do: "post"), token: token)

    ~H"""
    <form action={@action} method={@method} {@rest}>
      <input :if={@token} name="_csrf_token" type="hidden" hidden value={@token} />
      {render_slot(@inner_block)}
    </form>
    """
  end

  @doc "The title of the page; the client changes it as `page_title` does."
  attr :suffix, :string, default: nil
  attr :default, :string, default: nil
  slot :inner_block, required: true

  def live_title(assigns) do
    inner = assigns.inner_block |> render_slot() |> PhoenixLite.Tree.value() |> PhoenixLite.Tree.to_iodata()
    inner = inner |> IO.iodata_to_binary() |> String.trim()
    title = if inner == "", do: assigns.default, else: {:safe, inner}
    assigns = assign(assigns, :title, title)

    ~H|<title data-default={@default} data-suffix={@suffix}>{@title}{@suffix}</title>|
  end
end
