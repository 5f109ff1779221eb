defmodule Mix.Tasks.Roomtone.Package do
  @shortdoc "Checks the files of the Hex package"

  @moduledoc """
  Checks the package of Roomtone as `mix hex.build` makes it, where Hex isn't there.

      mix roomtone.package             # the number of files and their size
      mix roomtone.package --list      # every file
      mix roomtone.package --to DIR    # copies the files, to build an application from them

  It runs in Roomtone's repository, and fails if

    * a pattern in `mix.exs` matches nothing, or a file is matched that git ignores;
    * a crate of the cargo workspace, or a file that a module embeds, is left out;
    * a link points out of the package;
    * the package is larger than Hex takes;
    * something that Hex asks for is missing: a description, licences, links.
  """

  use Mix.Task

  # Hex takes 16 MiB compressed and 128 MiB unpacked. Sources shrink to a quarter.
  @most_bytes 64 * 1024 * 1024
  @needed ~w(mix.exs README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE Cargo.toml Cargo.lock native/build.exs package.json) ++
            ~w(priv/floor_plans/plaza.json elixir_app/assets/js/hooks.js elixir_app/lib/roomtone.ex usage-rules.md)

  @impl true
  def run(args) do
    {opts, rest, invalid} = OptionParser.parse(args, strict: [list: :boolean, to: :string])
    if rest != [] or invalid != [], do: Mix.raise("mix roomtone.package takes --list and --to DIR")
    config = Mix.Project.config()
    config[:app] == :roomtone || Mix.raise("mix roomtone.package runs in Roomtone's own repository")

    {files, problems} = check(config)
    if opts[:list], do: Enum.each(files, &Mix.shell().info/1)
    for problem <- problems, do: Mix.shell().error(problem)
    if problems != [], do: Mix.raise("the package isn't complete")
    if opts[:to], do: copy(files, opts[:to])
    Mix.shell().info("#{length(files)} files, #{div(files |> Enum.map(&File.lstat!(&1).size) |> Enum.sum(), 1024)} KiB")
  end

  @doc "The files of the package, and everything that is wrong with it."
  @spec check(keyword) :: {[Path.t()], [String.t()]}
  def check(config) do
    package = config[:package] || []
    found = for pattern <- package[:files] || [], do: {pattern, found(pattern)}
    infos = for {_pattern, infos} <- found, info <- infos, uniq: true, do: info
    excluded = package[:exclude_patterns] || []
    infos = Enum.reject(infos, fn {file, _info} -> Enum.any?(excluded, &(file =~ &1)) end) |> Enum.sort()
    files = for {file, _info} <- infos, do: file
    size = infos |> Enum.map(fn {_file, info} -> info.size end) |> Enum.sum()

    problems =
      metadata(config, package) ++
        for({pattern, []} <- found, do: "nothing matches #{pattern}") ++
        for(file <- @needed, file not in files, do: "#{file} is left out") ++
        for(
          crate <- crates(),
          "#{crate}/Cargo.toml" not in files,
          do: "the crate #{crate} is left out: cargo needs all"
        ) ++
        for(file <- files -- (known() || files), do: "#{file} is ignored by git") ++
        for(
          {file, %{type: :symlink}} <- infos,
          link = link(file),
          link not in files and not folder?(link, files),
          do: "#{file} links to #{link}"
        ) ++
        if(size > @most_bytes, do: ["the package is larger than #{@most_bytes} bytes"], else: [])

    {files, problems}
  end

  # As `mix hex.build`: what a pattern matches, and all in it if that is a folder. Links stay links.
  defp found(pattern), do: pattern |> Path.wildcard() |> Enum.flat_map(&all_in/1)

  # Raw, because a busy file server answers thousands of calls slowly.
  defp all_in(path) do
    {:ok, info} = :file.read_link_info(path, [:raw, time: :posix])

    case File.Stat.from_record(info) do
      %{type: :directory} -> path |> File.ls!() |> Enum.flat_map(&all_in(Path.join(path, &1)))
      file_or_link -> [{path, file_or_link}]
    end
  end

  defp metadata(config, package) do
    for {what, false} <- [
          {"a description", is_binary(config[:description]) and String.length(config[:description]) in 1..300},
          {"licenses", match?([_ | _], package[:licenses])},
          {"links", is_map(package[:links]) and map_size(package[:links]) > 0},
          {"a version", match?({:ok, _}, Version.parse(config[:version] || ""))}
        ],
        do: "mix.exs has no #{what |> String.replace_prefix("a ", "")}"
  end

  defp crates do
    [_, members] = Regex.run(~r/members = \[(.*?)\]/s, File.read!("Cargo.toml"))
    for [_, crate] <- Regex.scan(~r/"([^"]+)"/, members), do: crate
  end

  # The files that git doesn't ignore; nil where git isn't there.
  defp known do
    case System.find_executable("git") &&
           System.cmd("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], stderr_to_stdout: true) do
      {paths, 0} -> String.split(paths, <<0>>, trim: true)
      _no_repository -> nil
    end
  end

  defp link(file) do
    with {:ok, target} <- File.read_link(file),
         do: file |> Path.dirname() |> Path.join(target) |> inside(),
         else: (_ -> nil)
  end

  defp inside(path), do: path |> Path.expand() |> Path.relative_to(File.cwd!())

  defp folder?(path, files), do: Enum.any?(files, &String.starts_with?(&1, path <> "/"))

  defp copy(files, folder) do
    File.rm_rf!(folder)

    for file <- files do
      to = Path.join(folder, file)
      File.mkdir_p!(Path.dirname(to))

      case File.read_link(file) do
        {:ok, target} -> File.ln_s!(target, to)
        {:error, _no_link} -> File.cp!(file, to)
      end
    end
  end
end
