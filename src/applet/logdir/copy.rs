//! How a line reaches descriptor 2 and the network (contract §5.4, §5.5).

use crate::sys::{self, fd, udp};

use super::{
    directory::Directory,
    output::{Output, join},
    voice::Voice,
};

impl Directory {
    /// Sends a line, given as stamp, text and end, to where it goes beside
    /// the file: to descriptor 2 if `copied`, by UDP if selected for the log.
    /// What the network refuses is logged.
    pub(in crate::applet) fn send(
        &mut self,
        voice: &mut Voice,
        output: &mut Output,
        line: &[&[u8]; 3],
        copied: bool,
    ) {
        let [stamp, text, end] = *line;
        let parts = [stamp, self.text.prefix(), text, end];
        // Put together behind what waits to be written, which makes room if
        // there is none: a line is shorter than the output.
        if output.room().len() < parts.iter().map(|part| part.len()).sum() {
            self.flush(voice, output);
        }
        if self.hand.is_some() {
            return;
        }
        let parts = [stamp, self.text.prefix(), text, end];
        let whole = join(output.room(), &parts).unwrap_or(&[]);
        if copied {
            let _told = sys::write_all(fd::STDERR, whole).is_ok();
        }
        let to = self.udp.filter(|_| self.selected);
        let refused = to.and_then(|to| {
            let socket = self.socket.take().map_or_else(udp::socket, Ok);
            let Ok(socket) = socket else {
                return Some("warning: no udp socket available: ");
            };
            let sent = udp::send(&socket, to.ip, to.port, whole);
            self.socket = Some(socket);
            sent.err().map(|_| "warning: failure sending through udp: ")
        });
        if let Some(why) = refused {
            self.put(voice, output, why.as_bytes());
            self.put(voice, output, stamp);
            self.put_prefix(voice, output);
            self.put(voice, output, text);
            self.put(voice, output, end);
        }
    }
}
