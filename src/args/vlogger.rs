//! Parses the command line of `vlogger`.

use core::ffi::CStr;

use crate::wire::syslog::Priority;

use super::getopt::{Getopt, Opt};

/// Letters of the options.
pub const OPTIONS: &[u8] = b"f:ip:Sst:";

/// Options for sending messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// `-f`: file to read lines from, instead of descriptor 0.
    pub file: Option<&'a CStr>,
    /// `-i`: each message has the process ID.
    pub pid: bool,
    /// `-p`: priority of each message.
    pub priority: Option<Priority>,
    /// `-S`: /etc/vlogger is not run.
    pub syslog: bool,
    /// `-s`: messages also go to descriptor 2.
    pub copy: bool,
    /// `-t`: tag of each message.
    pub tag: Option<&'a CStr>,
}

/// Reason why there is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<'a> {
    /// An option is wrong. The message names it, and the usage follows.
    Option(Opt<'a>),
    /// The value of `-p` is not a priority.
    Priority(&'a CStr),
    /// Both `-f` and a message were given.
    Usage,
}

/// Parses `words`, the arguments after the program's name. Also returns the
/// number of arguments that the options take; a message follows them.
pub fn request<'a, I>(mut words: I) -> Result<(Request<'a>, usize), Error<'a>>
where
    I: Iterator<Item = &'a CStr> + Clone,
{
    let mut options = Getopt::new(words.clone(), OPTIONS);
    let mut request = Request::default();
    for option in &mut options {
        match option {
            Opt::Flag(b'i') => request.pid = true,
            Opt::Flag(b'S') => request.syslog = true,
            Opt::Flag(_) => request.copy = true,
            Opt::Value(b'f', path) => request.file = Some(path),
            Opt::Value(b'p', text) => {
                let priority = Priority::parse(text.to_bytes());
                let priority = priority.ok_or(Error::Priority(text))?;
                request.priority = Some(priority);
            }
            Opt::Value(_, tag) => request.tag = Some(tag),
            Opt::Illegal(_) | Opt::Missing(_) => {
                return Err(Error::Option(option));
            }
        }
    }
    let used = options.used();
    if request.file.is_some() && words.nth(used).is_some() {
        return Err(Error::Usage);
    }
    Ok((request, used))
}

#[cfg(test)]
mod test {
    use super::*;

    fn read<'a>(words: &[&'a CStr]) -> Result<(Request<'a>, usize), Error<'a>> {
        request(words.iter().copied())
    }

    #[test]
    fn every_option() {
        let words = [c"-isS", c"-t", c"web", c"-pdaemon.info", c"-f", c"x"];
        let expected = Request {
            file: Some(c"x"),
            pid: true,
            priority: Priority::parse(b"daemon.info"),
            syslog: true,
            copy: true,
            tag: Some(c"web"),
        };
        assert_eq!(read(&words), Ok((expected, 6)));
        let plain = Request::default();
        assert_eq!(read(&[]), Ok((plain, 0)));
        assert_eq!(read(&[c"a", c"-i"]), Ok((plain, 0)));
        assert_eq!(read(&[c"--", c"-i"]), Ok((plain, 1)));
    }

    #[test]
    fn errors() {
        assert_eq!(read(&[c"-f", c"x", c"a"]), Err(Error::Usage));
        assert_eq!(read(&[c"-px"]), Err(Error::Priority(c"x")));
        let illegal = Error::Option(Opt::Illegal(b'n'));
        assert_eq!(read(&[c"-n"]), Err(illegal));
        let missing = Error::Option(Opt::Missing(b't'));
        assert_eq!(read(&[c"-t"]), Err(missing));
    }
}
