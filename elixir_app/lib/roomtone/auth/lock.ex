defmodule Roomtone.Auth.Lock do
  @moduledoc """
  The passcode of a room: of the code itself only a hash is kept. The right code gives the lock's *pass*, which opens this room
  until it closes; another room of the same name has another.
  """

  alias Roomtone.Auth.{Password, Secret}

  @derive {Inspect, only: []}
  @enforce_keys [:hash, :pass]
  defstruct [:hash, :pass]

  @type t :: %__MODULE__{hash: String.t(), pass: String.t()}

  @shortest 4
  @longest 64

  @doc "Whether it can be a passcode: #{@shortest} to #{@longest} characters."
  @spec passcode?(term) :: boolean
  def passcode?(code),
    do: is_binary(code) and byte_size(code) <= 16 * @longest and String.valid?(code) and length_ok?(code)

  defp length_ok?(code), do: String.length(normal(code)) in @shortest..@longest

  @doc "A lock for a passcode."
  @spec new(String.t()) :: {:ok, t} | {:error, :busy}
  def new(code) do
    with {:ok, hash} <- Password.hash(fn -> normal(code) end) do
      {:ok, %__MODULE__{hash: hash, pass: Base.url_encode64(:crypto.strong_rand_bytes(18))}}
    end
  end

  @doc "The pass, for who knows the code."
  @spec open(t, term) :: {:ok, String.t()} | {:error, :wrong_passcode | :busy}
  def open(%__MODULE__{} = lock, code) do
    code = if is_binary(code) and String.valid?(code), do: normal(code), else: ""

    case Password.verify(fn -> code end, lock.hash) do
      {:ok, true} -> {:ok, lock.pass}
      {:ok, false} -> {:error, :wrong_passcode}
      {:error, _} = error -> error
    end
  end

  @doc "Whether a pass is this lock's. No lock takes every pass; `:any` is of those whom we trust."
  @spec takes?(t | nil, String.t() | :any | nil) :: boolean
  def takes?(nil, _pass), do: true
  def takes?(_lock, :any), do: true
  def takes?(%__MODULE__{pass: right}, pass), do: Secret.equal?(right, pass)

  # As with names: two keyboards may write the same letter in two ways.
  defp normal(code), do: code |> String.normalize(:nfc) |> String.trim()
end
