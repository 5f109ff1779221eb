defmodule Mix.Tasks.Roomtone.User do
  @shortdoc "Makes, changes or removes a user who can sign in"
  @moduledoc """
  Makes a user who can sign in, or changes a user's password. The task asks for the password without
  showing it, or reads it from the first line of standard input:

      mix roomtone.user ada
      pass show roomtone/ada | mix roomtone.user --stdin ada

  Options:

    * `--file` – the file of users; default `USERS_FILE`, or what the configuration says
    * `--grants` – what the user may do in every room, of `speak`, `listen`, `moderate`, separated
      by commas; default `speak,listen`. `operate` lets them see the whole server (`/operate`)
    * `--stdin` – read the password from standard input
    * `--remove` – remove the user; this ends their sessions, as a new password does
    * `--list` – print all users and their grants

  Only its owner may read the file. A running server picks the change up by itself. Errors go to
  standard error, with exit status 1.
  """

  use Mix.Task

  alias Roomtone.Auth.{Password, Users}
  alias Roomtone.{Config, Name, Native}

  @switches [file: :string, grants: :string, stdin: :boolean, remove: :boolean, list: :boolean]
  @shortest 8

  @impl true
  def run(args) do
    with {:ok, opts, rest} <- parse(args),
         :ok <- configure(opts),
         {:ok, file} <- file(opts),
         {:ok, text} <- read(file),
         {:ok, done} <- act(opts, rest, file, text) do
      IO.puts(done)
    else
      {:error, reason} -> fail(reason)
    end
  end

  defp parse(args) do
    case OptionParser.parse(args, strict: @switches) do
      {opts, rest, []} ->
        {:ok, opts, rest}

      {_opts, _rest, [{switch, _value} | _]} ->
        {:error, "#{switch} isn't an option, or its value is missing or invalid"}
    end
  end

  # This needs only the configuration, not a running server: one may already be running.
  defp configure(_opts) do
    Mix.Task.run("app.config")
    # The task may be about to create the file.
    env = :roomtone |> Application.get_all_env() |> Keyword.delete(:users_file)
    config = Config.install!(env)
    if config.native == Native, do: Native.loaded(), else: :ok
  rescue
    error in Config.Error -> {:error, Exception.message(error)}
  end

  defp file(opts) do
    case opts[:file] || Application.get_env(:roomtone, :users_file) do
      nil -> {:error, "which file? Say --file, or set USERS_FILE"}
      file -> {:ok, file}
    end
  end

  defp read(file) do
    if File.exists?(file), do: read_checked(file), else: {:ok, ""}
  end

  defp read_checked(file) do
    case Users.read(file) do
      {:ok, _users} -> File.read(file)
      {:error, why} -> {:error, "#{file} #{why}"}
    end
  end

  defp act(opts, rest, file, text) do
    case {opts[:list], opts[:remove], rest} do
      {true, nil, []} ->
        {:ok, list(text)}

      {nil, true, [name]} ->
        remove(file, text, name)

      {nil, nil, [name]} ->
        put(opts, file, text, name)

      {_list, _remove, []} ->
        {:error, "a name is missing"}

      {_list, _remove, [_name, extra | _]} ->
        {:error, "#{extra} is one name too many; put a name with spaces in quotes"}

      _other ->
        {:error, "--list takes nothing else"}
    end
  end

  defp list(text) do
    {:ok, users} = Users.parse(text)
    Enum.map_join(users, "\n", &"#{&1.name}\t#{Users.format_grants(&1)}")
  end

  defp remove(file, text, name) do
    with {:ok, text} <- Users.delete(text, name),
         :ok <- write(file, text) do
      {:ok, "#{name} can't sign in any more."}
    else
      {:error, :not_found} -> {:error, "there is no user #{name}"}
      {:error, _} = error -> error
    end
  end

  defp put(opts, file, text, name) do
    with {:ok, name} <- Name.identity(name),
         {:ok, grants, operate} <- Users.parse_grants(Keyword.get(opts, :grants, "speak,listen")),
         {:ok, password} <- password(opts, name),
         {:ok, hash} <- Password.hash_here(fn -> password end, Config.get().native),
         text = Users.put(text, %Users{name: name, hash: hash, grants: grants, operate: operate}),
         :ok <- write(file, text) do
      {:ok, "#{name} can sign in."}
    end
  end

  # The file is replaced whole, because a server may be reading it.
  defp write(file, text) do
    new = file <> ".new"

    with :ok <- File.mkdir_p(Path.dirname(file)),
         :ok <- File.write(new, ""),
         :ok <- File.chmod(new, 0o600),
         :ok <- File.write(new, text),
         :ok <- File.rename(new, file) do
      :ok
    else
      {:error, reason} -> {:error, "#{file} can't be written: #{:file.format_error(reason)}"}
    end
  end

  # ---- The password ----------------------------------------------------------------------------------------------------

  defp password(opts, name) do
    if opts[:stdin], do: check(IO.gets("")), else: ask(name)
  end

  defp ask(name) do
    with :ok <- echo(false),
         first = IO.gets("Password of #{name}: "),
         {:ok, password} <- check(first),
         second = IO.gets("\nOnce more: ") do
      if second == first, do: {:ok, password}, else: {:error, "the two passwords differ"}
    end
  after
    echo(true)
    IO.puts("")
  end

  defp check(line) when is_binary(line) do
    password = String.trim_trailing(line, "\n")

    if String.length(password) >= @shortest,
      do: {:ok, password},
      else: {:error, "a password takes at least #{@shortest} characters"}
  end

  defp check(_end_of_file), do: {:error, "no password was entered"}

  # Erlang's child processes have left our terminal, so the terminal is found by its name.
  defp echo(on?) do
    script = "tty=$(ps -o tty= -p $1) && stty $2 < /dev/${tty% }"

    case System.cmd("sh", ["-c", script, "sh", System.pid(), if(on?, do: "echo", else: "-echo")], stderr_to_stdout: true) do
      {_out, 0} -> :ok
      _no_terminal -> {:error, "this terminal can't hide what is typed: use --stdin"}
    end
  end

  @spec fail(String.t() | term) :: no_return
  defp fail(reason) do
    IO.puts(:stderr, "mix roomtone.user: " <> if(is_binary(reason), do: reason, else: Roomtone.describe_error(reason)))
    exit({:shutdown, 1})
  end
end
