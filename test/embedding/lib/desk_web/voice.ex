defmodule DeskWeb.Voice do
  def who(%{"user_name" => name}, _room), do: {:ok, %{identity: name}}
  def who(_session, _room), do: {:error, :signed_out}
end
