defmodule RoomtoneWeb.LiveCase do
  @moduledoc """
  For tests of pages: people with a browser and a place in a room. The scripted engine provides
  their sound; the test does the work of the page's script (joining) with the data on the page.
  """

  use ExUnit.CaseTemplate

  import ExUnit.Assertions
  import Phoenix.ConnTest, only: [get: 2]
  import Phoenix.LiveViewTest
  import Roomtone.DomainCase
  import RoomtoneWeb.BrowserSession, only: [new: 0, enter: 3]

  alias Roomtone.FakeNative

  @endpoint RoomtoneWeb.Endpoint

  using options do
    quote do
      use RoomtoneWeb.WebCase, async: Keyword.get(unquote(options), :async, true)

      import Phoenix.LiveViewTest
      import RoomtoneWeb.BrowserSession, only: [new: 0, enter: 3, enter: 4, open: 2]
      import RoomtoneWeb.LiveCase
      import RoomtoneWeb.Paths
    end
  end

  @doc """
  Opens a room's page under a name, like a person who has just used the form, without joining.
  """
  @spec arrive(String.t(), String.t()) :: %{view: term, html: String.t(), conn: Plug.Conn.t()}
  def arrive(room, name) do
    conn = enter(new(), room, name)
    {:ok, view, html} = live(RoomtoneWeb.BrowserSession.again(conn), RoomtoneWeb.Paths.room_path(room, name))
    %{view: view, html: html, conn: conn}
  end

  @doc """
  As `arrive/2`, and joins as the page's script does. `media` is their room and peer in the
  engine.
  """
  @spec sit_down(String.t(), String.t(), keyword) :: map
  def sit_down(room, name, opts \\ []) do
    page = arrive(room, name)
    Map.put(page, :media, go_in(page, room, name, opts))
  end

  @doc "Joins a person as the script on their page does."
  @spec go_in(map, String.t(), String.t(), keyword) :: map
  def go_in(page, room, name, opts \\ []) do
    :ok = FakeNative.watch()
    offer = FakeNative.offer(connect: true)
    {:ok, token} = Roomtone.Auth.verify(data(page, "token"), room)
    own = [session: data(page, "session")]
    opts = Roomtone.Auth.join_options(token) |> Keyword.merge(own) |> Keyword.merge(opts)
    {:ok, _joined} = Roomtone.join(room, name, offer, opts)
    shown(page.view, ~s([data-id="#{name}"][data-connected="true"]))
    FakeNative.await_join(offer)
  end

  @doc "The data in a page's element for the script."
  @spec data(map, String.t()) :: String.t()
  def data(page, name) do
    assert [_, value] = Regex.run(~r/data-#{name}="([^"]*)"/, page.html)
    value
  end

  @doc "Waits until a page shows an element."
  @spec shown(term, String.t(), String.t() | nil) :: true
  def shown(view, selector, text \\ nil), do: eventually(fn -> has_element?(view, selector, text) end)

  @doc "Waits until a page shows no such element."
  @spec gone(term, String.t(), String.t() | nil) :: true
  def gone(view, selector, text \\ nil), do: eventually(fn -> not has_element?(view, selector, text) end)
end
