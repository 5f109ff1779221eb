defmodule RoomtoneWeb.AgentController do
  @moduledoc """
  `GET /agents/:room`: a WebSocket for a voice agent that isn't written in Elixir. docs/agents.md has
  its messages, `RoomtoneWeb.AgentSocket` is its process.

  The bearer token has the grants `speak` and `listen`; its identity is the agent's. Options are
  parameters of the address: `format` (`twilio` or `binary`), `hear` (`mix` or `each`), `rate`,
  `batch`, `detect` (`voice` or `level`) and `barge_in`.
  """
  use RoomtoneWeb, :controller

  alias Roomtone.Auth
  alias RoomtoneWeb.{AddressLimit, AgentSocket, ErrorPayload, SocketBudget}

  # Agents that only listen send nothing for long.
  @socket [timeout: 3_600_000, max_frame_size: 200_000, max_fragmented_message_size: 200_000, compress: false]
  @rates %{"8000" => 8_000, "16000" => 16_000, "24000" => 24_000, "48000" => 48_000}

  @doc "Makes the connection a WebSocket."
  def connect(conn, %{"room" => room} = params) do
    with :ok <- AddressLimit.take(conn.remote_ip),
         {:ok, jwt} <- RoomtoneWeb.Auth.bearer(conn),
         {:ok, token} <- Auth.verify(jwt, room),
         {:ok, grants} <- Roomtone.grants(token.room, Auth.join_options(token)),
         :ok <- granted(grants),
         {:ok, opts} <- options(params),
         :ok <- SocketBudget.seat(conn.remote_ip) do
      upgrade_adapter(conn, :websocket, {AgentSocket, {token, opts}, @socket})
    else
      {:error, reason} -> ErrorPayload.refuse(conn, reason, "agents")
    end
  end

  defp granted(grants) do
    case [:speak, :listen] -- grants do
      [] -> :ok
      [missing | _] -> {:error, {:not_granted, missing}}
    end
  end

  defp options(params) do
    with {:ok, format} <- one_of(params, :format, %{"twilio" => :twilio, "binary" => :binary}, :twilio),
         {:ok, hear} <- one_of(params, :hear, %{"mix" => :mix, "each" => :each}, :mix),
         {:ok, rate} <- one_of(params, :rate, @rates, if(format == :twilio, do: 8_000, else: 16_000)),
         :ok <- if(format == :twilio and rate != 8_000, do: {:error, {:invalid_option, :rate}}, else: :ok),
         {:ok, batch} <- number(params, :batch, 20..500, 20),
         {:ok, detect} <- one_of(params, :detect, %{"voice" => :voice, "level" => :level}, :voice),
         {:ok, barge_in} <- number(params, :barge_in, 20..5_000, nil),
         do: {:ok, %{format: format, hear: hear, rate: rate, batch: batch, detect: detect, barge_in: barge_in}}
  end

  defp one_of(params, key, known, default) do
    case params[Atom.to_string(key)] do
      nil -> {:ok, default}
      value when is_map_key(known, value) -> {:ok, known[value]}
      _unknown -> {:error, {:invalid_option, key}}
    end
  end

  defp number(params, key, range, default) do
    case params[Atom.to_string(key)] do
      nil -> {:ok, default}
      text -> in_range(text, key, range)
    end
  end

  defp in_range(text, key, range) do
    with true <- is_binary(text),
         {number, ""} <- Integer.parse(text),
         true <- number in range do
      {:ok, number}
    else
      _wrong -> {:error, {:invalid_option, key}}
    end
  end
end
