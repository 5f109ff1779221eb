defmodule PhoenixLite.LongPollTest do
  @moduledoc "The wire of sockets whose client polls."
  use ExUnit.Case, async: true
  alias Demo.Raw
  import ExUnit.CaptureLog

  defp ask(method, path, headers \\ [], body \\ "") do
    {200, _, json} = Raw.request(method, path, headers, body)
    Jason.decode!(json)
  end

  defp open(socket \\ "/poll", headers \\ []) do
    assert %{"status" => 410, "token" => token, "messages" => []} =
             ask("GET", socket <> "/longpoll?vsn=2.0.0&token=null", headers)

    "#{socket}/longpoll?" <> URI.encode_query(vsn: "2.0.0", token: token)
  end

  defp post(url, messages), do: ask("POST", url, [], Enum.map_join(messages, "\n", &Jason.encode!/1))
  defp poll(url), do: for(json <- ask("GET", url)["messages"], do: Jason.decode!(json))

  defp poll_until(url, count, messages \\ []) do
    if length(messages) < count, do: poll_until(url, count, messages ++ poll(url)), else: messages
  end

  # On sockets with the usual window: one of 400 ms ends while a busy machine is between two requests.
  test "messages go in by POST and out by GET, in order" do
    url = open("/token", [{"x-phoenix-authtoken", "polls"}])
    join = ["1", "1", "room:polled", "phx_join", %{}]

    assert post(url, [join, ["1", "2", "room:polled", "count", %{}], ["1", "3", "room:polled", "count", %{}]]) == %{
             "status" => 200
           }

    assert for([_, ref, _, _, _] <- poll_until(url, 3), do: ref) == ["1", "2", "3"]
  end

  test "a poll without messages ends with 204 after the window" do
    assert %{"status" => 204, "messages" => []} = ask("GET", open())
  end

  test "a session that nobody polls ends, and its token then gets 410 without another" do
    url = open()
    Process.sleep(900)
    assert ask("GET", url) == %{"status" => 410}
    assert post(url, [["1", "1", "room:a", "phx_join", %{}]]) == %{"status" => 410}
  end

  test "a foreign origin, connect/3 and a wrong version get 403" do
    capture_log(fn ->
      assert ask("GET", "/poll/longpoll?vsn=2.0.0", [{"origin", "http://evil.example"}]) == %{"status" => 403}
    end)

    assert ask("GET", "/poll/longpoll?vsn=1.0.0") == %{"status" => 403}
    assert ask("GET", "/token/longpoll?vsn=2.0.0&token=refused") == %{"status" => 403}
  end

  test "bad and large messages are refused" do
    assert ask("POST", open(), [], "%%%") == %{"status" => 400}
    assert ask("POST", open(), [], "[" <> String.duplicate("x", 70_000)) == %{"status" => 413}
    assert ask("POST", open(), [], String.duplicate("x", 200_000)) == %{"status" => 413}
    assert ask("POST", open(), [], String.duplicate("[]\n", 101)) == %{"status" => 413}
    assert ask("POST", "/poll/longpoll?vsn=2.0.0&token=forged", [], "[]") == %{"status" => 410}
  end

  test "the token of the header X-Phoenix-AuthToken reaches connect/3" do
    url = open("/token", [{"x-phoenix-authtoken", "secret words"}])
    post(url, [["1", "1", "room:auth", "phx_join", %{}], ["1", "2", "room:auth", "info", %{}]])
    assert inspect(poll_until(url, 2)) =~ "secret words"
  end
end
