defmodule Roomtone.Test.Native do
  @moduledoc """
  The functions of `native/roomtone-test-nif`, and nothing else. `Roomtone.Test.Engine` and
  `Roomtone.Test` are the only callers.

  The library lies in the build folder of the test environment, so no release contains it.
  """

  @on_load :load

  @typedoc "A room on a virtual clock, with everybody in it: an opaque handle."
  @opaque scene :: reference
  @typedoc "A client that has made an offer: an opaque handle."
  @opaque client :: reference
  @type reason :: {:error | :bad_command | :bad_options | :no_participant | :nothing_said, String.t()}
  @typedoc "A message of the engine to `Roomtone.Media.Events`."
  @type message :: {:roomtone_media, Roomtone.Native.shard(), epoch :: 1, Roomtone.Native.event()}

  @doc false
  def load do
    case :erlang.load_nif(String.to_charlist(path()), 0) do
      :ok -> :persistent_term.erase(__MODULE__)
      {:error, {_reason, text}} -> :persistent_term.put(__MODULE__, List.to_string(text))
    end

    :ok
  end

  # Beside the folder of the compiled modules.
  defp path, do: :roomtone |> :code.lib_dir() |> Path.join("native_test/roomtone_test_nif")

  @doc "Whether the native library is loaded; if not, why."
  @spec loaded() :: :ok | {:error, String.t()}
  def loaded do
    case :persistent_term.get(__MODULE__, nil) do
      nil -> :ok
      text -> {:error, text}
    end
  end

  @doc "Makes a scene with the options of `Roomtone.Native.engine_start/2`. Its time stands still."
  @spec scene(Roomtone.Native.options()) :: {:ok, scene} | {:error, reason}
  def scene(_options), do: not_loaded()

  @doc "Makes a client, and its offer. `slots`: how many talkers of a `:forward` room it takes."
  @spec client(%{speak: boolean, listen: boolean, slots: 0..8}) :: {:ok, {client, String.t()}} | {:error, reason}
  def client(_options), do: not_loaded()

  @doc "Carries out a command; `client` is the one that made the offer in it."
  @spec command(scene, Roomtone.Native.shard(), Roomtone.Native.command(), client | nil) ::
          {:ok, [message]} | {:error, reason}
  def command(_scene, _shard, _command, _client), do: not_loaded()

  @doc "Lets milliseconds pass, at most 60,000."
  @spec advance(scene, Roomtone.Native.shard(), non_neg_integer) :: {:ok, [message]} | {:error, reason}
  def advance(_scene, _shard, _milliseconds), do: not_loaded()

  @doc "Whether a participant is connected; an error tells why their connection has ended."
  @spec connected(scene, Roomtone.Native.id()) :: {:ok, boolean} | {:error, reason}
  def connected(_scene, _peer), do: not_loaded()

  @doc "Has a participant say a WAV file, or their tone (`nil`), for so many milliseconds at most."
  @spec say(scene, Roomtone.Native.id(), Path.t() | nil, pos_integer | nil) :: {:ok, :ok} | {:error, reason}
  def say(_scene, _peer, _path, _milliseconds), do: not_loaded()

  @doc "Has a participant forget what they haven't said yet."
  @spec hush(scene, Roomtone.Native.id()) :: {:ok, :ok} | {:error, reason}
  def hush(_scene, _peer), do: not_loaded()

  @doc "Ends a participant's connection from their side."
  @spec hang_up(scene, Roomtone.Native.id()) :: {:ok, :ok} | {:error, reason}
  def hang_up(_scene, _peer), do: not_loaded()

  @doc """
  How loud a listener heard a speaker in the last milliseconds, in decibels relative to how it was
  said (-120: not at all), and for how many of these milliseconds the speaker spoke.
  """
  @spec hears(scene, Roomtone.Native.id(), Roomtone.Native.id(), pos_integer) ::
          {:ok, {float, non_neg_integer}} | {:error, reason}
  def hears(_scene, _listener, _speaker, _milliseconds), do: not_loaded()

  @doc "The sound that a participant heard in the last milliseconds, at most 10,000: PCM as in `Roomtone.Audio`."
  @spec heard(scene, Roomtone.Native.id(), pos_integer) :: {:ok, binary} | {:error, reason}
  def heard(_scene, _peer, _milliseconds), do: not_loaded()

  # It has no spec, because dialyzer takes a function that ends in `nif_error/1` to return any type.
  defp not_loaded, do: :erlang.nif_error(:nif_not_loaded)
end
