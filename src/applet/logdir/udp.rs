//! The socket through which a log directory's lines are sent by UDP (contract
//! §5.5).

use core::net::SocketAddr;

use crate::sys::{Fd, udp};

/// A socket that is opened when it is first needed.
pub(super) struct UdpLink {
    /// The socket, and the address that it was opened for.
    open: Option<(Fd, SocketAddr)>,
}

impl UdpLink {
    /// A socket that is not open.
    pub(super) const CLOSED: Self = Self { open: None };

    /// Closes the socket.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Sends a line. Returns the beginning of the notice about a failure.
    pub(super) fn send(
        &mut self,
        to: SocketAddr,
        line: &[u8],
    ) -> Option<&'static str> {
        // Another address may be of another family.
        let socket = self.open.take().filter(|(_, old)| *old == to);
        let socket = socket.map_or_else(|| udp::socket_to(to), |it| Ok(it.0));
        let Ok(socket) = socket else {
            return Some("warning: no udp socket available: ");
        };
        let sent = udp::send(&socket, to, line);
        self.open = Some((socket, to));
        sent.err().map(|_| "warning: failure sending through udp: ")
    }
}
