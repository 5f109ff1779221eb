defmodule RoomtoneWeb.ErrorHTML do
  @moduledoc "The text of a request that failed before it got anywhere."

  def render("403.html", _assigns),
    do: "This form was open for too long, or came from somewhere else. Go back and try again."

  def render("404.html", _assigns), do: "There is nothing here."
  def render("413.html", _assigns), do: "That was too large."
  def render("4" <> _, _assigns), do: "The server didn't understand this request."
  def render(_template, _assigns), do: "Something went wrong on our side. Try again in a moment."
end
