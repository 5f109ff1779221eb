defmodule RoomtoneWeb.BasePath do
  @moduledoc """
  The path that everything of Roomtone is under, such as `/voice`, where a proxy gives other paths of the host to others. It is the
  `path:` of the endpoint's `url:` (`PHX_PATH`), by which LiveView, too, knows it.

  `use` it in the endpoint, before `use RoomtoneWeb.Incoming`. The path moves from a request's `path_info` to its `script_name`, and all
  routes, sockets and files are found by what is left. A proxy may pass on the whole path, or take the beginning away itself: what
  follows the path tells which it was, as `/voice/websocket` under `/voice` can only be the socket `/voice` of a proxy that took it away.
  """

  # The first parts of our routes, sockets and files.
  @ours ~w(about agents assets favicon.ico goodbye healthz invitations live metrics operate robots.txt rooms sign-in sign-out voice whep whip)

  @doc false
  defmacro __using__(_opts) do
    quote do
      @before_compile RoomtoneWeb.BasePath
    end
  end

  # As in `RoomtoneWeb.Incoming`: before sockets and plugs.
  @doc false
  defmacro __before_compile__(_env) do
    quote do
      defoverridable call: 2

      def call(conn, opts) do
        super(RoomtoneWeb.BasePath.enter(conn), opts)
      end
    end
  end

  @doc "Reads the endpoint's configuration; raises an error that names the setting."
  @spec install!() :: :ok
  def install! do
    url = :roomtone |> Application.get_env(RoomtoneWeb.Endpoint, []) |> Keyword.get(:url) || []

    case parse(url[:path]) do
      {:ok, path} ->
        :persistent_term.put(__MODULE__, {path, String.split(path, "/", trim: true)})

      {:error, takes} ->
        raise Roomtone.Config.Error, message: "Roomtone can't start with this configuration: #{takes}"
    end
  end

  @doc """
  A path, without a slash at its end; empty for none.

      iex> RoomtoneWeb.BasePath.parse("/voice/")
      {:ok, "/voice"}
      iex> RoomtoneWeb.BasePath.parse("/")
      {:ok, ""}
      iex> {:error, "PHX_PATH takes" <> _} = RoomtoneWeb.BasePath.parse("voice")
      iex> {:error, "PHX_PATH takes" <> _} = RoomtoneWeb.BasePath.parse("/a/../b")
  """
  @spec parse(term) :: {:ok, String.t()} | {:error, String.t()}
  def parse(none) when none in [nil, "", "/"], do: {:ok, ""}

  def parse(text) do
    if is_binary(text) and text =~ ~r"\A(/(?!\.\.?(/|\z))[A-Za-z0-9._~-]+)+/?\z",
      do: {:ok, String.trim_trailing(text, "/")},
      else: {:error, "PHX_PATH takes a path such as /voice, of letters, digits and -._~, not #{inspect(text)}"}
  end

  @doc "The path, such as `/voice`; empty where Roomtone has the whole host."
  @spec get() :: String.t()
  def get, do: elem(installed(), 0)

  @doc "The conn as seen from under the path."
  @spec enter(Plug.Conn.t()) :: Plug.Conn.t()
  def enter(conn) do
    case installed() do
      {"", []} -> conn
      {path, parts} -> enter(conn, path, parts)
    end
  end

  defp enter(conn, path, parts) do
    {beginning, rest} = Enum.split(conn.path_info, length(parts))
    conn = %{conn | script_name: conn.script_name ++ parts}

    if beginning == parts and ours?(rest),
      do: %{conn | path_info: rest},
      else: %{conn | request_path: path <> conn.request_path}
  end

  defp ours?([]), do: true
  defp ours?([first | _]), do: first in @ours

  defp installed, do: :persistent_term.get(__MODULE__, {"", []})
end
