defmodule RoomtoneWeb.PageController do
  @moduledoc """
  The page to enter a name and a room, and the room page. Who may be whom is up to `RoomtoneWeb.Auth`.
  """
  use RoomtoneWeb, :controller

  alias RoomtoneWeb.{Auth, Door, Refusal}

  def front(conn, params) do
    notice = if params["left"] == "1" and is_binary(params["room"]), do: "You left the room."
    form(conn, %{"room" => text(params["room"]), "name" => conn.assigns.visitor.display}, notice: notice)
  end

  def enter(conn, params) do
    case Door.knock(conn, params) do
      {:ok, conn, %{room: room, name: name}} ->
        conn |> put_status(303) |> redirect(to: room_path(room, name))

      {:error, errors} ->
        refusals = for {field, reason} <- errors, do: {field, Refusal.new(reason)}
        {_field, first} = hd(refusals)
        values = %{"room" => text(params["room"]), "name" => text(params["name"])}

        conn
        |> Refusal.retry_after(first)
        |> put_status(first.status)
        |> form(values,
          errors: for({field, refusal} <- refusals, do: {field, refusal.message}),
          notice: with(%Refusal{message: message} <- refusals[:form], do: message)
        )
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
