//! Copying lines of a service to the console (`runt/log-console`), within a
//! rate limit and without ever blocking.

use core::ffi::CStr;

use crate::{
    config,
    machine::{line::Lines, ratelimit::RateLimit},
    sys::{self, AsFd, At, Errno, Fd, clock, file},
    text::Line,
    wire::clock::Instant,
};

/// File of the option: empty, or the path of a device.
const OPTION: &CStr = c"runt/log-console";
/// Device where the option names none.
const CONSOLE: &[u8] = b"/dev/console";

/// Maximum size in bytes of the message about lines left out.
const SUMMARY_BYTES: usize = config::NAME_BYTES + 64;

/// Copy of a service's lines on the console.
pub(super) struct ConsoleCopy {
    /// `true` if the option is set and the device could be opened.
    wanted: bool,
    /// The device, kept open once used: closing it could block.
    file: Fd,
    /// The device took only a part of the last line.
    mid_line: bool,
    rate: RateLimit,
}

impl ConsoleCopy {
    /// Returns a copy that shows nothing.
    pub(super) fn disabled() -> Self {
        Self {
            wanted: false,
            file: Fd::none(),
            mid_line: false,
            rate: RateLimit::NEW,
        }
    }

    /// Reads whether a service directory has the option.
    pub(super) fn look(&mut self, at: At<'_>) {
        self.wanted = file::info(at, OPTION).is_ok();
    }

    /// Returns the moment at which lines left out must be reported.
    pub(super) fn due(&self) -> Option<Instant> {
        self.rate.due().filter(|_| self.wanted)
    }

    /// Shows as many lines of a block as the rate limit allows. Fails when the
    /// device cannot be opened; then nothing is shown until the next
    /// [`ConsoleCopy::look`].
    pub(super) fn show(
        &mut self,
        at: At<'_>,
        name: &[u8],
        lines: Lines,
        block: &[u8],
    ) -> Result<(), Errno> {
        if !self.wanted {
            return Ok(());
        }
        let now = clock::mono();
        self.summarize(at, name, now)?;
        for piece in lines.pieces(block).filter(|piece| piece.first) {
            let text = piece.text();
            let length = text.len().saturating_add(name.len());
            let length = length.saturating_add(3).min(config::MESSAGE_BYTES);
            if self.rate.take(length, now) {
                let mut line = Line::new();
                line.bytes(name).text(": ").bytes(text);
                self.write(at, line.finish(), 1)?;
            }
        }
        Ok(())
    }

    /// Reports how many lines were left out, when that is due.
    pub(super) fn summarize(
        &mut self,
        at: At<'_>,
        name: &[u8],
        now: Instant,
    ) -> Result<(), Errno> {
        let Some(count) = self.rate.take_dropped(SUMMARY_BYTES, now) else {
            return Ok(());
        };
        let mut line = Line::new();
        line.bytes(name).text(": ").number(count);
        line.text(" lines left out, see `sv log ")
            .bytes(name)
            .text("`");
        self.write(at, line.finish(), count)
    }

    /// Writes a line that counts as `count` lines. They count as left out if
    /// the device does not take all of it at once.
    fn write(
        &mut self,
        at: At<'_>,
        line: &[u8],
        count: u64,
    ) -> Result<(), Errno> {
        if self.mid_line {
            self.mid_line = self.send(at, b"\n")? == 0;
        }
        let sent = if self.mid_line {
            0
        } else {
            self.send(at, line)?
        };
        if sent < line.len() {
            self.mid_line |= sent > 0;
            self.rate.drop_lines(count);
        }
        Ok(())
    }

    /// Sends as much as the device takes now and returns the number of bytes.
    /// Opens the device if it is not open or was hung up.
    fn send(&mut self, at: At<'_>, bytes: &[u8]) -> Result<usize, Errno> {
        match sys::write_once(self.file.as_fd(), bytes) {
            Ok(sent) => return Ok(sent),
            Err(Errno::EAGAIN) => return Ok(0),
            Err(_) => {}
        }
        self.wanted = false;
        self.file = open(at)?;
        self.wanted = true;
        Ok(sys::write_once(self.file.as_fd(), bytes).unwrap_or(0))
    }
}

/// Opens the device that the option of a service directory names.
fn open(at: At<'_>) -> Result<Fd, Errno> {
    let mut buffer = [0; config::PATH_BYTES];
    let device = match file::read_whole(at, OPTION, &mut buffer)?.trim_ascii() {
        b"" => CONSOLE,
        device => device,
    };
    let path = file::path_of(&[device])?;
    file::open_write(at, path.as_c_str())
}
