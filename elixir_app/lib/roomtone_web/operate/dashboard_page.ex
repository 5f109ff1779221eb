# Apps that have LiveDashboard compile this; without it there is nothing to put a page into.
if Code.ensure_loaded?(Phoenix.LiveDashboard.PageBuilder) do
  defmodule RoomtoneWeb.DashboardPage do
    @moduledoc """
    Roomtone as a page of Phoenix LiveDashboard, 0.8 or newer:

        live_dashboard "/dashboard", additional_pages: [roomtone: RoomtoneWeb.DashboardPage]

    It shows the node that the dashboard runs on. The dashboard's own access rules apply.
    """
    use Phoenix.LiveDashboard.PageBuilder

    import RoomtoneWeb.OperateView

    alias RoomtoneWeb.OperateReport

    @impl true
    def menu_link(_session, _capabilities), do: {:ok, "Roomtone"}

    @impl true
    def mount(_params, _session, socket), do: {:ok, assign(socket, report: OperateReport.read())}

    @impl true
    def handle_refresh(socket), do: {:noreply, assign(socket, report: OperateReport.read())}

    @impl true
    def render(assigns) do
      ~H"""
      <.summary report={@report} />
      <h5>The last ten minutes</h5>
      <.charts points={@report.points} />
      <h5>Shards</h5>
      <.shards shards={@report.shards} />
      <h5>Rooms</h5>
      <.rooms report={@report} path={nil} />
      """
    end
  end
end
