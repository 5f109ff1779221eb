defmodule RoomtoneWeb.PageController do
  @moduledoc """
  Serves requests that need HTTP: joining, because a cookie is set, and fresh tokens. `RoomtoneWeb.Auth` decides who may be whom.
  """
  use RoomtoneWeb, :controller

  import RoomtoneWeb.Paths

  alias RoomtoneWeb.{AddressLimit, Arrival, Auth, ErrorPayload, Goodbye, JoinForm}

  def enter(conn, params) do
    submitted = JoinForm.submit(conn, params)

    case {submitted, get_format(conn)} do
      # To a script that stays on its page: what it joins by.
      {{:ok, conn, %{room: room, name: name}}, "json"} ->
        json(conn, %{path: room_path(room, name), place: Arrival.place(conn.assigns.visitor, room, name)})

      {{:ok, conn, %{room: room, name: name}}, _html} ->
        conn |> put_status(303) |> redirect(to: room_path(room, name))

      # The script sends the form once more, as a form: the page with the errors is the answer to that.
      {{:error, _errors}, "json"} ->
        json(conn, %{path: nil, place: nil})

      {{:error, errors}, _html} ->
        refusals = for {field, reason} <- errors, do: {field, refusal(field, reason, params)}
        {_field, first} = hd(refusals)
        name = with {:name_taken, _name, other} <- errors[:name], do: other, else: (_ -> text(params["name"]))
        values = %{"room" => text(params["room"]), "name" => name, "create" => params["create"]}

        conn
        |> ErrorPayload.retry_after(first)
        |> put_status(first.status)
        |> form(values,
          errors: for({field, refusal} <- refusals, do: {field, refusal.message}),
          notice: with(%ErrorPayload{message: message} <- refusals[:form], do: message),
          exists: match?(%ErrorPayload{reason: "room_exists"}, refusals[:room])
        )
    end
  end

  # Two fields may be empty, each in words of its own.
  defp refusal(field, {:invalid_name, :empty} = reason, _params) when field in [:name, :room],
    do: %{ErrorPayload.new(reason) | message: if(field == :name, do: "Enter your name.", else: "Enter a room name.")}

  # Which of them it is can't be guessed from a list of those that aren't.
  defp refusal(field, {:invalid_name, :forbidden_character} = reason, params) when field in [:name, :room] do
    case Roomtone.Name.offender(text(params[Atom.to_string(field)])) do
      nil ->
        ErrorPayload.new(reason)

      sign ->
        %{
          ErrorPayload.new(reason)
          | message: "“#{sign}” can't be used. Letters, numbers, spaces and - _ . ' @ + & ( ) ! , # % are fine."
        }
    end
  end

  defp refusal(_field, reason, _params), do: ErrorPayload.new(reason)

  @doc "A fresh token for a page whose own is too old."
  def token(conn, %{"room" => given} = params) do
    with :ok <- AddressLimit.take(conn.remote_ip),
         {:ok, entry} <- Auth.enter(conn.assigns.visitor, given, params["name"]) do
      json(conn, %{token: entry.token})
    else
      {:error, reason} ->
        refusal = ErrorPayload.new(reason)
        conn |> ErrorPayload.retry_after(refusal) |> put_status(refusal.status) |> json(ErrorPayload.payload(refusal))
    end
  end

  @doc "A page goes. It needs no cookie: what it says is signed."
  def goodbye(conn, params) do
    # A good one may be sent again and again, and each asks the room.
    with :ok <- AddressLimit.take(conn.remote_ip),
         :ok <- Goodbye.say(conn, params["goodbye"]) do
      send_resp(conn, 204, "")
    else
      {:error, reason} -> ErrorPayload.refuse(conn, reason, "goodbye")
    end
  end

  def not_found(conn, _params), do: conn |> put_status(404) |> render(:not_found, page_title: "Not found")

  defp form(conn, values, opts) do
    render(conn, :front,
      page_title: "Join a room",
      exists: opts[:exists] || false,
      room: values["room"] || "",
      name: values["name"] || "",
      create: values["create"] == "true",
      errors: Map.new(opts[:errors] || []),
      notice: opts[:notice]
    )
  end

  # Parameters may be anything, nested maps too.
  defp text(value) when is_binary(value), do: if(String.valid?(value), do: String.slice(value, 0, 100), else: "")
  defp text(_value), do: ""
end
