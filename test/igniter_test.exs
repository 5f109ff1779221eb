# Where Hex has Igniter, its own test helpers would format the files, and the stand-in would clash with it: docs/phoenix.md tells how
# the tasks were tried there.
unless Code.ensure_loaded?(Igniter) do
  defmodule Roomtone.IgniterTest do
    @moduledoc "`mix roomtone.install` and `mix roomtone.gen.live` through Igniter, of which test/installer/igniter.exs stands in."
    # It replaces modules of the tasks by those that an application with Igniter has.
    use ExUnit.Case, async: false

    alias Mix.{RoomtoneApp, RoomtoneEdits, RoomtoneInstall}
    alias Mix.Tasks.Roomtone.{Gen, Install}

    @shop "test/installer/shop"
    @ours ~w(roomtone_generator roomtone_igniter tasks/roomtone.install tasks/roomtone.gen.live)

    setup_all do
      conflicts = Code.get_compiler_option(:ignore_module_conflict)
      Code.put_compiler_option(:ignore_module_conflict, true)
      files = ["test/installer/igniter.exs" | for(name <- @ours, do: "elixir_app/lib/mix/#{name}.ex")]
      modules = for file <- files, {module, _code} <- Code.compile_file(file), do: module
      Code.put_compiler_option(:ignore_module_conflict, conflicts)
      # The next call of one of ours loads the compiled application's.
      on_exit(fn -> for module <- modules, forget <- [:purge, :delete, :purge], do: apply(:code, forget, [module]) end)
    end

    # By `apply/3`, because there is no Igniter when this is compiled.
    defp igniter(files, positional \\ %{}), do: struct(Igniter, files: files, args: %{positional: positional})
    defp run(task, igniter), do: apply(task, :igniter, [igniter])

    defp shop do
      for path <- Path.wildcard(@shop <> "/**", match_dot: true), File.regular?(path), into: %{} do
        {Path.relative_to(path, @shop), File.read!(path)}
      end
    end

    defp texts(igniter) do
      changed = for {path, source} <- igniter.rewrite, into: %{}, do: {path, source.content}
      Map.merge(igniter.files, changed)
    end

    # Secrets are random, so each is the same here.
    defp without_secrets(files) do
      Map.new(files, fn {path, text} ->
        {path, String.replace(text, ~r/token_secret: "[^"]*"/, "token_secret: \"\"")}
      end)
    end

    # The files as the task writes them without Igniter.
    defp plainly(files, edits) do
      read = fn path -> with :error <- Map.fetch(files, path), do: {:error, :enoent} end
      app = RoomtoneApp.find("an application of the test", :shop, nil, read)

      Enum.reduce(edits.(app), files, fn edit, files ->
        now = with :error <- Map.fetch(files, edit.path), do: {:error, :enoent}

        with {:change, path, _old, new} <- RoomtoneEdits.look(edit, now),
             do: Map.put(files, path, new),
             else: (_ -> files)
      end)
    end

    test "the files become the same as without it, and a notice says how to go on" do
      igniter = run(Install, igniter(shop()))
      assert {igniter.issues, igniter.warnings} == {[], []}
      assert [notice] = igniter.notices
      assert notice =~ "Voice rooms are installed."
      files = texts(igniter)
      assert without_secrets(files) == without_secrets(plainly(shop(), &RoomtoneInstall.install/1))
      assert files["lib/shop_web/endpoint.ex"] =~ "voice_socket"
      assert files["lib/shop_web/live/voice_live.ex"] =~ "<Layouts.app"

      # A second time, in the files that another task has left in Igniter.
      assert texts(run(Install, igniter)) == files

      live = run(Gen.Live, %{igniter | args: %{positional: %{view: "Standup"}}})
      assert texts(live)["lib/shop_web/voice.ex"] =~ "~w(lobby standup)"
      assert texts(live) == plainly(files, &RoomtoneInstall.live(&1, "Standup"))
    end

    test "a module that Igniter has moved isn't made again" do
      view = "lib/shop_web/live/voice_live.ex"
      files = texts(run(Install, igniter(shop())))
      moved = files |> Map.delete(view) |> Map.put("lib/shop_web/voice_live.ex", files[view])
      assert texts(run(Install, igniter(moved))) == moved
    end

    test "files that another task has made are seen" do
      accounts = "defmodule Shop.Accounts do\n  def get_user_by_session_token(_token), do: nil\nend\n"
      igniter = apply(Igniter, :create_new_file, [igniter(shop()), "lib/shop/accounts.ex", accounts])
      assert texts(run(Install, igniter))["lib/shop_web/voice.ex"] =~ "Shop.Accounts.get_user_by_session_token"
    end

    test "a file that isn't as phx.new makes it is left, with a warning that has the lines" do
      igniter = run(Install, igniter(Map.put(shop(), "assets/js/app.js", "// mine\n")))
      assert texts(igniter)["assets/js/app.js"] == "// mine\n"

      assert Enum.any?(
               igniter.warnings,
               &(&1 =~ "assets/js/app.js: it doesn't import LiveSocket. Add by hand:\n\nimport {hooks")
             )

      assert hd(igniter.notices) =~ "Once the above is done"
    end

    test "an application without an endpoint gets an issue, and no change" do
      igniter = run(Install, igniter(%{"mix.exs" => ""}))
      assert [issue] = igniter.issues
      assert issue =~ "there is no lib/*_web/endpoint.ex"
      assert igniter.rewrite == %{}
    end

    test "the tasks name their arguments to Igniter, and check them" do
      assert %{group: :roomtone, positional: []} = apply(Install, :info, [[], nil])

      assert %{group: :roomtone, positional: [:view], example: "mix roomtone.gen.live Standup"} =
               apply(Gen.Live, :info, [[], nil])

      for view <- ["standup", nil],
          do: assert_raise(Mix.Error, ~r/the name of a view/, fn -> run(Gen.Live, igniter(shop(), %{view: view})) end)
    end
  end
end
