defmodule Roomtone.InputsTest do
  use ExUnit.Case, async: true

  import ExUnit.CaptureLog

  alias Roomtone.Recording.{Inputs, InputsFile}

  defp file(path) do
    gone = spawn(fn -> :ok end)
    %InputsFile{path: path, room: 1, library: {:there, gone}, monitor: make_ref(), handle: nil}
  end

  test "the log names the file of a further media node that is gone" do
    {home, other} = {file("/lobby.inputs"), file("/lobby-node-2.inputs")}
    state = %Inputs{room: "lobby", id: 1, file: home.path, most_bytes: 1, home: home, others: [other]}

    log =
      capture_log(fn ->
        assert {:noreply, %{others: [], home: ^home}} =
                 Inputs.handle_info({:DOWN, other.monitor, :process, self(), :noconnection}, state)
      end)

    assert log =~ "[warn"
    assert log =~ "/lobby-node-2.inputs is unknown"
  end

  test "a file whose media node doesn't answer isn't logged as whole" do
    file = file("/lobby.inputs")
    log = capture_log(fn -> InputsFile.close(file, InputsFile.stop(file)) end)
    assert log =~ "/lobby.inputs is unknown"
    refute log =~ "has 0 bytes"
  end
end
