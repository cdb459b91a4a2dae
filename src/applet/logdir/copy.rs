//! Copying lines to descriptor 2 and sending them by UDP (contract §5.4,
//! §5.5).

use crate::sys::udp;

use super::{
    context::LogContext,
    directory::Directory,
    output::{Output, join},
    stall::Step,
};

impl Directory {
    /// Sends a line, given as stamp, text and end, to its destinations beside
    /// the file: to descriptor 2 if `copied`, by UDP if selected for the log.
    /// A line that cannot be sent is logged with the reason. `index` is the
    /// line's piece.
    pub(super) fn send(
        &mut self,
        context: &mut LogContext,
        output: &mut Output,
        index: usize,
        line: &[&[u8]; 3],
        copied: bool,
    ) -> Step {
        let [stamp, text, end] = *line;
        let parts = [stamp, self.text.prefix(), text, end];
        // The line is assembled behind the gathered output. Flushing makes
        // enough room: a line is shorter than the output.
        if output.room().len() < parts.iter().map(|part| part.len()).sum() {
            self.flush(context, output)?;
        }
        if self.worker.is_some() {
            return Ok(());
        }
        let parts = [stamp, self.text.prefix(), text, end];
        let whole = join(output.room(), &parts).unwrap_or(&[]);
        if copied {
            context.copy(whole);
        }
        let to = self.udp.filter(|_| self.selected);
        let refused = to.and_then(|to| {
            let socket =
                self.socket.take().map_or_else(|| udp::socket_to(to.to), Ok);
            let Ok(socket) = socket else {
                return Some("warning: no udp socket available: ");
            };
            let sent = udp::send(&socket, to.to, whole);
            self.socket = Some(socket);
            sent.err().map(|_| "warning: failure sending through udp: ")
        });
        let Some(why) = refused else {
            self.block.sent = index.saturating_add(1);
            return Ok(());
        };
        self.flush(context, output)?;
        self.begin_notice(index);
        let put = self.put_notice(context, output, why, line);
        self.end_notice(put)
    }

    /// Logs the reason why a line was not sent, and the line.
    fn put_notice(
        &mut self,
        context: &mut LogContext,
        output: &mut Output,
        why: &str,
        [stamp, text, end]: &[&[u8]; 3],
    ) -> Step {
        self.put(context, output, why.as_bytes())?;
        self.put(context, output, stamp)?;
        self.put_prefix(context, output)?;
        self.put(context, output, text)?;
        self.put(context, output, end)?;
        self.flush(context, output)
    }
}
