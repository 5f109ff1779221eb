defmodule Roomtone.Webhooks.Client do
  @moduledoc """
  Posts by OTP's `:httpc`, without waiting: the result comes as a message to the caller. The profile
  is one of our own, so that nobody else's requests wait for a receiver that hangs.

  TLS is verified against the system's authorities and the host's name. A redirect isn't followed:
  it would send names to an address that nobody set. The body of an answer isn't read where the
  receiver accepts with 200, and for other statuses no longer than the request may take.
  """

  @profile :roomtone_webhooks
  @connect_ms 3_000

  @type url :: String.t()

  @doc "Makes the client ready."
  @spec start() :: :ok
  def start do
    case :inets.start(:httpc, profile: @profile) do
      {:ok, _pid} -> :ok = :httpc.set_options([ipfamily: :inet6fb4], @profile)
      {:error, {:already_started, _pid}} -> :ok
    end
  end

  @doc """
  Posts JSON. The result, to be read by `result/2`, comes within `timeout` milliseconds. `ssl` adds to
  the options of TLS.
  """
  @spec post(url, [{String.t(), String.t()}], iodata, timeout :: pos_integer, keyword) ::
          {:ok, reference} | {:error, term}
  def post(url, headers, body, timeout, ssl) do
    # Without a connection that is kept: a request that is cancelled would take the next one with it.
    headers = [{"user-agent", "roomtone"}, {"connection", "close"} | headers]
    headers = for {name, value} <- headers, do: {to_charlist(name), to_charlist(value)}
    request = {to_charlist(url), headers, ~c"application/json", IO.iodata_to_binary(body)}

    http = [
      timeout: timeout,
      connect_timeout: min(timeout, @connect_ms),
      autoredirect: false,
      ssl: if(String.starts_with?(url, "https:"), do: Keyword.merge(verified(), ssl), else: [])
    ]

    :httpc.request(:post, request, http, [sync: false, stream: {:self, :once}, body_format: :binary], @profile)
  rescue
    # This system has no authorities to verify by.
    error in [ErlangError, MatchError] -> {:error, {:no_authorities, Exception.message(error)}}
  end

  defp verified do
    [
      verify: :verify_peer,
      cacerts: :public_key.cacerts_get(),
      depth: 8,
      customize_hostname_check: [match_fun: :public_key.pkix_verify_hostname_match_fun(:https)]
    ]
  end

  @doc "The outcome of a request by a message: `:ok` for any status from 200 to 299, `:more` while there is no result."
  @spec result(term, reference) :: :ok | :more | {:error, {:status, pos_integer} | {:redirected, pos_integer} | term}
  def result({:http, {ref, :stream_start, _headers, _pid}}, ref), do: accepted(ref)
  def result({:http, {ref, :stream_start, _headers}}, ref), do: accepted(ref)
  def result({:http, {ref, {{_version, status, _text}, _headers, _body}}}, ref), do: status(status)
  def result({:http, {ref, {:error, reason}}}, ref), do: {:error, reason}
  def result(_of_another, _ref), do: :more

  # The answer to a request that succeeded is of no interest, and may be endless.
  defp accepted(ref) do
    cancel(ref)
    :ok
  end

  defp status(status) when status in 200..299, do: :ok
  defp status(status) when status in 300..399, do: {:error, {:redirected, status}}
  defp status(status), do: {:error, {:status, status}}

  @doc "Ends a request."
  @spec cancel(reference) :: :ok
  def cancel(ref), do: :httpc.cancel_request(ref, @profile)
end
