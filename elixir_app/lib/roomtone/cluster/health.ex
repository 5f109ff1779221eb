defmodule Roomtone.Cluster.Health do
  @moduledoc """
  `GET /healthz` of a media node, which has no pages: on `HEALTH_PORT`, for those who restart nodes.

  200 while the media engine runs on all shards; 503 otherwise, and while the node is being stopped.
  The answer is JSON: `status` (`ok`, `draining`, `media_down`), `role`, `rooms`, `participants` and
  `web_nodes`, the number of web nodes that are attached.
  """

  require Logger
  require Record

  alias Roomtone.{Config, Drain, Media}
  alias Roomtone.Cluster.Table

  # The server is OTP's (inets). It calls `do/1` for each request.
  Record.defrecordp(:mod, Record.extract(:mod, from_lib: "inets/include/httpd.hrl"))

  @doc "The child that listens; none if `HEALTH_PORT` is off."
  @spec children(Config.t()) :: [Supervisor.child_spec()]
  def children(%{health_port: nil}), do: []

  def children(config) do
    [%{id: __MODULE__, type: :supervisor, start: {__MODULE__, :start_link, [config]}}]
  end

  @doc false
  @spec start_link(Config.t()) :: {:ok, pid} | {:error, term}
  def start_link(config) do
    options = [
      port: config.health_port,
      bind_address: config.udp_bind,
      ipfamily: if(tuple_size(config.udp_bind) == 8, do: :inet6, else: :inet),
      server_name: ~c"roomtone",
      server_root: ~c"/",
      document_root: ~c"/",
      modules: [__MODULE__],
      max_clients: 20,
      max_body_size: 1,
      max_header_size: 4_096,
      server_tokens: :none
    ]

    case :inets.start(:httpd, options, :stand_alone) do
      {:ok, pid} ->
        {:ok, pid}

      {:error, reason} ->
        Logger.error("nothing can listen on HEALTH_PORT #{config.health_port}: #{inspect(reason)}")
        {:error, {:health_port, config.health_port}}
    end
  end

  @doc false
  @spec unquote(:do)(tuple) :: {:proceed, list}
  def unquote(:do)(request) do
    case {mod(request, :method), mod(request, :request_uri)} do
      {method, ~c"/healthz"} when method in [~c"GET", ~c"HEAD"] -> answer(health())
      _other -> answer({404, ~s({"error":"not_found"})})
    end
  end

  defp answer({status, body}) do
    head = [code: status, content_type: ~c"application/json", cache_control: ~c"no-store"]
    head = head ++ [content_length: body |> byte_size() |> Integer.to_charlist()]
    {:proceed, [response: {:response, head, [body]}]}
  end

  @doc "The HTTP status and the answer."
  @spec health() :: {200 | 503, String.t()}
  def health do
    {status, text} =
      cond do
        Drain.draining?() -> {503, "draining"}
        Media.health() != :ok -> {503, "media_down"}
        true -> {200, "ok"}
      end

    count = fn key -> Media.shards() |> Enum.map(&Map.get(Media.shard_stats(&1), key, 0)) |> Enum.sum() end

    body =
      ~s({"status":"#{text}","role":"media","rooms":#{count.(:rooms)},"participants":#{count.(:peers)},) <>
        ~s("web_nodes":#{length(Table.sessions())}})

    {status, body}
  end
end
