//! The load generator and the bench as a whole, over real sockets, against a small room in this process. One program, since
//! linking another takes most of a minute.

mod bench;
mod room;
mod run;
