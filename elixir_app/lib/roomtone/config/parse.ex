defmodule Roomtone.Config.Parse do
  @moduledoc """
  Parses settings given as Elixir terms or as the text of environment variables. An error says
  what the key takes.
  """

  @type result(value) :: {:ok, value} | {:error, String.t()}

  @default_first_port 50_000
  @max_shards 256
  @most_nodes 128
  @takes_nodes "it takes names such as media1@10.0.0.7, separated by commas"

  @doc """
  Media ports: the first of a range, or all of them.

      iex> Roomtone.Config.Parse.ports("50000-50002")
      {:ok, {:exactly, [50000, 50001, 50002]}}
      iex> Roomtone.Config.Parse.ports("50000")
      {:ok, {:from, 50000}}
  """
  @spec ports(term) :: result({:from, 0..65_535} | {:exactly, [0..65_535]})
  def ports(nil), do: {:ok, {:from, @default_first_port}}
  def ports(port) when is_integer(port), do: ports([port], {:from, port})
  def ports(ports) when is_list(ports) and ports != [], do: ports(ports, {:exactly, ports})

  def ports(text) when is_binary(text) do
    parts = text |> String.split(",", trim: true) |> Enum.map(&String.trim/1)

    case Enum.map(parts, &port_part/1) do
      [[port]] -> ports([port], {:from, port})
      [_ | _] = lists -> lists |> Enum.concat() |> ports()
      [] -> ports(:none)
    end
  end

  def ports(_other),
    do: {:error, "(UDP_PORTS) takes \"50000\", \"50000-50003\" or \"50000,50010\", ports between 0 and 65535"}

  # Port 0 lets the system choose, and may appear more than once.
  defp ports(ports, value) do
    fixed = Enum.reject(ports, &(&1 == 0))

    cond do
      not Enum.all?(ports, &(&1 in 0..65_535)) -> ports(:none)
      fixed != Enum.uniq(fixed) -> {:error, "(UDP_PORTS) names a port twice"}
      true -> {:ok, value}
    end
  end

  defp port_part(text) do
    case text |> String.split("-") |> Enum.map(&Integer.parse/1) do
      [{port, ""}] -> [port]
      [{first, ""}, {last, ""}] when first <= last and last - first < @max_shards -> Enum.to_list(first..last)
      _ -> [-1]
    end
  end

  @doc """
  The number of shards: as set, otherwise one for each scheduler but no more than there are ports.
  `dirty` is the number of dirty I/O schedulers: each shard occupies one. The virtual machine needs
  some for itself (for files, for example), and would wait for ever without one.

      iex> Roomtone.Config.Parse.shards("9", {:ok, {:from, 50000}}, 10)
      {:error, "(SHARDS) is 9; each takes one of the 10 dirty I/O schedulers, of which two stay free: start Erlang with +SDio 11"}
  """
  @spec shards(term, result(term), pos_integer) :: result(pos_integer)
  def shards(given, ports, dirty \\ :erlang.system_info(:dirty_io_schedulers))

  def shards(nil, ports, dirty) do
    {:ok, System.schedulers_online() |> min(most_ports(ports)) |> min(most_shards(dirty))}
  end

  def shards(given, _ports, dirty) do
    case integer(given, {1, @max_shards}) do
      {:error, takes} ->
        {:error, "(SHARDS) " <> takes}

      {:ok, shards} ->
        if shards <= most_shards(dirty), do: {:ok, shards}, else: {:error, too_many_shards(shards, dirty)}
    end
  end

  # If the virtual machine was started with only one or two of them, one shard is better than none.
  defp most_ports({:ok, {:exactly, ports}}), do: length(ports)
  defp most_ports(_as_many_as_needed), do: @max_shards

  defp most_shards(dirty), do: max(dirty - 2, 1)

  defp too_many_shards(shards, dirty) do
    "(SHARDS) is #{shards}; each takes one of the #{dirty} dirty I/O schedulers, of which two stay free: " <>
      "start Erlang with +SDio #{shards + 2}"
  end

  @doc "The ports of the shards, or an error."
  @spec ports_for(result(term), result(pos_integer)) :: result([0..65_535])
  def ports_for({:error, _} = error, _shards), do: error
  def ports_for({:ok, {:from, 0}}, {:ok, shards}), do: {:ok, List.duplicate(0, shards)}
  def ports_for({:ok, {:exactly, ports}}, {:error, _}), do: {:ok, ports}
  def ports_for({:ok, {:from, first}}, {:error, _}), do: {:ok, [first]}

  def ports_for({:ok, {:from, first}}, {:ok, shards}) do
    if first + shards - 1 <= 65_535,
      do: {:ok, Enum.to_list(first..(first + shards - 1))},
      else: {:error, "(UDP_PORTS) starts at #{first}, which leaves no room for #{shards} shards below 65536"}
  end

  def ports_for({:ok, {:exactly, ports}}, {:ok, shards}) do
    if length(ports) >= shards,
      do: {:ok, ports},
      else: {:error, "(UDP_PORTS) has #{length(ports)} ports; it takes one for each of the #{shards} shards (SHARDS)"}
  end

  @doc "A whole number within bounds, as a number or as text."
  @spec integer(term, {integer, integer}) :: result(integer)
  def integer(value, {min, max}) when is_integer(value) and value >= min and value <= max, do: {:ok, value}

  def integer(text, range) when is_binary(text) do
    case Integer.parse(String.trim(text)) do
      {value, ""} -> integer(value, range)
      _ -> integer(:none, range)
    end
  end

  def integer(_other, {min, max}), do: {:error, "takes a whole number from #{min} to #{max}"}

  @doc "An IP address, as a tuple or as text."
  @spec address(term) :: result(:inet.ip_address())
  def address(text) when is_binary(text) do
    case text |> String.trim() |> String.to_charlist() |> :inet.parse_strict_address() do
      {:ok, address} -> {:ok, address}
      {:error, _} -> address(:none)
    end
  end

  def address(tuple) when is_tuple(tuple) do
    if :inet.ntoa(tuple) == {:error, :einval}, do: address(:none), else: {:ok, tuple}
  end

  def address(_other), do: {:error, "takes an IP address such as \"192.0.2.7\" or \"2001:db8::7\""}

  @doc "One or more IP addresses: text separated by commas, or a list."
  @spec addresses(term) :: result([:inet.ip_address(), ...])
  def addresses(text) when is_binary(text), do: text |> String.split(",", trim: true) |> addresses()

  def addresses([_ | _] = list) do
    results = Enum.map(list, &address/1)

    if Enum.all?(results, &match?({:ok, _}, &1)),
      do: {:ok, results |> Enum.map(&elem(&1, 1)) |> Enum.uniq()},
      else: addresses(:none)
  end

  def addresses(_other),
    do: {:error, "(PUBLIC_IP) takes IP addresses separated by commas, such as \"203.0.113.5,192.168.1.20\""}

  @doc "One of a few atoms."
  @spec one_of(term, [atom]) :: result(atom)
  def one_of(value, values) do
    if value in values, do: {:ok, value}, else: {:error, "takes one of #{Enum.map_join(values, ", ", &inspect/1)}"}
  end

  @doc """
  Something that is on or off.

      iex> Roomtone.Config.Parse.switch("off")
      {:ok, false}
  """
  @spec switch(term) :: result(boolean)
  def switch(value) when is_boolean(value), do: {:ok, value}
  def switch(value) when value in ["on", "true", "1"], do: {:ok, true}
  def switch(value) when value in ["off", "false", "0"], do: {:ok, false}
  def switch(_other), do: {:error, "takes on or off"}

  @doc """
  The role of a node.

      iex> Roomtone.Config.Parse.role("web")
      {:ok, :web}
      iex> Roomtone.Config.Parse.role("proxy")
      {:error, "(ROLE) takes all, web or media"}
  """
  @spec role(term) :: result(:all | :web | :media)
  def role(role) when role in [:all, "all"], do: {:ok, :all}
  def role(role) when role in [:web, "web"], do: {:ok, :web}
  def role(role) when role in [:media, "media"], do: {:ok, :media}
  def role(_other), do: {:error, "(ROLE) takes all, web or media"}

  @doc """
  Names of nodes.

      iex> Roomtone.Config.Parse.nodes("media1@10.0.0.7, media2@10.0.0.8")
      {:ok, [:"media1@10.0.0.7", :"media2@10.0.0.8"]}
      iex> {:error, takes} = Roomtone.Config.Parse.nodes("media1")
      iex> takes
      ~s[(CLUSTER_NODES) has "media1", which isn't the name of a node: it takes names such as media1@10.0.0.7, separated by commas]
  """
  @spec nodes(term) :: result([node])
  def nodes(text) when is_binary(text), do: text |> String.split(",", trim: true) |> Enum.map(&String.trim/1) |> nodes()

  def nodes(list) when is_list(list) and length(list) <= @most_nodes do
    case Enum.find(list, &(not node?(&1))) do
      nil -> {:ok, Enum.map(list, &if(is_binary(&1), do: String.to_atom(&1), else: &1))}
      other -> {:error, "(CLUSTER_NODES) has #{inspect(other)}, which isn't the name of a node: #{@takes_nodes}"}
    end
  end

  def nodes(_other), do: {:error, "(CLUSTER_NODES) #{@takes_nodes}, at most #{@most_nodes}"}

  defp node?(name) when is_atom(name), do: name |> Atom.to_string() |> node?()
  defp node?(name) when is_binary(name), do: byte_size(name) <= 255 and name =~ ~r/\A[\w-]+@[\w.:-]+\z/
  defp node?(_other), do: false

  @doc "The name of a host, or none."
  @spec host(term) :: result(String.t() | nil)
  def host(nil), do: {:ok, nil}

  def host(name) do
    if is_binary(name) and byte_size(name) <= 253 and name =~ ~r/\A[\w-]+(\.[\w-]+)*\.?\z/,
      do: {:ok, name},
      else: {:error, "(CLUSTER_DNS) takes the name of a host, such as roomtone.internal"}
  end

  @doc "The name of a region, or none."
  @spec region(term) :: result(String.t() | nil)
  def region(nil), do: {:ok, nil}

  def region(name) do
    if is_binary(name) and name =~ ~r/\A[\w.-]{1,64}\z/,
      do: {:ok, name},
      else: {:error, "(REGION) takes up to 64 letters, digits and . _ -"}
  end

  @doc "A module."
  @spec module(term) :: result(module)
  def module(module) when is_atom(module) and module not in [nil, true, false] do
    if Code.ensure_loaded?(module),
      do: {:ok, module},
      else: {:error, "takes a module; #{inspect(module)} can't be loaded"}
  end

  def module(_other), do: {:error, "takes a module"}
end
