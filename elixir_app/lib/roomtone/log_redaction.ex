defmodule Roomtone.LogRedaction do
  @moduledoc """
  Keeps secrets out of the log, at every level: tokens, sessions, passcodes, passwords, offers and keys of trunks.

  A filter that every event of the log goes through (`:logger.add_primary_filter/2`), whatever wrote it:

    * Reports of crashes (of servers, processes, tasks, supervisors) lose the state, the last message, the dictionary and all arguments: of
      a stack trace the arities stay. Module, function, line and reason stay.
    * In texts and in reasons, what looks like a JSON Web Token or an SDP offer is replaced by `[redacted]`, and so is whatever stands under
      a key such as `token`, `session`, `passcode` or `sdp`.

  Structs that hold secrets hide them from `inspect/2` as well.
  """

  @keys ~w(token jwt auth_token session pass passes passcode password person keys maker user_stamp sdp offer answer cookie secret
    secret_key_base token_secret live_socket_id _csrf_token csrf_token ice_pwd)
  @redacted "[redacted]"
  # Errors of Erlang that carry whatever was no match.
  @anything [:badmatch, :case_clause, :try_clause, :else_clause, :badmap, :badkey, :badarity, :badfun]
  # Deeper or longer terms are cut: a crash may hold all of a room.
  @deepest 12

  @jwt ~r/\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}/
  @sdp ~r/v=0(?:\r\n|\\r\\n|\n|\\n)o=.*?(?=["']|\z)/s

  @doc "Installs the filter; again is as good as once."
  @spec install() :: :ok
  def install do
    _ = :logger.remove_primary_filter(__MODULE__)
    :ok = :logger.add_primary_filter(__MODULE__, {&__MODULE__.filter/2, nil})
  end

  @doc false
  @spec filter(:logger.log_event(), term) :: :logger.log_event()
  def filter(%{msg: msg} = event, _config) do
    %{event | msg: message(msg), meta: meta(event[:meta] || %{})}
  rescue
    # A line that can't be looked through isn't written.
    error -> %{event | msg: {:string, "a log line can't be redacted: #{inspect(error.__struct__)}"}}
  end

  defp message({:string, text}), do: {:string, text(text)}
  defp message({:report, report}), do: {:report, report(report)}
  defp message({format, args}) when is_list(args), do: {format, Enum.map(args, &term/1)}
  defp message(other), do: other

  # `crash_reason` is handed to error trackers.
  defp meta(%{crash_reason: {reason, stack}} = meta), do: %{meta | crash_reason: {term(reason), stack(stack)}}
  defp meta(meta), do: meta

  @doc """
  A text without tokens and offers.

      iex> Roomtone.LogRedaction.text("GET /invitations/eyJhbGciOiJIUzI1NiJ9.eyJyb29tIjoiYSJ9.c2lnbmF0dXJl failed")
      "GET /invitations/[redacted] failed"
  """
  @spec text(IO.chardata()) :: IO.chardata()
  def text(chardata) do
    case :unicode.characters_to_binary(chardata) do
      text when is_binary(text) -> replace(text)
      _not_text -> chardata
    end
  end

  defp replace(text) do
    text = if text =~ "eyJ", do: Regex.replace(@jwt, text, @redacted), else: text
    if text =~ "v=0", do: Regex.replace(@sdp, text, @redacted), else: text
  end

  # Servers of OTP: {:gen_server | :gen_statem | …, :terminate}.
  defp report(%{label: {_kind, :terminate}} = report) do
    report
    |> hide([:state, :last_message, :client_info, :log, :queue, :postponed, :callback_mode])
    |> change(:reason, &reason/1)
  end

  defp report(%{label: {:proc_lib, :crash}, report: [info | linked]} = report) do
    info =
      for {key, value} <- info do
        case key do
          :error_info -> {key, error_info(value)}
          hidden when hidden in [:dictionary, :messages] -> {hidden, []}
          :initial_call -> {key, initial_call(value)}
          _ -> {key, value}
        end
      end

    %{report | report: [info | Enum.map(linked, fn _processes -> [] end)]}
  end

  defp report(%{label: {:supervisor, _what}, report: report} = whole) when is_list(report) do
    report =
      for {key, value} <- report do
        case key do
          :offender -> {key, child(value)}
          :started -> {key, child(value)}
          :reason -> {key, reason(value)}
          _ -> {key, value}
        end
      end

    %{whole | report: report}
  end

  # Task.Supervised.
  defp report(%{label: {Task.Supervisor, :terminating}, report: report} = whole) when is_map(report),
    do: %{whole | report: report |> hide([:args]) |> change(:reason, &reason/1)}

  defp report(report), do: term(report)

  defp hide(report, keys),
    do: Enum.reduce(keys, report, fn key, report -> change(report, key, fn _ -> hidden(key) end) end)

  defp hidden(key) when key in [:args, :log, :queue, :postponed], do: []
  defp hidden(_key), do: :redacted

  defp change(report, key, fun) when is_map(report) and is_map_key(report, key), do: Map.update!(report, key, fun)
  defp change(report, _key, _fun), do: report

  defp child(child) when is_list(child) do
    for {key, value} <- child do
      case {key, value} do
        {:mfargs, {module, function, args}} when is_list(args) -> {key, {module, function, length(args)}}
        {:mfargs, {module, function, _}} -> {key, {module, function, :undefined}}
        _ -> {key, value}
      end
    end
  end

  defp child(other), do: other

  defp initial_call({module, function, args}) when is_list(args),
    do: {module, function, List.duplicate(:redacted, length(args))}

  defp initial_call(other), do: other

  defp error_info({class, reason, stack}), do: {class, term(reason), stack(stack)}
  defp error_info(other), do: term(other)

  defp reason({reason, stack}) when is_list(stack), do: {term(reason), stack(stack)}
  defp reason(reason), do: term(reason)

  defp stack(stack) when is_list(stack) do
    Enum.map(stack, fn
      {module, function, args, location} when is_list(args) -> {module, function, length(args), location}
      {function, args, location} when is_list(args) -> {function, length(args), location}
      frame -> term(frame)
    end)
  end

  defp stack(other), do: other

  @doc "A term without secrets, as far as its keys and texts tell."
  @spec term(term) :: term
  def term(term), do: term(term, @deepest)

  defp term(_term, 0), do: :redacted
  defp term(text, _depth) when is_binary(text), do: if(String.valid?(text), do: replace(text), else: text)

  # The term that was no match, or had no such key, may be anything.
  defp term(%{__exception__: true} = exception, depth) do
    exception
    |> Map.from_struct()
    |> Map.new(fn
      {key, _anything} when key in [:term, :args, :value] -> {key, nil}
      {key, value} -> {key, field(key, value, depth)}
    end)
    |> Map.put(:__struct__, exception.__struct__)
  end

  defp term({tag, _anything}, _depth) when tag in @anything, do: {tag, :redacted}

  defp term(%module{} = struct, depth) do
    fields = struct |> Map.from_struct() |> Map.new(fn {key, value} -> {key, field(key, value, depth)} end)
    Map.put(fields, :__struct__, module)
  end

  defp term(%{} = map, depth) do
    Map.new(map, fn {key, value} -> {if(is_binary(key), do: replace(key), else: key), field(key, value, depth)} end)
  end

  # Commands to the engine.
  defp term({kind, %{} = fields}, depth) when kind in [:open_trunk, :renew_trunk],
    do: {kind, fields |> Map.drop([:send, :receive, :key]) |> term(depth - 1)}

  defp term({:sdp, _}, _depth), do: {:sdp, @redacted}
  defp term({key, value}, depth) when is_atom(key), do: {key, field(key, value, depth)}

  defp term(tuple, depth) when is_tuple(tuple),
    do: tuple |> Tuple.to_list() |> Enum.map(&term(&1, depth - 1)) |> List.to_tuple()

  defp term([head | tail], depth), do: [term(head, depth - 1) | term(tail, depth)]
  defp term(other, _depth), do: other

  # Whether somebody has one may be told.
  defp field(key, value, depth) do
    if secret?(key) and (is_binary(value) or is_map(value) or is_function(value)),
      do: @redacted,
      else: term(value, depth - 1)
  end

  defp secret?(key) when is_atom(key), do: Atom.to_string(key) in @keys
  defp secret?(key) when is_binary(key), do: key in @keys
  defp secret?(_key), do: false
end
