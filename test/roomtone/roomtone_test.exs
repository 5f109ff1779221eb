defmodule RoomtoneTest do
  use Roomtone.DomainCase, async: true

  doctest Roomtone
  doctest Roomtone.MixControls
  doctest Roomtone.Name
  doctest Roomtone.Token
  doctest Roomtone.Room
  doctest Roomtone.Room.Bans
  doctest Roomtone.Chat
  doctest Roomtone.Participant
  doctest Roomtone.Config.Parse
  doctest Roomtone.Config.Network
end
