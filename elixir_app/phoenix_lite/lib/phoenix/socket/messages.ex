defmodule Phoenix.Socket.Message do
  @moduledoc "A message between client and channel."
  defstruct topic: nil, event: nil, payload: nil, ref: nil, join_ref: nil

  @type t :: %__MODULE__{
          topic: String.t(),
          event: String.t(),
          payload: term(),
          ref: String.t() | nil,
          join_ref: String.t() | nil
        }
end

defmodule Phoenix.Socket.Reply do
  @moduledoc "The answer to a message."
  defstruct topic: nil, status: nil, payload: nil, ref: nil, join_ref: nil

  @type t :: %__MODULE__{
          topic: String.t(),
          status: atom(),
          payload: term(),
          ref: String.t() | nil,
          join_ref: String.t() | nil
        }
end

defmodule Phoenix.Socket.Broadcast do
  @moduledoc "A message to all subscribers of a topic."
  defstruct topic: nil, event: nil, payload: nil

  @type t :: %__MODULE__{topic: String.t(), event: String.t(), payload: term()}
end

defmodule Phoenix.Socket.InvalidMessageError do
  @moduledoc "A frame that isn't a message."
  defexception message: "invalid message"
end

defmodule Phoenix.Socket.Serializer do
  @moduledoc "Turns messages into frames, and frames into messages."

  @typedoc "A frame on its way to the transport process."
  @type push :: {:socket_push, :text | :binary, iodata()}

  @doc "Returns the frame of a message."
  @callback encode!(Phoenix.Socket.Message.t() | Phoenix.Socket.Reply.t()) :: push() | term()
  @doc "Returns the message of a frame, or raises `Phoenix.Socket.InvalidMessageError`."
  @callback decode!(iodata(), keyword()) :: Phoenix.Socket.Message.t()
end

defmodule Phoenix.Socket.V2.JSONSerializer do
  @moduledoc "Version 2 of the protocol: a message is a text frame with an array. Binary messages aren't here."
  @behaviour Phoenix.Socket.Serializer

  alias Phoenix.Socket.{InvalidMessageError, Message, Reply}

  @impl true
  def encode!(%Reply{} = reply) do
    payload = %{status: reply.status, response: reply.payload}
    {:socket_push, :text, text([reply.join_ref, reply.ref, reply.topic, "phx_reply", payload])}
  end

  def encode!(%Message{payload: %{}} = message) do
    {:socket_push, :text, text([message.join_ref, message.ref, message.topic, message.event, message.payload])}
  end

  def encode!(%Message{payload: payload}), do: not_a_map!(payload)

  defp not_a_map!(payload) do
    raise ArgumentError, "the payload of a message must be a map, got: #{inspect(payload)}"
  end

  defp text(message), do: Jason.encode_to_iodata!(message)

  @impl true
  def decode!(frame, opts) do
    case Keyword.fetch!(opts, :opcode) do
      :text -> from_text(frame)
      :binary -> raise InvalidMessageError, message: "a binary frame"
    end
  end

  defp from_text(frame) do
    case Jason.decode(frame) do
      {:ok, [join_ref, ref, topic, event, payload]}
      when (is_binary(join_ref) or is_nil(join_ref)) and (is_binary(ref) or is_nil(ref)) and is_binary(topic) and
             is_binary(event) ->
        %Message{join_ref: join_ref, ref: ref, topic: topic, event: event, payload: payload}

      {:ok, _} ->
        raise InvalidMessageError, message: "expected [join_ref, ref, topic, event, payload]"

      {:error, error} ->
        raise InvalidMessageError, message: "not JSON: " <> Exception.message(error)
    end
  end
end
