defmodule ShopWeb.PageHTML do
  @moduledoc """
  This module contains pages rendered by PageController.
  """
  use ShopWeb, :html

  embed_templates "page_html/*"
end
