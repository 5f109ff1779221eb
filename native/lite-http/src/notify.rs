//! Messages to Elixir processes.

use std::cell::RefCell;

use rustler::{Binary, Encoder, Env, LocalPid, NewBinary, OwnedEnv, Term};

thread_local! {
    // One environment a thread, cleared by each message and used again.
    static ENVIRONMENT: RefCell<OwnedEnv> = RefCell::new(OwnedEnv::new());
}

/// Sends what `message` builds; `false` when the process is gone.
///
/// Only from threads of the runtime: on a scheduler thread of the BEAM `send_and_clear` panics.
pub fn send<F>(pid: &LocalPid, message: F) -> bool
where
    F: for<'a> FnOnce(Env<'a>) -> Term<'a>,
{
    ENVIRONMENT.with_borrow_mut(|environment| environment.send_and_clear(pid, message).is_ok())
}

/// A reference-counted binary of the BEAM with these bytes.
pub struct Payload<'b>(pub &'b [u8]);

impl Encoder for Payload<'_> {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        let mut binary = NewBinary::new(env, self.0.len());
        binary.as_mut_slice().copy_from_slice(self.0);
        Binary::from(binary).to_term(env)
    }
}
