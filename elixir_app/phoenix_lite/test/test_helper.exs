{:ok, _} = Supervisor.start_link([{Phoenix.PubSub, name: Demo.PubSub}, Demo.Endpoint], strategy: :one_for_one)
ExUnit.start()
