defmodule Phoenix.LiveView.Rendered do
  @moduledoc """
  HTML as the text that stays (`static`) and the values between it (`dynamic`): text, or trees again. With
  `root?` it is one tag, which the client leaves alone while nothing in it changes.
  """
  defstruct static: [], dynamic: [], fingerprint: nil, root?: false
  @type t :: %__MODULE__{static: [String.t()], dynamic: [term()], fingerprint: term(), root?: boolean()}
end

defmodule Phoenix.LiveView.Comprehension do
  @moduledoc "A list of HTML with the same statics."
  defstruct static: [], entries: [], fingerprint: nil
  @type t :: %__MODULE__{static: [String.t()], entries: [[term()]], fingerprint: term()}
end

defmodule PhoenixLite.Tree do
  @moduledoc """
  The rendered tree of a page, and the diff of two trees in the form that LiveView's client takes.

  A dynamic that reads only unchanged assigns isn't rendered: it is `{:unchanged, fun}`. A diff keeps the old
  value for it. Where there is no old value, `fun` renders it.
  """
  alias Phoenix.LiveView.{Comprehension, Rendered}

  @type t :: String.t() | Rendered.t() | Comprehension.t()

  ## For templates

  @doc "Renders, unless the assigns say that none of `keys` changed."
  @spec dynamic(map(), [atom()], (() -> term())) :: term()
  def dynamic(assigns, keys, fun) do
    case assigns do
      %{__changed__: %{} = changed} ->
        if Enum.any?(keys, &is_map_key(changed, &1)), do: fun.(), else: {:unchanged, fun}

      _ ->
        fun.()
    end
  end

  @doc "The value of `{..}` in text."
  @spec value(term()) :: t()
  def value(%Rendered{} = rendered), do: rendered
  def value(%Comprehension{} = comprehension), do: comprehension

  def value(list) when is_list(list) do
    if Enum.any?(list, &(is_struct(&1, Rendered) or is_struct(&1, Comprehension) or is_list(&1))) and not text?(list),
      do: %Comprehension{static: ["", ""], entries: Enum.map(list, &[value(&1)]), fingerprint: :list},
      else: text(list)
  end

  def value(other), do: text(other)

  defp text?(list), do: Enum.all?(list, &((is_list(&1) and text?(&1)) or is_binary(&1) or is_integer(&1)))
  defp text(value), do: value |> Phoenix.HTML.Safe.to_iodata() |> IO.iodata_to_binary()

  @doc "An attribute, with the space before it; nothing for nil and false."
  @spec attribute(String.t(), term()) :: String.t()
  def attribute(_name, value) when value in [nil, false], do: ""
  def attribute(name, true), do: " " <> name
  def attribute(name, value), do: " " <> name <> "=\"" <> attribute_value(name, value) <> "\""

  @doc "The value of an attribute, escaped. Classes may be lists, with nil and false in them."
  @spec attribute_value(String.t(), term()) :: String.t()
  def attribute_value(name, list) when name in ["class", "style"] and is_list(list) do
    list |> List.flatten() |> Enum.filter(& &1) |> Enum.map_join(if(name == "class", do: " ", else: "; "), &text/1)
  end

  def attribute_value(_name, value) when value in [nil, false], do: ""
  def attribute_value(_name, value), do: text(value)

  @doc "Several attributes."
  @spec attributes(Enumerable.t()) :: String.t()
  def attributes(attributes), do: Enum.map_join(attributes, fn {name, value} -> attribute(to_string(name), value) end)

  ## Whole trees

  @doc "The HTML."
  @spec to_iodata(term()) :: iodata()
  def to_iodata(text) when is_binary(text), do: text
  def to_iodata({:unchanged, fun}), do: to_iodata(fun.())
  def to_iodata(%Rendered{static: static, dynamic: dynamic}), do: interleave(static, dynamic)
  def to_iodata(%Comprehension{static: static, entries: entries}), do: Enum.map(entries, &interleave(static, &1))

  defp interleave([text], []), do: [text]
  defp interleave([text | static], [value | dynamic]), do: [text, to_iodata(value) | interleave(static, dynamic)]

  @doc "Returns the JSON of a tree that the client doesn't have, and the tree with its unchanged parts rendered."
  @spec whole(term()) :: {term(), t()}
  def whole(text) when is_binary(text), do: {text, text}
  def whole({:unchanged, fun}), do: whole(fun.())

  def whole(%Rendered{} = rendered) do
    {json, dynamic} = dynamics(rendered.dynamic)
    json = if rendered.root?, do: Map.put(json, "r", 1), else: json
    {Map.put(json, "s", rendered.static), %{rendered | dynamic: dynamic}}
  end

  def whole(%Comprehension{} = comprehension) do
    {jsons, entries} = comprehension.entries |> Enum.map(&dynamics/1) |> Enum.unzip()
    {%{"s" => comprehension.static, "k" => keyed(jsons)}, %{comprehension | entries: entries}}
  end

  defp dynamics(values) do
    {jsons, values} = values |> Enum.map(&whole/1) |> Enum.unzip()
    {indexed(jsons), values}
  end

  defp keyed(jsons), do: jsons |> indexed() |> Map.put("kc", length(jsons))

  defp indexed(list),
    do: list |> Enum.with_index() |> Map.new(fn {value, index} -> {Integer.to_string(index), value} end)

  @doc "Returns the diff from `old` to `new`, or `:same`, and `new` with the parts of `old` that are unchanged."
  @spec diff(t() | nil, term()) :: {:same | {:ok, term()}, t()}
  def diff(nil, new), do: changed(new)
  def diff(old, {:unchanged, _}), do: {:same, old}
  def diff(text, text) when is_binary(text), do: {:same, text}

  def diff(%Rendered{static: s, fingerprint: f} = old, %Rendered{static: s, fingerprint: f} = new) do
    {diff, dynamic} = pairs(old.dynamic, new.dynamic)
    {if(diff == %{}, do: :same, else: {:ok, diff}), %{new | dynamic: dynamic}}
  end

  def diff(%Comprehension{static: s, fingerprint: f} = old, %Comprehension{static: s, fingerprint: f} = new) do
    {changes, entries} = entries(old.entries, new.entries, 0, %{}, [])
    count = length(entries)
    new = %{new | entries: entries}

    if changes == %{} and count == length(old.entries),
      do: {:same, new},
      else: {{:ok, %{"k" => Map.put(changes, "kc", count)}}, new}
  end

  def diff(_old, new), do: changed(new)

  defp changed(new) do
    {json, new} = whole(new)
    {{:ok, json}, new}
  end

  defp pairs(old, new) do
    {values, {changes, _}} =
      Enum.map_reduce(Enum.zip(old, new), {%{}, 0}, fn {old, new}, {changes, index} ->
        case diff(old, new) do
          {:same, value} -> {value, {changes, index + 1}}
          {{:ok, json}, value} -> {value, {Map.put(changes, Integer.to_string(index), json), index + 1}}
        end
      end)

    {changes, values}
  end

  defp entries(_old, [], _index, changes, done), do: {changes, Enum.reverse(done)}

  defp entries([old | olds], [new | news], index, changes, done) do
    {diff, values} = pairs(old, new)
    changes = if diff == %{}, do: changes, else: Map.put(changes, Integer.to_string(index), diff)
    entries(olds, news, index + 1, changes, [values | done])
  end

  defp entries([], [new | news], index, changes, done) do
    {json, values} = dynamics(new)
    entries([], news, index + 1, Map.put(changes, Integer.to_string(index), json), [values | done])
  end
end

defimpl Phoenix.HTML.Safe, for: [Phoenix.LiveView.Rendered, Phoenix.LiveView.Comprehension] do
  def to_iodata(tree), do: PhoenixLite.Tree.to_iodata(tree)
end
