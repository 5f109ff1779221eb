defmodule Desk.Application do
  @moduledoc "An app that is there before any voice comes into it: people sign in by name and look at a page about their desk."
  use Application

  @impl true
  def start(_type, _args) do
    children = [{Phoenix.PubSub, name: Desk.PubSub}, DeskWeb.Endpoint]
    Supervisor.start_link(children, strategy: :one_for_one, name: Desk.Supervisor)
  end
end
