//! When the kernel took a datagram in: asked for only while a packet is to be followed ([`Action::Trace`](crate::Action::Trace)).

#![allow(clippy::disallowed_methods)] // this is the I/O half

use std::net::UdpSocket;
use std::time::Instant;

/// When the kernel took in the datagram that was last received by this socket; `None` where the system doesn't tell.
///
/// The first call switches the time stamps of the socket on, so it tells nothing of use yet.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(crate) fn of_last(socket: &UdpSocket) -> Option<Instant> {
    use std::os::fd::AsRawFd;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    /// `SIOCGSTAMPNS` of linux/sockios.h, which libc doesn't have.
    const GET_STAMP: libc::Ioctl = 0x8907;
    /// An older stamp is of a clock that was set meanwhile.
    const OLDEST: Duration = Duration::from_secs(1);

    let mut stamp = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, whose layout on 64-bit systems is the kernel's, to a variable that outlives it.
    #[allow(unsafe_code)]
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), GET_STAMP, &raw mut stamp) };
    let now = Instant::now();
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let stamp = Duration::new(u64::try_from(stamp.tv_sec).ok()?, u32::try_from(stamp.tv_nsec).ok()?);
    let age = wall.checked_sub(stamp)?;
    (result == 0 && age < OLDEST).then(|| now.checked_sub(age))?
}

/// Elsewhere nothing is known.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
pub(crate) fn of_last(_socket: &UdpSocket) -> Option<Instant> {
    None
}
