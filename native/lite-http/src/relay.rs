//! TURN on the port of HTTPS: a connection that speaks STUN once it is encrypted is handed on to a TURN server of this machine.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::LazyLock;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, copy, split};
use tokio::net::{TcpSocket, TcpStream};

use crate::census::group;

/// Whether the client begins with STUN (RFC 7983 section 7: a byte below 4), which no request of HTTP does. Waits for its first
/// byte, and leaves that to be read.
pub async fn speaks_stun<S: AsyncBufRead + Unpin>(stream: &mut S) -> bool {
    matches!(stream.fill_buf().await, Ok([first, ..]) if *first < 4)
}

/// Carries bytes between a client and the TURN server at `turn` until one of them ends.
///
/// # Errors
/// There is no connection to the server, or one broke.
pub async fn relay<S: AsyncRead + AsyncWrite>(client: S, address: IpAddr, turn: SocketAddr) -> io::Result<()> {
    let mut server = connect(address, turn).await?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = split(client);
    let (mut from_server, mut to_server) = server.split();
    // Neither is served any longer than the other.
    tokio::select! {
        ended = copy(&mut from_client, &mut to_server) => ended,
        ended = copy(&mut from_server, &mut to_client) => ended,
    }?;
    Ok(())
}

/// The TURN server has limits for each address, and every client that comes this way has one of this machine. Where the system takes
/// all of 127.0.0.0/8 as its own (Linux), each address gets a stand-in there.
async fn connect(address: IpAddr, turn: SocketAddr) -> io::Result<TcpStream> {
    if turn.ip().is_loopback() && turn.is_ipv4() {
        let socket = TcpSocket::new_v4()?;
        if socket.bind(SocketAddr::from((stand_in(address), 0))).is_ok() {
            return socket.connect(turn).await;
        }
    }
    TcpStream::connect(turn).await
}

/// The same for all addresses of a household. Nobody can choose whose they share: the hash has a key.
fn stand_in(address: IpAddr) -> Ipv4Addr {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let [a, b, c, ..] = KEY.hash_one(group(address)).to_be_bytes();
    Ipv4Addr::new(127, a | 0x80, b, c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, duplex};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn stun_is_told_from_http_by_its_first_byte() {
        for (bytes, stun) in [
            (&[0u8, 1, 0, 0][..], true),
            (&[0, 3], true),
            (b"GET / HTTP/1.1\r\n", false),
            (b"\r\nGET / HTTP/1.1\r\n", false),
            (&[0x40, 0], false),
            (b"", false),
        ] {
            let mut stream = BufReader::new(bytes);
            assert_eq!(speaks_stun(&mut stream).await, stun, "{bytes:?}");
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.expect("it can be read");
            assert_eq!(rest, bytes, "nothing is lost");
        }
    }

    #[tokio::test]
    async fn bytes_go_both_ways_until_one_side_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let turn = listener.local_addr().expect("it is bound");
        let (mut client, here) = duplex(64);
        let relaying = tokio::spawn(relay(here, IpAddr::from([203, 0, 113, 7]), turn));
        let (mut server, from) = listener.accept().await.expect("it connects");
        if cfg!(target_os = "linux") {
            assert_eq!(from.ip(), IpAddr::V4(stand_in(IpAddr::from([203, 0, 113, 7]))));
        }
        let mut heard = [0; 4];
        client.write_all(b"ping").await.expect("it is open");
        server.read_exact(&mut heard).await.expect("it is open");
        assert_eq!(&heard, b"ping");
        server.write_all(b"pong").await.expect("it is open");
        client.read_exact(&mut heard).await.expect("it is open");
        assert_eq!(&heard, b"pong");
        drop(server);
        assert!(relaying.await.expect("no panic").is_ok());
        assert_eq!(client.read(&mut heard).await.expect("it is closed"), 0);
    }

    #[test]
    fn a_household_has_one_stand_in_and_others_have_others() {
        let of = |address: &str| stand_in(address.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff"));
        assert_eq!(of("198.51.100.7"), of("::ffff:198.51.100.7"));
        let several: std::collections::HashSet<_> =
            (0..100u8).map(|n| stand_in(IpAddr::from([198, 51, 100, n]))).collect();
        assert!(several.len() > 95 && several.iter().all(|address| *address != Ipv4Addr::LOCALHOST));
    }
}
