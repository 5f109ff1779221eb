defmodule Roomtone.SafeCallTest do
  use ExUnit.Case, async: true

  alias Roomtone.SafeCall

  defmodule Server do
    use GenServer

    @impl true
    def init(nil), do: {:ok, nil}

    @impl true
    def handle_call(:answer, _from, state), do: {:reply, :answer, state}
    def handle_call(:hang, _from, state), do: {:noreply, state}
    def handle_call({:stop, reason}, _from, state), do: {:stop, reason, state}
  end

  defp server do
    {:ok, pid} = GenServer.start(Server, nil)
    pid
  end

  def start_with_more do
    {:ok, pid} = GenServer.start_link(Server, nil)
    {:ok, pid, :more}
  end

  test "an answer is returned unchanged" do
    assert SafeCall.call(server(), :answer) == {:ok, :answer}
  end

  test "a process that hangs is a timeout" do
    assert SafeCall.call(server(), :hang, 10) == {:error, :timeout}
  end

  test "a process that ends normally is gone" do
    for reason <- [:normal, :shutdown, {:shutdown, :closed}],
        do: assert(SafeCall.call(server(), {:stop, reason}) == {:error, :gone})

    pid = server()
    GenServer.stop(pid)
    assert SafeCall.call(pid, :answer) == {:error, :gone}
    assert SafeCall.call(:no_such_process, :answer) == {:error, :gone}
  end

  @tag :capture_log
  test "a process that fails is reported as crashed" do
    assert SafeCall.call(server(), {:stop, :a_bug}) == {:error, :crashed}
  end

  describe "a child that is started and called" do
    setup do
      supervisor = start_supervised!(DynamicSupervisor)

      {:ok,
       supervisor: supervisor, spec: %{id: Server, start: {GenServer, :start_link, [Server, nil]}, restart: :temporary}}
    end

    test "comes with its answer", %{supervisor: supervisor, spec: spec} do
      assert {:ok, pid, :answer} = SafeCall.start_child(supervisor, spec, :answer, 5_000)
      assert [{_id, ^pid, :worker, _modules}] = DynamicSupervisor.which_children(supervisor)
    end

    test "is killed when its answer is late", %{supervisor: supervisor, spec: spec} do
      assert SafeCall.start_child(supervisor, spec, :hang, 10) == {:error, :timeout}

      for {_id, pid, _type, _modules} <- DynamicSupervisor.which_children(supervisor) do
        ref = Process.monitor(pid)
        assert_receive {:DOWN, ^ref, :process, ^pid, why} when why in [:killed, :noproc]
      end
    end

    test "is an error where it can't be started", %{supervisor: supervisor} do
      spec = %{id: :none, start: {Function, :identity, [{:error, :no_room}]}}
      assert SafeCall.start_child(supervisor, spec, :answer, 5_000) == {:error, :no_room}
      ignored = %{id: :none, start: {Function, :identity, [:ignore]}}
      assert SafeCall.start_child(supervisor, ignored, :answer, 5_000) == {:error, :ignore}
    end

    test "is an error where its supervisor is gone", %{supervisor: supervisor, spec: spec} do
      stop_supervised!(DynamicSupervisor)
      assert SafeCall.start_child(supervisor, spec, :answer, 5_000) == {:error, :gone}
      assert SafeCall.start_child(:no_such_process, spec, :answer, 5_000) == {:error, :gone}
    end

    test "comes with its answer though its start has told more", %{supervisor: supervisor} do
      spec = %{id: Server, start: {__MODULE__, :start_with_more, []}, restart: :temporary}
      assert {:ok, _pid, :answer} = SafeCall.start_child(supervisor, spec, :answer, 5_000)
    end
  end

  test "a bug of the caller isn't caught" do
    assert {:calling_self, _} = catch_exit(SafeCall.call(self(), :answer))
  end
end
