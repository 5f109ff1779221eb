defmodule RoomtoneWeb.SessionController do
  @moduledoc """
  Signing in and out, and taking invitations: what changes a session, which only an HTTP answer can. Each of them is a `POST` from a page
  of ours; what an address alone leads to changes nothing, since links are also followed by programs that show what is behind them.
  """
  use RoomtoneWeb, :controller

  import RoomtoneWeb.Paths

  alias Roomtone.Auth.Invitation
  alias Roomtone.Name
  alias RoomtoneWeb.{AddressLimit, Auth, ErrorPayload}

  plug :put_view, html: RoomtoneWeb.SessionHTML

  # ---- Signing in --------------------------------------------------------------------------------------------------------

  def new(conn, params) do
    if Roomtone.Auth.sign_in?(), do: form(conn, params, nil), else: refuse(conn, ErrorPayload.new(:no_sign_in))
  end

  def create(conn, params) do
    with :ok <- AddressLimit.take(conn.remote_ip),
         {:ok, conn} <- Auth.sign_in(conn, params["name"], params["password"]) do
      conn |> put_status(303) |> redirect(to: destination(params))
    else
      {:error, :no_sign_in} ->
        refuse(conn, ErrorPayload.new(:no_sign_in))

      {:error, reason} ->
        refusal = ErrorPayload.new(reason)
        conn |> ErrorPayload.retry_after(refusal) |> put_status(refusal.status) |> form(params, refusal.message)
    end
  end

  def delete(conn, _params) do
    case AddressLimit.take(conn.remote_ip) do
      :ok ->
        conn |> Auth.sign_out() |> put_flash(:info, "You are signed out.") |> put_status(303) |> redirect(to: path("/"))

      {:error, reason} ->
        refusal = ErrorPayload.new(reason)
        conn |> ErrorPayload.retry_after(refusal) |> refuse(refusal)
    end
  end

  defp form(conn, params, error) do
    render(conn, :sign_in,
      page_title: "Sign in",
      name: text(params["name"]),
      room: text(params["room"]),
      error: error
    )
  end

  # Nowhere but to a page of ours.
  defp destination(params) do
    case Name.room(params["room"]) do
      {:ok, room} -> room_path(room)
      {:error, _none} -> path("/")
    end
  end

  # ---- Invitations -------------------------------------------------------------------------------------------------------

  def invitation(conn, %{"token" => jwt} = params) do
    case Invitation.read(jwt) do
      {:ok, invitation} -> invited(conn, invitation, params, nil)
      {:error, reason} -> refuse(conn, ErrorPayload.new(reason))
    end
  end

  def accept(conn, %{"token" => jwt} = params) do
    visitor = conn.assigns.visitor

    with :ok <- AddressLimit.take(conn.remote_ip),
         {:ok, invitation} <- Invitation.read(jwt),
         # Before it is used up.
         {:ok, name} <- name(visitor, params, invitation),
         {:ok, _invitation, values} <- Roomtone.Auth.accept(visitor, jwt) do
      conn = Auth.put_pass(conn, values)
      conn = if visitor.user, do: conn, else: Auth.put_guest_name(conn, name)
      conn |> put_status(303) |> redirect(to: room_path(invitation.room, if(visitor.user, do: nil, else: name)))
    else
      {:error, :name, reason, invitation} ->
        params = with {:name_taken, _name, other} <- reason, do: Map.put(params, "name", other), else: (_ -> params)
        refusal = ErrorPayload.new(reason)
        conn |> put_status(refusal.status) |> invited(invitation, params, refusal.message)

      {:error, reason} ->
        refusal = ErrorPayload.new(reason)
        conn |> ErrorPayload.retry_after(refusal) |> refuse(refusal)
    end
  end

  defp name(%{user: user}, _params, _invitation) when user != nil, do: {:ok, user}

  defp name(visitor, params, invitation) do
    with {:ok, name} <- Name.identity(params["name"]),
         :ok <- Roomtone.Auth.check_guest_name(name),
         {:other, nil} <- {:other, Roomtone.Auth.other_name(visitor, name, invitation.room)} do
      {:ok, name}
    else
      {:other, other} -> {:error, :name, {:name_taken, text(params["name"]), other}, invitation}
      {:error, reason} -> {:error, :name, reason, invitation}
    end
  end

  defp invited(conn, invitation, params, error) do
    render(conn, :invitation,
      page_title: "Invitation",
      invitation: invitation,
      token: params["token"],
      name: text(params["name"] || conn.assigns.visitor.display),
      error: error
    )
  end

  # ---- Both --------------------------------------------------------------------------------------------------------------

  defp refuse(conn, refusal) do
    conn |> put_status(refusal.status) |> render(:refused, page_title: "Not here", message: refusal.message)
  end

  # Parameters may be anything, nested maps too.
  defp text(value) when is_binary(value), do: if(String.valid?(value), do: String.slice(value, 0, 100), else: "")
  defp text(_value), do: ""
end
