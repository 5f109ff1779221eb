defmodule RoomtoneWeb.DashboardPageTest do
  @moduledoc """
  The page for LiveDashboard, which isn't there in these tests: a stand-in has the callbacks and the
  `use` of its page builder, version 0.8.
  """
  use Roomtone.DomainCase, async: false

  @file_of_page "elixir_app/lib/roomtone_web/operate/dashboard_page.ex"
  @builder Phoenix.LiveDashboard.PageBuilder
  @page RoomtoneWeb.DashboardPage

  defp forget(module) do
    :code.purge(module)
    :code.delete(module)
  end

  test "the page isn't there without LiveDashboard" do
    unless Code.ensure_loaded?(@builder), do: refute(Code.ensure_loaded?(@page))
  end

  test "the page has the callbacks that LiveDashboard calls, and shows what our own page does" do
    if not Code.ensure_loaded?(@builder) do
      Code.compile_string("""
      defmodule Phoenix.LiveDashboard.PageBuilder do
        @callback menu_link(map, map) :: {:ok, String.t()}
        @callback mount(map, map, Phoenix.LiveView.Socket.t()) :: {:ok, Phoenix.LiveView.Socket.t()}
        @callback handle_refresh(Phoenix.LiveView.Socket.t()) :: {:noreply, Phoenix.LiveView.Socket.t()}
        @callback render(map) :: Phoenix.LiveView.Rendered.t()

        defmacro __using__(_opts) do
          quote do
            import Phoenix.LiveView
            use Phoenix.Component
            @behaviour Phoenix.LiveDashboard.PageBuilder
            def init(opts), do: {:ok, opts}
          end
        end
      end
      """)

      on_exit(fn -> Enum.each([@page, @builder], &forget/1) end)
    end

    room = open_room()
    assert [_page] = @file_of_page |> Code.compile_file() |> Keyword.take([@page])
    assert apply(@page, :menu_link, [%{}, %{}]) == {:ok, "Roomtone"}
    assert {:ok, socket} = apply(@page, :mount, [%{}, %{}, %Phoenix.LiveView.Socket{}])
    assert {:noreply, socket} = apply(@page, :handle_refresh, [socket])

    html =
      @page
      |> apply(:render, [Map.put(socket.assigns, :__changed__, nil)])
      |> Phoenix.HTML.Safe.to_iodata()
      |> IO.iodata_to_binary()

    assert html =~ "runs on all shards"
    assert html =~ room
    refute html =~ "data-phx-link"
  end
end
