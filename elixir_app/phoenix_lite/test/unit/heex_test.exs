defmodule PhoenixLite.HeexTest.Embedded do
  @moduledoc false
  use Phoenix.Component
  embed_templates "../fixtures/embed/*"

  attr :a, :string, default: "d"
  defp hidden(assigns), do: ~H"<u>{@a}</u>"
  def shown(assigns), do: ~H"<.hidden /><.hidden a={@b} />"
end

defmodule PhoenixLite.HeexTest do
  use ExUnit.Case, async: true
  use Phoenix.Component
  alias Phoenix.LiveView.JS
  alias PhoenixLite.Tree

  attr :name, :string, required: true
  attr :kind, :atom, values: [:big, :small], default: :small
  attr :rest, :global, include: ~w(disabled)
  slot :inner_block, required: true

  def box(assigns) do
    ~H"""
    <div class={["box", @kind == :big && "big"]} {@rest}>
      <h2>{@name}</h2>{render_slot(@inner_block)}
    </div>
    """
  end

  defp plain(assigns), do: ~H"<b>{@x}</b>"

  defp html(rendered), do: rendered |> Phoenix.HTML.Safe.to_iodata() |> IO.iodata_to_binary()

  test "text and attributes are escaped" do
    assigns = %{a: "<&\"'>", on: true, off: nil, rest: %{id: "x", hidden: false}, js: JS.ignore_attributes("a\"b")}

    assert html(~H"<p title={@a} data-on={@on} data-off={@off} {@rest} bare x='y'>{@a} {1 + 1} {nil}</p>") ==
             ~s(<p title="&lt;&amp;&quot;&#39;&gt;" data-on id="x" bare x="y">&lt;&amp;&quot;&#39;&gt; 2 </p>)

    assert html(~H|<input value={"}"} /><br><div class={["a", nil, ["b"]]} />|) ==
             ~s(<input value="}"><br><div class="a b"></div>)

    assert html(~H"<b phx-click={@js} />") =~
             ~S([[&quot;ignore_attrs&quot;,{&quot;attrs&quot;:[&quot;a\&quot;b&quot;]}]])

    assert html(~H"<%!-- gone --%><!-- {kept} -->&lbrace;") == "<!-- {kept} -->&lbrace;"
    assert html(~H"<script>if (a < b) { f(<%= 1 %>) }</script>") == "<script>if (a < b) { f(1) }</script>"
    assert html(~H"{{:safe, ~s(<hr>)}}{[~s(<), [~s(b)]]}") == "<hr>&lt;b"
  end

  test ":if and :for repeat and leave out" do
    assigns = Map.new(xs: [1, 2, 3], on: false)

    assert html(~H"<i :for={x <- @xs} :if={x != 2} :key={x} data-x={x}>{x}</i>") ==
             ~s(<i data-x="1">1</i><i data-x="3">3</i>)

    assert html(~H"<i :if={@on}>on</i><i :if={!@on}>off</i>") == "<i>off</i>"
    assert html(~H"{for x <- @xs, do: ~H|<b>{x}</b>|}") == "<b>1</b><b>2</b><b>3</b>"
  end

  test "components take attributes, defaults and content" do
    assigns = %{who: "Ann"}

    assert html(~H"""
           <.box name={@who} kind={:big} disabled>
             in <.plain x={@who} />
           </.box>
           """)
           |> String.replace(~r/\s+/, " ") == ~s(<div class="box big" disabled> <h2>Ann</h2> in <b>Ann</b> </div>)

    assert html(~H|<PhoenixLite.HeexTest.box name="r">.</PhoenixLite.HeexTest.box>|) =~ ~s(<div class="box">)

    assert html(~H|<.link navigate="/x" class="c">go</.link>|) ==
             ~s(<a href="/x" data-phx-link="redirect" data-phx-link-state="push" class="c">go</a>)

    assert html(~H|<.link patch="/x">go</.link>|) =~ ~s(data-phx-link="patch" data-phx-link-state="push")
    assert html(~H|<.form for={%{}} phx-change="c">in</.form>|) =~ ~r(\A<form phx-change="c">\s*in\s*</form>\z)

    assert html(~H|<.form for={%{}} action="/save">in</.form>|) =~
             ~r(<form action="/save" method="post">\s*<input name="_csrf_token" type="hidden" hidden value="[\w-]{56}">)
  end

  test "a template in a file is a component" do
    alias PhoenixLite.HeexTest.Embedded

    assert html(Embedded.hello(%{class: "c", name: "<n>"})) ==
             ~s(<p class="c">&lt;n&gt;</p>\n<b>&lt;n&gt;</b><b>&lt;n&gt;</b>)

    assert html(Embedded.shown(%{b: "b"})) == "<u>d</u><u>b</u>"

    code = "defmodule PhoenixLite.HeexTest.Broken do\nuse Phoenix.Component\nembed_templates(\"broken/*\")\nend"
    error = assert_raise CompileError, fn -> Code.compile_string(code, Path.expand("../fixtures/x.ex", __DIR__)) end
    assert Path.basename(error.file) == "page.html.heex" and error.line == 2
  end

  test "a wrong template doesn't compile, and the error names file and line" do
    for {template, line, message} <- [
          {"<p>\n<b></p>", 2, "</p> where </b> is expected, for <b> in line 2"},
          {"\n<p>", 2, "<p> is never closed"},
          {"</p>", 1, "without <p>"},
          {"</br>", 1, "has no end"},
          {"\n{@a", 2, "expected } after {"},
          {"<p a={1", 1, "expected } after {"},
          {"<p\n a=b>", 2, "in quotes"},
          {"<p a a></p>", 1, "twice"},
          {"<p phx-hook=\"X\"></p>", 1, "needs an id"},
          {"<p :foo={1}></p>", 1, ":foo isn't supported"},
          {"<p :let={x}></p>", 1, ":let isn't supported"},
          {"<.box name=\"x\"><:slot></:slot></.box>", 1, "aren't supported"},
          {"a < b", 1, "&lt;"},
          {"a } b", 1, "&rbrace;"},
          {"<% x = 1 %>", 1, "a condition :if={..}"},
          {"<%= if @x do %><p><% end %></p>", 1, "a condition :if={..}"},
          {"<ul id=\"u\" phx-update=\"stream\"></ul>", 1, "no streams"},
          {"\n{1 +* 2}", 2, "expected } after {"},
          {"<p>\n<.box>x</.box></p>", 2, "needs attribute name"},
          {"<.box name=\"x\" />", 1, "needs content"},
          {"<.box name=\"x\" foo=\"1\">x</.box>", 1, "has no attribute foo"},
          {"<.box name=\"x\" kind=\"huge\">x</.box>", 1, "must be one of"},
          {"<.box name=\"x\" kind=\"big\"></.box>", 1, "needs content"}
        ] do
      error =
        assert_raise CompileError, fn ->
          Code.eval_quoted(
            quote do
              import Phoenix.Component
              import PhoenixLite.HeexTest, only: [box: 1]
              var!(assigns) = %{}
              sigil_H(<<unquote(template)>>, [])
            end,
            [],
            file: "page.ex",
            line: 1
          )
        end

      assert error.line == line, "#{template}: #{Exception.message(error)}"
      assert Exception.message(error) =~ message, template
      assert error.file == "page.ex"
    end
  end

  test "calls of components in this and other modules are checked" do
    # Other modules are looked at once they are compiled, in a process of the compiler that ends with us.
    Process.flag(:trap_exit, true)

    for {call, message} <- [
          {"<.own />", "<.own> needs attribute a"},
          {"<.own a=\"1\" b=\"2\" />", "<.own> has no attribute b"},
          {~s(<PhoenixLite.HeexTest.box name="a" b="c">x</PhoenixLite.HeexTest.box>), "<.box> has no attribute b"}
        ] do
      code = """
      defmodule PhoenixLite.HeexTest.Bad#{:erlang.unique_integer([:positive])} do
        use Phoenix.Component
        def page(assigns), do: ~H'#{call}'
        attr :a, :string, required: true
        def own(assigns), do: ~H"{@a}"
      end
      """

      ExUnit.CaptureLog.capture_log(fn ->
        {_, reference} = spawn_monitor(fn -> Code.compile_string(code, "bad.ex") end)
        assert_receive {:DOWN, ^reference, _, _, {%CompileError{} = error, _}}, 30_000
        assert Exception.message(error) =~ "bad.ex:3: " <> message
        # The end of that process is logged after ours.
        Process.sleep(50)
      end)
    end
  end

  test "a diff has only what changed, and nothing else is rendered" do
    page = fn assigns ->
      ~H"""
      <p class={@c}>{send(self(), :rendered) && @a}</p><b :if={@on}>{@b}</b><i :for={x <- @xs}>{x}{@b}</i>
      """
    end

    assigns = %{__changed__: nil, a: 1, b: 2, c: "c", on: false, xs: [1, 2]}
    {json, tree} = Tree.whole(page.(assigns))
    assert %{"0" => "c", "1" => "1", "2" => "", "3" => %{"k" => %{"0" => %{"0" => "1", "1" => "2"}, "kc" => 2}}} = json
    assert_received :rendered
    change = fn tree, assigns, new -> Tree.diff(tree, page.(assign(%{assigns | __changed__: %{}}, new))) end

    assert {:same, ^tree} = change.(tree, assigns, [])
    refute_received :rendered
    assert {{:ok, %{"1" => "5"} = diff}, _} = change.(tree, assigns, a: 5)
    assert map_size(diff) == 1
    assert {{:ok, %{"2" => %{"0" => "2", "s" => ["<b>", "</b>"]}}}, tree} = change.(tree, assigns, on: true)
    assert {{:ok, %{"2" => %{"0" => "9"}, "3" => %{"k" => keyed}}}, _} = change.(tree, %{assigns | on: true}, b: 9)
    assert keyed == %{"0" => %{"1" => "9"}, "1" => %{"1" => "9"}, "kc" => 2}
    assert {{:ok, %{"3" => %{"k" => keyed}}}, tree} = change.(tree, %{assigns | on: true}, xs: [1, 2, 3])
    assert keyed == %{"2" => %{"0" => "3", "1" => "2"}, "kc" => 3}

    assert {{:ok, %{"3" => %{"k" => %{"kc" => 1} = keyed}}}, _} =
             change.(tree, %{assigns | on: true, xs: [1, 2, 3]}, xs: [1])

    assert map_size(keyed) == 1
  end

  slot :inner_block, required: true

  defp tabs(assigns), do: ~H"<nav>{render_slot(@inner_block)}{render_slot(@inner_block)}</nav>"

  defp random_page(assigns) do
    ~H"""
    {@a}{case @b do
      0 -> ~H|{@a}|
      1 -> ~H|{@c}|
      n -> ~H|<b>{n}{@c}</b>|
    end}
    <.tabs>
      <u :if={@b > 0} id={@a}>{@a}</u>
      <u :for={l <- @list} :if={l > 1}>{l}{@c}</u>
      <i :if={@a == 1}>{@c}</i>{if @b == 1, do: ~H|<s>{@a}</s>|, else: ~H|<s>{@c}</s>|}
    </.tabs>
    <p :for={l <- @list} class={[@a == 2 && "two"]}><em :if={l == @a}>{@c}</em>{for m <- @list, m > l, do: ~H|{m}{@b}|}</p>
    {@list}{if @b > 1, do: ~H|{@a}|, else: ~H|<.plain x={@c} />|}
    """
  end

  test "a page that random diffs made is the page of a whole render" do
    :rand.seed(:exsss, {1, 2, 3})
    value = fn -> :rand.uniform(4) - 1 end

    change = fn ->
      [a: value.(), b: value.(), c: value.(), list: Enum.map(1..(value.() + 1), fn _ -> ?0 + value.() end) |> tl()]
    end

    assigns = Map.merge(%{__changed__: nil}, Map.new(change.()))
    {json, tree} = Tree.whole(random_page(assigns))

    Enum.reduce(1..2_000, {json, tree, assigns}, fn step, {json, tree, assigns} ->
      new = assign(%{assigns | __changed__: %{}}, Enum.take_random(change.(), value.()))
      {diff, tree} = Tree.diff(tree, random_page(new))
      # As the client gets it.
      diff = if diff == :same, do: %{}, else: diff |> elem(1) |> Jason.encode!() |> Jason.decode!()
      json = PhoenixLite.TestClient.merge_node(json, diff)
      whole = html(random_page(%{new | __changed__: nil}))
      assert PhoenixLite.TestClient.html(json) == whole, "step #{step}: #{inspect(new)}"
      assert html(tree) == whole
      {json, tree, new}
    end)
  end

  test "a template that is one tag is marked, so that the client can leave it alone" do
    assigns = %{a: 1, on: true}
    root? = &(&1 |> Tree.whole() |> elem(0) |> Map.has_key?("r"))
    assert root?.(~H"<p>{@a}</p>")

    assert root?.(~H"""
           <p>{@a}</p>
           """)

    for other <- [~H"<p>{@a}</p>b", ~H"<p>{@a}</p><p></p>", ~H"<p :if={@on}>{@a}</p>", ~H"<.plain x={@a} />", ~H"{@a}"],
        do: refute(root?.(other))
  end

  test "two templates with the same statics aren't taken for each other" do
    page = fn assigns -> ~H"{if @c, do: ~H|{@x}|, else: ~H|{@y}|}" end
    assigns = %{__changed__: nil, c: true, x: "x", y: "y"}
    {_, tree} = Tree.whole(page.(assigns))
    {{:ok, _}, tree} = Tree.diff(tree, page.(assign(%{assigns | __changed__: %{}}, :c, false)))
    assert IO.iodata_to_binary(Tree.to_iodata(tree)) == "y"
  end
end
