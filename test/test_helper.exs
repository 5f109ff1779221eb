# Tests tagged :media run the real engine, with sockets and sound. Without the native library they
# can't run; a message reports that they are excluded.
media =
  case Roomtone.Native.loaded() do
    :ok ->
      []

    {:error, why} ->
      IO.puts(:stderr, "excluding the tests tagged :media, because the native library can't be loaded: #{why}")
      [:media]
  end

# Prometheus reads the metrics in a test, where bin/setup --test could get it.
prometheus =
  if File.exists?("tmp/prometheus/usr/bin/promtool") do
    []
  else
    IO.puts(:stderr, "leaving out the tests tagged :prometheus: tmp/prometheus isn't there (bin/setup --test makes it)")
    [:prometheus]
  end

System.at_exit(fn _status -> File.rm_rf!(Application.get_env(:roomtone, :data_dir)) end)

# The machine may be busy; a wait still ends as soon as the message arrives, and a test may take minutes.
ExUnit.start(exclude: media ++ prometheus, assert_receive_timeout: 10_000, timeout: 300_000)
