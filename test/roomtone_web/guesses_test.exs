defmodule RoomtoneWeb.GuessesTest do
  @moduledoc """
  Sign-in and passcodes over HTTP while strangers guess, from one address and from fifty behind a proxy: the guessers wait, and the
  owner doesn't. A browser that was right before is let in at any pace, and no other cookie does that.
  """
  use RoomtoneWeb.WebCase, async: false

  import RoomtoneWeb.RawClient

  alias Roomtone.Auth.Password
  alias Roomtone.{Name, UsersFile}
  alias RoomtoneWeb.{AddressLimit, ClientAddress, Endpoint}

  @moduletag :capture_log
  @moduletag timeout: 120_000

  @known "_roomtone_known"
  # As in `RoomtoneWeb.KnownBrowser`; the test of expired cookies shows that it is.
  @salt "browsers that were right before"
  @proxy {127, 0, 0, 1}
  @home {127, 0, 0, 7}
  @elsewhere {127, 0, 0, 9}

  setup do
    UsersFile.start(%{"Ada" => "correct horse", "Mona" => "battery staple"})
    port = free_port()
    settings = Application.get_env(:roomtone, Endpoint)

    restart_with([
      {Endpoint, Keyword.merge(settings, server: true, http: [ip: {127, 0, 0, 1}, port: port])},
      {AddressLimit, [burst: 300, per_second: 10, loopback: true]},
      {ClientAddress, [trusted: "127.0.0.1"]},
      {:users_file, Application.get_env(:roomtone, :users_file)}
    ])

    on_exit(fn -> Application.put_env(:roomtone, ClientAddress, trusted: "off") end)
    {:ok, port: port, room: unique_name()}
  end

  defp sign_in(port, from, name, password, cookies \\ %{}, more \\ []) do
    submit(port, from, {"/sign-in", "/sign-in"}, %{"name" => name, "password" => password}, cookies, more)
  end

  defp say(port, from, room, passcode, cookies \\ %{}, more \\ []) do
    values = %{"room" => room, "name" => "somebody #{System.unique_integer([:positive])}", "passcode" => passcode}
    submit(port, from, {"/", "/rooms"}, values, cookies, more)
  end

  # The browser keeps this cookie for more than a year, and its session for less.
  defp only_known(cookies), do: Map.take(cookies, [@known])

  defp client(address), do: [{"x-forwarded-for", "9.9.9.9, " <> address}]

  # So that each further try from this address has to wait, unless its browser is known.
  defp exhaust(try) do
    for n <- 1..6, do: try.("wrong #{n}")
    hold_throttle()
    assert {429, _} = try.("wrong again")
  end

  # Guesses from these addresses, four at a time from each, until the function returns; its result, and its milliseconds.
  defp during(guess, addresses, fun) do
    guessers = for address <- addresses, _ <- 1..4, do: Task.async(fn -> guess_on(fn -> guess.(address) end) end)
    # All of them have begun.
    Process.sleep(500)
    began = System.monotonic_time(:millisecond)
    result = fun.()
    took = System.monotonic_time(:millisecond) - began
    Enum.each(guessers, &Task.shutdown(&1, :brutal_kill))
    {result, took}
  end

  # A right try during the guesses is taken within this time, or within that of twenty hashes on a machine so busy that one takes
  # more than 100 ms. A machine that stands still meanwhile has two more chances, each with another address: `fun` gets the number
  # of the try.
  defp assert_within(milliseconds, guess, addresses, fun, number \\ 1) do
    {{status, _}, took} = during(guess, addresses, fn -> fun.(number) end)
    assert status == 303

    unless took < milliseconds or took < 20 * hash_ms() do
      assert number < 3, "it took #{took} ms, the third time"
      assert_within(milliseconds, guess, addresses, fun, number + 1)
    end
  end

  defp hash_ms do
    {microseconds, {:ok, _hash}} = :timer.tc(fn -> Password.hash_here(fn -> "correct horse" end, Roomtone.Native) end)
    div(microseconds, 1_000)
  end

  # An answer of 429 comes at once, and no guesser has more than a processor.
  defp guess_on(guess) do
    assert elem(guess.(), 0) in [422, 429]
    Process.sleep(100)
    guess_on(guess)
  end

  defp fifty, do: for(n <- 1..50, do: "198.51.100.#{n}")

  # ---- A browser that was right before -----------------------------------------------------------------------------------

  test "a right password makes the browser known, and its owner signs in wherever strangers have guessed", %{port: port} do
    {303, cookies} = sign_in(port, @home, "Ada", "correct horse")
    assert %{@known => _} = known = only_known(cookies)

    # From an address whose own tries are used up.
    exhaust(&sign_in(port, @elsewhere, "Ada", &1))
    assert {429, _} = sign_in(port, @elsewhere, "Ada", "correct horse")
    assert {303, again} = sign_in(port, @elsewhere, "Ada", "correct horse", known)
    # The cookie proves nothing else, and is another one each time.
    assert again[@known] != known[@known]
    assert {422, _} = sign_in(port, @elsewhere, "Ada", "wrong", only_known(again))
  end

  test "cookies that are forged, expired, of another user or of a room don't help", %{port: port, room: room} do
    {303, ada} = sign_in(port, @home, "Ada", "correct horse")
    {303, mona} = sign_in(port, @home, "Mona", "battery staple")
    {:ok, _} = Roomtone.open_room(room, passcode: "4711")
    {303, of_room} = say(port, @home, room, "4711")
    {:ok, data} = Phoenix.Token.verify(Endpoint, @salt, ada[@known], max_age: 60)
    day = 24 * 3600
    now = System.system_time(:second)
    signed = fn secret, days -> Phoenix.Token.sign(secret, @salt, data, signed_at: now - days * day) end
    exhaust(&sign_in(port, @elsewhere, "Ada", &1))

    for {kind, value} <- [
          forged: signed.(String.duplicate("another secret ", 8), 0),
          altered: String.replace(ada[@known], ".", "A.", global: false),
          unsigned: Base.url_encode64(:erlang.term_to_binary(data)),
          expired: signed.(Endpoint, 401),
          of_mona: mona[@known],
          of_room: of_room[@known]
        ] do
      {status, _} = sign_in(port, @elsewhere, "Ada", "correct horse", %{@known => value})
      assert {kind, status} == {kind, 429}
    end

    # Which it does while it is good.
    assert {303, _} = sign_in(port, @elsewhere, "Ada", "correct horse", %{@known => signed.(Endpoint, 399)})
  end

  test "a known browser answers for its own wrong tries, and for nobody else's", %{port: port} do
    {303, cookies} = sign_in(port, @home, "Ada", "correct horse")
    known = only_known(cookies)
    {303, cookies} = sign_in(port, @home, "Ada", "correct horse")
    exhaust(&sign_in(port, @elsewhere, "Ada", &1, known))
    assert {429, _} = sign_in(port, @elsewhere, "Ada", "correct horse", known)
    assert {303, _} = sign_in(port, {127, 0, 0, 10}, "Ada", "correct horse", only_known(cookies))
  end

  test "a right passcode makes the browser known for its room and no other", %{port: port, room: room} do
    other = unique_name()
    for name <- [room, other], do: {:ok, _} = Roomtone.open_room(name, passcode: "4711")
    {303, cookies} = say(port, @home, room, "4711")
    known = only_known(cookies)

    for name <- [room, other] do
      exhaust(&say(port, @elsewhere, name, &1))
      assert {429, _} = say(port, @elsewhere, name, "4711")
    end

    assert {303, _} = say(port, @elsewhere, room, "4711", known)
    assert {429, _} = say(port, @elsewhere, other, "4711", known)
  end

  # ---- While the attack runs ---------------------------------------------------------------------------------------------

  test "the owner signs in while strangers guess, with a known browser at once", %{port: port} do
    {303, cookies} = sign_in(port, @home, "Ada", "correct horse")
    guess = &sign_in(port, @proxy, "Ada", "wrong", %{}, client(&1))

    # An hour of it: two seconds between any two tries that aren't known.
    put_failures({:name, "ada"}, 5_000, 0)

    for addresses <- [["198.51.101.1"], fifty()] do
      known = fn _number -> sign_in(port, @elsewhere, "Ada", "correct horse", only_known(cookies)) end
      assert_within(2_000, guess, addresses, known)
    end
  end

  test "the owner signs in from a new browser at a new address within 2 s of one guesser, 10 s of fifty", %{port: port} do
    guess = &sign_in(port, @proxy, "Ada", "wrong", %{}, client(&1))

    for {addresses, n, milliseconds} <- [{["198.51.101.1"], 1, 2_000}, {fifty(), 2, 10_000}] do
      assert_within(milliseconds, guess, addresses, &sign_in(port, {127, 0, 3, 10 * n + &1}, "Ada", "correct horse"))
    end
  end

  test "a passcode is taken within 2 s while one address guesses it, 10 s while fifty do", %{port: port, room: room} do
    {:ok, _} = Roomtone.open_room(room, passcode: "4711")
    {303, cookies} = say(port, @home, room, "4711")
    guess = &say(port, @proxy, room, "0000", %{}, client(&1))

    for {addresses, n, milliseconds} <- [{["198.51.101.1"], 1, 2_000}, {fifty(), 2, 10_000}] do
      assert_within(milliseconds, guess, addresses, &say(port, {127, 0, 3, 10 * n + &1}, room, "4711"))
    end

    # After an hour of it, too, from a browser that was right before.
    put_failures({:door, Name.key(room)}, 5_000, 0)
    assert_within(2_000, guess, fifty(), fn _number -> say(port, @elsewhere, room, "4711", only_known(cookies)) end)
  end
end
