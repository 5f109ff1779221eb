//! The modules that know nothing of the BEAM, with the tests in them. The library itself can't be linked into a test program.

#![allow(dead_code)]

#[path = "../src/body.rs"]
mod body;
#[path = "../src/census.rs"]
mod census;
#[path = "../src/guard.rs"]
mod guard;
#[path = "../src/handshake.rs"]
mod handshake;
#[path = "../src/outgoing.rs"]
mod outgoing;
#[path = "../src/redirect.rs"]
mod redirect;
#[path = "../src/relay.rs"]
mod relay;
#[path = "../src/tls.rs"]
mod tls;

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_write_that_nobody_reads_fails_after_its_time() {
    let (here, _there) = tokio::io::duplex(16);
    let mut guarded = guard::WriteGuard::new(here, Duration::from_millis(50));
    let started = Instant::now();
    let error = guarded.write_all(&[0; 64]).await.expect_err("nobody reads");
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_write_that_is_read_slowly_goes_through() {
    // A machine that stalls for as long as the guard waits looks like a reader who does; not five times.
    for tries_left in (0..5).rev() {
        let (here, mut there) = tokio::io::duplex(16);
        let mut guarded = guard::WriteGuard::new(here, Duration::from_millis(200));
        let reading = tokio::spawn(async move {
            let mut buffer = [0; 16];
            for _ in 0..8 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                if there.read_exact(&mut buffer).await.is_err() {
                    return false;
                }
            }
            true
        });
        let written = guarded.write_all(&[0; 128]).await.is_ok();
        drop(guarded);
        if written && reading.await.expect("no panic") {
            return;
        }
        assert!(tries_left > 0, "each piece is in time");
    }
}
