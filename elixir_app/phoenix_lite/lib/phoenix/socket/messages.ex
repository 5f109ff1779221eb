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
  @moduledoc "Between messages and frames."

  @typedoc "What a transport process is sent."
  @type push :: {:socket_push, :text | :binary, iodata()}

  @doc "A frame that goes to many."
  @callback fastlane!(Phoenix.Socket.Broadcast.t()) :: push() | term()
  @doc "A frame."
  @callback encode!(Phoenix.Socket.Message.t() | Phoenix.Socket.Reply.t()) :: push() | term()
  @doc "The message of a frame."
  @callback decode!(iodata(), keyword()) :: Phoenix.Socket.Message.t()
end

defmodule Phoenix.Socket.V2.JSONSerializer do
  @moduledoc "Version 2: text frames are arrays, payloads `{:binary, data}` are binary frames with a header of lengths."
  @behaviour Phoenix.Socket.Serializer

  alias Phoenix.Socket.{Broadcast, InvalidMessageError, Message, Reply}

  @push 0
  @reply 1
  @broadcast 2

  @impl true
  def fastlane!(%Broadcast{payload: {:binary, data}} = message) do
    {:socket_push, :binary, binary(@broadcast, [message.topic, message.event], data)}
  end

  def fastlane!(%Broadcast{payload: %{}} = message) do
    {:socket_push, :text, text([nil, nil, message.topic, message.event, message.payload])}
  end

  def fastlane!(%Broadcast{payload: payload}), do: not_a_map!(payload)

  @impl true
  def encode!(%Reply{payload: {:binary, data}} = reply) do
    parts = [to_string(reply.join_ref), to_string(reply.ref), reply.topic, to_string(reply.status)]
    {:socket_push, :binary, binary(@reply, parts, data)}
  end

  def encode!(%Reply{} = reply) do
    payload = %{status: reply.status, response: reply.payload}
    {:socket_push, :text, text([reply.join_ref, reply.ref, reply.topic, "phx_reply", payload])}
  end

  def encode!(%Message{payload: {:binary, data}} = message) do
    {:socket_push, :binary, binary(@push, [to_string(message.join_ref), message.topic, message.event], data)}
  end

  def encode!(%Message{payload: %{}} = message) do
    {:socket_push, :text, text([message.join_ref, message.ref, message.topic, message.event, message.payload])}
  end

  def encode!(%Message{payload: payload}), do: not_a_map!(payload)

  defp not_a_map!(payload) do
    raise ArgumentError, "expected payload to be a map or {:binary, data}, got: #{inspect(payload)}"
  end

  defp text(message), do: Phoenix.json_library().encode_to_iodata!(message)

  # The lengths first, a byte each, then the texts.
  defp binary(kind, parts, data) do
    lengths = for part <- parts, do: length!(part)
    [kind, lengths, parts, data]
  end

  defp length!(part) when byte_size(part) <= 255, do: byte_size(part)

  defp length!(part),
    do: raise(ArgumentError, "refs, topics and events of binary messages have 255 bytes at most: #{part}")

  @impl true
  def decode!(frame, opts) do
    case Keyword.fetch(opts, :opcode) do
      {:ok, :text} -> from_text(frame)
      {:ok, :binary} -> from_binary(frame)
    end
  end

  defp from_text(frame) do
    case Phoenix.json_library().decode(frame) do
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

  defp from_binary(<<
         @push,
         join_ref_size,
         ref_size,
         topic_size,
         event_size,
         join_ref::binary-size(join_ref_size),
         ref::binary-size(ref_size),
         topic::binary-size(topic_size),
         event::binary-size(event_size),
         data::binary
       >>) do
    unless Enum.all?([join_ref, ref, topic, event], &String.valid?/1),
      do: raise(InvalidMessageError, message: "text that isn't UTF-8")

    %Message{join_ref: none(join_ref), ref: none(ref), topic: topic, event: event, payload: {:binary, data}}
  end

  defp from_binary(_), do: raise(InvalidMessageError, message: "not a binary push")

  defp none(""), do: nil
  defp none(ref), do: ref
end
