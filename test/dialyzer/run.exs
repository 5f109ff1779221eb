# Checks the compiled application (_build/test) with dialyzer: specs, types, calls that can't succeed.
#
#   MIX_ENV=test mix compile && elixir test/dialyzer/run.exs
#
# The modules of Erlang/OTP and Elixir that the application names are analysed once, in about 20
# seconds, and kept as a PLT (persistent lookup table) under $XDG_CACHE_HOME, by default ~/.cache.
# There is one PLT for each pair of versions. A module that the application names later is added to
# it.
#
# The modules of the web framework are analysed with ours, so that calls to them are checked, but
# only warnings about our own modules are reported.

defmodule RoomtoneDialyzer do
  @warnings [:unknown, :error_handling, :extra_return, :missing_return]
  # Modules outside the application that mix.exs loads, for the tasks: native/build.exs.
  @of_mix_exs [Roomtone.NativeBuild, Roomtone.NativePrecompiled]
  @applications [
    :erts,
    :kernel,
    :stdlib,
    :crypto,
    :inets,
    :ssl,
    :public_key,
    :elixir,
    :logger,
    :mix,
    :ex_unit,
    :eex,
    :iex
  ]

  def main do
    Code.ensure_loaded?(:dialyzer) || stop("dialyzer is missing; on Debian: apt-get install erlang-dialyzer")
    beams = Path.wildcard("_build/test/lib/*/ebin/*.beam") |> Enum.reject(&test_support?/1)
    ours = Enum.count(beams, &String.starts_with?(&1, "_build/test/lib/roomtone/"))
    ours > 0 || stop("there is no application in _build/test; MIX_ENV=test mix compile makes it")

    files = Enum.map(beams, &String.to_charlist/1)
    plt = beams |> named_modules() |> plt() |> String.to_charlist()
    warnings = run(analysis_type: :succ_typings, files: files, init_plt: plt, check_plt: false, warnings: @warnings)
    reported = for {_tag, {file, _line}, what} = warning <- warnings, ours?(file), not of_mix_exs?(what), do: warning
    for warning <- reported, do: IO.write(:dialyzer.format_warning(warning, filename_opt: :fullpath))
    IO.puts("dialyzer: #{ours} modules of ours, #{length(reported)} warnings")
    if reported != [], do: System.halt(1)
  end

  # Test support is compiled with the application, and calls ExUnit.
  defp test_support?(beam) do
    {:ok, {_module, [compile_info: info]}} = :beam_lib.chunks(String.to_charlist(beam), [:compile_info])
    info[:source] |> List.to_string() |> String.contains?("/test/support/")
  end

  defp ours?(file), do: file |> List.to_string() |> String.starts_with?("elixir_app/lib/")

  defp of_mix_exs?({:unknown_function, {module, _function, _arity}}), do: module in @of_mix_exs
  defp of_mix_exs?(_other), do: false

  # ---- The PLT ---------------------------------------------------------------------------------------------------------

  defp plt(modules) do
    path = Path.join([System.get_env("XDG_CACHE_HOME") || Path.expand("~/.cache"), "roomtone", plt_name()])
    add(modules -- in_plt(path), path)
    path
  end

  # Emulator, OTP and Elixir, each to the last digit.
  defp plt_name do
    release = Path.join([:code.root_dir(), "releases", System.otp_release(), "OTP_VERSION"])
    otp = if File.exists?(release), do: release |> File.read!() |> String.trim(), else: System.otp_release()
    "otp-#{otp}-erts-#{:erlang.system_info(:version)}-elixir-#{System.version()}.plt"
  end

  defp in_plt(path) do
    case :dialyzer.plt_info(String.to_charlist(path)) do
      {:ok, info} -> for file <- info[:files], do: List.to_string(file)
      {:error, _none_or_unreadable} -> []
    end
  end

  defp add([], _path), do: :ok

  defp add(modules, path) do
    IO.puts("dialyzer: adding #{length(modules)} modules of Erlang/OTP and Elixir to #{path}")
    File.mkdir_p!(Path.dirname(path))
    # The file gets its name only when it is complete, however many processes build it at once.
    unfinished = String.to_charlist(path <> ".#{System.pid()}")

    how =
      if File.exists?(path),
        do: [analysis_type: :plt_add, init_plt: String.to_charlist(path)],
        else: [analysis_type: :plt_build]

    # Warnings about other projects' modules aren't ours.
    _warnings = run(how ++ [files: Enum.map(modules, &String.to_charlist/1), output_plt: unfinished])
    File.rename!(unfinished, path)
  end

  # The files of the Erlang/OTP and Elixir modules whose names are in our code or types.
  defp named_modules(beams) do
    names = Enum.reduce(beams, MapSet.new(), &atoms(code(&1), &2))

    for application <- @applications,
        directory = :code.lib_dir(application),
        is_list(directory),
        beam <- Path.wildcard("#{directory}/ebin/*.beam"),
        beam |> Path.basename(".beam") |> String.to_atom() |> then(&(&1 in names)),
        do: beam
  end

  defp code(beam) do
    {:ok, {_module, [abstract_code: {_version, code}]}} = :beam_lib.chunks(String.to_charlist(beam), [:abstract_code])
    code
  end

  defp atoms(atom, found) when is_atom(atom), do: MapSet.put(found, atom)
  defp atoms([head | tail], found), do: atoms(tail, atoms(head, found))
  defp atoms(tuple, found) when is_tuple(tuple), do: atoms(Tuple.to_list(tuple), found)
  defp atoms(map, found) when is_map(map), do: atoms(Map.to_list(map), found)
  defp atoms(_other, found), do: found

  # ---- Dialyzer --------------------------------------------------------------------------------------------------------

  defp run(options) do
    :dialyzer.run(options)
  catch
    {:dialyzer_error, text} -> stop(IO.chardata_to_string(text))
  end

  defp stop(text) do
    IO.puts(:stderr, "dialyzer: " <> text)
    System.halt(2)
  end
end

RoomtoneDialyzer.main()
