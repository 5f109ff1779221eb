defmodule Phoenix.LiveView.JS do
  @moduledoc """
  What a browser does by itself when something is clicked, e.g. `phx-click={JS.push("mute") |> JS.toggle_class("open")}`.
  """
  alias __MODULE__

  defstruct ops: []
  @type t :: %JS{ops: [[term()]]}

  @doc "Sends an event to the view. Options: `:value`, `:loading`, `:page_loading`."
  @spec push(String.t()) :: t()
  def push(event) when is_binary(event), do: push(%JS{}, event, [])
  @doc "Sends an event to the view."
  @spec push(t() | String.t(), String.t() | keyword()) :: t()
  def push(event, opts) when is_binary(event) and is_list(opts), do: push(%JS{}, event, opts)
  def push(%JS{} = js, event), do: push(js, event, [])
  @doc "Sends an event to the view."
  @spec push(t(), String.t(), keyword()) :: t()
  def push(%JS{} = js, event, opts),
    do: put(js, "push", [event: event], opts, [:value, :loading, :page_loading])

  @doc "Dispatches a DOM event. Options: `:to`, `:detail`, `:bubbles`, `:blocking`."
  @spec dispatch(t() | String.t(), String.t() | keyword(), keyword()) :: t()
  def dispatch(js \\ %JS{}, event, opts \\ [])
  def dispatch(event, opts, []) when is_binary(event), do: dispatch(%JS{}, event, opts)

  def dispatch(%JS{} = js, event, opts),
    do: put(js, "dispatch", [event: event], opts, [:to, :detail, :bubbles, :blocking])

  for {name, classes} <- [show: [:transition], hide: [:transition], toggle: [:in, :out]] do
    @doc "Lets elements #{name}. Options: `:to`, `:time`, `:display`, `#{inspect(classes)}`, `:blocking`."
    @spec unquote(name)(t() | keyword(), keyword()) :: t()
    def unquote(name)(js \\ %JS{}, opts \\ [])
    def unquote(name)(opts, []) when is_list(opts), do: unquote(name)(%JS{}, opts)

    def unquote(name)(%JS{} = js, opts) do
      put(js, unquote(to_string(name)), [], opts, [:to, :time, :display, :blocking] ++ unquote(classes))
    end
  end

  for name <- [:add_class, :remove_class, :toggle_class] do
    @doc "Classes, by their names. Options: `:to`, `:time`, `:transition`, `:blocking`."
    @spec unquote(name)(t() | String.t(), String.t() | keyword(), keyword()) :: t()
    def unquote(name)(js \\ %JS{}, names, opts \\ [])
    def unquote(name)(names, opts, []) when is_binary(names), do: unquote(name)(%JS{}, names, opts)

    def unquote(name)(%JS{} = js, names, opts) do
      put(js, unquote(to_string(name)), [names: words(names)], opts, [:to, :time, :transition, :blocking])
    end
  end

  @doc "Sets an attribute, `{name, value}`. Option: `:to`."
  @spec set_attribute(t() | {String.t(), term()}, {String.t(), term()} | keyword(), keyword()) :: t()
  def set_attribute(js \\ %JS{}, attribute, opts \\ [])
  def set_attribute({_, _} = attribute, opts, []) when is_list(opts), do: set_attribute(%JS{}, attribute, opts)
  def set_attribute(%JS{} = js, {name, value}, opts), do: put(js, "set_attr", [attr: [name, value]], opts, [:to])

  @doc "Removes an attribute. Option: `:to`."
  @spec remove_attribute(t() | String.t(), String.t() | keyword(), keyword()) :: t()
  def remove_attribute(js \\ %JS{}, name, opts \\ [])
  def remove_attribute(name, opts, []) when is_binary(name), do: remove_attribute(%JS{}, name, opts)
  def remove_attribute(%JS{} = js, name, opts), do: put(js, "remove_attr", [attr: name], opts, [:to])

  @doc "Sets or removes an attribute, `{name, value}` or `{name, value, other}`. Option: `:to`."
  @spec toggle_attribute(t() | tuple(), tuple() | keyword(), keyword()) :: t()
  def toggle_attribute(js \\ %JS{}, attribute, opts \\ [])
  def toggle_attribute(attribute, opts, []) when is_tuple(attribute), do: toggle_attribute(%JS{}, attribute, opts)

  def toggle_attribute(%JS{} = js, attribute, opts),
    do: put(js, "toggle_attr", [attr: Tuple.to_list(attribute)], opts, [:to])

  for name <- [:focus, :focus_first, :push_focus] do
    @doc "Focus (`#{name}`). Option: `:to`."
    @spec unquote(name)(t() | keyword(), keyword()) :: t()
    def unquote(name)(js \\ %JS{}, opts \\ [])
    def unquote(name)(opts, []) when is_list(opts), do: unquote(name)(%JS{}, opts)
    def unquote(name)(%JS{} = js, opts), do: put(js, unquote(to_string(name)), [], opts, [:to])
  end

  @doc "Gives the focus back to where `push_focus/2` found it."
  @spec pop_focus(t()) :: t()
  def pop_focus(js \\ %JS{}), do: put(js, "pop_focus", [], [], [])

  for name <- [:navigate, :patch] do
    @doc "As `<.link #{name}>`. Option: `:replace`."
    @spec unquote(name)(t() | String.t(), String.t() | keyword(), keyword()) :: t()
    def unquote(name)(js \\ %JS{}, href, opts \\ [])
    def unquote(name)(href, opts, []) when is_binary(href), do: unquote(name)(%JS{}, href, opts)
    def unquote(name)(%JS{} = js, href, opts), do: put(js, unquote(to_string(name)), [href: href], opts, [:replace])
  end

  @doc "Does what the attribute of an element says. Option: `:to`."
  @spec exec(t() | String.t(), String.t() | keyword(), keyword()) :: t()
  def exec(js \\ %JS{}, attribute, opts \\ [])
  def exec(attribute, opts, []) when is_binary(attribute), do: exec(%JS{}, attribute, opts)
  def exec(%JS{} = js, attribute, opts), do: put(js, "exec", [attr: attribute], opts, [:to])

  @doc "Classes for a time. Options: `:to`, `:time`, `:blocking`."
  @spec transition(t() | String.t() | tuple(), String.t() | tuple() | keyword(), keyword()) :: t()
  def transition(js \\ %JS{}, transition, opts \\ [])
  def transition(classes, opts, []) when not is_struct(classes, JS), do: transition(%JS{}, classes, opts)

  def transition(%JS{} = js, classes, opts),
    do: put(js, "transition", [transition: classes(classes)], opts, [:to, :time, :blocking])

  @doc "Lets the client keep attributes as they are, by name (`*` at the end stands for anything). Option: `:to`."
  @spec ignore_attributes(t() | String.t() | [String.t()], String.t() | [String.t()] | keyword(), keyword()) :: t()
  def ignore_attributes(js \\ %JS{}, attributes, opts \\ [])
  def ignore_attributes(%JS{} = js, names, opts), do: put(js, "ignore_attrs", [attrs: List.wrap(names)], opts, [:to])
  def ignore_attributes(names, opts, []), do: ignore_attributes(%JS{}, names, opts)

  @doc "First the one, then the other."
  @spec concat(t(), t()) :: t()
  def concat(%JS{ops: first}, %JS{ops: second}), do: %JS{ops: first ++ second}

  defp put(%JS{ops: ops} = js, op, args, opts, allowed) do
    case Keyword.keys(opts) -- allowed do
      [] -> :ok
      unknown -> raise ArgumentError, "JS.#{op} in phoenix_lite doesn't have the options #{inspect(unknown)}"
    end

    args = for {key, value} <- args ++ opts, value != nil, into: %{}, do: option(key, value)
    %{js | ops: ops ++ [[op, args]]}
  end

  defp option(key, value) when key in [:in, :out], do: {:"#{key}s", classes(value)}
  defp option(:transition, value), do: {:transition, classes(value)}
  defp option(:to, {scope, selector}) when scope in [:inner, :closest], do: {:to, %{scope => selector}}
  defp option(key, value), do: {key, value}

  defp classes([_, _, _] = lists), do: lists
  defp classes({transition, from, to}), do: [words(transition), words(from), words(to)]
  defp classes(names), do: [words(names), [], []]

  defp words(names) when is_binary(names), do: String.split(names)
  defp words(names), do: names
end

defimpl Phoenix.HTML.Safe, for: Phoenix.LiveView.JS do
  def to_iodata(%{ops: ops}) do
    ops |> Phoenix.json_library().encode_to_iodata!() |> IO.iodata_to_binary() |> Plug.HTML.html_escape_to_iodata()
  end
end
