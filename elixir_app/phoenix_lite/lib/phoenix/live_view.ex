defmodule Phoenix.LiveView do
  @moduledoc """
  Pages that the server renders, and renders again when something changes: `use Phoenix.LiveView`, then `mount/3`,
  `handle_params/3`, `handle_event/3`, `handle_info/2` and `render/1`.

  Not here: live components, streams, uploads, async assigns, nested views. The README has the list.
  """
  alias Phoenix.LiveView.Socket

  @type unsigned_params :: map()

  @doc "Begins, once for the page and once for its socket."
  @callback mount(unsigned_params() | :not_mounted_at_router, session :: map(), Socket.t()) ::
              {:ok, Socket.t()} | {:ok, Socket.t(), keyword()}
  @doc "The URL, after mount and whenever it changes."
  @callback handle_params(unsigned_params(), uri :: String.t(), Socket.t()) :: {:noreply, Socket.t()}
  @doc "Something that a person did."
  @callback handle_event(event :: String.t(), unsigned_params(), Socket.t()) ::
              {:noreply, Socket.t()} | {:reply, map(), Socket.t()}
  @doc "A message."
  @callback handle_info(term(), Socket.t()) :: {:noreply, Socket.t()}
  @doc "A call of another process."
  @callback handle_call(term(), GenServer.from(), Socket.t()) :: {:noreply, Socket.t()} | {:reply, term(), Socket.t()}
  @doc "A cast of another process."
  @callback handle_cast(term(), Socket.t()) :: {:noreply, Socket.t()}
  @doc "The page."
  @callback render(assigns :: map()) :: Phoenix.LiveView.Rendered.t()
  @doc "Ends."
  @callback terminate(term(), Socket.t()) :: term()
  @optional_callbacks mount: 3,
                      handle_params: 3,
                      handle_event: 3,
                      handle_info: 2,
                      handle_call: 3,
                      handle_cast: 2,
                      render: 1,
                      terminate: 2

  @doc false
  defmacro __using__(opts) do
    case Keyword.keys(opts) -- [:layout, :container, :log] do
      [] -> :ok
      unknown -> raise ArgumentError, "use Phoenix.LiveView in phoenix_lite doesn't have #{inspect(unknown)}"
    end

    quote do
      @behaviour Phoenix.LiveView
      @phoenix_live_opts unquote(opts)
      Module.register_attribute(__MODULE__, :phoenix_live_mount, accumulate: true)
      # Before that of components, which checks what this may add.
      @before_compile Phoenix.LiveView
      use Phoenix.Component
      import Phoenix.LiveView
    end
  end

  @doc false
  defmacro __before_compile__(env) do
    opts = Module.get_attribute(env.module, :phoenix_live_opts)
    template = Path.rootname(env.file) <> ".html.heex"

    live = %{
      layout: opts[:layout],
      container: opts[:container] || {:div, []},
      on_mount: env.module |> Module.get_attribute(:phoenix_live_mount) |> Enum.reverse()
    }

    render =
      cond do
        Module.defines?(env.module, {:render, 1}) ->
          nil

        File.regular?(template) ->
          quote do
            @external_resource unquote(template)
            @doc false
            def render(var!(assigns)), do: Phoenix.Component.__embed__(unquote(template))
          end

        true ->
          quote do
            @doc false
            def render(_assigns), do: raise("#{inspect(__MODULE__)} has neither render/1 nor #{unquote(template)}")
          end
      end

    quote do
      unquote(render)
      @doc false
      def __live__, do: unquote(Macro.escape(live))
    end
  end

  @doc "A module whose `on_mount/4` runs before `mount/3`, or `{module, argument}`."
  defmacro on_mount(module_or_tuple), do: quote(do: @phoenix_live_mount(unquote(module_or_tuple)))

  ## The page and its socket

  @doc "Does the page have its socket? The first render, for the page itself, has none."
  @spec connected?(Socket.t()) :: boolean()
  def connected?(%Socket{transport_pid: pid}), do: pid != nil

  @doc "The process of the socket."
  @spec transport_pid(Socket.t()) :: pid() | nil
  def transport_pid(%Socket{transport_pid: pid}), do: pid

  @doc "What the client gave to `new LiveSocket(.., {params})`; nil without socket. Only in mount."
  @spec get_connect_params(Socket.t()) :: map() | nil
  def get_connect_params(%Socket{private: private}), do: mounting!(private, :connect_params)

  @doc "What `connect_info:` of the endpoint has for this key; nil where it isn't known. Only in mount."
  @spec get_connect_info(Socket.t(), atom()) :: term()
  def get_connect_info(%Socket{private: private}, key) do
    case mounting!(private, :connect_info) do
      %Plug.Conn{} = conn -> PhoenixLite.ConnectInfo.of_page(conn, key)
      info -> info[key]
    end
  end

  defp mounting!(private, key) do
    case private do
      %{mounting: %{^key => value}} -> value
      _ -> raise "the connection can only be asked in mount"
    end
  end

  @doc "Renders with another function than `render/1`."
  @spec render_with(Socket.t(), (map() -> Phoenix.LiveView.Rendered.t())) :: Socket.t()
  def render_with(%Socket{} = socket, fun) when is_function(fun, 1), do: put_private(socket, :render_with, fun)

  @doc "Keeps something of a library's own."
  @spec put_private(Socket.t(), atom(), term()) :: Socket.t()
  def put_private(%Socket{} = socket, key, value), do: %{socket | private: Map.put(socket.private, key, value)}

  ## Flash

  @doc "Puts a message for this page, or the next."
  @spec put_flash(Socket.t(), atom() | String.t(), term()) :: Socket.t()
  def put_flash(%Socket{} = socket, key, message) do
    key = to_string(key)
    changed = Map.put(Map.get(socket.private, :changed_flash, %{}), key, message)
    socket |> put_private(:changed_flash, changed) |> flash(Map.put(socket.assigns.flash, key, message))
  end

  @doc "Removes all messages."
  @spec clear_flash(Socket.t()) :: Socket.t()
  def clear_flash(%Socket{} = socket), do: socket |> put_private(:changed_flash, %{}) |> flash(%{})

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

  @doc "Goes to another URL of this view. Options: `:to`, `:replace`."
  @spec push_patch(Socket.t(), keyword()) :: Socket.t()
  def push_patch(%Socket{} = socket, opts), do: redirected(socket, {:live, :patch, target(opts)})

  @doc "Goes to another view of this live_session. Options: `:to`, `:replace`."
  @spec push_navigate(Socket.t(), keyword()) :: Socket.t()
  def push_navigate(%Socket{} = socket, opts), do: redirected(socket, {:live, :redirect, target(opts)})

  @doc "Loads another page. Options: `:to` (a path) or `:external` (a URL), `:status`."
  @spec redirect(Socket.t(), keyword()) :: Socket.t()
  def redirect(%Socket{} = socket, opts) do
    status = Keyword.get(opts, :status, 302)

    case Keyword.delete(opts, :status) do
      [to: to] -> redirected(socket, {:redirect, %{to: path!(to), status: status}})
      [external: {scheme, url}] -> redirected(socket, {:redirect, %{external: "#{scheme}:#{url}", status: status}})
      [external: "" <> url] -> redirected(socket, {:redirect, %{external: http!(url), status: status}})
      _ -> raise ArgumentError, "redirect/2 takes :to or :external, got: #{inspect(opts)}"
    end
  end

  defp redirected(%Socket{redirected: nil} = socket, to), do: %{socket | redirected: to}

  defp redirected(socket, _to),
    do: raise(ArgumentError, "this socket is redirected already: #{inspect(socket.redirected)}")

  defp target(opts) do
    case Keyword.keys(opts) -- [:to, :replace] do
      [] -> :ok
      unknown -> raise ArgumentError, "unknown options #{inspect(unknown)}"
    end

    %{to: opts |> Keyword.fetch!(:to) |> path!(), kind: if(opts[:replace], do: "replace", else: "push")}
  end

  defp path!("//" <> _ = path), do: no_path!(path)
  defp path!("/\\" <> _ = path), do: no_path!(path)
  defp path!("/" <> _ = path), do: path
  defp path!(other), do: no_path!(other)
  defp no_path!(other), do: raise(ArgumentError, "the :to of a redirect must be a path, got: #{inspect(other)}")

  defp http!(url) do
    if URI.parse(url).scheme in ["http", "https"],
      do: url,
      else: raise(ArgumentError, "external: takes http(s) URLs, or {scheme, rest}; got: #{inspect(url)}")
  end

  ## Hooks

  @stages [:handle_params, :handle_event, :handle_info, :after_render]

  @doc """
  A function that runs before `:handle_params`, `:handle_event` or `:handle_info`, and gives `{:cont, socket}` or `{:halt, socket}`
  (of events `{:halt, reply, socket}` too); or `:after_render`, which gives the socket.
  """
  @spec attach_hook(Socket.t(), atom(), atom(), function()) :: Socket.t()
  def attach_hook(%Socket{} = socket, id, stage, fun) when stage in @stages and is_function(fun) do
    hooks = Map.get(socket.private, :hooks, %{})
    of_stage = Map.get(hooks, stage, [])

    if List.keymember?(of_stage, id, 0),
      do: raise(ArgumentError, "a hook with the id #{inspect(id)} is attached to #{inspect(stage)} already")

    put_private(socket, :hooks, Map.put(hooks, stage, of_stage ++ [{id, fun}]))
  end

  @doc "Removes a hook."
  @spec detach_hook(Socket.t(), atom(), atom()) :: Socket.t()
  def detach_hook(%Socket{} = socket, id, stage) when stage in @stages do
    hooks = Map.get(socket.private, :hooks, %{})
    put_private(socket, :hooks, Map.update(hooks, stage, [], &List.keydelete(&1, id, 0)))
  end
end
