[
  inputs: [
    "mix.exs",
    "native/build.exs",
    "config/*.exs",
    "elixir_app/lib/**/*.{ex,exs}",
    "test/**/*.{ex,exs}"
  ],
  line_length: 120
]
