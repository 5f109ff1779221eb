defmodule Roomtone.MixPolicy.Places do
  @moduledoc """
  The places of a room's people as the engine has them. Plain data within `Roomtone.MixSync`.

  The engine computes distance and side from them at each tick, for those who talk, so a step costs
  one record however many hear it. A record is that of `t:Roomtone.Native.places/0`.
  """

  alias Roomtone.{Media, MixPolicy, Native}

  @per_command 1_024
  @ahead %{x: 0.0, y: 0.0, z: -1.0}

  defstruct sent: %{}, pending: MapSet.new()

  @type t :: %__MODULE__{
          # The engine has these; any other peer is nowhere.
          sent: %{Media.id() => binary},
          # People whose place may be another than the engine has.
          pending: MapSet.t(MixPolicy.identity())
        }

  @doc "Notes people who have moved, or have come."
  @spec touch(t, [MixPolicy.identity()]) :: t
  def touch(places, identities), do: %{places | pending: Enum.into(identities, places.pending)}

  @doc "Drops peers that have gone."
  @spec drop(t, [Media.id()]) :: t
  def drop(places, gone), do: %{places | sent: Map.drop(places.sent, gone)}

  @doc """
  The commands that bring the engine up to date, and the state once they are submitted. `known`:
  whether `sent` is true; otherwise the engine is told everybody's place.
  """
  @spec plan(t, MixPolicy.t(), %{MixPolicy.identity() => Media.id()}, Media.id(), known :: boolean) ::
          {[Native.command()], t}
  def plan(places, %{kind: :spatial} = mix, peers, room, known?) do
    who = if known?, do: places.pending, else: Map.keys(peers)

    {records, sent} =
      for identity <- who, peer = peers[identity], reduce: {[], places.sent} do
        {records, sent} ->
          record = record(peer, MixPolicy.place(mix, identity))

          cond do
            known? and record == Map.get_lazy(sent, peer, fn -> record(peer, nil) end) -> {records, sent}
            match?(<<_peer::64, 0, _rest::binary>>, record) -> {[record | records], Map.delete(sent, peer)}
            true -> {[record | records], Map.put(sent, peer, record)}
          end
      end

    %{distance: %{model: model, ref_distance: ref, max_distance: max, rolloff_factor: rolloff}} = mix

    commands =
      for part <- Enum.chunk_every(records, @per_command),
          do: {:set_places, %{room: room, distance: {model, ref, max, rolloff}, places: IO.iodata_to_binary(part)}}

    {commands, %{places | sent: sent, pending: MapSet.new()}}
  end

  def plan(places, _mix, _peers, _room, _known?), do: {[], %{places | pending: MapSet.new()}}

  @doc "The records of a `:set_places` command once more, each for all peers that `others` names for its peer."
  @spec copy(binary, (Media.id() -> [Media.id()])) :: binary
  def copy(records, others) do
    for <<peer::64, place::binary-size(49) <- records>>,
        other <- others.(peer),
        into: "",
        do: <<other::64, place::binary>>
  end

  defp record(peer, nil), do: <<peer::64, 0, 0::size(384)>>

  defp record(peer, {%{x: x, y: y, z: z} = position, everywhere?}) do
    %{x: u, y: v, z: w} = Map.get(position, :facing, @ahead)
    tag = if everywhere?, do: 2, else: 1
    <<peer::64, tag, x::float, y::float, z::float, u::float, v::float, w::float>>
  end
end
