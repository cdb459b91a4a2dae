//! How a datagram is sent.

use super::{Errno, Fd, raw};

/// AF_INET.
const INET: u16 = 2;

/// A socket for datagrams over IPv4.
pub fn socket() -> Result<Fd, Errno> {
    raw::datagram_socket(INET.into())
}

/// Sends a datagram, without waiting for anything.
pub fn send(
    socket: &Fd,
    ip: [u8; 4],
    port: u16,
    bytes: &[u8],
) -> Result<(), Errno> {
    let ([f, g], [p, q]) = (INET.to_ne_bytes(), port.to_be_bytes());
    let [a, b, c, d] = ip;
    let address = [f, g, p, q, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0];
    raw::send_udp(socket, bytes, &address)
}
