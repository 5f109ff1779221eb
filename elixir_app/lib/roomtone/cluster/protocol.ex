defmodule Roomtone.Cluster.Protocol do
  @moduledoc """
  The messages between the nodes of a cluster.

  Each travels as `{:roomtone_cluster, version, message}` by Erlang's distribution. A node uses
  another one only after their greetings have shown that both have the same `TOKEN_SECRET` and a
  version of this protocol in common. A receiver answers a message that it doesn't know with
  `{:unknown, tag}`, and goes on.

  Rules for a change: a new message or a new field of a map is compatible, because a receiver
  ignores fields that it doesn't know. Anything else takes a new version, and the nodes of one
  release speak that of the release before, too.
  """

  alias Roomtone.{Config, Native}

  @tag :roomtone_cluster
  @version 1
  @oldest 1

  @typedoc "The part of a node: everything, pages and rooms, or media."
  @type role :: :all | :web | :media

  @typedoc """
  How a node introduces itself.

    * `node`, `role`, `region`, `release` – who it is; `release` is Roomtone's version
    * `speaks` – the oldest and the newest version of this protocol that it knows
    * `digest` – proves the `TOKEN_SECRET` without showing it (HMAC-SHA256)
    * `ids` – the upper bits of the numbers that it gives to rooms and peers: `Roomtone.Media.new_id/0`
    * `up_ms` – for how long it has been up, in milliseconds
    * `answer` – whether it wants to be greeted in return
    * `gathers` – whether a room that it takes over waits for second connections (`Roomtone.Room.Move`); a
      node of the release before doesn't tell it, and its rooms don't
  """
  @type greeting :: %{
          optional(:gathers) => boolean,
          node: node,
          role: role,
          region: String.t() | nil,
          release: String.t(),
          speaks: {pos_integer, pos_integer},
          digest: binary,
          ids: non_neg_integer,
          up_ms: non_neg_integer,
          answer: boolean
        }

  @typedoc """
  A media node's report about a shard: whether it runs, its present life, how many people and
  rooms it has, and the engine's counters.
  """
  @type shard_report :: %{
          well: boolean,
          epoch: non_neg_integer,
          addresses: [String.t()],
          people: non_neg_integer,
          rooms: non_neg_integer,
          stats: map
        }

  @typedoc """
  The report that a media node sends once a second: whether it is about to stop and for how many more
  milliseconds its rooms have sound, its shards, and the addresses of its TURN server.
  """
  @type report :: %{
          required(:draining) => boolean,
          optional(:left_ms) => non_neg_integer | nil,
          required(:shards) => %{Native.shard() => shard_report},
          optional(:turn) => [String.t()]
        }

  @typedoc """
  A message.

  Between any two nodes, to and from `Roomtone.Cluster.Members`:

    * `{:hello, greeting}`
    * `{:refused, why, node}` – the greeting of the receiver doesn't fit here

  From a web node's `Roomtone.Cluster.Link` to a media node:

    * `{:attach, link}` – to `Roomtone.Cluster.Sessions`, answered with `:attached` or `:refused`
    * `{:commands, commands}` – for the engine, in the order of submission; each is answered for by
      `:taken`

  A web node also calls a media node with `{:run, function, arguments}`: `Roomtone.Cluster.Natives`, and
  a `Roomtone.Cluster.Holder` there. That takes a file as well: `{:part, bytes}`, and `:open_parts` after
  the last; a cast of `:close` ends it.

  From a media node's `Roomtone.Cluster.Session` to the link:

    * `{:attached, session, life, report}` – `life` is another after each start of the media node
    * `{:taken, counts}` – how many commands the engine has taken, for each shard
    * `{:events, events}` – the engine's events, with the shard and its epoch
    * `{:report, report}` – once a second
    * `:gap` – events were lost: the link asks for what it has to know

  Between nodes that run room processes:

    * `{:control, request}` – a call: `t:Roomtone.Cluster.Control.request/0`
    * `{:rooms, node, put, drop}` – between `Roomtone.Cluster.Directory`: summaries of rooms that are
      new or changed, and names of those that ended; `:others` for all that aren't in `put`
    * `{:keep, node, rooms}` – between `Roomtone.Cluster.Keeper`: names of rooms, and what their node
      remembers of them (`t:Roomtone.Cluster.Keeper.kept/0`), also of a node that is gone, to the node that
      takes them over; `{:keep_all, node}` asks for all
    * `{:spent, news}` – between `Roomtone.Cluster.Spent`: signatures that are spent, things whose
      watchers are told, and tries at passwords (`t:Roomtone.Cluster.Spent.news/0`); `{:spent_all, node}`
      asks for all
    * `{:interested, relay, keys}`, `{:not_interested, relay, key}` – between
      `Roomtone.Cluster.Relay`: in which rooms a node has subscribers
    * `{:tell, key, event}` – an event of a room, for them

  In answer to anything else: `{:unknown, tag}`.
  """
  @type message ::
          {:hello, greeting}
          | {:refused, refusal, node}
          | {:attach, pid}
          | {:attached, pid, binary, report}
          | {:commands, [{Native.shard(), Native.command()}]}
          | {:taken, %{Native.shard() => pos_integer}}
          | {:events, [{Native.shard(), non_neg_integer, Native.event()}]}
          | {:report, report}
          | :gap
          | {:control, Roomtone.Cluster.Control.request()}
          | {:run, atom, [term]}
          | {:part, binary}
          | :open_parts
          | :close
          | {:rooms, node, [Roomtone.summary()], [String.t()] | :others}
          | {:keep, node, [{String.t(), Roomtone.Cluster.Keeper.kept()}]}
          | {:keep_all, node}
          | {:spent, [Roomtone.Cluster.Spent.news()]}
          | {:spent_all, node}
          | {:interested, pid, [String.t()]}
          | {:not_interested, pid, String.t()}
          | {:tell, String.t(), Roomtone.event()}
          | {:unknown, atom}

  @typedoc "Why a node isn't used."
  @type refusal :: :other_secret | {:other_version, {pos_integer, pos_integer}} | :same_ids | :not_ready

  @doc """
  Packs a message.

      iex> Roomtone.Cluster.Protocol.pack(:gap)
      {:roomtone_cluster, 1, :gap}
  """
  @spec pack(message) :: {:roomtone_cluster, pos_integer, message}
  def pack(message), do: {@tag, @version, message}

  @doc """
  Unpacks what came from another node.

      iex> Roomtone.Cluster.Protocol.unpack({:roomtone_cluster, 1, :gap})
      {:ok, :gap}
      iex> Roomtone.Cluster.Protocol.unpack({:roomtone_cluster, 99, :gap})
      {:error, {:other_version, 99}}
      iex> Roomtone.Cluster.Protocol.unpack("hello")
      :error
  """
  @spec unpack(term) :: {:ok, term} | {:error, {:other_version, term}} | :error
  def unpack({@tag, version, message}) when version in @oldest..@version, do: {:ok, message}
  def unpack({@tag, version, _message}), do: {:error, {:other_version, version}}
  def unpack(_other), do: :error

  @doc """
  Sends a message without waiting, and without connecting to a node that isn't connected. Returns
  `:nosuspend` when the connection is congested: nothing was sent.
  """
  @spec send_to(pid | {atom, node}, message) :: :ok | :nosuspend | :noconnect
  def send_to(to, message), do: :erlang.send(to, pack(message), [:nosuspend, :noconnect])

  @doc "The answer to a message that the receiver doesn't know."
  @spec unknown(term) :: message
  def unknown(message) when is_tuple(message) and tuple_size(message) > 0 and is_atom(elem(message, 0)),
    do: {:unknown, elem(message, 0)}

  def unknown(message) when is_atom(message), do: {:unknown, message}
  def unknown(_message), do: {:unknown, :message}

  @doc "How this node introduces itself."
  @spec greeting(Config.t(), non_neg_integer, boolean, non_neg_integer) :: greeting
  def greeting(config, ids, answer, up_ms) do
    %{
      node: node(),
      role: config.role,
      region: config.region,
      release: release(),
      speaks: {@oldest, @version},
      digest: digest(config.token_secret),
      ids: ids,
      up_ms: up_ms,
      answer: answer,
      gathers: true
    }
  end

  @doc """
  Whether the other node can be used. A node whose greeting isn't one doesn't count as a node of
  Roomtone.

      iex> theirs = %{node: :"b@host", role: :media, region: nil, release: "1", speaks: {7, 9}, digest: "", ids: 0, up_ms: 0, answer: false}
      iex> Roomtone.Cluster.Protocol.check(theirs, "the digest of this node")
      {:error, {:other_version, {7, 9}}}
      iex> Roomtone.Cluster.Protocol.check(%{theirs | speaks: {1, 9}}, "the digest of this node")
      {:error, :other_secret}
      iex> Roomtone.Cluster.Protocol.check(%{node: :"b@host"}, "the digest of this node")
      :error
  """
  @spec check(term, binary) :: :ok | {:error, refusal} | :error
  def check(
        %{node: node, role: role, speaks: {oldest, newest}, digest: digest, ids: ids, answer: answer} = theirs,
        ours
      )
      when is_atom(node) and role in [:all, :web, :media] and is_integer(oldest) and is_integer(newest) and
             is_binary(digest) and is_integer(ids) and is_boolean(answer) and is_integer(theirs.up_ms) do
    cond do
      oldest > @version or newest < @oldest -> {:error, {:other_version, {oldest, newest}}}
      byte_size(digest) != byte_size(ours) or not :crypto.hash_equals(digest, ours) -> {:error, :other_secret}
      true -> :ok
    end
  end

  def check(_no_greeting, _ours), do: :error

  @doc "The digest that a node shows instead of its `TOKEN_SECRET`."
  @spec digest(String.t()) :: binary
  def digest(secret), do: :crypto.mac(:hmac, :sha256, secret, "roomtone cluster")

  @doc """
  Why a node isn't used, as a sentence for the log.

      iex> Roomtone.Cluster.Protocol.sentence(:other_secret)
      "it has another TOKEN_SECRET"
  """
  @spec sentence(refusal) :: String.t()
  def sentence(:other_secret), do: "it has another TOKEN_SECRET"

  def sentence({:other_version, {oldest, newest}}),
    do: "it speaks versions #{oldest} to #{newest} of the cluster's protocol, and this node #{@oldest} to #{@version}"

  def sentence(:same_ids), do: "both nodes give out the same numbers by chance: restart one of them"
  def sentence(:not_ready), do: "it isn't ready yet"

  defp release do
    case :application.get_key(:roomtone, :vsn) do
      {:ok, version} -> List.to_string(version)
      :undefined -> "unknown"
    end
  end
end
