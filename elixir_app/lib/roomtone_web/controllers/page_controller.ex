defmodule RoomtoneWeb.PageController do
  @moduledoc """
  The page to enter a name and a room, and the room page.

  Who may be whom is kept in the session, a signed cookie: a random secret of the browser's, and the names it entered under. A
  room's address may be passed on, name and all: somebody else's browser doesn't have that name in its session, so it is asked
  for one. Two tabs may be two people.
  """
  use RoomtoneWeb, :controller

  alias Roomtone.{Name, Token}
  alias RoomtoneWeb.{AddressLimit, Refusal}

  # Long enough for a working day; the page gets a new one by itself while its session lasts.
  @token_ttl 12 * 3600
  @max_names 10

  def front(conn, params) do
    notice = if params["left"] == "1" and is_binary(params["room"]), do: "You left the room."
    form(conn, %{"room" => text(params["room"]), "name" => last_name(conn)}, notice: notice)
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
        |> remember(name)
        |> put_status(303)
        |> redirect(to: room_path(room, name))

      _wrong ->
        errors = for {field, {:error, reason}} <- [room: room, name: name], do: {field, Refusal.new(reason).message}
        values = %{"room" => text(params["room"]), "name" => text(params["name"])}
        conn |> put_status(422) |> form(values, errors: errors)
    end
  end

  def room(conn, %{"room" => given} = params) do
    with {:ok, room} <- Name.room(given),
         {:ok, name} <- own_name(conn, params),
         {:ok, token} <- token_for(room, name) do
      render(conn, :room,
        room: room,
        name: name,
        token: token,
        session: session_for(conn, room, name),
        token_url: room_path(room, "token", name),
        csrf_token: get_csrf_token()
      )
    else
      # Not entered yet: the room is known, the name isn't.
      {:error, :signed_out} ->
        redirect(conn, to: "/?" <> URI.encode_query(room: given))

      {:error, reason} ->
        conn |> put_status(422) |> form(%{"room" => text(given)}, errors: [room: Refusal.new(reason).message])
    end
  end

  @doc "A fresh token for a page whose own is too old."
  def token(conn, %{"room" => given} = params) do
    with {:ok, room} <- Name.room(given),
         {:ok, name} <- own_name(conn, params),
         {:ok, token} <- token_for(room, name) do
      json(conn, %{token: token})
    else
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

  defp token_for(room, name), do: Token.sign(%{room: room, identity: name, grants: [:speak, :listen]}, ttl: @token_ttl)

  # What the page proves itself with when it comes back: known to this browser alone, and another one for each name and room.
  defp session_for(conn, room, name) do
    :hmac
    |> :crypto.mac(:sha256, get_session(conn, "person"), [room, 0, name])
    |> Base.url_encode64(padding: false)
  end

  defp remember(conn, name) do
    conn
    |> put_session("person", get_session(conn, "person") || Base.url_encode64(:crypto.strong_rand_bytes(24)))
    |> put_session("names", Enum.take([name | List.delete(names(conn), name)], @max_names))
  end

  defp own_name(conn, params) do
    with {:ok, name} <- Name.identity(params["name"] || last_name(conn)),
         true <- name in names(conn) do
      {:ok, name}
    else
      _not_entered -> {:error, :signed_out}
    end
  end

  defp last_name(conn), do: conn |> names() |> List.first()

  defp names(conn) do
    case get_session(conn, "names") do
      names when is_list(names) -> names
      _none -> []
    end
  end

  defp room_path(room, name), do: "/rooms/#{segment(room)}?" <> URI.encode_query(name: name)
  defp room_path(room, action, name), do: "/rooms/#{segment(room)}/#{action}?" <> URI.encode_query(name: name)
  defp segment(text), do: URI.encode(text, &URI.char_unreserved?/1)

  # Parameters may be anything, nested maps too.
  defp text(value) when is_binary(value), do: if(String.valid?(value), do: String.slice(value, 0, 100), else: "")
  defp text(_value), do: ""
end
