defmodule Roomtone.PrecompiledTest do
  @moduledoc "Libraries that come without cargo; `bin/test` installs an application from the output of `bin/precompile`."
  # Sets environment variables, which are everybody's.
  use ExUnit.Case, async: false

  alias Roomtone.NativePrecompiled

  @moduletag :tmp_dir
  @library "not really a library"

  setup %{tmp_dir: folder} do
    shell = Mix.shell()
    Mix.shell(Mix.Shell.Process)
    packed = :zlib.gzip(@library)
    file = NativePrecompiled.file("roomtone_nif")
    for path <- ~w(from workspace/native to), do: File.mkdir_p!(Path.join(folder, path))
    File.write!(Path.join([folder, "from", file]), packed)
    sum = :crypto.hash(:sha256, packed) |> Base.encode16(case: :lower)
    File.write!(Path.join(folder, "workspace/native/precompiled.sha256"), "#{sum}  #{file}\n")
    System.put_env("ROOMTONE_PRECOMPILED", Path.join(folder, "from"))

    on_exit(fn ->
      Mix.shell(shell)
      for name <- ~w(ROOMTONE_PRECOMPILED ROOMTONE_PRECOMPILED_VARIANT), do: System.delete_env(name)
    end)

    {:ok, packed: file}
  end

  defp install(folder),
    do: NativePrecompiled.install("roomtone_nif", Path.join(folder, "workspace"), Path.join(folder, "to"))

  defp installed(folder), do: File.read(Path.join(folder, "to/roomtone_nif.so"))

  test "a listed library is unpacked", %{tmp_dir: folder, packed: file} do
    assert file =~ ~r/^roomtone_nif-nif-2\.15-\w+-[\w-]+\.so\.gz$/
    assert install(folder) == :ok
    assert installed(folder) == {:ok, @library}
  end

  @v3 "processor : 0\nflags\t\t: cx16 popcnt sse4_1 sse4_2 ssse3 avx avx2 bmi1 bmi2 f16c fma abm movbe\n"

  test "a processor with AVX2 gets the variant v3 before the baseline, unless told otherwise" do
    baseline = NativePrecompiled.file("roomtone_nif")
    v3 = NativePrecompiled.file("roomtone_nif", "v3")
    files = fn cpuinfo -> NativePrecompiled.files("roomtone_nif", cpuinfo) end
    assert files.(@v3) == [v3, baseline]

    for older <- [String.replace(@v3, " avx2", ""), String.replace(@v3, " abm", ""), ""],
        do: assert(files.(older) == [baseline])

    System.put_env("ROOMTONE_PRECOMPILED_VARIANT", "baseline")
    assert files.(@v3) == [baseline]
    System.put_env("ROOMTONE_PRECOMPILED_VARIANT", "v3")
    assert files.("") == [v3]
  end

  test "the variant that is taken is checked against its own line of the list", %{tmp_dir: folder} do
    System.put_env("ROOMTONE_PRECOMPILED_VARIANT", "v3")
    file = NativePrecompiled.file("roomtone_nif", "v3")
    packed = :zlib.gzip("for newer processors")
    File.write!(Path.join([folder, "from", file]), packed)
    sum = :crypto.hash(:sha256, packed) |> Base.encode16(case: :lower)
    File.write!(Path.join(folder, "workspace/native/precompiled.sha256"), "#{sum}  #{file}\n", [:append])
    assert install(folder) == :ok
    assert installed(folder) == {:ok, "for newer processors"}
    File.write!(Path.join([folder, "from", file]), :zlib.gzip(@library))
    assert {:error, why} = install(folder)
    assert why =~ file
  end

  test "one that differs from the list is refused, and not installed", %{tmp_dir: folder, packed: file} do
    File.write!(Path.join([folder, "from", file]), :zlib.gzip("something else"))
    assert {:error, why} = install(folder)
    assert why =~ "isn't the one that was released"
    assert installed(folder) == {:error, :enoent}
  end

  test "one that is listed and can't be had is an error, not a build of minutes", %{tmp_dir: folder, packed: file} do
    File.rm!(Path.join([folder, "from", file]))
    assert {:error, why} = install(folder)
    assert why =~ "no such file"
    # Nothing listens there.
    System.put_env("ROOMTONE_PRECOMPILED", "http://127.0.0.1:1/roomtone")
    assert {:error, why} = install(folder)
    assert why =~ "http://127.0.0.1:1/roomtone/#{file} can't be had"
  end

  test "without a library for this machine it is built from source, which is said", %{tmp_dir: folder} do
    System.put_env("ROOMTONE_PRECOMPILED_VARIANT", "v3")
    assert install(folder) == :none
    assert_received {:mix_shell, :info, [text]}
    assert IO.iodata_to_binary(text) =~ "building from source"

    File.rm!(Path.join(folder, "workspace/native/precompiled.sha256"))
    assert install(folder) == :none
  end

  test "building from source is the default", %{tmp_dir: folder} do
    System.delete_env("ROOMTONE_PRECOMPILED")
    assert install(folder) == :none
    refute_received {:mix_shell, :info, _text}
  end
end
