defmodule Plug do
  @moduledoc "A step of a pipeline: a module with `init/1` and `call/2`, or a function on a conn and options."

  @type opts ::
          binary() | tuple() | atom() | integer() | float() | [opts()] | %{optional(opts()) => opts()} | MapSet.t()

  @doc "Prepares the options, at compile time or at each call (`:plug_init_mode`)."
  @callback init(opts()) :: opts()

  @doc "Does the step."
  @callback call(Plug.Conn.t(), opts()) :: Plug.Conn.t()
end
