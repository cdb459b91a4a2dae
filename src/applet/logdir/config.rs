//! The config of a log directory that is in force (contract §5.5).

use core::time::Duration;

use crate::{
    sys::{At, Errno, buffer::Buffer},
    wire::{
        logconfig::{self, Invalid, Settings, Udp},
        stamp::Style,
    },
};

use super::{
    access::Access,
    config_text::ConfigText,
    context::{LogContext, Mode},
};

/// Bounds and times of a config.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Size in bytes at which `current` is rotated; 0 for never.
    pub(super) size: u64,
    /// Number of old logs kept; 0 for all.
    pub(super) keep: u64,
    /// Number of old logs kept on a full disk.
    pub(super) keep_full: u64,
    /// Age at which `current` is rotated, if any.
    pub(super) age: Option<Duration>,
    /// Maximum time between a write and its fdatasync, if the config sets one.
    pub(super) durable: Option<Duration>,
    /// Time for which lines that cannot be written are kept before they are
    /// dropped; `None` for ever.
    pub(super) lossy: Option<Duration>,
    /// Mode and group of the files.
    pub(super) access: Access,
}

/// A log directory's config. Without one that could be read the defaults are
/// in force.
pub(super) struct Config {
    limits: Limits,
    texts: ConfigText,
    udp: Option<Udp>,
    /// `true` once a config was read.
    known: bool,
    /// `true` if lines are logged unchanged: no stamp, prefix, pattern or
    /// address.
    plain: bool,
}

impl Config {
    /// Returns the config of a directory that was never opened.
    pub(super) fn new(texts: ConfigText) -> Self {
        Self {
            limits: Limits {
                size: 0,
                keep: 0,
                keep_full: 0,
                age: None,
                durable: None,
                lossy: None,
                access: Access::PLAIN,
            },
            texts,
            udp: None,
            known: false,
            plain: false,
        }
    }

    /// Returns whether a config was read.
    pub(super) fn is_known(&self) -> bool {
        self.known
    }

    /// Returns the bounds and times.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the patterns, the prefix and the command.
    pub(super) fn texts(&self) -> &ConfigText {
        &self.texts
    }

    /// Returns the address that lines are sent to.
    pub(super) fn udp(&self) -> Option<Udp> {
        self.udp
    }

    /// Returns whether lines are logged unchanged.
    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }

    /// Reads the file `config` in `dir`, which has the given name in messages;
    /// its texts only if `with_texts` is set. If it cannot be read the previous
    /// one stays in force (contract §5.5). Uses `buffer`, which is empty.
    ///
    /// The same holds for a config longer than the bound. Without a previous
    /// one it is an error (`EFBIG`) in svlogd. The shared logger cannot refuse
    /// to start: it obeys the part that fits but no patterns, so that no line
    /// is left out.
    pub(super) fn read(
        &mut self,
        context: &LogContext,
        dir: At<'_>,
        name: &[u8],
        buffer: &mut Buffer,
        with_texts: bool,
    ) -> Result<(), Errno> {
        let bound = self.texts.bound();
        // One byte more than the bound, to detect a longer config.
        let most = bound.saturating_add(1);
        match buffer.read_whole(dir, c"config", most) {
            Ok(()) => context.info(&[b"read: ", name, b"/config"]),
            Err(Errno::ENOENT) => {}
            Err(errno) => {
                context.warn("warning", "unable to read config", name, errno);
                if self.known {
                    return Ok(());
                }
                buffer.clear();
            }
        }
        let text = buffer.as_slice();
        let is_cut = text.len() > bound;
        if !is_cut {
            self.apply(context, name, text, with_texts, true);
            return Ok(());
        }
        report_too_long(context, name, bound);
        if self.known {
            return Ok(());
        } else if context.mode == Mode::Alone {
            return Err(Errno::EFBIG);
        }
        // The last line is cut, and a part of it may mean something else.
        let end = text.iter().rposition(|byte| *byte == b'\n');
        let text = text.get(..end.unwrap_or(0)).unwrap_or(&[]);
        self.apply(context, name, text, with_texts, false);
        Ok(())
    }

    /// Puts a config in force.
    fn apply(
        &mut self,
        context: &LogContext,
        name: &[u8],
        text: &[u8],
        with_texts: bool,
        with_patterns: bool,
    ) {
        let texts = &mut self.texts;
        if with_texts {
            texts.clear();
        }
        let settings = logconfig::settings(
            text,
            context.bounds,
            |line| {
                if with_texts && with_patterns {
                    texts.add_pattern(line);
                }
            },
            |invalid, part| {
                if with_texts {
                    report_invalid(context, name, invalid, part);
                }
            },
        );
        self.limits = Limits::new(context, name, &settings);
        if with_texts {
            texts.finish(settings.prefix, settings.command);
            self.udp = settings.udp;
            self.known = true;
            self.plain = context.request.style == Style::Plain
                && self.udp.is_none()
                && self.texts.prefix().is_empty()
                && self.texts.patterns().is_empty();
        }
    }
}

impl Limits {
    /// Takes them from the settings of directory `name`. Reports a group that
    /// is not found.
    fn new(context: &LogContext, name: &[u8], settings: &Settings<'_>) -> Self {
        let set = |time: Duration| (time > Duration::ZERO).then_some(time);
        Self {
            size: settings.size,
            keep: settings.keep,
            keep_full: settings.keep_full,
            age: set(settings.age),
            durable: set(settings.durable),
            lossy: set(settings.lossy),
            access: Access::look_up(context, name, settings),
        }
    }
}

/// Reports a config that is longer than the bound.
fn report_too_long(context: &LogContext, name: &[u8], bound: usize) {
    let capacity = if context.mode == Mode::Alone {
        "file-bytes"
    } else {
        "log-config-bytes"
    };
    let what: [&[u8]; 2] = [name, b"/config: too long"];
    context.report_bound("warning", &what, capacity, bound);
}

/// Reports a part of a config that is invalid.
fn report_invalid(
    context: &LogContext,
    name: &[u8],
    invalid: Invalid,
    part: &[u8],
) {
    let (name, what): (&[u8], &[u8]) = match invalid {
        Invalid::Ip => (b"", b"unable to scan ip address: "),
        Invalid::Port => (b"", b"unable to scan port number: "),
        Invalid::Unknown => (name, b"/config: unknown line: "),
        Invalid::Number => (name, b"/config: odd number: "),
    };
    context.report("warning", &[name, what, part]);
}
