defmodule PhoenixLite.CoreComponents do
  @moduledoc false
  use Phoenix.Component
  alias Phoenix.LiveView.JS

  attr :id, :string, doc: "the optional id of flash container"
  attr :flash, :map, default: %{}, doc: "the map of flash messages to display"
  attr :title, :string, default: nil
  attr :kind, :atom, values: [:info, :error], doc: "used for styling and flash lookup"
  attr :rest, :global, doc: "the arbitrary HTML attributes to add to the flash container"
  slot :inner_block, doc: "the optional inner block that renders the flash message"

  def flash(assigns) do
    assigns = assign_new(assigns, :id, fn -> "flash-#{assigns.kind}" end)

    ~H"""
    <div
      :if={msg = render_slot(@inner_block) |> then(&if(&1 == "", do: nil, else: &1)) || Phoenix.Flash.get(@flash, @kind)}
      id={@id}
      phx-click={JS.push("lv:clear-flash", value: %{key: @kind}) |> hide("##{@id}")}
      role="alert"
      {@rest}
    >
      <p :if={@title} class="font-semibold">{@title}</p>
      <p>{msg}</p>
    </div>
    """
  end

  attr :rest, :global, include: ~w(href navigate patch method download name value disabled)
  attr :class, :any
  attr :variant, :string, values: ~w(primary)
  slot :inner_block, required: true

  def button(%{rest: rest} = assigns) do
    variants = %{"primary" => "btn-primary", nil => "btn-soft"}

    assigns = assign_new(assigns, :class, fn -> ["btn", Map.fetch!(variants, assigns[:variant])] end)

    if rest[:href] || rest[:navigate] || rest[:patch] do
      ~H"""
      <.link class={@class} {@rest}>
        {render_slot(@inner_block)}
      </.link>
      """
    else
      ~H"""
      <button class={@class} {@rest}>
        {render_slot(@inner_block)}
      </button>
      """
    end
  end

  attr :id, :any, default: nil
  attr :name, :any
  attr :label, :string, default: nil
  attr :value, :any
  attr :type, :string, default: "text", values: ~w(checkbox email select text textarea)
  attr :field, Phoenix.HTML.FormField, doc: "a form field struct retrieved from the form, for example: @form[:email]"
  attr :errors, :list, default: []
  attr :checked, :boolean
  attr :prompt, :string, default: nil
  attr :options, :list
  attr :multiple, :boolean, default: false
  attr :rest, :global, include: ~w(autocomplete maxlength minlength pattern placeholder readonly required)

  def input(%{field: %Phoenix.HTML.FormField{} = field} = assigns) do
    errors = if Phoenix.Component.used_input?(field), do: field.errors, else: []

    assigns
    |> assign(field: nil, id: assigns.id || field.id)
    |> assign(:errors, errors)
    |> assign_new(:name, fn -> if assigns.multiple, do: field.name <> "[]", else: field.name end)
    |> assign_new(:value, fn -> field.value end)
    |> input()
  end

  def input(%{type: "checkbox"} = assigns) do
    assigns = assign_new(assigns, :checked, fn -> Phoenix.HTML.Form.normalize_value("checkbox", assigns[:value]) end)

    ~H"""
    <label>
      <input type="hidden" name={@name} value="false" disabled={@rest[:disabled]} />
      <input type="checkbox" id={@id} name={@name} value="true" checked={@checked} {@rest} />{@label}
    </label>
    """
  end

  def input(%{type: "select"} = assigns) do
    ~H"""
    <select id={@id} name={@name} multiple={@multiple} {@rest}>
      <option :if={@prompt} value="">{@prompt}</option>
      {Phoenix.HTML.Form.options_for_select(@options, @value)}
    </select>
    """
  end

  def input(assigns) do
    ~H"""
    <input
      type={@type}
      name={@name}
      id={@id}
      value={Phoenix.HTML.Form.normalize_value(@type, @value)}
      class={["w-full", @errors != [] && "input-error"]}
      {@rest}
    />
    <.error :for={msg <- @errors}>{msg}</.error>
    """
  end

  defp error(assigns) do
    ~H"""
    <p class="error">{render_slot(@inner_block)}</p>
    """
  end

  attr :id, :string, required: true
  attr :rows, :list, required: true
  attr :row_id, :any, default: nil
  attr :row_click, :any, default: nil
  attr :row_item, :any, default: &Function.identity/1

  slot :col, required: true do
    attr :label, :string
  end

  slot :action

  def table(assigns) do
    ~H"""
    <table>
      <thead>
        <tr>
          <th :for={col <- @col}>{col[:label]}</th>
        </tr>
      </thead>
      <tbody id={@id}>
        <tr :for={row <- @rows} id={@row_id && @row_id.(row)}>
          <td :for={col <- @col} phx-click={@row_click && @row_click.(row)} class={@row_click && "hover"}>
            {render_slot(col, @row_item.(row))}
          </td>
          <td :if={@action != []}>
            <%= for action <- @action do %>
              {render_slot(action, @row_item.(row))}
            <% end %>
          </td>
        </tr>
      </tbody>
    </table>
    """
  end

  def hide(js \\ %JS{}, selector) do
    JS.hide(js,
      to: selector,
      time: 200,
      transition: {"transition-all ease-in duration-200", "opacity-100", "opacity-0"}
    )
  end
