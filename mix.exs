unless Code.ensure_loaded?(Roomtone.NativeBuild), do: Code.require_file("native/build.exs", __DIR__)

defmodule Mix.Tasks.Compile.RoomtoneNif do
  @moduledoc """
  Builds the native libraries with cargo and puts them where `Roomtone.Native` and, in a test
  environment, `Roomtone.Test.Native` load them.
  """
  use Mix.Task.Compiler

  alias Roomtone.{MixProject, NativeBuild}

  @impl true
  def run(_args) do
    crates = MixProject.crates(Mix.Project.config()[:phoenix])
    # In the build folder of the environment and not in priv, which all environments share: no release contains it.
    test = Path.join(Mix.Project.app_path(), "native_test")

    if MixProject.tests_rooms?() do
      crates = crates ++ ["roomtone-test-nif"]

      with {result, _} when result != :error <-
             NativeBuild.run("roomtone-nif", "roomtone_nif", __DIR__, priv(), crates),
           do: NativeBuild.run("roomtone-test-nif", "roomtone_test_nif", __DIR__, test, crates)
    else
      NativeBuild.run("roomtone-nif", "roomtone_nif", __DIR__, priv(), crates)
    end
  end

  defp priv, do: Path.join(__DIR__, "priv/native")
end

defmodule Mix.Tasks.Compile.RoomtoneVendor do
  @moduledoc """
  Copies the JavaScript of other packages that pages without a bundler load, from npm's folder or,
  in an application with Phoenix from Hex, from its dependencies. A file that neither has is left
  out: a bundler finds it by itself, and a release must not have a dangling link.
  """
  use Mix.Task.Compiler

  @files [
    {"phoenix.mjs", "phoenix/priv/static/phoenix.mjs", :phoenix},
    {"phoenix_live_view.esm.js", "phoenix_live_view/priv/static/phoenix_live_view.esm.js", :phoenix_live_view},
    {"qr.mjs", "qr/index.js", nil}
  ]

  @impl true
  def run(_args) do
    vendor = Path.join(__DIR__, "priv/static/assets/vendor")
    File.mkdir_p!(vendor)
    changed = Enum.map(@files, fn {name, path, app} -> copy(source(path, app), Path.join(vendor, name)) end)
    {if(:ok in changed, do: :ok, else: :noop), []}
  end

  defp source(path, app) do
    npm = Path.join([__DIR__, "elixir_app/assets/node_modules", path])
    dependency = app && Mix.Project.deps_paths()[app]

    Enum.find([npm, dependency && Path.join(Path.dirname(dependency), path)], &(&1 && File.regular?(&1)))
  end

  defp copy(nil, to), do: if(File.rm(to) == :ok, do: :ok, else: :noop)

  defp copy(from, to) do
    if File.read(from) == File.read(to) do
      :noop
    else
      # In place of a link, and not through it.
      _ = File.rm(to)
      File.cp!(from, to)
    end
  end
end

