defmodule RoomtoneWeb.SessionCookieTest do
  @moduledoc "Under which circumstances the browser may send the session's cookie. Starts the application with other settings."
  use RoomtoneWeb.WebCase, async: false

  @moduletag :capture_log

  defp cookie(conn, url) do
    [cookie] = conn |> get(url) |> get_resp_header("set-cookie")
    cookie |> String.downcase() |> String.split("; ") |> tl()
  end

  test "over HTTP, too, where there is nothing else", %{conn: conn} do
    attributes = cookie(conn, "/")
    refute "secure" in attributes
    assert "httponly" in attributes
    assert "samesite=lax" in attributes
  end

  test "only over HTTPS, if the request came so", %{conn: conn} do
    attributes = cookie(conn, "https://localhost/")
    assert "secure" in attributes
    assert "httponly" in attributes
  end

  test "only over HTTPS, if a proxy before us speaks it", %{conn: conn} do
    settings = Application.get_env(:roomtone, RoomtoneWeb.Endpoint)
    url = [host: "voice.example", port: 443, scheme: "https"]
    restart_with([{RoomtoneWeb.Endpoint, Keyword.put(settings, :url, url)}])
    assert "secure" in cookie(conn, "/")
  end
end
