defmodule Roomtone.NativePrecompiled do
  @moduledoc """
  Libraries that `bin/precompile` has built, in place of a build with cargo.

  With `config :roomtone, precompiled: "https://example.org/roomtone/0.1.0"` (or the path of a folder), or the variable
  `ROOMTONE_PRECOMPILED`, a library comes from there if `native/precompiled.sha256` lists it for this machine; any other is built
  from source. That list is part of the package, so what is downloaded is what was released. The variant `v3` is for
  processors with AVX2 and its company (x86-64-v3). It is taken where the list has it and the processor of this machine is one of
  these. Where a release runs on older processors than the one that builds it, `precompiled_variant: "baseline"`
  (`ROOMTONE_PRECOMPILED_VARIANT`) leaves it out, and `"v3"` insists on it.
  """

  @list "native/precompiled.sha256"
  @patience_ms 120_000
  @most_bytes 64 * 1024 * 1024

  @doc "Where libraries come from, if anywhere."
  @spec source() :: String.t() | nil
  def source do
    with "" <- System.get_env("ROOMTONE_PRECOMPILED", ""), do: Application.get_env(:roomtone, :precompiled)
  end

  @doc """
  Puts the library `name` into `folder`. `:none` where there is none for this machine; an error where there should be one.
  """
  @spec install(String.t(), Path.t(), Path.t()) :: :ok | :none | {:error, String.t()}
  def install(name, workspace, folder) do
    with from when from != nil <- source(),
         {:ok, list} <- File.read(Path.join(workspace, @list)),
         {file, sum} <- listed(list, files(name)),
         {:ok, packed} <- fetch(from, file),
         :ok <- check(packed, sum, file, from) do
      File.mkdir_p!(folder)
      to = Path.join(folder, name <> ".so")
      File.write!(to <> ".new", :zlib.gunzip(packed))
      File.chmod!(to <> ".new", 0o755)
      File.rename!(to <> ".new", to)
      :ok
    else
      {:error, :enoent} -> none("#{@list} isn't there")
      {:error, why} when is_binary(why) -> {:error, why}
      nil -> if source(), do: none("#{@list} doesn't list #{List.last(files(name))}"), else: :none
    end
  end

  defp none(why) do
    Mix.shell().info("No precompiled library for this machine (#{why}): building from source.")
    :none
  end

  defp listed(list, files) do
    Enum.find_value(files, fn file ->
      with [_, sum] <- Regex.run(~r/^([0-9a-f]{64})  #{Regex.escape(file)}$/m, list), do: {file, sum}
    end)
  end

  @doc """
  The files that suit this machine, the best one first. `cpuinfo` is what Linux says of its processors.
  """
  @spec files(String.t(), String.t()) :: [String.t(), ...]
  def files(name, cpuinfo \\ cpuinfo()) do
    case variant() do
      nil -> if(v3?(cpuinfo), do: [file(name, "v3"), file(name)], else: [file(name)])
      "baseline" -> [file(name)]
      variant -> [file(name, variant)]
    end
  end

  defp variant do
    with "" <- System.get_env("ROOMTONE_PRECOMPILED_VARIANT", ""),
         do: Application.get_env(:roomtone, :precompiled_variant)
  end

  # What x86-64-v3 has beyond the baseline, in Linux's words: `abm` is LZCNT, and `avx` is there only if the system saves its registers.
  @v3 ~w(cx16 popcnt sse4_1 sse4_2 ssse3 avx avx2 bmi1 bmi2 f16c fma abm movbe)

  defp v3?(cpuinfo) do
    case Regex.run(~r/^flags\s*:(.*)$/m, cpuinfo) do
      [_, flags] -> @v3 -- String.split(flags) == []
      nil -> false
    end
  end

  defp cpuinfo do
    case File.read("/proc/cpuinfo") do
      {:ok, text} -> text
      {:error, _reason} -> ""
    end
  end

  @doc "The name of a file: library, NIF version, machine, and the variant."
  @spec file(String.t(), String.t()) :: String.t()
  def file(name, variant \\ "") do
    Enum.join([name, "nif-2.15", target()] ++ if(variant == "", do: [], else: [variant]), "-") <> ".so.gz"
  end

  @doc "This machine, such as `x86_64-linux-gnu`."
  @spec target() :: String.t()
  def target do
    [arch | rest] = :erlang.system_info(:system_architecture) |> List.to_string() |> String.split("-")
    Enum.join([arch | rest -- ["pc", "unknown"]], "-")
  end

  defp fetch("http" <> _ = base, file) do
    {:ok, _started} = Application.ensure_all_started(:ssl)
    {:ok, _started} = Application.ensure_all_started(:inets)
    url = String.trim_trailing(base, "/") <> "/" <> file

    ssl = [
      verify: :verify_peer,
      cacerts: :public_key.cacerts_get(),
      customize_hostname_check: [match_fun: :public_key.pkix_verify_hostname_match_fun(:https)]
    ]

    case :httpc.request(:get, {String.to_charlist(url), []}, [ssl: ssl, timeout: @patience_ms], body_format: :binary) do
      {:ok, {{_http, 200, _text}, _headers, body}} when byte_size(body) <= @most_bytes -> {:ok, body}
      {:ok, {{_http, status, _text}, _headers, _body}} -> {:error, "#{url} can't be had: status #{status}"}
      {:error, reason} -> {:error, "#{url} can't be had: #{inspect(reason, limit: 20)}"}
    end
  end

  defp fetch(folder, file) do
    with {:error, reason} <- File.read(Path.join(folder, file)),
         do: {:error, "#{Path.join(folder, file)} can't be read: #{:file.format_error(reason)}"}
  end

  defp check(packed, sum, file, from) do
    if :crypto.hash(:sha256, packed) |> Base.encode16(case: :lower) == sum,
      do: :ok,
      else: {:error, "#{file} from #{from} isn't the one that was released: its SHA-256 differs from #{@list}"}
  end
end
