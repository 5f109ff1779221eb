defmodule Roomtone.Admission do
  @moduledoc """
  Admission to rooms: checks the options of `Roomtone.open_room/2` and `Roomtone.join/4`, and asks
  the room.
  """

  alias Roomtone.{Config, Name, Room, RoomServer, Rooms, Token}
  alias Roomtone.Auth.Lock
  alias Roomtone.Recording.Inputs
  alias Roomtone.Rooms.{Spellings, Successor}

  @max_session 128
  @max_grace 3_600_000
  # The server gives them these names itself.
  @max_announcement 64

  @doc "The longest session, in bytes."
  @spec max_session() :: pos_integer
  def max_session, do: @max_session

  @doc false
  # A part of the documentation of `Roomtone.join/4`.
  @spec options_doc() :: String.t()
  def options_doc do
    """
      * `grants` – what the person may do, of `:speak`, `:listen`, `:moderate`, `:move`; default `[:speak,
        :listen]`
      * `pass` – the pass of a locked room, without which the grants don't count there; default
        `:any`, because the caller is trusted
      * `invited` – grants that count even without a pass; default none
      * `maker` – any text that identifies the person: they moderate a room that this join opens, or
        that was opened with the same text
      * `name` – shown to others; default the identity
      * `muted` – whether they come in muted; default `false`, and left as it is when they come back
      * `session` – from an earlier join, or your own: hard to guess and at most
        #{@max_session} bytes
      * `owner` – the process that speaks for them, monitored; default the caller. `:none` for clients
        without such a process: they stay as long as their media do
      * `grace` – milliseconds for which they stay after the owner's death, in case they return;
        default `grace_ms`
      * `create` – open the room if there is none; it closes at once if nobody gets in; default
        `false`
      * `rejoin` – the `room_id` from an earlier join: they return to that room and enter no other
        (`:room_ended`). If the room was restored since, after a restart of the server, they return
        muted, whatever `muted` is
    """
    |> String.trim_trailing()
  end

  @doc "Checks the options of a room, except those of its mix."
  @spec check_room(keyword) :: :ok | {:error, {:invalid_option, atom}}
  def check_room(opts) do
    check(opts,
      max_participants: &positive?/1,
      empty_after: &(positive?(&1) or &1 == :never),
      stage: &is_boolean/1,
      record: &Inputs.wish?/1,
      passcode: &(&1 == nil or Lock.passcode?(&1)),
      maker: &text?/1,
      by: &Keyword.keyword?/1
    )
  end

  @doc "Checks the options of a join."
  @spec check_join(keyword) :: :ok | {:error, {:invalid_option, atom}}
  def check_join(opts) do
    check(opts,
      grants: &grants?/1,
      invited: &grants?/1,
      pass: &(&1 == :any or text?(&1)),
      maker: &text?/1,
      name: &(is_binary(&1) or &1 == nil),
      muted: &(is_boolean(&1) or &1 == nil),
      rejoin: &(&1 == nil or (is_binary(&1) and byte_size(&1) <= @max_session)),
      session: &(&1 == nil or (is_binary(&1) and &1 != "" and byte_size(&1) <= @max_session)),
      owner: &(is_pid(&1) or &1 in [:none, nil]),
      grace: &(&1 == nil or (is_integer(&1) and &1 in 0..@max_grace)),
      create: &is_boolean/1,
      bot: &is_boolean/1,
      announcement: &is_boolean/1,
      from: fn _address -> true end,
      ticket: &(&1 == nil or is_binary(&1))
    )
  end

  @doc "A name of somebody who joins, checked. A setting that allows short names alone doesn't count for announcements."
  @spec check_name(term, keyword) :: {:ok, String.t()} | {:error, {:invalid_name, Name.problem()}}
  def check_name(name, opts),
    do: if(opts[:announcement] == true, do: Name.check(name, @max_announcement), else: Name.identity(name))

  @doc "The request to the room, from checked options."
  @spec request(String.t(), String.t(), keyword) :: Room.request()
  def request(identity, shown, opts) do
    %{
      identity: identity,
      name: shown,
      owner: Keyword.get(opts, :owner) || self(),
      session: opts[:session],
      grants: Keyword.get(opts, :grants, [:speak, :listen]),
      pass: Keyword.get(opts, :pass, :any),
      invited: Keyword.get(opts, :invited, []),
      maker: opts[:maker],
      muted: opts[:muted],
      bot: Keyword.get(opts, :bot, false),
      announcement: Keyword.get(opts, :announcement, false),
      rejoin: opts[:rejoin],
      from: opts[:from],
      ticket: opts[:ticket],
      grace_ms: Keyword.get(opts, :grace) || Config.get().grace_ms
    }
  end

  @doc "Asks the room to admit a person; with `create?` opens the room if there is none."
  @spec admit(String.t(), Room.request(), boolean) :: {:ok, pid, Room.Person.t()} | {:error, term}
  def admit(name, request, create?), do: admit(name, request, create?, 1)

  # A room whose process is being replaced, or that another node takes over, is tried again.
  defp admit(name, request, create?, tried) do
    case RoomServer.call(name, {:admit, request}) do
      # A person who was in a room is put into no other room of that name.
      {:error, :room_not_found} when request.rejoin != nil ->
        {:error, :room_ended}

      {:error, :room_not_found} when create? ->
        case Rooms.open(name, fleeting: true, maker: request.maker, by: request) do
          {:ok, _summary} -> admit(name, request, create?, tried)
          # Another process was faster, or the room's process is being replaced.
          {:error, :room_exists} -> again({:error, :room_not_found}, name, request, create?, tried)
          {:error, :room_closed} = error -> again(error, name, request, create?, tried)
          {:error, _} = error -> error
        end

      {:error, :room_closed} = error ->
        again(error, name, request, create?, tried)

      result ->
        result
    end
  end

  defp again(error, name, request, create?, tried) do
    if tried < Successor.tries() do
      Successor.pause(tried)
      admit(Spellings.of(name), request, create?, tried + 1)
    else
      error
    end
  end

  defp check(opts, allowed) do
    case Enum.find(opts, fn {key, value} -> not (Keyword.has_key?(allowed, key) and allowed[key].(value)) end) do
      nil -> :ok
      {key, _value} -> {:error, {:invalid_option, key}}
    end
  end

  defp grants?(grants), do: is_list(grants) and grants -- Token.grants() == []
  defp text?(value), do: value == nil or is_binary(value)
  defp positive?(value), do: is_integer(value) and value > 0
end
