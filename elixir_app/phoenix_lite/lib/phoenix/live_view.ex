defmodule Phoenix.LiveView do
  @moduledoc """
  Pages that the server renders, and renders again when something changes: `use Phoenix.LiveView`, then
  `mount/3`, `handle_params/3`, `handle_event/3`, `handle_info/2` and `render/1`. The README lists what isn't
  here.
  """
  alias Phoenix.LiveView.Socket

  @type unsigned_params :: map()

  @doc "Runs once for the page and once for its socket."
  @callback mount(unsigned_params() | :not_mounted_at_router, session :: map(), Socket.t()) ::
              {:ok, Socket.t()}
  @doc "Handles the URL, after mount and whenever it changes."
  @callback handle_params(unsigned_params(), uri :: String.t(), Socket.t()) :: {:noreply, Socket.t()}
  @doc "Handles something that a person did."
  @callback handle_event(event :: String.t(), unsigned_params(), Socket.t()) ::
              {:noreply, Socket.t()} | {:reply, map(), Socket.t()}
  @doc "Handles a message."
  @callback handle_info(term(), Socket.t()) :: {:noreply, Socket.t()}
  @doc "Renders the page."
  @callback render(assigns :: map()) :: Phoenix.LiveView.Rendered.t()
  @doc "Runs before the view ends."
  @callback terminate(term(), Socket.t()) :: term()
  @optional_callbacks mount: 3,
                      handle_params: 3,
                      handle_event: 3,
                      handle_info: 2,
                      render: 1,
                      terminate: 2

  @doc false
  defmacro __using__(opts) do
    case Keyword.keys(opts) -- [:log] do
      [] -> :ok
      unknown -> raise ArgumentError, "use Phoenix.LiveView in phoenix_lite doesn't have #{inspect(unknown)}"
    end

    quote do
      @behaviour Phoenix.LiveView
      use Phoenix.Component
      import Phoenix.LiveView
    end
  end

  ## The page and its socket

  @doc "Does the page have its socket? The first render, for the page itself, has none."
  @spec connected?(Socket.t()) :: boolean()
  def connected?(%Socket{transport_pid: pid}), do: pid != nil

  @doc "Keeps something of a library's own."
  @spec put_private(Socket.t(), atom(), term()) :: Socket.t()
  def put_private(%Socket{} = socket, key, value), do: %{socket | private: Map.put(socket.private, key, value)}

  ## Flash

  @doc "Puts a message for this page, or the next."
  @spec put_flash(Socket.t(), atom() | String.t(), term()) :: Socket.t()
  def put_flash(%Socket{} = socket, key, message) do
    key = to_string(key)
    flash(socket, Map.put(socket.assigns.flash, key, message))
  end

  @doc "Removes all messages."
  @spec clear_flash(Socket.t()) :: Socket.t()
  def clear_flash(%Socket{} = socket), do: flash(socket, %{})

  @doc "Removes a message."
  @spec clear_flash(Socket.t(), atom() | String.t()) :: Socket.t()
  def clear_flash(%Socket{} = socket, key), do: flash(socket, Map.delete(socket.assigns.flash, to_string(key)))

  defp flash(socket, flash), do: %{socket | assigns: Phoenix.Component.__put__(socket.assigns, :flash, flash)}

  ## To the client

  @doc "Sends an event to hooks (`handleEvent`), and to `window` as `phx:event`."
  @spec push_event(Socket.t(), String.t(), map()) :: Socket.t()
  def push_event(%Socket{} = socket, event, %{} = payload) when is_binary(event) do
    put_private(socket, :events, [[event, payload] | Map.get(socket.private, :events, [])])
  end

  @doc "Goes to another view of this live_session. Option: `:to`, a path."
  @spec push_navigate(Socket.t(), keyword()) :: Socket.t()
  def push_navigate(%Socket{} = socket, to: to),
    do: redirected(socket, {:live_redirect, %{to: path!(to), kind: "push"}})

  @doc "Loads another page. Option: `:to`, a path."
  @spec redirect(Socket.t(), keyword()) :: Socket.t()
  def redirect(%Socket{} = socket, to: to), do: redirected(socket, {:redirect, %{to: path!(to)}})

  defp redirected(%Socket{redirected: nil} = socket, to), do: %{socket | redirected: to}

  defp redirected(socket, _to),
    do: raise(ArgumentError, "this socket is redirected already: #{inspect(socket.redirected)}")

  defp path!("//" <> _ = path), do: no_path!(path)
  defp path!("/\\" <> _ = path), do: no_path!(path)
  defp path!("/" <> _ = path), do: path
  defp path!(other), do: no_path!(other)
  defp no_path!(other), do: raise(ArgumentError, "the :to of a redirect must be a path, got: #{inspect(other)}")

  ## Hooks

  @stages [:handle_event, :handle_info]

  @doc """
  Attaches a function that runs before `:handle_event` or `:handle_info`. It returns `{:cont, socket}` or
  `{:halt, socket}`; for an event also `{:halt, reply, socket}`.
  """
  @spec attach_hook(Socket.t(), atom(), atom(), function()) :: Socket.t()
  def attach_hook(%Socket{} = socket, id, stage, fun) when stage in @stages and is_function(fun) do
    hooks = Map.get(socket.private, :hooks, %{})
    of_stage = Map.get(hooks, stage, [])

    if List.keymember?(of_stage, id, 0),
      do: raise(ArgumentError, "a hook with the id #{inspect(id)} is attached to #{inspect(stage)} already")

    put_private(socket, :hooks, Map.put(hooks, stage, of_stage ++ [{id, fun}]))
  end
end