defmodule Roomtone.MixProject do
  use Mix.Project

  def project do
    [
      app: :roomtone,
      version: "0.1.0",
      elixir: "~> 1.14",
      # Remembered, because it depends on the project above while this one is loaded.
      phoenix: phoenix(),
      elixirc_paths: elixirc_paths(phoenix(), Mix.env()),
      compilers: compilers(phoenix()) ++ Mix.compilers(),
      start_permanent: Mix.env() == :prod,
      aliases: aliases(),
      name: "Roomtone",
      description: "Voice rooms: OTP orchestrates, Rust moves the sound. WebRTC, Opus mixing, Phoenix components.",
      package: package(),
      docs: &docs/0,
      releases: [roomtone: [steps: [:assemble, &bundle/1, &strip/1], rel_templates_path: "packaging/release"]],
      deps: deps(phoenix())
    ]
  end

  def application do
    [mod: {Roomtone.Application, []}, extra_applications: [:logger, :crypto, :inets, :ssl, :runtime_tools]]
  end

  defp compilers(:none), do: [:roomtone_nif]
  defp compilers(_phoenix), do: [:roomtone_nif, :roomtone_vendor]

  defp elixirc_paths(:none, _env), do: ["elixir_app/lib/roomtone.ex", "elixir_app/lib/roomtone", "elixir_app/lib/mix"]

  # Our own tests' support is of no use to an application.
  defp elixirc_paths(_phoenix, :test) do
    if top?(Mix.Project.config()), do: ["elixir_app/lib", "test/support"], else: ["elixir_app/lib"]
  end

  defp elixirc_paths(_phoenix, _env), do: ["elixir_app/lib"]

  # Phoenix from Hex if Hex is installed and Elixir is new enough for Phoenix 1.8; otherwise
  # elixir_app/phoenix_lite, which has the part of it that this app uses. The app can't tell them
  # apart: the modules have the same names and the same protocols.
  #
  # An application without Phoenix gets rooms and the media API without the web: where Hex has the
  # dependencies, this looks into those of the application. `config :roomtone, web: false` leaves
  # the web out in any case, `web: true` in none.
  @doc "The Phoenix that this build uses; `:none` without the web."
  def phoenix do
    hex? = Code.ensure_loaded?(Hex) and Version.match?(System.version(), ">= 1.15.0")

    case {Application.get_env(:roomtone, :web), System.get_env("PHOENIX")} do
      {false, variable} when variable in [nil, "hex", "lite"] -> :none
      {web, "hex"} -> if web == true or phoenix?(Mix.Project.config()), do: :hex, else: :none
      {_web, "lite"} -> :lite
      {web, nil} when hex? -> if web == true or phoenix?(Mix.Project.config()), do: :hex, else: :none
      {_web, nil} -> :lite
      {_web, other} -> Mix.raise("PHOENIX must be \"hex\" or \"lite\", not #{inspect(other)}")
    end
  end

  # While Mix loads this file, the project on its stack is the application above, if there is one.
  @doc false
  def phoenix?(project) do
    if top?(project),
      do: Keyword.get(project, :phoenix, :hex) != :none,
      else: Enum.any?(project[:deps], &(elem(&1, 0) == :phoenix_live_view))
  end

  defp top?(project), do: project[:app] in [nil, :roomtone]

  @doc "The crates that this build needs."
  def crates(without_lite) when without_lite in [:hex, :none], do: ["roomtone-nif"]
  def crates(:lite), do: ["roomtone-nif", "lite-http"]

  @doc "Whether this build is for tests of rooms on a virtual clock: see `Roomtone.Test`."
  def tests_rooms? do
    Mix.env() == :test or Application.get_env(:roomtone, :native) == Roomtone.Test.Engine
  end

  # Optional is what the web needs: an application has it, or does without the web.
  defp deps(:hex) do
    [
      {:phoenix, "~> 1.8", optional: true},
      {:phoenix_html, "~> 4.2", optional: true},
      {:phoenix_live_view, "~> 1.2", optional: true},
      # From 1.11 on it knows `max_fragmented_message_size`. Before 1.12.1 a message in tiny fragments took a core for as long as its
      # sender liked (CVE-2026-65623).
      {:bandit, "~> 1.12 and >= 1.12.1", optional: true},
      {:jason, "~> 1.4", optional: true},
      {:telemetry, "~> 1.2"},
      # Where an application has it, `mix roomtone.install` is a task of Igniter's. No release needs it.
      {:igniter, "~> 0.6", optional: true, runtime: false},
      # Phoenix.LiveViewTest parses pages with it.
      {:lazy_html, "~> 0.1", only: :test},
      {:ex_doc, "~> 0.38", only: :dev, runtime: false}
    ]
  end

  defp deps(:none), do: if(Code.ensure_loaded?(Hex), do: [{:telemetry, "~> 1.2"}], else: [])

  # `env:` because path dependencies are built for :prod by default, and the cargo profile follows
  # the environment.
  defp deps(:lite), do: [{:phoenix_lite, path: "elixir_app/phoenix_lite", env: Mix.env()}]

  # There is no `source_url`, here and for ExDoc: the repository has no public address yet. Hex asks for a link, and that of the
  # documentation is known beforehand. `mix roomtone.package` checks the rest. All crates are in it, because cargo needs each member
  # of its workspace, but not the fuzz targets, which are outside.
  defp package do
    [
      licenses: ["MIT", "Apache-2.0"],
      links: %{"Documentation" => "https://hexdocs.pm/roomtone"},
      files:
        ~w(mix.exs package.json .formatter.exs README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE NOTICE usage-rules.md) ++
          ~w(Cargo.toml Cargo.lock rustfmt.toml clippy.toml native config docs priv/demo priv/floor_plans priv/static) ++
          ~w(elixir_app/lib elixir_app/assets/js elixir_app/assets/types elixir_app/assets/css elixir_app/assets/icons elixir_app/assets/*.svg) ++
          ~w(elixir_app/assets/*.json elixir_app/assets/manifest.webmanifest elixir_app/assets/build.mjs) ++
          ~w(elixir_app/assets/README.md elixir_app/phoenix_lite/lib) ++
          ~w(elixir_app/phoenix_lite/mix.exs elixir_app/phoenix_lite/config elixir_app/phoenix_lite/priv/.gitkeep),
      exclude_patterns: [~r"^priv/static/assets/(vendor|built)/", ~r"^docs/images/", ~r"^native/fuzz/"]
    ]
  end

  # ExDoc reads this, where Hex is. It finds a page by the last part of its path, so there is one README.md. Links out of these
  # pages into the repository lead nowhere, until it has an address for `source_url`. bin/check-links checks them all.
  defp docs do
    [
      main: "readme",
      extras:
        ["README.md", "CHANGELOG.md", "usage-rules.md"] ++
          Path.wildcard("docs/*.{md,cheatmd}") ++
          Path.wildcard("docs/tutorial/*.livemd") ++
          Path.wildcard("docs/decisions/0*.md") ++
          ["CONTRIBUTING.md", "SECURITY.md", "LICENSE-MIT", "LICENSE-APACHE", "NOTICE"],
      # README.md names images from the root, and the guides from docs.
      assets: %{
        "docs/images" => "images",
        "docs/images/" => "docs/images",
        [{"grafana-dashboard.json", File.read!("docs/grafana-dashboard.json")}] => "."
      },
      skip_undefined_reference_warnings_on: ["README.md", "docs/deploying.md", "docs/embedding.md"],
      # A module of Phoenix's without documentation.
      skip_code_autolink_to: ["Phoenix.Transports.LongPoll"],
      groups_for_extras: [
        Project: ~r"^(CONTRIBUTING|SECURITY|LICENSE|NOTICE|docs/style)",
        Tutorial: ~r"docs/tutorial/",
        Decisions: ~r"docs/decisions/",
        Guides: ~r"docs/[^/]+$"
      ],
      groups_for_modules: [
        Rooms: [
          Roomtone,
          ~r"^Roomtone\.(Auth|Captions|Chat|Cluster|Config|Errors|FloorPlan|MixPolicy|Name|Telemetry|Token|Types|Webhooks)$"
        ],
        Sound: ~r"^Roomtone\.(Agent|Audio|Recording|Source|Tap)$",
        "In your pages": ~r"^RoomtoneWeb\.(Embedding|Components\.)",
        "In your tests": ~r"^Roomtone\.Test",
        "Inside: the domain": ~r"^Roomtone\.",
        "Inside: the web": ~r"^RoomtoneWeb",
        "Inside: the tasks": ~r"^Mix\."
      ]
    ]
  end

  # esbuild bundles the client of a release into one script and one style sheet; otherwise the files
  # are served as they are.
  defp bundle(release) do
    folder = Path.join([release.path, "lib", "roomtone-#{release.version}", "priv/static/assets/built"])
    args = ["elixir_app/assets/build.mjs", folder | apply(RoomtoneWeb.Bundle, :sheets, [])]

    case System.cmd("node", args, stderr_to_stdout: true) do
      {_said, 0} ->
        release

      {said, _failed} ->
        Mix.raise("The client can't be bundled. `npm ci --prefix elixir_app/assets` may help.\n\n" <> said)
    end
  end

  # Four fifths of a native library are debug information. The frames of a panic keep their names without it.
  defp strip(release) do
    libraries = Path.wildcard(Path.join([release.path, "lib", "*", "priv", "native", "*.so"]))

    if System.find_executable("strip") do
      {said, status} = System.cmd("strip", ["--strip-debug" | libraries], stderr_to_stdout: true)
      if status != 0, do: Mix.raise("strip failed: " <> said)
    else
      Mix.shell().info("There is no `strip` (binutils): the native libraries keep their debug information.")
    end

    release
  end

  defp aliases do
    quiet = for task <- [:"roomtone.token", :"roomtone.invite"], do: {task, &quiet(task, &1)}
    [{:test, &test/1} | quiet]
  end

  # Without a path it would run the tests of test/headless, which are those of another application.
  defp test(args) do
    paths = if Enum.any?(args, &File.exists?(hd(String.split(&1, ":")))), do: [], else: own_tests()
    Mix.Task.run("test", args ++ paths)
  end

  defp own_tests, do: Path.wildcard("test/*_test.exs") ++ ["test/roomtone", "test/roomtone_web"]

  # Scripts use the standard output of these tasks as a token, so compiling beforehand has to be
  # quiet.
  defp quiet(task, args) do
    leader = Process.group_leader()
    Process.group_leader(self(), Process.whereis(:standard_error))
    Mix.Task.run("compile")
    Process.group_leader(self(), leader)
    Mix.Task.run(Atom.to_string(task), args)
  end
end
