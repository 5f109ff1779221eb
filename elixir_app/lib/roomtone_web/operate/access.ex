defmodule RoomtoneWeb.OperateAccess do
  @moduledoc """
  Decides who may see the whole server: `/metrics` and `/operate`.

  | | may be seen by |
  |---|---|
  | `/metrics`, with `METRICS_TOKEN` | whoever shows that token (`authorization: Bearer …`) |
  | `/metrics`, without | programs on this machine |
  | `/operate` | users with the grant `operate`; in development, browsers on this machine |

  A request is from this machine if its address is loopback, it names this machine as its host, and
  nothing in it says that somebody forwarded it. All that a proxy on this machine passes on has a
  loopback address, and so has a web page that made a name of its own lead to 127.0.0.1 (DNS
  rebinding).
  """

  import Plug.Conn

  alias Roomtone.{Auth, Config}
  alias Roomtone.Auth.{Secret, Visitor}
  alias RoomtoneWeb.{AddressLimit, Incoming}

  # Besides those that `Incoming` reads, and takes away.
  @forwarding ~w(via x-forwarded-host x-forwarded-server x-real-ip x-client-ip true-client-ip cf-connecting-ip)
  @hosts ["localhost", "127.0.0.1", "::1", "[::1]"]

  # In the session of a page whose request came from this machine.
  @key "operate_local"

  @doc "Whether a request may read the metrics."
  @spec metrics(Plug.Conn.t()) :: :ok | {:error, :token_needed | :not_local}
  def metrics(conn) do
    case Config.get().metrics_token do
      nil ->
        if local?(conn), do: :ok, else: {:error, :not_local}

      token ->
        with {:ok, shown} <- RoomtoneWeb.Auth.bearer(conn),
             true <- Secret.equal?(shown, token),
             do: :ok,
             else: (_ -> {:error, :token_needed})
    end
  end

  @doc "Whether a request comes from this machine, and from nobody behind it."
  @spec local?(Plug.Conn.t()) :: boolean
  def local?(conn), do: loopback?(conn.remote_ip) and conn.host in @hosts and not forwarded?(conn)

  # The key of IPv6 loopback is that of 127.0.0.1.
  defp loopback?(address), do: match?({127, _, _, _}, AddressLimit.key(address))

  defp forwarded?(conn), do: Incoming.forwarded?(conn) or Enum.any?(@forwarding, &(get_req_header(conn, &1) != []))

  @doc """
  For a `live_session`: what its pages know of the request that they came by.

      live_session :pages, session: {RoomtoneWeb.OperateAccess, :session, []}
  """
  @spec session(Plug.Conn.t()) :: map
  def session(conn), do: if(local?(conn), do: %{@key => true}, else: %{})

  @doc "Whether a visitor, with the session of their page, may see the whole server."
  @spec operate?(Visitor.t() | nil, map) :: boolean
  def operate?(visitor, session) do
    (visitor != nil and Auth.operate?(visitor)) or (Config.get().environment == :dev and session[@key] == true)
  end

  @doc "A plug in front of the page: others get the status 403, and learn what it takes."
  @spec require_operator(Plug.Conn.t(), term) :: Plug.Conn.t()
  def require_operator(conn, _opts) do
    if operate?(conn.assigns[:visitor], session(conn)) do
      conn
    else
      conn
      |> put_status(403)
      |> Phoenix.Controller.put_view(html: RoomtoneWeb.OperateHTML)
      |> Phoenix.Controller.render(:refused, page_title: "Not here")
      |> halt()
    end
  end
end
