defmodule Mix.Tasks.Roomtone.Cert do
  @shortdoc "Makes a certificate for HTTPS on this machine and network"

  @moduledoc """
  Makes a certificate and prints how to open Roomtone from a phone.

      mix roomtone.cert [--directory tmp/https] [--quiet]

  Browsers give the microphone only to pages on `localhost` or on HTTPS. The certificate covers
  localhost, the addresses of this machine, and `PHX_HOST`. It is kept until an address changes or
  it expires; then a new one replaces it. `bin/server --https` does all of this, or:

      HTTPS_CERT_FILE=tmp/https/certificate.pem HTTPS_KEY_FILE=tmp/https/key.pem mix phx.server

  No authority vouches for such a certificate, so browsers warn before the first visit. For a server
  on the internet get one from an authority instead.
  """
  use Mix.Task

  alias Roomtone.Config.Network

  @impl true
  def run(args) do
    {options, []} = OptionParser.parse!(args, strict: [directory: :string, quiet: :boolean])
    directory = options[:directory] || "tmp/https"
    program = Roomtone.NativeBuild.program!("local-https", "roomtone-local-https", File.cwd!())
    made = run!(program, ["certificate", "--directory", directory, "--" | names()])
    certificate = Path.join(directory, "certificate.pem")

    Mix.shell().info(
      if made =~ "kept", do: "The certificate #{certificate} is still good.", else: "Made a certificate: #{certificate}"
    )

    unless options[:quiet], do: invite(program)
  end

  defp names do
    addresses = for address <- Network.local_addresses(true), do: address |> :inet.ntoa() |> to_string()
    Enum.uniq(["localhost", "::1" | addresses] ++ List.wrap(host()))
  end

  defp host, do: with("" <- System.get_env("PHX_HOST", ""), do: nil)

  defp invite(program) do
    port = with "" <- System.get_env("HTTPS_PORT", ""), do: "4443"

    case host() || Network.lan_address() do
      nil ->
        Mix.shell().info("This machine is on no network: open https://localhost:#{port}")

      host ->
        host = if is_binary(host), do: host, else: to_string(:inet.ntoa(host))
        url = "https://#{host}:#{port}"
        ansi = if IO.ANSI.enabled?(), do: ["--ansi"], else: []

        Mix.shell().info("""

        Open Roomtone from a phone on the same network:

            #{url}

        #{run!(program, ["qr"] ++ ansi ++ [url])}

        The browser will warn that nobody it knows vouches for this page: the certificate was made by this machine itself.
        Choose "Advanced" and "Proceed", or in Safari "Show details" and "visit this website".
        """)
    end
  end

  defp run!(program, args) do
    case System.cmd(program, args, stderr_to_stdout: true) do
      {output, 0} -> String.trim_trailing(output)
      {output, _status} -> Mix.raise(String.trim(output))
    end
  end
end
