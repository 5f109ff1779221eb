//! HTTP/1.1, WebSocket and JSON for `phoenix_lite`, as a NIF.
//!
//! The bytes are parsed by hyper, tungstenite and `serde_json`; this crate joins them to Elixir processes. Sockets live on a
//! small tokio runtime of their own, never on a scheduler of the BEAM. Each TCP connection belongs to one Elixir process: it
//! gets requests and WebSocket messages as Erlang messages and answers with the functions of `nif`. The README says who ends
//! whom.
//!
//! The rules that everything here keeps:
//!
//! - No function blocks: what takes time runs on the runtime and answers with a message.
//! - Messages are sent from the runtime's threads only (a scheduler thread may not, see `notify`).
//! - Everything that a client sends is bounded before it is stored: heads, bodies, frames, messages in flight, time.
//! - A connection ends when its process ends, and a listener when its owner ends.

mod body;
mod census;
mod connection;
mod exchange;
mod guard;
mod handshake;
mod json;
mod limits;
mod listener;
mod nif;
mod notify;
mod outgoing;
mod redirect;
mod relay;
mod runtime;
mod shared;
mod tls;
mod websocket;

rustler::init!("Elixir.PhoenixLite.Native");
