defmodule Roomtone.Cluster.RemoteEngine do
  @moduledoc """
  The functions of `Roomtone.Native` that a web node needs, carried out by media nodes: it takes
  that module's place on a node that has no engine.

  Commands go by `Roomtone.Cluster.Link`, and any new command goes by itself. Tokens and passwords
  go to any media node: `Roomtone.Cluster.Natives`. The secret of tokens stays here, because that
  node has the same one.
  """

  alias Roomtone.{Config, Native, SafeCall}
  alias Roomtone.Cluster.{Link, Natives, Placement, Protocol, Table}

  @patience_ms 5_000

  @doc "The shards of all media nodes."
  @spec shards() :: [Native.shard()]
  def shards, do: Link.shards()

  @doc "The shard that takes the next room: `Roomtone.Cluster.Placement`."
  @spec calmest() :: {:ok, Native.shard()} | {:error, :no_media}
  def calmest do
    region = Config.get().region

    case Placement.choose(Link.candidates(), region) do
      nil -> {:error, :no_media}
      shard -> {:ok, shard}
    end
  end

  @doc "The shards of all media nodes, as `Roomtone.Media.Seating` compares them."
  @spec candidates() :: [Placement.candidate()]
  def candidates, do: Link.candidates()

  @doc "The addresses of a shard, by the last report of its media node."
  @spec addresses(Native.shard()) :: [String.t()]
  def addresses(shard) do
    case Link.report(shard) do
      nil -> []
      %{addresses: addresses} -> addresses
    end
  end

  @doc "As `Roomtone.Native.engine_start/2`. There is nothing to start: media nodes come and go."
  @spec engine_start(map, pid) :: {:ok, :remote}
  def engine_start(_options, _pid), do: {:ok, :remote}

  @doc "As `Roomtone.Native.engine_events_to/2`: links find that process by its name."
  @spec engine_events_to(:remote, pid) :: :ok
  def engine_events_to(:remote, _pid), do: :ok

  @doc "As `Roomtone.Native.submit/3`."
  @spec submit(:remote, Native.shard(), Native.command()) :: :ok | {:error, :busy | :stopped}
  def submit(:remote, shard, command), do: Link.submit(shard, command)

  @doc "As `Roomtone.Native.shard_stats/2`, of the last report; empty if the media node is gone."
  @spec shard_stats(:remote, Native.shard()) :: map
  def shard_stats(:remote, shard) do
    case Link.report(shard) do
      nil -> %{}
      %{stats: stats} -> stats
    end
  end

  @doc "As `Roomtone.Native.engine_stop/1`; media nodes go on."
  @spec engine_stop(:remote) :: :ok
  def engine_stop(:remote), do: :ok

  @doc "As `Roomtone.Native.token_sign/2`."
  @spec token_sign(map, String.t()) :: {:ok, String.t()} | {:error, atom}
  def token_sign(claims, _secret), do: ask(:token_sign, [claims])

  @doc "As `Roomtone.Native.token_verify/3`."
  @spec token_verify(String.t(), String.t(), integer) :: {:ok, map} | {:error, atom}
  def token_verify(token, _secret, now), do: ask(:token_verify, [token, now])

  @doc "As `Roomtone.Native.password_hash/3`."
  @spec password_hash(binary, binary, {pos_integer, pos_integer, pos_integer}) :: {:ok, String.t()} | {:error, atom}
  def password_hash(password, salt, cost), do: exit_without_media(ask(:password_hash, [password, salt, cost]))

  @doc "As `Roomtone.Native.password_verify/2`."
  @spec password_verify(binary, String.t()) :: {:ok, boolean} | {:error, atom}
  def password_verify(password, hash), do: exit_without_media(ask(:password_verify, [password, hash]))

  # Otherwise a right password would be called wrong; so the caller hears that the server is busy.
  defp exit_without_media({:error, :no_media}), do: exit(:no_media)
  defp exit_without_media(result), do: result

  defp ask(function, arguments) do
    attached = for {_slot, node, _report} <- Table.reports(), do: node
    attached |> Enum.shuffle() |> Enum.take(2) |> ask_one_of(function, arguments)
  end

  defp ask_one_of([], _function, _arguments), do: {:error, :no_media}

  # One that has just gone isn't the only one.
  defp ask_one_of([node | others], function, arguments) do
    case SafeCall.call({Natives, node}, Protocol.pack({:run, function, arguments}), @patience_ms) do
      {:ok, {:error, :unknown_call}} -> ask_one_of(others, function, arguments)
      {:ok, answer} -> answer
      {:error, _late_or_gone} -> ask_one_of(others, function, arguments)
    end
  end
end
