//! Rooms on a virtual clock, with synthetic participants, for the Elixir module `Roomtone.Test.Native`.
//!
//! A scene is a room with everybody in it. Commands go in and events come out as in the real engine, but time passes only when
//! the caller lets it, and nothing touches a socket. A bug that panics is raised as an Erlang error.

mod ear;
mod nif;
mod participant;
mod scene;
// The terms of the real engine, from the same file: one NIF library can't link to another. Half of it isn't needed here.
#[allow(dead_code)]
#[path = "../../roomtone-nif/src/terms.rs"]
mod terms;
// A tap and a journal, as the terms name them. None is ever made here, so a command that has one is no command.
mod tap {
    pub(crate) struct TapHandle {
        pub(crate) tap: roomtone_engine::Tap,
    }

    #[rustler::resource_impl]
    impl rustler::Resource for TapHandle {}

    pub(crate) struct JournalHandle(pub(crate) roomtone_engine::Journal);

    #[rustler::resource_impl]
    impl rustler::Resource for JournalHandle {}
}
mod voice;

rustler::init!("Elixir.Roomtone.Test.Native");
