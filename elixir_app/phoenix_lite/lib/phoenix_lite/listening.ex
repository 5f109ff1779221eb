defmodule PhoenixLite.Listening do
  @moduledoc """
  Where an endpoint listens: its config `:http` and `:https`.

  Both take `:ip` and `:port`. `:https` also needs `:certfile` and `:keyfile` (PEM; a relative path starts at
  the folder of the application, as in Phoenix) and `cipher_suite: :strong`, which is TLS 1.3 in Phoenix too.
  An endpoint with neither has HTTP on port 4000.

  `:turn` of `:https`, `{:local, <<0, name::binary>>}`, is the Unix socket of a TURN server in this process, with an abstract name of
  40 bytes at most (Linux). A connection that speaks STUN (RFC 8489) where a request of HTTP would begin is handed on to it, so TURN over
  TLS needs no port of its own. Such a connection is bound to the name `<name>/<a number>/<address and port of the client>`.
  """

  # Options of Bandit are accepted and have no effect. Any other unknown option raises.
  @bandit [:thousand_island_options, :http_options, :http_1_options, :http_2_options, :websocket_options, :otp_app]
  @takes [http: [:ip, :port], https: [:ip, :port, :certfile, :keyfile, :cipher_suite, :turn]]

  @doc "Raises for an option that the server doesn't have."
  @spec check!(module(), keyword()) :: :ok
  def check!(endpoint, config) do
    for {scheme, takes} <- @takes, options = config[scheme] do
      case Enum.uniq(Keyword.keys(options)) -- (takes ++ @bandit) do
        [] ->
          check_options!(scheme, options, endpoint)

        unknown ->
          takes = Enum.map_join(takes, ", ", &inspect/1)
          raise ArgumentError, "#{scheme}: of #{inspect(endpoint)} takes #{takes}, not #{inspect(unknown)}"
      end
    end

    :ok
  end

  defp check_options!(:http, _options, _endpoint), do: :ok

  defp check_options!(:https, options, endpoint) do
    for key <- [:certfile, :keyfile], not is_binary(options[key]) do
      raise ArgumentError, "https: of #{inspect(endpoint)} needs #{inspect(key)}, the path of a PEM file"
    end

    unless options[:cipher_suite] == :strong do
      raise ArgumentError,
            "https: of #{inspect(endpoint)} in phoenix_lite is TLS 1.3 only: it needs cipher_suite: :strong"
    end

    unless turn?(options[:turn]) do
      raise ArgumentError,
            "turn: in https: of #{inspect(endpoint)} takes {:local, <<0, name::binary>>}, 40 bytes at most"
    end
  end

  defp turn?(nil), do: true
  defp turn?({:local, <<0, name::binary>>}), do: byte_size(name) in 1..40 and String.valid?(name)
  defp turn?(_other), do: false

  @doc "Specifications of the servers that the config asks for."
  @spec servers(module(), keyword()) :: [map()]
  def servers(endpoint, config) do
    asked = for {scheme, _takes} <- @takes, options = config[scheme], do: {scheme, options}
    asked = if asked == [], do: [http: []], else: asked

    for {scheme, options} <- asked do
      arg = %{
        endpoint: endpoint,
        scheme: scheme,
        ip: Keyword.get(options, :ip, {0, 0, 0, 0}),
        port: port(Keyword.get(options, :port, if(scheme == :https, do: 4040, else: 4000))),
        drain: options |> Keyword.get(:thousand_island_options, []) |> Keyword.get(:shutdown_timeout, 15_000),
        turn: options[:turn],
        files: if(scheme == :https, do: {file(options, :certfile, config), file(options, :keyfile, config)})
      }

      %{id: {PhoenixLite.Server, scheme}, start: {PhoenixLite.Server, :start_link, [arg]}, type: :supervisor}
    end
  end

  defp file(options, key, config) do
    case Path.type(options[key]) do
      :absolute -> options[key]
      _relative -> Path.expand(options[key], Application.app_dir(config[:otp_app]))
    end
  end

  @doc "Returns certificates and key as PEM, or an error that names the file and what is wrong with it."
  @spec identity(nil | {Path.t(), Path.t()}) :: {:ok, nil | {binary(), binary()}} | {:error, String.t()}
  def identity(nil), do: {:ok, nil}

  def identity({certfile, keyfile}) do
    with {:ok, certificates} <- read(:certfile, certfile),
         {:ok, key} <- read(:keyfile, keyfile),
         do: {:ok, {certificates, key}}
  end

  defp read(key, path) do
    with {:error, reason} <- File.read(path),
         do: {:error, "#{key} #{path} can't be read: #{:file.format_error(reason)}"}
  end

  @doc "A port, from a number or text."
  @spec port(term()) :: :inet.port_number()
  def port(port) when is_integer(port) and port in 0..65_535, do: port

  def port(text) when is_binary(text) do
    case Integer.parse(text) do
      {port, ""} -> port(port)
      _ -> raise ArgumentError, "not a port: #{inspect(text)}"
    end
  end

  def port(other), do: raise(ArgumentError, "not a port: #{inspect(other)}")
end
