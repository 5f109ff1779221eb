//! Load generator and bench of Roomtone: the synthetic peers of [`roomtone_testkit`] over real sockets.
//!
//! - [`whip`] and [`run`]: peers that join, talk and listen at a server.
//! - [`bench`](mod@bench): the cost of rooms to a server, beside Janus. The program `roomtone-load` is a thin shell around these two.
pub mod bench;
mod ear;
mod http;
pub mod run;
pub mod whip;
