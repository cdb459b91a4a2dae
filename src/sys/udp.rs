//! Sends datagrams over UDP.

use core::net::SocketAddr;

use super::{Errno, Fd, raw};

/// AF_INET.
const INET: u16 = 2;
/// AF_INET6.
const INET6: u16 = 10;

/// Opens a socket for datagrams over IPv4.
pub fn socket() -> Result<Fd, Errno> {
    raw::datagram_socket(INET.into())
}

/// Opens a socket for datagrams to an address of the family of `to`.
pub fn socket_to(to: SocketAddr) -> Result<Fd, Errno> {
    raw::datagram_socket(if to.is_ipv4() { INET } else { INET6 }.into())
}

/// Sends a datagram, non-blocking.
pub fn send(socket: &Fd, to: SocketAddr, bytes: &[u8]) -> Result<(), Errno> {
    // `struct sockaddr_in6`, whose scope stays 0, or `sockaddr_in`.
    let mut address = [0; 28];
    let (family, at, ip, length) = match &to {
        SocketAddr::V4(to) => (INET, 4, &to.ip().octets()[..], 16),
        SocketAddr::V6(to) => (INET6, 8, &to.ip().octets()[..], 28),
    };
    let parts = [
        (0, &family.to_ne_bytes()[..]),
        (2, &to.port().to_be_bytes()[..]),
        (at, ip),
    ];
    for (at, part) in parts {
        // All parts are within the address.
        let room = address.get_mut(at..).unwrap_or(&mut []);
        let _fits = crate::text::copy(room, part);
    }
    raw::send_udp(socket, bytes, address.get(..length).unwrap_or(&[]))
}
