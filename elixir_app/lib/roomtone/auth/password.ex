defmodule Roomtone.Auth.Password do
  @moduledoc """
  Hashes and checks passwords with argon2id, one at a time: each takes tens of milliseconds and #{div(19_456, 1024)} MiB by design, so a
  flood of sign-ins must not run side by side. A caller that would have to wait too long gets `:busy` instead.

  A password comes as a function that gives it, so that no crash report of a process ever holds one.
  """
  use GenServer

  alias Roomtone.{Config, SafeCall, UnknownMessage}

  @typedoc "Gives the password."
  @type secret :: (() -> String.t())

  # As OWASP recommends for argon2id: KiB, rounds, lanes.
  @cost {19_456, 2, 1}
  @longest 1024
  @queue 50
  @patience_ms 5_000
  # Of nobody's password, which is checked for users who don't exist: they take the same time as those who do.
  @nobodys "$argon2id$v=19$m=19456,t=2,p=1$cm9vbXRvbmUtbm9ib2R5$Wn7Gk1zqTq1oH8sQnB0B7m9t4G2Jt4cU3xqg1l8Jt0c"

  @doc "The hash of a password, as a PHC string."
  @spec hash(secret) :: {:ok, String.t()} | {:error, :busy | :bad_password}
  def hash(secret), do: ask({:hash, secret})

  @doc "Whether the hash is this password's. With `nil` for the hash it takes the same time, and it isn't."
  @spec verify(secret, String.t() | nil) :: {:ok, boolean} | {:error, :busy}
  def verify(secret, hash), do: ask({:verify, secret, hash})

  @doc false
  # For the test that it is one.
  @spec nobodys() :: String.t()
  def nobodys, do: @nobodys

  @doc "As `hash/1` in the calling process, for tasks that run without the application."
  @spec hash_here(secret, module) :: {:ok, String.t()} | {:error, :bad_password}
  def hash_here(secret, native) do
    password = secret.()

    if is_binary(password) and password != "" and byte_size(password) <= @longest,
      do: native.password_hash(password, :crypto.strong_rand_bytes(16), cost()),
      else: {:error, :bad_password}
  end

  defp verify_here(secret, hash, native) do
    password = secret.()
    known? = is_binary(password) and byte_size(password) <= @longest
    # Rubbish for a password costs what a password does.
    case native.password_verify(if(known?, do: password, else: ""), hash || @nobodys) do
      {:ok, right?} -> {:ok, right? and known? and hash != nil}
      {:error, _bad_hash} -> {:ok, false}
    end
  end

  # Tests don't need it to be hard.
  defp cost, do: Application.get_env(:roomtone, :password_cost, @cost)

  defp ask(request) do
    case Process.whereis(__MODULE__) do
      nil -> {:error, :busy}
      pid -> if queued(pid) < @queue, do: call(pid, request), else: {:error, :busy}
    end
  end

  defp call(pid, request) do
    case SafeCall.call(pid, {request, now() + @patience_ms}, @patience_ms) do
      {:ok, answer} -> answer
      # Too late, or in the moment when the process is being replaced, whatever it failed on.
      {:error, _reason} -> {:error, :busy}
    end
  end

  defp queued(pid) do
    case Process.info(pid, :message_queue_len) do
      {:message_queue_len, length} -> length
      nil -> @queue
    end
  end

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @doc false
  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @impl true
  def init(nil), do: {:ok, Config.get().native}

  @impl true
  def handle_call({request, deadline}, _from, native) when is_integer(deadline) do
    # The caller has given up meanwhile.
    if now() > deadline, do: {:noreply, native}, else: {:reply, run(request, native), native}
  end

  def handle_call(other, from, native), do: UnknownMessage.call(__MODULE__, other, from, native)

  @impl true
  def handle_cast(other, native), do: UnknownMessage.cast(__MODULE__, other, native)

  @impl true
  def handle_info(other, native), do: UnknownMessage.info(__MODULE__, other, native)

  defp run({:hash, secret}, native), do: hash_here(secret, native)
  defp run({:verify, secret, hash}, native), do: verify_here(secret, hash, native)

  defp now, do: System.monotonic_time(:millisecond)
end
