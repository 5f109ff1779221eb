defmodule RoomtoneWeb.BasePath do
  @moduledoc """
  The path that everything of Roomtone is under, such as `/voice`, where a proxy gives other paths of the host to others. It is the
  `path:` of the endpoint's `url:` (`PHX_PATH`), by which LiveView, too, knows it.

  `use` it in the endpoint, before `use RoomtoneWeb.Incoming`. A request then has to come with the path, which moves from `path_info`
  to `script_name`; all routes, sockets and files are found by what is left. The proxy passes on the whole path: one that takes the
  beginning away would leave no difference between `/voice/websocket`, the socket of a server without a path, and the page `/websocket` of one under
  `/voice`. Requests without it get 404, except those of monitoring, which come past the proxy.
  """

  import Plug.Conn

  # Programs beside the server ask for these at its own port.
  @anywhere [["healthz"], ["metrics"]]

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
        case RoomtoneWeb.BasePath.enter(conn) do
          %{halted: true} = conn -> conn
          conn -> super(conn, opts)
        end
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

  @doc "The conn as seen from under the path; answered with 404 and halted where the request isn't under it."
  @spec enter(Plug.Conn.t()) :: Plug.Conn.t()
  def enter(conn) do
    case installed() do
      {"", []} -> conn
      {path, parts} -> enter(conn, path, parts)
    end
  end

  defp enter(conn, path, parts) do
    {beginning, rest} = Enum.split(conn.path_info, length(parts))

    cond do
      beginning == parts -> %{conn | path_info: rest, script_name: conn.script_name ++ parts}
      conn.path_info in @anywhere -> conn
      true -> refuse(conn, path)
    end
  end

  defp refuse(conn, path) do
    conn
    |> put_resp_content_type("text/plain")
    |> send_resp(
      404,
      "This server answers under #{path}/ only (PHX_PATH), and its proxy has to pass on the whole path.\n"
    )
    |> halt()
  end

  defp installed, do: :persistent_term.get(__MODULE__, {"", []})
end
