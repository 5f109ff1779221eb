defmodule Roomtone.MixSoundTest do
  @moduledoc """
  A policy's effect on sound: real participants, each talker a tone, and the level of each tone at
  each listener.
  """
  use Roomtone.DomainCase, async: false

  alias Roomtone.Crowd

  @moduletag :media
  @moduletag capture_log: true
  @moduletag timeout: 600_000

  @seconds 6
  # Opus may add a third frequency to two tones: -43 dB was measured. The engine's own tests look
  # before the codec and check for what isn't in the packets at all.
  @codec_noise -35

  setup_all do
    {:ok, port: Crowd.serve()}
  end

  # Five people, three of them talking. `policy` gets the identities of all and of the talkers.
  # Returns the tones that each listen-only participant heard: differences to the loudest in
  # decibels, the loudest first.
  defp heard(port, room_opts, policy) do
    report =
      Crowd.measure(port, fn -> open_room(room_opts) end, 3, @seconds, fn room, people ->
        talkers = for %{speaking: true, identity: identity} <- people, do: identity
        policy.(room, Enum.map(people, & &1.identity), talkers)
      end)

    assert report["joined"] == 5 and report["thrown_out"] == [] and length(report["tones"]) == 3

    # Talkers join first; they don't hear themselves.
    for %{"dbfs" => levels} <- Enum.drop(report["heard"], 3) do
      [loudest | _] = sorted = Enum.sort(levels, :desc)
      {loudest, Enum.map(sorted, &(&1 - loudest))}
    end
  end

  test "each listener hears each talker at the mix's gain, and not at all at gain 0", %{port: port} do
    levels =
      heard(port, [], fn room, all, [a, b, c] ->
        :ok = Roomtone.put_mix(room, Map.new(all, &{&1, %{a => 2, b => 1, c => 0}}))
        :ok = Roomtone.update_mix(room, Map.new(all, &{&1, %{b => 0.5}}))
      end)

    assert length(levels) == 2

    for {_loudest, [_, second, third]} <- levels do
      # 0.5 to 2 is -12.04 dB.
      assert_in_delta second, -12.04, 1.0
      assert third < @codec_noise
    end
  end

  test "distance, zones and whispers change the sound", %{port: port} do
    [near, far] =
      port
      |> heard([kind: :spatial, default_gain: 0.5], fn room, all, [a, b, c] ->
        [near, far] = all -- [a, b, c]

        for {who, x} <- [{a, 0}, {b, 0}, {c, 0}, {near, 2}, {far, 4}],
            do: Roomtone.put_position(room, who, %{x: x, y: 0, z: 0})

        # One talker is in another zone, one whispers to one of the two.
        :ok = Roomtone.put_zone(room, b, "elsewhere")
        :ok = Roomtone.whisper(room, c, [near])
      end)
      |> Enum.sort(:desc)

    assert {near_level, [_, whispered, shut]} = near
    assert_in_delta whispered, 0.0, 1.0
    assert shut < @codec_noise
    assert {far_level, [_, not_whispered, shut]} = far
    assert not_whispered < @codec_noise and shut < @codec_noise
    # Twice as far away: -6.02 dB, which is sent as -6.
    assert_in_delta far_level - near_level, -6.0, 1.0
  end
end
