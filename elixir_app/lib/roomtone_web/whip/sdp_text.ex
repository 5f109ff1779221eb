defmodule RoomtoneWeb.SdpText do
  @moduledoc """
  The few things that WHIP and WHEP do to SDP as text: SDP fragments (RFC 8840 section 9) are read and written, an offer gets
  other ICE credentials, and an offer becomes one that only receives. The transport, in Rust, decides what an offer means.

  Everything that comes from a client is bounded, and an error says what is wrong.
  """

  @max_fragment 16_384
  @max_lines 500
  @directions ~w(sendrecv sendonly recvonly inactive)
  @ice_chars ~r/\A[A-Za-z0-9+\/=_-]+\z/

  @typedoc "ICE user name fragment and password."
  @type credentials :: {ufrag :: String.t(), pwd :: String.t()}

  @typedoc "A fragment: its credentials, if it has any, and how many candidates."
  @type fragment :: %{credentials: credentials | nil, candidates: non_neg_integer, complete: boolean}

  @doc "How long a fragment may be, in bytes."
  @spec max_fragment() :: pos_integer
  def max_fragment, do: @max_fragment

  @doc """
  Reads the body of a `PATCH`, `application/trickle-ice-sdpfrag`. A candidate whose transport or address is of no use here is one
  all the same: RFC 9725 section 4.3.2 has it dropped without a word.

      iex> RoomtoneWeb.SdpText.parse_fragment("a=ice-ufrag:EsAw\\r\\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\\r\\n" <>
      ...>   "m=audio 9 UDP/TLS/RTP/SAVPF 111\\r\\na=mid:0\\r\\n" <>
      ...>   "a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\\r\\na=end-of-candidates\\r\\n")
      {:ok, %{credentials: {"EsAw", "P2uYro0UCOQ4zxjKXaWCBui1"}, candidates: 1, complete: true}}
      iex> RoomtoneWeb.SdpText.parse_fragment("hello")
      {:error, {:bad_fragment, "line 1 isn't one of SDP, such as a=mid:0"}}
  """
  @spec parse_fragment(binary) :: {:ok, fragment} | {:error, {:bad_fragment, String.t()} | {:too_large, :fragment}}
  def parse_fragment(text) when byte_size(text) > @max_fragment, do: {:error, {:too_large, :fragment}}

  def parse_fragment(text) do
    with :ok <- check(String.valid?(text), "it isn't UTF-8 text"),
         lines = lines(text),
         :ok <- check(lines != [], "it is empty"),
         :ok <- check(length(lines) <= @max_lines, "it has more than #{@max_lines} lines"),
         :ok <- check_lines(lines),
         {:ok, credentials} <- fragment_credentials(lines) do
      candidates = Enum.count(lines, &String.starts_with?(&1, "a=candidate:"))
      complete = "a=end-of-candidates" in lines

      with :ok <- check(credentials != nil or candidates > 0 or complete, "it has neither candidates nor credentials"),
           do: {:ok, %{credentials: credentials, candidates: candidates, complete: complete}}
    end
  end

  defp check(true, _why), do: :ok
  defp check(false, why), do: {:error, {:bad_fragment, why}}

  defp check_lines(lines) do
    lines
    |> Enum.with_index(1)
    |> Enum.find_value(:ok, fn {line, number} ->
      cond do
        not (line =~ ~r/\A[a-z]=[^\x00-\x1f\x7f]+\z/) ->
          check(false, "line #{number} isn't one of SDP, such as a=mid:0")

        String.starts_with?(line, "a=candidate:") and not candidate?(line) ->
          check(false, "line #{number} isn't a candidate (RFC 8839 section 5.1)")

        true ->
          nil
      end
    end)
  end

  # The address may be a name, and the transport one that isn't known here.
  defp candidate?("a=candidate:" <> rest) do
    case String.split(rest, " ", trim: true) do
      [_foundation, component, _transport, priority, _address, port, "typ", _type | _extensions] ->
        Enum.all?([component, priority, port], &(&1 =~ ~r/\A\d{1,10}\z/))

      _other ->
        false
    end
  end

  defp fragment_credentials(lines) do
    case {values(lines, "ice-ufrag"), values(lines, "ice-pwd")} do
      {[], []} -> {:ok, nil}
      {[_ | _] = ufrags, [_ | _] = pwds} -> valid_credentials(List.last(ufrags), List.last(pwds))
      _one_of_them -> check(false, "a=ice-ufrag and a=ice-pwd belong together")
    end
  end

  # As lenient with short names as the transport is.
  defp valid_credentials(ufrag, pwd) do
    valid? = fn text, shortest -> byte_size(text) in shortest..256 and text =~ @ice_chars end

    if valid?.(ufrag, 1) and valid?.(pwd, 22),
      do: {:ok, {ufrag, pwd}},
      else: check(false, "a=ice-ufrag or a=ice-pwd has a wrong length or characters (RFC 8839 section 5.4)")
  end

  @doc """
  The credentials that an offer has, each in its place: of a session, of m-lines.

      iex> RoomtoneWeb.SdpText.credentials("v=0\\r\\nm=audio 9 X 1\\r\\na=ice-ufrag:ab\\r\\na=ice-pwd:secret\\r\\n")
      [{"ab", "secret"}]
  """
  @spec credentials(String.t()) :: [credentials]
  def credentials(sdp) do
    lines = lines(sdp)
    lines |> values("ice-ufrag") |> Enum.zip(values(lines, "ice-pwd")) |> Enum.uniq()
  end

  @doc """
  The same offer with other ICE credentials, and without candidates, which a lite agent has no use for. It is what the client would
  have offered for an ICE restart, if WHIP had offers for that.
  """
  @spec restarted(String.t(), credentials) :: String.t()
  def restarted(offer, {ufrag, pwd}) do
    for line <- lines(offer), not candidate_line?(line), into: "" do
      case line do
        "a=ice-ufrag:" <> _ -> "a=ice-ufrag:#{ufrag}\r\n"
        "a=ice-pwd:" <> _ -> "a=ice-pwd:#{pwd}\r\n"
        other -> other <> "\r\n"
      end
    end
  end

  @doc "An offer without its candidates: what is worth keeping of it."
  @spec without_candidates(String.t()) :: String.t()
  def without_candidates(offer), do: for(line <- lines(offer), not candidate_line?(line), into: "", do: line <> "\r\n")

  defp candidate_line?(line),
    do: String.starts_with?(line, ["a=candidate:", "a=end-of-candidates", "a=remote-candidates:"])

  @doc """
  The ICE part of an answer as a fragment (RFC 9725 section 4.3.3): whether it is lite, its options, and the first m-line in use
  with its credentials and candidates.

      iex> RoomtoneWeb.SdpText.fragment("v=0\\r\\na=ice-lite\\r\\na=group:BUNDLE 0\\r\\nm=video 0 X 1\\r\\na=mid:1\\r\\na=ice-ufrag:u\\r\\n" <>
      ...>   "m=audio 7 X 2\\r\\na=mid:0\\r\\na=sendrecv\\r\\na=ice-ufrag:u\\r\\na=ice-pwd:p\\r\\na=end-of-candidates\\r\\n")
      "a=ice-lite\\r\\na=group:BUNDLE 0\\r\\nm=audio 7 X 2\\r\\na=mid:0\\r\\na=ice-ufrag:u\\r\\na=ice-pwd:p\\r\\na=end-of-candidates\\r\\n"
  """
  @spec fragment(String.t()) :: String.t()
  def fragment(answer) do
    {session, media} = sections(answer)
    used = Enum.find(media, [], &used?/1)

    kept =
      pick(session, ~w(a=ice-lite a=ice-options: a=ice-pacing: a=group:BUNDLE)) ++
        Enum.take(used, 1) ++
        pick(used, ~w(a=mid: a=ice-ufrag: a=ice-pwd: a=ice-options: a=candidate: a=end-of-candidates))

    for line <- kept, into: "", do: line <> "\r\n"
  end

  # A rejected line has port 0, and credentials all the same.
  defp used?([head | attributes]),
    do: not (head =~ ~r/^m=[^ ]* 0[ \/]/) and Enum.any?(attributes, &String.starts_with?(&1, "a=ice-ufrag:"))

  defp pick(lines, prefixes), do: for(prefix <- prefixes, line <- lines, String.starts_with?(line, prefix), do: line)

  @doc """
  An offer as one that only receives, for WHEP: `sendrecv`, which is also what a line without a direction has, becomes `recvonly`.
  An error if no audio of it receives.

      iex> RoomtoneWeb.SdpText.receive_only("v=0\\r\\nm=audio 9 X 1\\r\\na=sendrecv\\r\\n")
      {:ok, "v=0\\r\\nm=audio 9 X 1\\r\\na=recvonly\\r\\n"}
      iex> RoomtoneWeb.SdpText.receive_only("v=0\\r\\nm=audio 9 X 1\\r\\na=sendonly\\r\\n")
      {:error, :receives_nothing}
  """
  @spec receive_only(String.t()) :: {:ok, String.t()} | {:error, :receives_nothing}
  def receive_only(offer) do
    {session, media} = sections(offer)
    default = direction(session) || "sendrecv"
    directions = Enum.map(media, &(direction(&1) || default))
    audio = for {["m=audio" <> _ | _], direction} <- Enum.zip(media, directions), do: direction

    if audio == [] or Enum.any?(audio, &(&1 in ["sendrecv", "recvonly"])) do
      sections = Enum.zip_with(media, directions, &listening/2)
      {:ok, for(line <- List.flatten([session | sections]), into: "", do: line <> "\r\n")}
    else
      {:error, :receives_nothing}
    end
  end

  defp listening(section, direction) do
    section = Enum.reject(section, &(direction([&1]) != nil))
    section ++ ["a=" <> if(direction in ["sendrecv", "recvonly"], do: "recvonly", else: "inactive")]
  end

  defp direction(lines) do
    Enum.find_value(lines, fn
      "a=" <> direction when direction in @directions -> direction
      _other -> nil
    end)
  end

  # The lines of the session, and those of each m-line.
  defp sections(sdp) do
    {session, rest} = sdp |> lines() |> Enum.split_while(&(not String.starts_with?(&1, "m=")))

    media =
      Enum.chunk_while(
        rest,
        [],
        fn
          "m=" <> _ = line, [] -> {:cont, [line]}
          "m=" <> _ = line, section -> {:cont, Enum.reverse(section), [line]}
          line, section -> {:cont, [line | section]}
        end,
        fn
          [] -> {:cont, []}
          section -> {:cont, Enum.reverse(section), []}
        end
      )

    {session, media}
  end

  defp lines(text), do: text |> String.split(["\r\n", "\n"]) |> Enum.reject(&(&1 == ""))

  defp values(lines, key) do
    prefix = "a=#{key}:"
    for line <- lines, String.starts_with?(line, prefix), do: line |> String.replace_prefix(prefix, "") |> String.trim()
  end
end
