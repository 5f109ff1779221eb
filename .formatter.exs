[
  inputs: [
    "mix.exs",
    "native/*.exs",
    "config/*.exs",
    "elixir_app/lib/**/*.{ex,exs}",
    "test/**/*.{ex,exs}"
  ],
  line_length: 120,
  # `import_deps: [:roomtone]` in an application keeps `voice_socket "/voice", …` without parentheses.
  export: [locals_without_parens: [voice_socket: 2]],
  # Phoenix's; written out, because the formatter would take them from a dependency that isn't always the same.
  locals_without_parens:
    [plug: :*, pipeline: :*, pipe_through: :*, scope: :*, match: :*, socket: :*, channel: :*] ++
      [attr: :*, slot: :*, live: :*, live_session: :*, on_mount: :*, embed_templates: :*] ++
      [voice_socket: :*] ++
      Enum.map([:get, :post, :put, :patch, :delete, :options, :head], &{&1, :*}) ++
      Enum.map([:assert_push, :assert_reply, :refute_push, :assert_error_sent], &{&1, :*})
]
