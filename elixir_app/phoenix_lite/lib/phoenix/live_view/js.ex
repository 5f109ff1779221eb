defmodule Phoenix.LiveView.JS do
  @moduledoc """
  Commands that a browser runs by itself, such as `phx-mounted={JS.focus()}`. A command is a list of an
  operation's name and its arguments, in the form that LiveView's client reads.
  """
  alias __MODULE__

  defstruct ops: []
  @type t :: %JS{ops: [[term()]]}

  @doc "Moves the focus to the element."
  @spec focus() :: t()
  def focus, do: %JS{ops: [["focus", %{}]]}

  @doc "Makes the client leave the attribute of this name as it is, whatever the server renders."
  @spec ignore_attributes(String.t()) :: t()
  def ignore_attributes(name) when is_binary(name), do: %JS{ops: [["ignore_attrs", %{attrs: [name]}]]}
end

defimpl Phoenix.HTML.Safe, for: Phoenix.LiveView.JS do
  def to_iodata(%{ops: ops}) do
    ops |> Jason.encode_to_iodata!() |> IO.iodata_to_binary() |> Plug.HTML.html_escape_to_iodata()
  end
end
