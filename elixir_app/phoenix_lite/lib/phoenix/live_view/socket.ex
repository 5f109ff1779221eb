defmodule Phoenix.LiveView.Socket do
  @moduledoc """
  The state of a view; and the socket that its pages connect to:

      socket "/live", Phoenix.LiveView.Socket, websocket: [connect_info: [session: @session_options]]
  """
  use Phoenix.Socket

  channel "lv:*", Phoenix.LiveView.Channel

  defstruct id: nil,
            endpoint: nil,
            view: nil,
            router: nil,
            parent_pid: nil,
            root_pid: nil,
            assigns: %{__changed__: %{}},
            private: %{},
            redirected: nil,
            host_uri: nil,
            transport_pid: nil

  @type t :: %__MODULE__{}

  @impl Phoenix.Socket
  def connect(_params, %Phoenix.Socket{} = socket, info) do
    {:ok, %{socket | private: Map.put(socket.private, :connect_info, info)}}
  end

  @impl Phoenix.Socket
  def id(socket) do
    case socket.private.connect_info[:session] do
      %{"live_socket_id" => id} -> id
      _ -> nil
    end
  end
end
