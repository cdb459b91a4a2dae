//! Connects to the system log daemon.

use super::{Errno, Fd, raw};

/// The daemon's socket.
pub const PATH: &str = "/dev/log";

/// Returns a socket that sends datagrams to the daemon and never waits.
///
/// ECONNREFUSED: the daemon that owned the socket has exited; EPROTOTYPE: the
/// socket does not accept datagrams.
pub fn connect() -> Result<Fd, Errno> {
    /// AF_UNIX.
    const UNIX: u16 = 1;
    let mut address = [0; 2 + PATH.len() + 1];
    let bytes = UNIX.to_ne_bytes().into_iter().chain(PATH.bytes());
    for (target, byte) in address.iter_mut().zip(bytes) {
        *target = byte;
    }
    let socket = raw::datagram_socket(UNIX.into())?;
    raw::connect(&socket, &address)?;
    Ok(socket)
}
