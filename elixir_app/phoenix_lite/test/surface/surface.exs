# Fails when phoenix_lite has a public function or macro that nothing needs. Run it from the root of the
# repository:
#
#     MIX_ENV=test mix run --no-start elixir_app/phoenix_lite/test/surface/surface.exs
#
# A function is needed if the app, its tests, test/embedding or the demo app behind the walks of the npm clients
# calls it, or if a needed function does. A compiler tracer records the calls of those users, macros included,
# while this script compiles them in memory. The calls within phoenix_lite come from the debug information of
# its compiled modules.

defmodule PhoenixLite.Surface do
  @moduledoc "The functions of phoenix_lite that its users reach, and those that they don't."

  @table __MODULE__

  @typep call :: {module(), atom(), arity()}

  # Called from outside of code that a tracer sees.
  @entries [
    # by OTP, from `mod:` of mix.exs
    {PhoenixLite.Application, :start, 2},
    # by mix, from the command line
    {Mix.Tasks.Phx.Server, :run, 1},
    # by the code server, from @on_load
    {PhoenixLite.Native, :load, 0},
    # by the code server too: it loads the library only if each of the library's functions has one here
    {PhoenixLite.Native, :stop, 1},
    # by the compiler, from @on_definition
    {Phoenix.Component.Declarative, :__on_definition__, 6},
    # by PhoenixLite.Heex.Check, which calls them of any module with components
    {Phoenix.Component.Built, :__components__, 0},
    {Phoenix.Component.Built, :__heex_calls__, 0},
    # by PhoenixLite.Sockets, which calls it of any socket
    {Phoenix.LiveView.Socket, :__channel__, 1},
    # from a module attribute, which isn't in the debug information of a compiled module
    {PhoenixLite.Versions, :imitated, 0}
  ]

  ## The calls of users, from the compiler

  @doc false
  def trace({kind, _meta, module, name, arity}, _env)
      when kind in [:remote_function, :remote_macro, :imported_function, :imported_macro],
      do: record({:call, {module, name, arity}})

  def trace({:alias_reference, _meta, module}, _env), do: record({:module, module})
  def trace({:struct_expansion, _meta, module, _keys}, _env), do: record({:module, module})
  def trace(_event, _env), do: :ok

  defp record(entry) do
    :ets.insert(@table, {entry})
    :ok
  end

  @doc "Returns the functions of `modules` that these files call, and the modules that they name."
  @spec used_by([Path.t()], MapSet.t(module())) :: [{:call, call()} | {:module, module()}]
  def used_by(files, modules) do
    :ets.new(@table, [:named_table, :public, :set, write_concurrency: true])
    Code.put_compiler_option(:tracers, [__MODULE__])
    Code.put_compiler_option(:ignore_module_conflict, true)
    compile!(files)

    for {entry} <- :ets.tab2list(@table), module_of(entry) in modules, do: entry
  end

  # These files compile a second time, so their warnings are known, and some come only of that.
  defp compile!(files) do
    output =
      ExUnit.CaptureIO.capture_io(:stderr, fn ->
        send(self(), {:compiled, Kernel.ParallelCompiler.compile(files)})
      end)

    receive do
      {:compiled, {:ok, _modules, _warnings}} -> :ok
      {:compiled, {:error, _errors, _warnings}} -> raise "the files don't compile:\n" <> output
    end
  end

  defp module_of({:call, {module, _name, _arity}}), do: module
  defp module_of({:module, module}), do: module

  ## The calls within phoenix_lite, from debug information

  @doc "The modules of `lib`, with what each of their functions calls and names."
  @spec library(Path.t()) :: %{module() => %{{atom(), arity()} => [{:call, call()} | {:module, module()}]}}
  def library(ebin) do
    infos =
      for beam <- Path.wildcard(Path.join(ebin, "*.beam")),
          info = debug_info(beam),
          beam_of_library?(info),
          into: %{},
          do: {info.module, info}

    modules = infos |> Map.keys() |> MapSet.new()

    Map.new(infos, fn {module, info} ->
      {module, Map.new(info.definitions, fn {key, _kind, _meta, clauses} -> {key, uses(clauses, module, modules)} end)}
    end)
  end

  # In the test environment the demo app is compiled into the same folder.
  defp beam_of_library?(%{module: module}),
    do: to_string(module.module_info(:compile)[:source]) =~ "/phoenix_lite/lib/"

  defp debug_info(beam) do
    {:ok, {_module, [debug_info: {:debug_info_v1, _backend, {:elixir_v1, info, _specs}}]}} =
      :beam_lib.chunks(String.to_charlist(beam), [:debug_info])

    info
  end

  defp uses(clauses, own, modules) do
    asts = for {_meta, args, guards, body} <- clauses, do: [args, guards, body]
    {_asts, found} = Macro.prewalk(asts, [], fn node, found -> {node, use_of(node, own, modules) ++ found} end)
    Enum.uniq(found)
  end

  # A capture, a call of another module, a call of the same one, a module with a function's name behind it, a module.
  defp use_of({:/, _, [{{:., _, [module, name]}, _, _}, arity]}, _own, _modules) when is_atom(module),
    do: [{:call, {module, name, arity}}]

  defp use_of({:/, _, [{name, _, context}, arity]}, own, _modules) when is_atom(name) and is_atom(context),
    do: [{:call, {own, name, arity}}]

  defp use_of({{:., _, [module, name]}, _, args}, _own, modules) when is_atom(module) and is_atom(name),
    do: [{:call, {module, name, length(args)}} | named(args, modules)]

  defp use_of({name, _, args}, own, modules) when is_atom(name) and is_list(args),
    do: [{:call, {own, name, length(args)}} | named(args, modules)]

  defp use_of({module, name}, _own, modules), do: named([module, name], modules)
  defp use_of(module, _own, modules) when is_atom(module), do: if(module in modules, do: [{:module, module}], else: [])
  defp use_of(_node, _own, _modules), do: []

  defp named([module, name | rest], modules) when is_atom(module) and is_atom(name) do
    found = if module in modules and name not in [nil, true, false], do: [{:named, module, name}], else: []
    found ++ named([name | rest], modules)
  end

  defp named([_first | rest], modules), do: named(rest, modules)
  defp named(_args, _modules), do: []

  ## What is needed

  @doc "The functions and macros that neither the users nor what they call needs."
  @spec unused(map(), [tuple()]) :: [call()]
  def unused(library, uses) do
    implementations = for {module, _} <- library, function_exported?(module, :__impl__, 1), do: {:module, module}
    entries = for call <- @entries, do: {:call, call}
    needed = reach(entries ++ implementations ++ uses, library, MapSet.new())

    for {module, _definitions} <- library,
        {name, arity} <- module.__info__(:functions) ++ module.__info__(:macros),
        not generated?(module, name),
        not Enum.any?(arities(module, name, arity), &({:call, {module, name, &1}} in needed)),
        do: {module, name, arity}
  end

  defp reach([], _library, needed), do: needed

  defp reach([use | rest], library, needed) do
    if use in needed,
      do: reach(rest, library, needed),
      else: reach(next(use, library) ++ rest, library, MapSet.put(needed, use))
  end

  defp next({:call, {module, name, arity}}, library) do
    with %{^module => definitions} <- library do
      found = Map.get(definitions, {name, arity}) || Map.get(definitions, {:"MACRO-#{name}", arity + 1}) || []
      defaults = for other <- arities(module, name, arity), other != arity, do: {:call, {module, name, other}}
      [{:module, module} | defaults ++ found]
    else
      %{} -> []
    end
  end

  defp next({:named, module, name}, library) do
    for {{^name, arity}, _uses} <- Map.get(library, module, %{}), do: {:call, {module, name, arity}}
  end

  # A supervisor starts a module by its child_spec/1; others call it by the callbacks of its behaviours.
  defp next({:module, module}, library) when is_map_key(library, module) do
    behaviours = :attributes |> module.__info__() |> Keyword.get_values(:behaviour) |> List.flatten()

    callbacks =
      for behaviour <- behaviours,
          {name, arity} <- behaviour.behaviour_info(:callbacks),
          do: {:call, {module, name, arity}}

    callbacks = [{:call, {module, :child_spec, 1}} | callbacks]

    if function_exported?(module, :__impl__, 1),
      do: callbacks ++ for({name, arity} <- module.__info__(:functions), do: {:call, {module, name, arity}}),
      else: callbacks
  end

  defp next({:module, _module}, _library), do: []

  # Arguments with defaults make one function several.
  defp arities(module, name, arity) do
    case defaults(module) do
      %{^name => ranges} -> Enum.find(ranges, [arity], &(arity in &1)) |> Enum.to_list()
      %{} -> [arity]
    end
  end

  defp defaults(module) do
    with nil <- Process.get({:defaults, module}) do
      {:docs_v1, _, _, _, _, _, docs} = Code.fetch_docs(module)

      defaults =
        for {{kind, name, arity}, _, _, _, %{defaults: count}} <- docs, kind in [:function, :macro], reduce: %{} do
          defaults -> Map.update(defaults, name, [(arity - count)..arity], &[(arity - count)..arity | &1])
        end

      Process.put({:defaults, module}, defaults)
      defaults
    end
  end

  defp generated?(module, name) do
    name in [:__struct__, :child_spec, :behaviour_info] or
      (function_exported?(module, :__protocol__, 1) and name in [:__protocol__, :impl_for, :impl_for!])
  end
end

Application.ensure_all_started(:ex_unit)
ExUnit.start(autorun: false)

root = Path.expand("../../../..", __DIR__)

files =
  Enum.flat_map(
    ["elixir_app/lib/**/*.ex", "test/support/**/*.ex", "test/roomtone*/**/*_test.exs"] ++
      ["test/embedding/lib/**/*.ex", "elixir_app/phoenix_lite/test/support/**/*.ex"],
    &Path.wildcard(Path.join(root, &1))
  )

library = PhoenixLite.Surface.library(Application.app_dir(:phoenix_lite, "ebin"))
uses = PhoenixLite.Surface.used_by(files, library |> Map.keys() |> MapSet.new())
unused = library |> PhoenixLite.Surface.unused(uses) |> Enum.sort()
functions = for {module, _} <- library, do: length(module.__info__(:functions) ++ module.__info__(:macros))

for {module, name, arity} <- unused, do: IO.puts("nothing needs #{Exception.format_mfa(module, name, arity)}")
IO.puts("phoenix_lite: #{Enum.sum(functions)} public functions and macros, #{length(unused)} that nothing needs")
if unused != [], do: System.halt(1)
