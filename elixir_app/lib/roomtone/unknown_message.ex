defmodule Roomtone.UnknownMessage do
  @moduledoc """
  The last clauses of a server's callbacks: an unknown call, cast or message doesn't crash the
  server, and is logged at debug.

      @impl true
      def handle_call(request, from, state), do: UnknownMessage.call(__MODULE__, request, from, state)

  The log shows the shape of the message and not its content, which may be a secret.
  """

  require Logger

  @doc "Answers an unknown call with `{:error, :unknown_call}`."
  @spec call(module, term, GenServer.from(), state) :: {:reply, {:error, :unknown_call}, state} when state: term
  def call(server, request, {pid, _tag}, state) do
    Logger.debug("#{inspect(server)} doesn't know the call #{shape(request)} from #{inspect(pid)}")
    {:reply, {:error, :unknown_call}, state}
  end

  @doc "Ignores an unknown cast."
  @spec cast(module, term, state) :: {:noreply, state} when state: term
  def cast(server, request, state) do
    Logger.debug("#{inspect(server)} doesn't know the cast #{shape(request)}")
    {:noreply, state}
  end

  @doc "Ignores an unknown message."
  @spec info(module, term, state) :: {:noreply, state} when state: term
  def info(server, message, state) do
    Logger.debug("#{inspect(server)} doesn't know the message #{shape(message)}")
    {:noreply, state}
  end

  @doc """
  The tag and size of a message, without its content.

      iex> Roomtone.UnknownMessage.shape({:sign_in, "ada", "secret"})
      "{:sign_in, _, _}"
      iex> Roomtone.UnknownMessage.shape(:tick)
      ":tick"
      iex> Roomtone.UnknownMessage.shape("secret")
      "(a binary)"
  """
  @spec shape(term) :: String.t()
  def shape(atom) when is_atom(atom), do: inspect(atom)

  def shape(message) when is_tuple(message) and tuple_size(message) in 1..8 and is_atom(elem(message, 0)) do
    rest = List.duplicate("_", tuple_size(message) - 1)
    "{#{Enum.join([inspect(elem(message, 0)) | rest], ", ")}}"
  end

  def shape(message) when is_tuple(message), do: "(a tuple)"
  def shape(message) when is_binary(message), do: "(a binary)"
  def shape(message) when is_list(message), do: "(a list)"
  def shape(message) when is_map(message), do: "(a map)"
  def shape(_message), do: "(another term)"
end
