defmodule Roomtone.Store.Log do
  @moduledoc """
  The file behind `Roomtone.Store`: OTP's `:disk_log`, to which entries are appended. A new file
  begins with the entries that still count.

  The first item is the header: `{:roomtone_store, version, born}`. Each other is `{:put, key,
  value}` or `{:delete, key}`, in the external term format, with a checksum (CRC-32) in front; the
  latest entry of a key counts. Only the server's user can read the folder and its content.
  """

  @version 1
  @file_name "rooms.log"
  @log __MODULE__

  @enforce_keys [:bytes, :first_bytes]
  defstruct [:bytes, :first_bytes]

  @typedoc "The length of the file, now and when it was begun."
  @type t :: %__MODULE__{bytes: non_neg_integer, first_bytes: non_neg_integer}

  @typedoc "Holds the folder against other servers, until the calling process ends."
  @type lock :: port

  # ---- One server at a time ------------------------------------------------------------------------------------------------

  @doc """
  Makes the folder for this user alone, if necessary, and locks it. Two servers writing the same
  file would corrupt it.
  """
  @spec lock(Path.t()) :: {:ok, lock} | {:error, String.t()}
  def lock(dir) do
    with :ok <- made(File.mkdir_p(dir)), :ok <- private(dir), do: hold(socket_path(dir), 2)
  end

  # A folder with other content keeps its permissions: /tmp, for example.
  defp private(dir) do
    with {:ok, %{mode: mode}} <- File.stat(dir),
         {:ok, files} <- File.ls(dir) do
      cond do
        Bitwise.band(mode, 0o077) == 0 -> :ok
        Enum.all?(files, &ours?/1) -> made(File.chmod(dir, 0o700))
        true -> {:error, "the folder can't be used: other users may read it, and it has other files in it"}
      end
    else
      error -> made(error)
    end
  end

  defp ours?(file), do: file == "lock" or String.starts_with?(file, @file_name)

  defp made(:ok), do: :ok
  defp made({:error, reason}), do: {:error, "the folder can't be used: #{:file.format_error(reason)}"}

  # A local socket vanishes with its process, however that ends; only its name stays.
  defp hold(path, tries) do
    case :gen_tcp.listen(0, [:local, ifaddr: {:local, path}]) do
      {:ok, socket} ->
        {:ok, socket}

      {:error, :eaddrinuse} when tries > 0 ->
        case :gen_tcp.connect({:local, path}, 0, [:local], 1_000) do
          {:ok, socket} ->
            :gen_tcp.close(socket)
            {:error, "another server uses the folder"}

          {:error, _nobody_there} ->
            File.rm(path)
            hold(path, tries - 1)
        end

      {:error, reason} ->
        {:error, "the folder can't be used: #{:inet.format_error(reason)}"}
    end
  end

  # Such a name has at most 107 bytes.
  defp socket_path(dir) do
    path = Path.join(dir, "lock")

    if byte_size(path) <= 100 do
      path
    else
      digest = :sha256 |> :crypto.hash(Path.expand(dir)) |> Base.url_encode64(padding: false)
      Path.join(System.tmp_dir() || "/tmp", "roomtone-" <> digest)
    end
  end

  # ---- Reading ---------------------------------------------------------------------------------------------------------

  @doc """
  The whole content of the folder's file; `:none` if there is no file. An error is the predicate
  of a sentence about the file.
  """
  @spec read(Path.t()) :: {:ok, born :: integer, %{term => term}} | :none | {:error, String.t()}
  def read(dir) do
    path = Path.join(dir, @file_name)
    load_atoms()

    cond do
      not File.exists?(path) -> :none
      # A full disk leaves an empty file.
      match?({:ok, %{size: 0}}, File.stat(path)) -> {:error, "is damaged"}
      true -> read_log(path)
    end
  end

  # The atoms of keys and values are all in the code of this application. Outside a release a module is
  # loaded when it is first called, so until then the VM may not know an atom; other content of a file
  # makes no new ones.
  defp load_atoms do
    _loaded_or_not = Application.load(:roomtone)
    :code.ensure_modules_loaded(Application.spec(:roomtone, :modules) || [])
  end

  defp read_log(path) do
    case :disk_log.open(name: @log, file: to_charlist(path), mode: :read_only, type: :halt) do
      {:ok, log} ->
        result = chunks(log, :start, [])
        :disk_log.close(log)
        with {:ok, items} <- result, do: entries(items)

      {:error, {:file_error, _path, reason}} ->
        {:error, "can't be read: #{:file.format_error(reason)}"}

      {:error, _not_a_log} ->
        {:error, "is damaged"}
    end
  end

  # One unreadable item makes the whole file worthless: its content is unknown.
  defp chunks(log, continuation, items) do
    case :disk_log.bchunk(log, continuation) do
      :eof -> {:ok, items |> Enum.reverse() |> Enum.concat()}
      {:error, _reason} -> {:error, "is damaged"}
      {_continuation, _items, bad_bytes} when bad_bytes > 0 -> {:error, "is damaged"}
      {continuation, more, 0} -> chunks(log, continuation, [more | items])
      {continuation, more} -> chunks(log, continuation, [more | items])
    end
  end

  defp entries([first | rest]) do
    case decode(first) do
      {:ok, {:roomtone_store, @version, born}} when is_integer(born) -> entries(rest, born, %{})
      {:ok, {:roomtone_store, version, _born}} -> {:error, "is of another version (#{inspect(version)})"}
      _other -> {:error, "is damaged"}
    end
  end

  defp entries([]), do: {:error, "is damaged"}

  defp entries([], born, entries), do: {:ok, born, entries}

  defp entries([item | rest], born, entries) do
    case decode(item) do
      {:ok, {:put, key, value}} -> entries(rest, born, Map.put(entries, key, value))
      {:ok, {:delete, key}} -> entries(rest, born, Map.delete(entries, key))
      _other -> {:error, "is damaged"}
    end
  end

  defp decode(<<crc::32, term::binary>>) do
    if :erlang.crc32(term) == crc, do: {:ok, :erlang.binary_to_term(term, [:safe])}, else: :error
  rescue
    # For example an atom that this version doesn't have.
    ArgumentError -> :error
  end

  defp decode(_other), do: :error

  # ---- Writing ---------------------------------------------------------------------------------------------------------

  @doc "Begins the file anew with these entries, and keeps it open."
  @spec begin(Path.t(), integer, %{term => term}) :: {:ok, t} | {:error, String.t()}
  def begin(dir, born, entries) do
    path = Path.join(dir, @file_name)
    new = path <> ".new"
    _none_as_a_rule = File.rm(new)
    items = [encode({:roomtone_store, @version, born}) | for({key, value} <- entries, do: encode({:put, key, value}))]

    with {:ok, log} <- :disk_log.open(name: @log, file: to_charlist(new), type: :halt, format: :internal),
         :ok <- chmod(new),
         :ok <- write(log, items),
         :ok <- rename(new, path) do
      bytes = size(items)
      {:ok, %__MODULE__{bytes: bytes, first_bytes: bytes}}
    else
      {:error, reason} ->
        :disk_log.close(@log)
        _perhaps = File.rm(new)
        {:error, words(reason)}
    end
  end

  defp chmod(path), do: with({:error, reason} <- File.chmod(path, 0o600), do: {:error, {:file_error, path, reason}})

  # The folder's own entry has to be on disk as well.
  defp rename(new, path) do
    with {:error, reason} <- File.rename(new, path), do: {:error, {:file_error, path, reason}}
  end

  @doc """
  Appends `{key, {:ok, value}}` or `{key, :error}` (deleted), and returns when the entries are on
  disk.
  """
  @spec append(t, [{term, {:ok, term} | :error}]) :: {:ok, t} | {:error, String.t()}
  def append(log, changes) do
    items =
      for {key, value} <- changes do
        case value do
          {:ok, value} -> encode({:put, key, value})
          :error -> encode({:delete, key})
        end
      end

    with {:error, reason} <- write(@log, items) do
      {:error, words(reason)}
    else
      :ok -> {:ok, %{log | bytes: log.bytes + size(items)}}
    end
  end

  defp write(log, items), do: with(:ok <- :disk_log.blog_terms(log, items), do: :disk_log.sync(log))

  @doc "Closes the file."
  @spec close(t) :: :ok
  def close(_log) do
    _closed_or_not_open = :disk_log.close(@log)
    :ok
  end

  @doc "Renames an unreadable file, so that an operator can look into it."
  @spec put_aside(Path.t()) :: :ok
  def put_aside(dir) do
    path = Path.join(dir, @file_name)
    if File.rename(path, path <> ".unreadable") != :ok, do: discard(dir)
    :ok
  end

  @doc "Removes the file: its content is older than what happened since."
  @spec discard(Path.t()) :: :ok
  def discard(dir) do
    _none_or_gone = File.rm(Path.join(dir, @file_name))
    :ok
  end

  defp encode(term) do
    binary = :erlang.term_to_binary(term)
    <<:erlang.crc32(binary)::32, binary::binary>>
  end

  # As the log stores it: eight bytes around each item.
  defp size(items), do: Enum.reduce(items, 0, fn item, sum -> sum + byte_size(item) + 8 end)

  defp words({:file_error, _path, reason}), do: words(reason)
  defp words(reason) when is_atom(reason), do: "the file can't be written: #{:file.format_error(reason)}"
  defp words(reason), do: "the file can't be written: #{inspect(reason)}"
end
