{:ok, _} = Supervisor.start_link([{Phoenix.PubSub, name: Demo.PubSub}, Demo.Endpoint], strategy: :one_for_one)
# Builds may share the machine with the tests.
ExUnit.start(assert_receive_timeout: 10_000)
