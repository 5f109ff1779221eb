defmodule Roomtone.Auth.Visitor do
  @moduledoc """
  Somebody who came with a browser, as far as its session tells: nobody yet, a guest under the names they entered, or a user who
  signed in. Plain data, made anew for each request and each LiveView by `Roomtone.Auth.visitor/1`.
  """

  # The other fields would let their reader be this browser.
  @derive {Inspect, only: [:user, :names, :display, :guests_allowed]}
  defstruct user: nil,
            names: [],
            display: nil,
            guests_allowed: true,
            person: nil,
            keys: %{},
            passes: [],
            session_id: nil

  @typedoc """
    * `user` – who signed in
    * `names` – under which this browser entered rooms as a guest, the latest first
    * `display` – what to call them: the user, or the latest name
    * `guests_allowed` – whether somebody who didn't sign in may enter without an invitation
    * `person` – a random secret of this browser's
    * `keys` – a random secret for each of the names, made when this browser first entered by it; a name without one has `person`
    * `passes` – what opens rooms: passcodes that were right, invitations that were taken
    * `session_id` – names the session; a public digest of what its sockets are closed by
  """
  @type t :: %__MODULE__{
          user: String.t() | nil,
          names: [String.t()],
          display: String.t() | nil,
          guests_allowed: boolean,
          person: String.t() | nil,
          keys: %{String.t() => String.t()},
          passes: [map],
          session_id: String.t() | nil
        }
end
