defmodule MIME do
  @moduledoc "Media types by extension: those that a web app serves."

  @types %{
    "html" => "text/html",
    "htm" => "text/html",
    "css" => "text/css",
    "js" => "text/javascript",
    "mjs" => "text/javascript",
    "txt" => "text/plain",
    "text" => "text/plain",
    "csv" => "text/csv",
    "md" => "text/markdown",
    "xml" => "text/xml",
    "vtt" => "text/vtt",
    "ics" => "text/calendar",
    "json" => "application/json",
    "map" => "application/json",
    "webmanifest" => "application/manifest+json",
    "wasm" => "application/wasm",
    "pdf" => "application/pdf",
    "zip" => "application/zip",
    "gz" => "application/gzip",
    "sdp" => "application/sdp",
    "png" => "image/png",
    "jpg" => "image/jpeg",
    "jpeg" => "image/jpeg",
    "gif" => "image/gif",
    "svg" => "image/svg+xml",
    "webp" => "image/webp",
    "avif" => "image/avif",
    "ico" => "image/vnd.microsoft.icon",
    "woff" => "font/woff",
    "woff2" => "font/woff2",
    "ttf" => "font/ttf",
    "otf" => "font/otf",
    "wav" => "audio/wav",
    "mp3" => "audio/mpeg",
    "ogg" => "audio/ogg",
    "opus" => "audio/ogg",
    "mp4" => "video/mp4",
    "webm" => "video/webm"
  }

  @doc "The type of a format."
  @spec type(String.t()) :: String.t()
  def type(extension), do: Map.get(@types, extension, "application/octet-stream")

  @doc "The type of a file."
  @spec from_path(Path.t()) :: String.t()
  def from_path(path), do: path |> Path.extname() |> String.trim_leading(".") |> String.downcase() |> type()

  @doc "The extensions of a type."
  @spec extensions(String.t()) :: [String.t()]
  def extensions(type) do
    type = type |> String.split(";") |> hd() |> String.trim()
    for {extension, ^type} <- @types, do: extension
  end
end