end

defmodule PhoenixLite.CoreComponentsTest do
  @moduledoc "Components in the manner of a new Phoenix app's."
  use ExUnit.Case, async: true
  use Phoenix.Component
  import Phoenix.LiveViewTest
  import PhoenixLite.CoreComponents
  alias Phoenix.LiveView.JS

  defp squeeze(rendered),
    do: rendered |> rendered_to_string() |> String.replace(~r/\s+/, " ") |> String.replace("> <", "><")

  test "flash" do
    assigns = Map.new(flash: %{"info" => "hi <b>"})
    html = squeeze(~H|<.flash kind={:info} flash={@flash} title="T" hidden /><.flash kind={:error} flash={@flash} />|)
    assert html =~ ~s(<div id="flash-info" phx-click="[[&quot;push&quot;,)
    assert html =~ ~s(role="alert" hidden><p class="font-semibold">T</p><p>hi &lt;b&gt;</p></div>)
    refute html =~ "flash-error"
    assert squeeze(~H|<.flash kind={:error} id="x">in</.flash>|) =~ "<p>in</p>"
  end

  test "button" do
    assigns = Map.new(n: 1)

    assert squeeze(~H|<.button phx-click="go" disabled={@n > 1}>Go</.button>|) =~
             ~s(<button class="btn btn-soft" phx-click="go"> Go)

    assert squeeze(~H|<.button navigate={"/x/#{@n}"} variant="primary">Go</.button>|) =~
             ~s(<a href="/x/1" data-phx-link="redirect" data-phx-link-state="push" class="btn btn-primary"> Go)
  end

  test "input" do
    form =
      to_form(%{"name" => "a", "on" => "true", "pick" => "2", "_unused_off" => ""},
        as: :f,
        errors: [name: "short", off: "bad"]
      )

    assigns = Map.new(form: form)

    html =
      squeeze(~H"""
      <.form for={@form} id="f" action="/save" method="put">
        <.input field={@form[:name]} label="Name" required phx-debounce="200" />
        <.input field={@form[:off]} />
        <.input field={@form[:on]} type="checkbox" label="On" />
        <.input field={@form[:pick]} type="select" prompt="?" options={[{"One", 1}, {"Two", 2}]} />
      </.form>
      """)

    assert html =~ ~s(<form action="/save" method="post" id="f"><input name="_method" type="hidden" hidden value="put">)
    assert html =~ ~s(<input name="_csrf_token" type="hidden" hidden value=")
    assert html =~ ~s(<input type="text" name="f[name]" id="f_name" value="a" class="w-full input-error")
    assert html =~ ~s(<p class="error">short</p>)
    refute html =~ "bad"
    assert html =~ ~s(<input type="checkbox" id="f_on" name="f[on]" value="true" checked>On)
    assert html =~ ~s(<option value="">?</option><option value="1">One</option><option value="2" selected>Two</option>)
  end

  test "table" do
    assigns = Map.new(rows: [%{id: 1, name: "a"}, %{id: 2, name: "b"}])

    html =
      squeeze(~H"""
      <.table id="t" rows={@rows} row_id={&"row-#{&1.id}"} row_click={&JS.navigate("/r/#{&1.id}")}>
        <:col :let={row} label="Name">{row.name}</:col>
        <:col :let={%{id: id}}>{id}</:col>
        <:action :let={row}><.link href={"/d/#{row.id}"} method="delete">x</.link></:action>
      </.table>
      """)

    assert html =~ "<th>Name</th><th></th>"

    assert html =~
             ~s(<tr id="row-1"><td phx-click="[[&quot;navigate&quot;,{&quot;href&quot;:&quot;/r/1&quot;}]]" class="hover"> a </td>)

    assert html =~ ~s(<a href="/d/2" data-method="delete" data-to="/d/2" data-csrf=")
  end
end
