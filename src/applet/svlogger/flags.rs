//! State of a stream, and requests for it, as flags.

/// State and requests.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    /// Read until the pipe is empty, then end.
    pub(super) drains: bool,
    /// End after the current line.
    pub(super) ends: bool,
    /// Close the log and open it again.
    pub(super) reopen: bool,
    /// Rotate the log.
    pub(super) rotate: bool,
    /// Do not read.
    pub(super) paused: bool,
    /// The pipe is registered with the poller.
    pub(super) listens: bool,
    /// The running worker seals the log, after which it is closed.
    pub(super) sealing: bool,
    /// The last TERM was sent: the worker is killed if it does not end soon.
    pub(super) killed: bool,
}
