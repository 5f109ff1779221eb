defmodule Phoenix.HTML.FormField do
  @moduledoc "A field of a form."
  @enforce_keys [:id, :name, :errors, :field, :form, :value]
  defstruct @enforce_keys
  @type t :: %__MODULE__{}
end

defmodule Phoenix.HTML.Form do
  @moduledoc "A form, as `Phoenix.Component.to_form/2` makes it. `form[:name]` is a field."
  @behaviour Access
  alias Phoenix.HTML.FormField

  defstruct source: nil,
            impl: nil,
            id: nil,
            name: nil,
            data: %{},
            action: nil,
            hidden: [],
            params: %{},
            errors: [],
            options: [],
            index: nil

  @type t :: %__MODULE__{}

  @impl true
  def fetch(%__MODULE__{} = form, field) when is_atom(field) or is_binary(field) do
    name = to_string(field)

    {:ok,
     %FormField{
       form: form,
       field: field,
       id: if(form.id, do: "#{form.id}_#{name}", else: name),
       name: if(form.name, do: "#{form.name}[#{name}]", else: name),
       value: form.params[name],
       errors: for({key, error} <- form.errors, to_string(key) == name, do: error)
     }}
  end

  @impl true
  def get_and_update(_form, _key, _fun), do: raise(ArgumentError, "fields of forms can't be changed")
  @impl true
  def pop(_form, _key), do: raise(ArgumentError, "fields of forms can't be removed")

  @doc "The value of an input as HTML takes it."
  @spec normalize_value(String.t(), term()) :: term()
  def normalize_value("checkbox", value), do: to_string(value) == "true"
  def normalize_value(_type, value), do: value

  @doc "The `<option>`s of a select: a list of values or `{label, value}`."
  @spec options_for_select(Enumerable.t(), term()) :: Phoenix.HTML.safe()
  def options_for_select(options, selected) do
    selected = selected |> List.wrap() |> Enum.map(&to_string/1)

    {:safe,
     for option <- options do
       {label, value} = if is_tuple(option), do: option, else: {option, option}
       attributes = [value: value, selected: to_string(value) in selected]
       ["<option", safe(Phoenix.HTML.attributes_escape(attributes)), ?>, text(label), "</option>"]
     end}
  end

  defp safe({:safe, data}), do: data
  defp text(value), do: Phoenix.HTML.Safe.to_iodata(value)
end
