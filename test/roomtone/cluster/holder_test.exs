defmodule Roomtone.Cluster.HolderTest do
  use ExUnit.Case, async: false

  alias Roomtone.Cluster.{Holder, Protocol}
  alias Roomtone.{Audio, Config, Native}

  @moduletag :tmp_dir

  setup do
    config = Config.get()
    :persistent_term.put(Config, %{config | native: Native})
    on_exit(fn -> :persistent_term.put(Config, config) end)
    {:ok, holder: start_supervised!({Holder, self()})}
  end

  defp ask(holder, request), do: GenServer.call(holder, Protocol.pack(request))

  test "a file stays, however many encoders and converters follow it", %{holder: holder, tmp_dir: dir} do
    path = Path.join(dir, "tone.wav")
    {:ok, tone} = Audio.tone(440, 100)
    :ok = Audio.write_wav(path, tone)
    assert :ok = ask(holder, {:part, File.read!(path)})
    %{parts: {copy, _device, _bytes}} = :sys.get_state(holder)
    # Nobody else reads it.
    assert Bitwise.band(File.stat!(copy).mode, 0o777) == 0o600
    assert {:ok, file} = ask(holder, :open_parts)
    refute File.exists?(copy)

    for _ <- 1..300 do
      assert {:ok, _encoder} = ask(holder, {:run, :encoder, [[]]})
      assert {:ok, _converter} = ask(holder, {:run, :rate_new, [16_000]})
    end

    assert %{handles: [^file], replaced: %{encoder: [_, _], rate_new: [_, _]}} = :sys.get_state(holder)
    assert {:ok, {:pcm, _pcm}} = ask(holder, {:run, :file_read, [file]})
  end

  test "a handle too many is refused, and none of the others is forgotten", %{holder: holder} do
    streams = for _ <- 1..256, do: holder |> ask({:run, :live_new, [false, "room"]}) |> elem(1)
    assert {:error, :media_busy} = ask(holder, {:run, :live_new, [false, "room"]})
    assert {:error, :io} = ask(holder, :open_parts)
    assert :sys.get_state(holder).handles == Enum.reverse(streams)
  end
end
