defmodule RoomtoneWeb.MetricsControllerTest do
  @moduledoc "`/metrics` answers programs of this machine, or whoever has the token; nobody else."
  use RoomtoneWeb.WebCase, async: false

  @token "the token of our own Prometheus"

  defp local(conn \\ build_conn()), do: %{conn | host: "localhost", remote_ip: {127, 0, 0, 1}}

  defp bearer(conn, value), do: put_req_header(conn, "authorization", value)

  defp shows?(conn),
    do: response(conn, 200) =~ "\nroomtone_participants 0\n" or response(conn, 200) =~ "\nroomtone_participants "

  describe "without METRICS_TOKEN" do
    test "a program on this machine gets the text of Prometheus" do
      conn = get(local(), "/metrics")
      assert shows?(conn)
      assert get_resp_header(conn, "content-type") == ["text/plain; version=0.0.4; charset=utf-8"]
      assert get_resp_header(conn, "cache-control") == ["no-store"]
      for host <- ["127.0.0.1", "::1", "[::1]"], do: assert(shows?(get(%{local() | host: host}, "/metrics")))
      assert shows?(get(%{local() | remote_ip: {0, 0, 0, 0, 0, 0, 0, 1}}, "/metrics"))
      assert shows?(get(%{local() | remote_ip: {0, 0, 0, 0, 0, 0xFFFF, 0x7F00, 1}}, "/metrics"))
    end

    test "another machine gets 403, whatever token it shows" do
      for conn <- [build_conn(), bearer(build_conn(), "Bearer "), bearer(build_conn(), "Bearer nil")] do
        conn = get(%{conn | host: "localhost", remote_ip: {192, 0, 2, 7}}, "/metrics")
        assert response(conn, 403) =~ "METRICS_TOKEN"
      end
    end

    test "a request that a proxy on this machine passes on gets 403" do
      for header <- ~w(x-forwarded-for x-forwarded-host x-forwarded-proto forwarded x-real-ip via cf-connecting-ip) do
        conn = local() |> put_req_header(header, "127.0.0.1") |> get("/metrics")
        assert {header, 403} == {header, conn.status}
      end
    end

    test "a name that was made to lead here gets 403" do
      for host <- ["voice.example", "localhost.example", "127.0.0.1.example", "192.0.2.1", ""] do
        assert {host, 403} == {host, get(%{local() | host: host}, "/metrics").status}
      end
    end
  end

  describe "with METRICS_TOKEN" do
    setup do
      restart_with(metrics_token: String.replace(@token, " ", "-"))
      {:ok, token: String.replace(@token, " ", "-")}
    end

    test "the token opens it from anywhere, through a proxy too", %{token: token} do
      for conn <- [local(), build_conn(), put_req_header(build_conn(), "x-forwarded-for", "192.0.2.7")] do
        conn = %{conn | remote_ip: {192, 0, 2, 7}} |> bearer("Bearer " <> token) |> get("/metrics")
        assert shows?(conn)
        refute conn.resp_body =~ token
      end

      assert build_conn() |> bearer("bearer " <> token) |> get("/metrics") |> shows?()
    end

    test "anything else gets 401, on this machine too", %{token: token} do
      wrong = [
        "",
        token,
        "Basic " <> token,
        "Bearer",
        "Bearer ",
        "Bearer " <> token <> "x",
        "Bearer " <> String.upcase(token)
      ]

      for value <- wrong do
        conn = local() |> bearer(value) |> get("/metrics")
        assert {value, 401} == {value, conn.status}
        assert get_resp_header(conn, "www-authenticate") == [~s(Bearer realm="metrics")]
        refute conn.resp_body =~ token
      end

      assert get(local(), "/metrics").status == 401
      assert get(local(), "/metrics?token=" <> token).status == 401
    end
  end
end
