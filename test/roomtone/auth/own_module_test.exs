defmodule Roomtone.Auth.OwnModuleTest do
  @moduledoc "The module of docs/sign-in.md, as written there, in place of ours."
  use Roomtone.DomainCase, async: false

  alias Roomtone.Auth
  alias Roomtone.Auth.Invitation

  @moduletag :capture_log
  @doc_file Path.expand("../../../docs/sign-in.md", __DIR__)
  @external_resource @doc_file

  defmodule Elixir.MyApp.Accounts do
    @moduledoc false
    @accounts %{1 => %{id: 1, name: "Ada"}, 2 => %{id: 2, name: "Ben"}}
    def get(id), do: @accounts[id]
    def check("Ada", "correct horse"), do: {:ok, @accounts[1]}
    def check(_name, _password), do: :error
  end

  defmodule Elixir.MyApp.Teams do
    @moduledoc false
    def member?(name, room), do: room == "standup" and name in ["Ada", "Ben"]
  end

  setup_all do
    code =
      @doc_file
      |> File.read!()
      |> then(&Regex.scan(~r/```elixir\n(.*?)```/s, &1, capture: :all_but_first))
      |> List.flatten()
      |> Enum.find(&(&1 =~ "@behaviour Roomtone.Auth"))

    assert length(String.split(code, "\n", trim: true)) <= 25
    [{module, _binary}] = Code.compile_string(code, "docs/sign-in.md")
    restart_with(auth: module)
  end

  defp visitor(session), do: Auth.visitor(Map.put(session, "live_socket_id", "users_sessions:#{inspect(session)}"))

  test "identifies visitors and decides their grants" do
    assert Auth.sign_in?()
    assert {:ok, session} = Auth.sign_in("Ada", fn -> "correct horse" end, :there)
    assert {:ok, %{identity: "Ada"}} = Auth.enter(visitor(session), "standup")
    room = "standup"
    {:ok, _} = Roomtone.open_room(room)
    on_exit(fn -> Roomtone.close_room(room) end)
    assert {:ok, %{identity: "Ben", grants: [:speak, :listen]}} = Auth.enter(visitor(%{"account" => 2}), room, "Ada")
    assert Auth.enter(visitor(%{"account" => 2}), "kitchen") == {:error, :not_allowed}
  end

  test "is throttled like ours" do
    for _ <- 1..3, do: assert(Auth.sign_in("Ada", fn -> "wrong" end, :elsewhere) == {:error, :wrong_password})
    hold_throttle()
    assert {:error, {:slow_down, _}} = Auth.sign_in("Ada", fn -> "correct horse" end, :elsewhere)
  end

  test "keeps strangers out, except those with an invitation" do
    stranger = visitor(%{"person" => "secret", "names" => ["Zoë"]})
    refute stranger.guests_allowed
    assert Auth.enter(stranger, "standup") == {:error, :guests_not_allowed}
    {:ok, jwt} = Invitation.sign("kitchen", grants: [:listen])
    {:ok, _invitation, values} = Auth.accept(stranger, jwt)
    stranger = visitor(Map.merge(%{"person" => "secret", "names" => ["Zoë"]}, values))
    assert {:ok, %{grants: [:listen]}} = Auth.enter(stranger, "kitchen")
    assert Auth.enter(stranger, "standup") == {:error, :guests_not_allowed}
  end

  test "sessions end under their own name" do
    session = %{"account" => 1, "live_socket_id" => "users_sessions:abc"}
    {:ok, entry} = Auth.enter(Auth.visitor(session), "standup")
    # That name is a secret, so the page can't read it.
    {:ok, token} = Auth.verify(entry.token, "standup")
    refute token.session_id =~ "abc"
    Auth.end_session(Auth.session_id(session))
    assert Auth.verify(entry.token, "standup") == {:error, :signed_out}
  end
end
