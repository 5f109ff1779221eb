defmodule Phoenix.Socket.Transport do
  @moduledoc "The callbacks of a socket that an endpoint declares; `use Phoenix.Socket` has them for channels."

  @type state :: term()

  @doc "Not called by phoenix_lite, which starts no process per socket."
  @callback child_spec(keyword()) :: :supervisor.child_spec() | :ignore
  @doc "Accepts or refuses, in the process of the connection."
  @callback connect(map()) :: {:ok, state()} | {:error, term()} | :error
  @doc "Begins, after the handshake."
  @callback init(state()) :: {:ok, state()}
  @doc "Takes a message of the client."
  @callback handle_in({binary(), keyword()}, state()) ::
              {:ok, state()}
              | {:reply, :ok | :error, {:text | :binary, iodata()}, state()}
              | {:stop, term(), state()}
              | {:stop, term(), pos_integer(), state()}
  @doc "Takes an Erlang message."
  @callback handle_info(term(), state()) ::
              {:ok, state()}
              | {:push, {:text | :binary, iodata()}, state()}
              | {:stop, term(), state()}
              | {:stop, term(), pos_integer(), state()}
  @doc "Ends."
  @callback terminate(term(), state()) :: :ok
end
