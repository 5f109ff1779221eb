defmodule DeskWeb.Layouts do
  use Phoenix.Component

  def root(assigns) do
    ~H"""
    <!DOCTYPE html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="csrf-token" content={Plug.CSRFProtection.get_csrf_token()} />
        <title>Desk</title>
        <link rel="icon" href="data:," />
        <link rel="stylesheet" href="/roomtone/css/voice_room.css" />
        <script type="importmap">
          {
            "imports": {
              "phoenix": "/roomtone/vendor/phoenix.mjs",
              "phoenix_live_view": "/roomtone/vendor/phoenix_live_view.esm.js",
              "roomtone": "/roomtone/js/hooks.js"
            }
          }
        </script>
        <script type="module" src="/app.js"></script>
      </head>
      <body>{@inner_content}</body>
    </html>
    """
  end
end
