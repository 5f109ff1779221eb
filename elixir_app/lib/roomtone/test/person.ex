defmodule Roomtone.Test.Person do
  @moduledoc "A person in a room under test: `Roomtone.Test.join/3` and `Roomtone.Test.person/2` make it."

  @enforce_keys [:room, :identity]
  defstruct [:room, :identity]

  @type t :: %__MODULE__{room: String.t(), identity: String.t()}

  defimpl String.Chars do
    def to_string(person), do: person.identity
  end
end
