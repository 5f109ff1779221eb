unless Code.ensure_loaded?(Roomtone.NativePrecompiled), do: Code.require_file("precompiled.exs", __DIR__)

defmodule Roomtone.NativeBuild do
  @moduledoc """
  Builds crates of the cargo workspace: libraries, which are copied to where a module loads them, and programs.

  Shared by the Mix compilers of the app and of `phoenix_lite`. In this repository the test environment takes cargo's `dev`
  profile (overflow checks, debug assertions and fault injection are on, and `cargo test` has compiled the same dependencies);
  every other environment, and a build for an application that depends on Roomtone, takes `release`. `ROOMTONE_CARGO_PROFILE`
  overrides. With `ROOMTONE_DEEP_PLC=1` cargo builds libopus's neural network for lost frames into the engine's libraries. With
  `ROOMTONE_NATIVE=built` cargo isn't asked at all: whatever it built last is taken. `bin/test` uses that, since cargo lets only
  one build at a time into its folder. `Roomtone.NativePrecompiled` has libraries that come without cargo.
  """

  @doc """
  Builds `crate` in `workspace`; `lib<name>.so` becomes `<folder>/<name>.so`.

  `crates` are all that this build needs, `crate` among them. They are built together, and in the `dev` profile as
  `cargo test --workspace` does it if this repository is the project: cargo chooses the features of the dependencies by what is
  built at once, and another choice would compile them all again.
  """
  @spec run(String.t(), String.t(), Path.t(), Path.t(), [String.t()]) ::
          {:ok | :noop | :error, [Mix.Task.Compiler.Diagnostic.t()]}
  def run(crate, name, workspace, folder, crates) do
    with :none <- precompiled(name, workspace, folder), :ok <- cargo(crate, workspace, crates) do
      extension = if match?({:unix, :darwin}, :os.type()), do: "dylib", else: "so"
      copy(built(workspace, "lib#{name}.#{extension}"), Path.join(folder, "#{name}.so"))
    end
  end

  @doc "Builds the programs of `crate` in `workspace`; the path of the one called `name`."
  @spec program!(String.t(), String.t(), Path.t()) :: Path.t()
  def program!(crate, name, workspace) do
    case cargo(crate, workspace, [crate]) do
      :ok -> built(workspace, name)
      {:error, [%{message: message}]} -> Mix.raise(message)
    end
  end

  defp precompiled(name, workspace, folder) do
    case Roomtone.NativePrecompiled.install(name, workspace, folder) do
      :none -> :none
      :ok -> {:ok, []}
      {:error, why} -> {:error, [diagnostic(why, workspace)]}
    end
  end

  defp cargo(crate, workspace, crates) do
    if System.get_env("ROOMTONE_NATIVE") == "built", do: :ok, else: build(crate, workspace, crates)
  end

  defp build(crate, workspace, crates) do
    profile = profile(workspace)
    features = features(crates, System.get_env("ROOMTONE_DEEP_PLC"))
    args = ["build", "--profile", profile] ++ selection(profile, crates, ours?(workspace)) ++ features
    Mix.shell().info("==> cargo #{Enum.join(args, " ")}")

    case System.cmd(cargo!(), args, cd: workspace, into: IO.stream(:stdio, :line), stderr_to_stdout: true) do
      {_, 0} -> :ok
      {_, status} -> {:error, [diagnostic("cargo build of #{crate} failed with status #{status}", workspace)]}
    end
  end

  defp profile(workspace) do
    default = if Mix.env() == :test and ours?(workspace), do: "dev", else: "release"
    System.get_env("ROOMTONE_CARGO_PROFILE") || default
  end

  @doc "What cargo builds: everything, or these crates. An application that depends on Roomtone has no use for the rest."
  @spec selection(String.t(), [String.t()], boolean) :: [String.t()]
  def selection("dev", _crates, true), do: ["--workspace", "--lib", "--bins", "--examples"]
  def selection(_profile, crates, _ours?), do: Enum.flat_map(crates, &["-p", &1])

  @doc """
  The features of a build of `crates`, for a value of `ROOMTONE_DEEP_PLC`. All builds of the engine have the same ones, or cargo
  would compile it anew for each.
  """
  @spec features([String.t()], String.t() | nil) :: [String.t()]
  def features(crates, value) do
    if "roomtone-nif" in crates and value in ["1", "true"], do: ["--features", "roomtone-audio/deep-plc"], else: []
  end

  # Whether the application that is built is one of this repository: a dependency goes into the build folder of its application.
  defp ours?(workspace), do: String.starts_with?(Mix.Project.app_path(), Path.expand(workspace) <> "/")

  defp cargo! do
    System.find_executable("cargo") ||
      Mix.raise("cargo is not on the PATH: Roomtone's media engine is written in Rust, see https://rustup.rs")
  end

  defp built(workspace, file) do
    target = System.get_env("CARGO_TARGET_DIR") || Path.join(workspace, "target")
    profile = profile(workspace)
    Path.join([target, if(profile == "dev", do: "debug", else: profile), file])
  end

  # A new file under a new inode: a virtual machine that has the old library mapped goes on undisturbed.
  defp copy(from, to) do
    if same?(from, to) do
      {:noop, []}
    else
      File.mkdir_p!(Path.dirname(to))
      File.cp!(from, to <> ".new")
      File.rename!(to <> ".new", to)
      {:ok, []}
    end
  end

  defp same?(from, to) do
    with {:ok, %{size: size}} <- File.stat(to), %{size: ^size} <- File.stat!(from) do
      File.read!(from) == File.read!(to)
    else
      _ -> false
    end
  end

  defp diagnostic(message, file) do
    %Mix.Task.Compiler.Diagnostic{
      compiler_name: "cargo",
      file: file,
      message: message,
      position: 0,
      severity: :error
    }
  end
end
