defmodule RoomtoneWeb.RoomLive.FloorMap do
  @moduledoc """
  The map of a room with a floor plan. The markup is here; the script (`assets/js/floor_map.js`) gets plan and positions from
  the channel and draws them, so nothing of it is ever rendered again.
  """
  use RoomtoneWeb, :html

  @doc "The map, and the people on it in words."
  def floor_map(assigns) do
    ~H"""
    <section class="floor-map" id="floor-map" phx-hook="FloorMap" phx-update="ignore" aria-labelledby="floor-map-title" hidden>
      <h2 class="visually-hidden" id="floor-map-title">Map</h2>
      <svg data-part="drawing" tabindex="0" role="application" aria-label="Map"></svg>
      <p class="hint" data-part="hint">
        Walk with the arrow keys, W A S D, or by pressing on the map. With headphones you hear from which side each voice comes.
      </p>
      <p role="status" data-part="spot"></p>
      <h3>Where people are</h3>
      <p class="hint" data-part="alone">Nobody else is on the map.</p>
      <ul class="map-list" data-part="list"></ul>
    </section>
    """
  end
end
