defmodule Roomtone.CertTaskTest do
  @moduledoc "`mix roomtone.cert`; the program behind it has tests of its own."
  use ExUnit.Case, async: false

  @moduletag :tmp_dir

  setup do
    shell = Mix.shell()
    Mix.shell(Mix.Shell.Process)
    on_exit(fn -> Mix.shell(shell) end)
  end

  defp run(args) do
    Mix.Tasks.Roomtone.Cert.run(args)
    text("")
  end

  defp text(said) do
    receive do
      {:mix_shell, :info, [line]} -> text(said <> line <> "\n")
    after
      0 -> said
    end
  end

  test "makes a certificate for this machine's names that TLS clients accept", %{tmp_dir: folder} do
    said = run(["--directory", folder])
    assert said =~ "Made a certificate"
    assert said =~ ~r"https://\S+:4443"
    assert said =~ "█"
    assert said =~ "The browser will warn"

    [{:Certificate, der, :not_encrypted}] =
      folder |> Path.join("certificate.pem") |> File.read!() |> :public_key.pem_decode()

    assert {:ok, _} = :public_key.pkix_path_validation(der, [der], [])
    certificate = :public_key.pkix_decode_cert(der, :otp)

    for id <- [dns_id: ~c"localhost", ip: {127, 0, 0, 1}],
        do: assert(:public_key.pkix_verify_hostname(certificate, [id]))

    refute :public_key.pkix_verify_hostname(certificate, dns_id: ~c"roomtone.example")
    assert %{mode: mode} = File.stat!(Path.join(folder, "key.pem"))
    assert Bitwise.band(mode, 0o777) == 0o600

    assert run(["--directory", folder, "--quiet"]) =~ "still good"
  end

  test "makes a new certificate when the host has a name", %{tmp_dir: folder} do
    run(["--directory", folder, "--quiet"])
    System.put_env("PHX_HOST", "roomtone.example")
    said = run(["--directory", folder])
    assert said =~ "Made a certificate"
    assert said =~ "https://roomtone.example:4443"
  after
    System.delete_env("PHX_HOST")
  end
end
