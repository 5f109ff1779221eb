defmodule ShopWeb.PageController do
  use ShopWeb, :controller

  def home(conn, _params) do
    render(conn, :home, page_title: "Home")
  end
end
