# Tests tagged :media run the real engine, with sockets and sound. Without the native library they can't; say so, don't hide it.
media =
  case Roomtone.Native.loaded() do
    :ok ->
      []

    {:error, why} ->
      IO.puts(:stderr, "leaving out the tests tagged :media, as the native library can't be loaded: #{why}")
      [:media]
  end

System.at_exit(fn _status -> File.rm_rf!(Application.get_env(:roomtone, :data_dir)) end)

# The machine may be busy with other things; waiting is only as long as it has to be.
ExUnit.start(exclude: media, assert_receive_timeout: 10_000)
