defmodule PhoenixLite.Heex do
  @moduledoc """
  HEEx at compile time: text, tokens, nodes, and code that makes a `Phoenix.LiveView.Rendered`.
  """
  alias PhoenixLite.Heex.{Compiler, Parser, Tokenizer}

  @doc "The code for a template."
  @spec compile(String.t(), Macro.Env.t(), String.t(), pos_integer()) :: Macro.t()
  def compile(source, env, file, line) do
    source |> Tokenizer.tokens(file, line) |> Parser.nodes(file) |> Compiler.compile(env, file)
  end

  @doc "Ends compilation, naming file and line."
  @spec error!(String.t(), non_neg_integer(), String.t()) :: no_return()
  def error!(file, line, message), do: raise(CompileError, file: file, line: line, description: message)
end
