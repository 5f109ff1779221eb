defmodule RoomtoneWeb.PageController do
  @moduledoc """
  The page to enter a name and a room, and the room page. Who may be whom is up to `RoomtoneWeb.Auth`.
  """
  use RoomtoneWeb, :controller

  alias Roomtone.Name
  alias RoomtoneWeb.{AddressLimit, Auth, Refusal}

  def front(conn, params) do
    notice = if params["left"] == "1" and is_binary(params["room"]), do: "You left the room."
    form(conn, %{"room" => text(params["room"]), "name" => conn.assigns.visitor.display}, notice: notice)
  end

  def enter(conn, params) do
    case AddressLimit.take(conn.remote_ip) do
      :ok ->
        entered(conn, params)

      {:error, reason} ->
        refusal = Refusal.new(reason)
        values = %{"room" => text(params["room"]), "name" => text(params["name"])}
        conn |> put_status(refusal.status) |> form(values, notice: refusal.message)
    end
  end

  defp entered(conn, params) do
    room = Name.room(params["room"])
    name = Name.identity(params["name"])

    case {room, name} do
      {{:ok, room}, {:ok, name}} ->
        conn
        |> Auth.put_guest_name(name)
        |> put_status(303)
        |> redirect(to: room_path(room, name))

      _wrong ->
        errors = for {field, {:error, reason}} <- [room: room, name: name], do: {field, Refusal.new(reason).message}
        values = %{"room" => text(params["room"]), "name" => text(params["name"])}
        conn |> put_status(422) |> form(values, errors: errors)
    end
  end

  def room(conn, %{"room" => given} = params) do
    case Auth.enter(conn.assigns.visitor, given, params["name"]) do
      {:ok, entry} ->
        render(conn, :room,
          room: entry.room,
          name: entry.name,
          token: entry.token,
          session: entry.session,
          token_url: room_path(entry.room, "token", entry.name),
          csrf_token: get_csrf_token()
        )

      # Not entered yet: the room is known, the name isn't.
      {:error, :signed_out} ->
        redirect(conn, to: "/?" <> URI.encode_query(room: given))

      {:error, reason} ->
        conn |> put_status(422) |> form(%{"room" => text(given)}, errors: [room: Refusal.new(reason).message])
    end
  end

  @doc "A fresh token for a page whose own is too old."
  def token(conn, %{"room" => given} = params) do
    case Auth.enter(conn.assigns.visitor, given, params["name"]) do
      {:ok, entry} ->
        json(conn, %{token: entry.token})

      {:error, reason} ->
        refusal = Refusal.new(reason)
        conn |> put_status(refusal.status) |> json(Refusal.payload(refusal))
    end
  end

  def not_found(conn, _params), do: conn |> put_status(404) |> render(:not_found)

  defp form(conn, values, opts) do
    render(conn, :front,
      room: values["room"] || "",
      name: values["name"] || "",
      errors: Map.new(opts[:errors] || []),
      notice: opts[:notice],
      csrf_token: get_csrf_token()
    )
  end

  defp room_path(room, name), do: "/rooms/#{segment(room)}?" <> URI.encode_query(name: name)
  defp room_path(room, action, name), do: "/rooms/#{segment(room)}/#{action}?" <> URI.encode_query(name: name)
  defp segment(text), do: URI.encode(text, &URI.char_unreserved?/1)

  # Parameters may be anything, nested maps too.
  defp text(value) when is_binary(value), do: if(String.valid?(value), do: String.slice(value, 0, 100), else: "")
  defp text(_value), do: ""
end
