defmodule RoomtoneWeb.BrowserSession do
  @moduledoc """
  A browser for tests of attacks: it keeps its cookie, sends the token of the form it got, and shows
  whom the server takes it for. Unlike other test connections, it isn't exempt from the check of
  that token.
  """

  import ExUnit.Assertions
  import Phoenix.ConnTest
  import Plug.Conn

  @endpoint RoomtoneWeb.Endpoint

  @doc "A browser at its own address, so that other tests' requests don't slow it down."
  @spec new(:inet.ip_address() | nil) :: Plug.Conn.t()
  def new(address \\ nil) do
    n = System.unique_integer([:positive])
    %{build_conn() | remote_ip: address || {198, 51, rem(div(n, 250), 250), rem(n, 250) + 1}} |> checked()
  end

  @doc "The next request of the same browser, from the same address."
  @spec again(Plug.Conn.t()) :: Plug.Conn.t()
  def again(conn), do: %{recycle(conn) | remote_ip: conn.remote_ip} |> checked()

  @doc "Opens a page."
  @spec open(Plug.Conn.t(), String.t()) :: Plug.Conn.t()
  def open(conn, path), do: conn |> again() |> get(path)

  @doc "Opens a page and sends its form with changed values."
  @spec submit(Plug.Conn.t(), String.t(), String.t(), map) :: Plug.Conn.t()
  def submit(conn, page, action, values) do
    conn = open(conn, page)
    send_form(conn, action, Map.put(values, "_csrf_token", form_token(conn.resp_body)))
  end

  @doc "Sends a form without opening the page first."
  @spec send_form(Plug.Conn.t(), String.t(), map) :: Plug.Conn.t()
  def send_form(conn, action, values), do: conn |> again() |> post(action, values)

  @doc "Signs in."
  @spec sign_in(Plug.Conn.t(), String.t(), String.t()) :: Plug.Conn.t()
  def sign_in(conn, name, password),
    do: submit(conn, "/sign-in", "/sign-in", %{"name" => name, "password" => password})

  @doc "Enters a room as a guest, by the form on the front page."
  @spec enter(Plug.Conn.t(), String.t(), String.t(), map) :: Plug.Conn.t()
  def enter(conn, room, name, more \\ %{}),
    do: submit(conn, "/", "/rooms", Map.merge(%{"room" => room, "name" => name}, more))

  @doc "The token of the form on a page."
  @spec form_token(String.t()) :: String.t()
  def form_token(page) do
    assert [_, token] = Regex.run(~r/name="_csrf_token"[^>]* value="([^"]+)"/, page)
    token
  end

  @doc "The content of a room's page, such as its token; `nil` if the room isn't shown."
  @spec on_page(Plug.Conn.t(), String.t(), String.t()) :: String.t() | nil
  def on_page(conn, path, name) do
    conn = open(conn, path)

    with 200 <- conn.status, [_, value] <- Regex.run(~r/data-#{name}="([^"]*)"/, conn.resp_body) do
      value
    else
      _ -> nil
    end
  end

  @doc "The user for whom the server takes this browser."
  @spec user(Plug.Conn.t()) :: String.t() | nil
  def user(conn), do: open(conn, "/").assigns.visitor.user

  @doc "The status of an answer, even if it is raised."
  @spec status((() -> Plug.Conn.t())) :: pos_integer
  def status(request) do
    request.().status
  rescue
    error -> Plug.Exception.status(error)
  end

  defp checked(conn), do: put_private(conn, :plug_skip_csrf_protection, false)
end
