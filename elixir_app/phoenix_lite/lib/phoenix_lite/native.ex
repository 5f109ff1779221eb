defmodule PhoenixLite.Native do
  @moduledoc """
  The functions of the crate `lite-http`. None of them waits.

  Messages that they cause, all to the process named:

    * `{:lite_connection, connection, {ip, port}}` to the owner of a listener, who answers with `attach/2`;
    * `{:lite_request, exchange, {method, {path, query}, version, headers}}` to the process of a connection;
    * `{:lite_ws, :ready}`, then `{:lite_ws, :text | :binary, data}` once it is a WebSocket, each to be followed by
      `socket_taken/1`;
    * `{:lite_closed, reason}`, the last one of a connection;
    * `{:lite_reply, id, result}`, the answer to `read_body/4` or `piece/3`.
  """

  @on_load :load

  @typedoc "A listening socket; closes with its owner."
  @type listener :: reference()
  @typedoc "A connection; closes with the process that it is attached to."
  @type connection :: reference()
  @typedoc "One request."
  @type exchange :: reference()
  @type headers :: [{binary(), binary()}]
  @type result :: {:ok, :ok} | {:error, atom()}

  @doc false
  def load do
    path = Path.join(:code.priv_dir(:phoenix_lite), "native/lite_http")
    path |> String.to_charlist() |> :erlang.load_nif(0)
  end

  @doc """
  Listens; the calling process is the owner. `limits` are those of `PhoenixLite.Limits.listener/1`. With
  `identity`, certificates and key as PEM, the server speaks TLS, and hands connections that speak STUN
  within it on to the TURN server in this process whose Unix socket has the abstract name `turn`.
  """
  @spec listen(String.t(), :inet.port_number(), map(), nil | {binary(), binary()}, nil | String.t()) ::
          {:ok, listener(), :inet.port_number()} | {:error, term()}
  def listen(_ip, _port, _limits, _identity, _turn), do: :erlang.nif_error(:not_loaded)

  @doc "Accepts no more; idle connections close."
  @spec drain(listener()) :: :ok
  def drain(_listener), do: :erlang.nif_error(:not_loaded)

  @doc "Closes the listener and all its connections."
  @spec stop(listener()) :: :ok
  def stop(_listener), do: :erlang.nif_error(:not_loaded)

  @doc "Gives a connection to a process."
  @spec attach(connection(), pid()) :: result()
  def attach(_connection, _pid), do: :erlang.nif_error(:not_loaded)

  @doc "Closes a connection at once."
  @spec abort(connection()) :: :ok
  def abort(_connection), do: :erlang.nif_error(:not_loaded)

  @doc "Reads up to `length` bytes of the body; `{:lite_reply, id, {:ok | :more, data} | {:error, reason}}` follows."
  @spec read_body(exchange(), non_neg_integer(), pos_integer(), non_neg_integer()) :: result()
  def read_body(_exchange, _id, _length, _timeout), do: :erlang.nif_error(:not_loaded)

  @doc "Answers a request."
  @spec respond(exchange(), 100..999, headers(), binary()) :: result()
  def respond(_exchange, _status, _headers, _body), do: :erlang.nif_error(:not_loaded)

  @doc "Answers a request with a body that comes with `piece/3` and ends with `finish/1`."
  @spec respond_stream(exchange(), 100..999, headers()) :: result()
  def respond_stream(_exchange, _status, _headers), do: :erlang.nif_error(:not_loaded)

  @doc "Sends a piece of a body; `{:lite_reply, id, :ok | {:error, :closed}}` follows when there is room for the next."
  @spec piece(exchange(), non_neg_integer(), binary()) :: result()
  def piece(_exchange, _id, _data), do: :erlang.nif_error(:not_loaded)

  @doc "Ends a body."
  @spec finish(exchange()) :: :ok
  def finish(_exchange), do: :erlang.nif_error(:not_loaded)

  @doc "Makes the connection a WebSocket. `limits` as `PhoenixLite.Limits.socket/1` has them."
  @spec upgrade(exchange(), headers(), map()) :: result()
  def upgrade(_exchange, _headers, _limits), do: :erlang.nif_error(:not_loaded)

  @doc "Queues a WebSocket message; `{:error, :overflow}` closes the connection, whose client doesn't read."
  @spec socket_send(connection(), :text | :binary, binary()) :: result()
  def socket_send(_connection, _kind, _data), do: :erlang.nif_error(:not_loaded)

  @doc "Closes a WebSocket after what is queued."
  @spec socket_close(connection(), 1000..4999, String.t()) :: result()
  def socket_close(_connection, _code, _reason), do: :erlang.nif_error(:not_loaded)

  @doc "Says that a message was handled: the client may send one more."
  @spec socket_taken(connection()) :: result()
  def socket_taken(_connection), do: :erlang.nif_error(:not_loaded)

  @doc "Encodes what is small; `:large` asks for `json_encode_large/1`."
  @spec json_encode(term()) :: {:ok, binary()} | {:error, atom(), term()} | :large
  def json_encode(_term), do: :erlang.nif_error(:not_loaded)

  @doc "Encodes on a dirty scheduler."
  @spec json_encode_large(term()) :: {:ok, binary()} | {:error, atom(), term()}
  def json_encode_large(_term), do: :erlang.nif_error(:not_loaded)

  @doc "Decodes what is small; `:large` asks for `json_decode_large/1`."
  @spec json_decode(binary()) :: {:ok, term()} | {:error, String.t(), non_neg_integer(), non_neg_integer()} | :large
  def json_decode(_json), do: :erlang.nif_error(:not_loaded)

  @doc "Decodes on a dirty scheduler."
  @spec json_decode_large(binary()) :: {:ok, term()} | {:error, String.t(), non_neg_integer(), non_neg_integer()}
  def json_decode_large(_json), do: :erlang.nif_error(:not_loaded)
end
