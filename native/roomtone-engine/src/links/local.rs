//! Connections that the HTTP server of this process hands on: TURN within the TLS of its port.
//!
//! They come by a Unix socket with an abstract name (unix(7)), which leaves no file behind and costs less than the loopback. The client's
//! address is in the name of the connection's other end, `<listener>/<number>/<address>`. Limits count by that address, so only this very
//! process is believed.

#![allow(clippy::disallowed_methods)] // this is the I/O half

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener as PlainListener;

use mio::net::{UnixListener, UnixStream};

/// Listens under a name. On Linux alone.
pub(crate) fn listen(name: &str) -> io::Result<PlainListener> {
    let listener = PlainListener::bind_addr(&system::address(name)?)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Accepts a connection, and returns it with the client's address. `None`: it came from elsewhere, and is closed.
pub(super) fn accept(listener: &UnixListener) -> io::Result<Option<(UnixStream, SocketAddr)>> {
    let (stream, _) = listener.accept()?;
    let client = system::name_of_own(&stream).and_then(|name| client_in(&name));
    Ok(client.map(|client| (stream, client)))
}

fn client_in(name: &[u8]) -> Option<SocketAddr> {
    let (_, client) = std::str::from_utf8(name).ok()?.rsplit_once('/')?;
    client.parse().ok()
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    use mio::net::UnixStream;
    use nix::sys::socket::getsockopt;
    use nix::sys::socket::sockopt::PeerCredentials;

    pub(super) fn address(name: &str) -> io::Result<SocketAddr> {
        SocketAddr::from_abstract_name(name)
    }

    /// The name of the other end, if that is in this process.
    pub(super) fn name_of_own(stream: &UnixStream) -> Option<Vec<u8>> {
        let process = getsockopt(stream, PeerCredentials).ok()?.pid();
        if u32::try_from(process) != Ok(std::process::id()) {
            return None;
        }
        stream.peer_addr().ok()?.as_abstract_name().map(<[u8]>::to_vec)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::os::unix::net::SocketAddr;

    use mio::net::UnixStream;

    pub(super) fn address(_name: &str) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn name_of_own(_stream: &UnixStream) -> Option<Vec<u8>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_with_the_address_of_the_client() {
        for client in ["192.0.2.1:5000", "[2001:db8::1]:5000"] {
            let name = format!("roomtone-turn-AbC_-/17/{client}");
            assert_eq!(client_in(name.as_bytes()), client.parse().ok());
        }
        for other in [
            "",
            "/",
            "192.0.2.1:5000",
            "name/17/192.0.2.1",
            "name/17/192.0.2.1:70000",
            "name/17/localhost:1",
        ] {
            assert_eq!(client_in(other.as_bytes()), None, "{other}");
        }
        assert_eq!(client_in(b"name/17/\xff"), None);
    }
}
