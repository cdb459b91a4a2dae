//! Copying lines to descriptor 2 and sending them by UDP (contract §5.4,
//! §5.5).

use super::{
    context::LogContext, directory::Directory, output::Output, stall::Step,
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
        let parts = [stamp, self.store.config.texts().prefix(), text, end];
        // Flushing makes enough room: a line is shorter than the output.
        if !output.has_room(&parts) {
            self.flush(context, output)?;
        }
        let to = self.store.config.udp().filter(|_| self.selected);
        let socket = &mut self.udp;
        let parts = [stamp, self.store.config.texts().prefix(), text, end];
        let refused = output.with_line(&parts, |whole| {
            let refused = to.and_then(|to| socket.send(to.to, whole));
            if copied {
                context.copy(whole);
            }
            refused
        });
        let Some(why) = refused else {
            self.block.sent = index.saturating_add(1);
            return Ok(());
        };
        self.flush(context, output)?;
        self.block.begin_notice(index);
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
