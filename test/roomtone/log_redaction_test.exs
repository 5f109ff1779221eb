defmodule Roomtone.LogRedactionTest do
  @moduledoc "No secret reaches the log, whatever crashes while it holds one."
  use ExUnit.Case, async: false

  import ExUnit.CaptureLog

  require Logger

  alias Roomtone.LogRedaction

  doctest LogRedaction

  @jwt "eyJhbGciOiJIUzI1NiJ9.eyJyb29tIjoic3RhbmR1cCJ9.dGhpcyBpcyBhIHNpZ25hdHVyZQ"
  @sdp "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\na=ice-pwd:verysecretpassword\r\n"

  defmodule Crashing do
    use GenServer
    def init(secret), do: {:ok, %{token: secret, list: [secret]}}
    def handle_call({:crash, _secret}, _from, state), do: raise(KeyError, key: :x, term: state)
    def handle_call({:clause, secret}, _from, _state), do: String.to_integer(String.duplicate(secret, 1), :no_base)
    def handle_call({:exit, secret}, _from, _state), do: exit({:bad, %{sdp: secret, passcode: secret}})
  end

  defp log(fun), do: capture_log([level: :debug], fn -> fun.() && Process.sleep(50) end)

  setup do
    # As in a process of the application, whichever tests took it away.
    LogRedaction.install()
    level = Logger.level()
    Logger.configure(level: :debug)
    on_exit(fn -> Logger.configure(level: level) end)
  end

  test "of a server that crashes: state, message, arguments and dictionary" do
    Process.flag(:trap_exit, true)

    for secret <- [@jwt, @sdp, "session-abcdefghijkl"], kind <- [:crash, :clause, :exit] do
      text =
        log(fn ->
          {:ok, pid} = GenServer.start(Crashing, secret)
          catch_exit(GenServer.call(pid, {kind, secret}))
        end)

      assert text =~ "GenServer"
      refute text =~ "abcdefghijkl"
      refute text =~ "verysecretpassword"
      refute text =~ "dGhpcyBpcyBhIHNpZ25hdHVyZQ"
    end
  end

  test "of a task, and of a process under a supervisor" do
    text =
      log(fn ->
        {:ok, supervisor} = Task.Supervisor.start_link()
        Task.Supervisor.start_child(supervisor, String, :to_integer, [@jwt])
        {:ok, parent} = DynamicSupervisor.start_link(strategy: :one_for_one)
        spec = %{id: :x, restart: :temporary, start: {GenServer, :start_link, [Crashing, "session-abcdefghijkl"]}}
        {:ok, pid} = DynamicSupervisor.start_child(parent, spec)
        catch_exit(GenServer.call(pid, {:exit, "passcode-abcdefghijkl"}))
      end)

    assert text =~ "terminating"
    refute text =~ "abcdefghijkl"
    refute text =~ "dGhpcyBpcyBhIHNpZ25hdHVyZQ"
  end

  test "in a line that somebody writes" do
    text = log(fn -> Logger.debug("GET /invitations/#{@jwt} with #{inspect(@sdp)}") end)
    assert text =~ "GET /invitations/[redacted]"
    refute text =~ "dGhpcyBpcyBhIHNpZ25hdHVyZQ"
    refute text =~ "verysecretpassword"
    # Anything else stays.
    assert log(fn -> Logger.info("joined, one of 3") end) =~ "joined, one of 3"
    assert log(fn -> :logger.info("~p of ~p", [1, 3]) end) =~ "1 of 3"
  end

  test "of commands with keys of trunks" do
    key = String.duplicate("abcdefgh", 4)
    open = {:open_trunk, %{room: 1, trunk: 2, to: "192.0.2.1:5000", remote: 3, send: key, receive: key}}
    renew = {:renew_trunk, %{room: 1, trunk: 2, direction: :sending, number: 1, key: key}}

    text =
      log(fn ->
        Task.start(fn -> exit({:refused, [{0, open}, {0, renew}]}) end)
        :logger.error("~p", [[open, renew]])
      end)

    assert text =~ "192.0.2.1:5000" and text =~ "sending"
    refute text =~ "abcdefgh"
    refute inspect(%Roomtone.Cluster.Link{node: node(), slot: 1, commands: [{0, open}]}) =~ "abcdefgh"
    waiting = %{0 => :queue.from_list([open])}
    refute inspect(%Roomtone.Cluster.Session{link: self(), ids: 1, waiting: waiting}) =~ "abcdefgh"
  end

  test "structs that hold secrets don't show them" do
    token = %Roomtone.Token{
      room: "standup",
      identity: "ada",
      name: "ada",
      grants: [:speak],
      issued_at: 0,
      expires_at: 1,
      pass: "abcdefghijkl",
      session_id: "abcdefghijkl",
      maker: "abcdefghijkl"
    }

    refute inspect(token) =~ "abcdefghijkl"
    assert inspect(token) =~ "standup"
  end
end
