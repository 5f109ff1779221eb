defmodule RoomtoneWeb.LiveInput do
  @moduledoc """
  Checks the shape of what a page sends to its LiveView, before LiveView sees it: forged messages would only crash the page's own view,
  but each crash costs processor time and pages of log. `use` it in a socket of LiveViews, after `use Phoenix.Socket`.

  A message of a wrong shape is answered with the error `bad_request` and changes nothing. One line a minute for each socket goes to the
  log.
  """

  alias RoomtoneWeb.ErrorPayload

  require Logger

  @logged {__MODULE__, :logged}
  @log_ms 60_000
  @longest_name 128
  # As many fields as our largest form has, several times over.
  @most_fields 50

  defmacro __using__(_opts) do
    quote do
      defoverridable handle_in: 2

      def handle_in({frame, opts} = message, state) do
        case RoomtoneWeb.LiveInput.check(frame, opts) do
          :ok -> super(message, state)
          {:error, answer} -> RoomtoneWeb.LiveInput.refused(answer, state)
        end
      end
    end
  end

  @doc "Whether the frame may be handed on; else the answer to it."
  @spec check(binary, keyword) :: :ok | {:error, iodata | nil}
  def check(frame, opts) do
    with :text <- opts[:opcode],
         {:ok, [join_ref, ref, topic, event, payload]} <- Jason.decode(frame) do
      if shape?(event, payload), do: :ok, else: {:error, answer(join_ref, ref, topic)}
    else
      # A frame that isn't a message closes the socket, as it does any other.
      _no_message -> :ok
    end
  end

  defp shape?("event", %{"type" => type, "event" => event, "value" => value} = payload) do
    name?(type) and name?(event) and cid?(payload["cid"]) and map_or_nil?(payload["meta"]) and
      value?(type, event, value)
  end

  defp shape?("live_patch", payload), do: is_map(payload) and text?(payload["url"])

  defp shape?("phx_join", %{"session" => session} = payload) do
    text?(session) and
      Enum.all?(~w(static url redirect flash), &(payload[&1] == nil or text?(payload[&1]))) and
      map_or_nil?(payload["params"]) and valid_url?(payload["redirect"] || payload["url"])
  end

  defp shape?("cids_" <> _, %{"cids" => cids}), do: is_list(cids) and Enum.all?(cids, &is_integer/1)
  defp shape?(event, payload) when event in ["phx_leave", "heartbeat"], do: is_map(payload)
  defp shape?(_other, _payload), do: false

  # Text, of a form, that can be decoded; a map of texts and numbers for anything else.
  defp value?("form", _event, value) when is_binary(value), do: value |> decoded() |> fields?()
  defp value?(_type, "lv:clear-flash", %{"key" => key}), do: name?(key)
  defp value?(_type, "lv:clear-flash", value), do: value in [nil, ""] or is_map(value)
  defp value?(_type, _event, value) when is_map(value), do: fields?(value)
  defp value?(_type, _event, value), do: value == nil or is_binary(value)

  # A form's field may have a list or a map in it; none of ours has.
  defp fields?(%{} = value) do
    map_size(value) <= @most_fields and
      Enum.all?(value, fn {_name, field} ->
        is_binary(field) or is_number(field) or is_boolean(field) or is_nil(field) or is_list(field) or is_map(field)
      end)
  end

  defp fields?(_other), do: false

  defp decoded(text) do
    Plug.Conn.Query.decode(text)
  rescue
    # A % that is none, or bytes that aren't text.
    _error -> :error
  end

  defp valid_url?(url) do
    url == nil or match?(%URI{}, URI.parse(url))
  rescue
    _error -> false
  end

  defp name?(name), do: is_binary(name) and byte_size(name) <= @longest_name
  defp text?(text), do: is_binary(text) and String.valid?(text)
  defp cid?(cid), do: cid == nil or is_integer(cid)
  defp map_or_nil?(value), do: value == nil or is_map(value)

  defp answer(join_ref, ref, topic) when is_binary(ref) and is_binary(topic) do
    response = %{status: "error", response: ErrorPayload.payload(:bad_request)}
    Jason.encode!([join_ref, ref, topic, "phx_reply", response])
  end

  defp answer(_join_ref, _ref, _topic), do: nil

  @doc false
  def refused(answer, state) do
    log()
    if answer, do: {:reply, :error, {:text, answer}, state}, else: {:ok, state}
  end

  defp log do
    now = System.monotonic_time(:millisecond)

    if now >= Process.get(@logged, now) do
      Process.put(@logged, now + @log_ms)
      Logger.info("a page sends messages that no page of ours sends; they are ignored")
    end
  end
end
