//! TURN on the port of HTTPS: a connection that speaks STUN once it is encrypted is handed on to a TURN server in this process.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, copy, split};

/// Whether the client begins with STUN (RFC 7983 section 7: a byte below 4), which no request of HTTP does. Waits for its first
/// byte, and leaves that to be read.
pub async fn speaks_stun<S: AsyncBufRead + Unpin>(stream: &mut S) -> bool {
    matches!(stream.fill_buf().await, Ok([first, ..]) if *first < 4)
}

/// Carries bytes between a client at `peer` and the TURN server, which listens on the Unix socket of this abstract name, until one of them
/// ends.
///
/// # Errors
/// There is no connection to the server, or one broke.
pub async fn relay<S: AsyncRead + AsyncWrite>(client: S, peer: SocketAddr, turn: &str) -> io::Result<()> {
    let mut server = local::connect(peer, turn).await?;
    let (mut from_client, mut to_client) = split(client);
    let (mut from_server, mut to_server) = server.split();
    // Neither is served any longer than the other.
    tokio::select! {
        ended = copy(&mut from_client, &mut to_server) => ended,
        ended = copy(&mut from_server, &mut to_client) => ended,
    }?;
    Ok(())
}

#[cfg(target_os = "linux")]
mod local {
    use std::io;
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use tokio::net::{UnixSocket, UnixStream};

    /// Where as many wait as the server's backlog takes, a Unix socket fails at once instead of waiting like TCP. It is tried so often, at
    /// this interval: for half a second.
    const TRIES: u32 = 50;
    const INTERVAL: Duration = Duration::from_millis(10);

    /// The TURN server has limits for each address, so the name of our end tells the client's. Both ends take only what is in this process.
    pub async fn connect(peer: SocketAddr, turn: &str) -> io::Result<UnixStream> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let client = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let name = format!("\0{turn}/{number}/{client}");
        let mut tried = 1;
        let server = loop {
            let socket = UnixSocket::new_stream()?;
            socket.bind(&name)?;
            match socket.connect(format!("\0{turn}")).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && tried < TRIES => {}
                ended => break ended?,
            }
            tried += 1;
            tokio::time::sleep(INTERVAL).await;
        };
        if server.peer_cred()?.pid() != i32::try_from(std::process::id()).ok() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "another process has its name",
            ));
        }
        Ok(server)
    }
}

#[cfg(not(target_os = "linux"))]
mod local {
    use std::io;
    use std::net::SocketAddr;

    use tokio::net::UnixStream;

    /// Other systems have no abstract names.
    pub async fn connect(_peer: SocketAddr, _turn: &str) -> io::Result<UnixStream> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, duplex};
    #[cfg(target_os = "linux")]
    use tokio::net::UnixListener;

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

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn bytes_go_both_ways_until_one_side_ends() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("lite-http-relay-test-{}", std::process::id());
        let listener = UnixListener::bind(format!("\0{name}")).expect("the name is free");
        for (peer, client) in [
            ("203.0.113.7:4711", "203.0.113.7:4711"),
            ("[::ffff:203.0.113.7]:4711", "203.0.113.7:4711"),
            (
                "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535",
                "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535",
            ),
        ] {
            let (mut here, there) = duplex(64);
            let (peer, turn) = (peer.parse().expect("an address"), name.clone());
            let relaying = tokio::spawn(async move { relay(there, peer, &turn).await });
            let (mut server, _) = listener.accept().await.expect("it connects");
            let from = std::os::unix::net::SocketAddr::from(server.peer_addr().expect("it is connected"));
            let from = String::from_utf8_lossy(from.as_abstract_name().expect("it has a name")).into_owned();
            assert!(
                from.starts_with(&format!("{name}/")) && from.ends_with(&format!("/{client}")),
                "{from}"
            );
            let mut heard = [0; 4];
            here.write_all(b"ping").await.expect("it is open");
            server.read_exact(&mut heard).await.expect("it is open");
            assert_eq!(&heard, b"ping");
            server.write_all(b"pong").await.expect("it is open");
            here.read_exact(&mut heard).await.expect("it is open");
            assert_eq!(&heard, b"pong");
            drop(server);
            assert!(relaying.await.expect("no panic").is_ok());
            assert_eq!(here.read(&mut heard).await.expect("it is closed"), 0);
        }
    }

    /// A listener that nobody accepts from, and those whose connections fill its backlog.
    #[cfg(target_os = "linux")]
    async fn full(name: &str) -> (UnixListener, Vec<tokio::net::UnixStream>) {
        use tokio::net::{UnixSocket, UnixStream};
        let socket = UnixSocket::new_stream().expect("a socket");
        socket.bind(format!("\0{name}")).expect("the name is free");
        let listener = socket.listen(1).expect("it is bound");
        let mut waiting = Vec::new();
        loop {
            match UnixStream::connect(format!("\0{name}")).await {
                Ok(stream) => waiting.push(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (listener, waiting),
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_server_whose_backlog_is_full_is_tried_again_for_a_while() {
        let name = format!("lite-http-relay-full-{}", std::process::id());
        let (listener, waiting) = full(&name).await;
        let peer = "203.0.113.7:4711".parse().expect("an address");
        let (_here, there) = duplex(64);
        let error = relay(there, peer, &name).await.expect_err("nobody accepts");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let (mut here, there) = duplex(64);
        let turn = name.clone();
        let relaying = tokio::spawn(async move { relay(there, peer, &turn).await });
        // It finds the backlog full before the others are accepted.
        tokio::task::yield_now().await;
        assert!(!relaying.is_finished());
        for _ in &waiting {
            listener.accept().await.expect("one waits");
        }
        let (mut server, _) = listener.accept().await.expect("it connects");
        server.write_all(b"pong").await.expect("it is open");
        let mut heard = [0; 4];
        here.read_exact(&mut heard).await.expect("it is open");
        assert_eq!(&heard, b"pong");
        drop(server);
        assert!(relaying.await.expect("no panic").is_ok());
    }

    #[tokio::test]
    async fn a_server_that_is_gone_ends_the_connection() {
        let (_here, there) = duplex(64);
        let peer = "203.0.113.7:4711".parse().expect("an address");
        assert!(relay(there, peer, "lite-http-relay-nobody").await.is_err());
    }
}
