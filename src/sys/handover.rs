//! How a process hands open files to another: with a message, over a pair of
//! sockets (unix(7)). So it needs no way there of its own, neither by name nor
//! by /proc.

use super::{At, Errno, Fd, raw};

/// Two sockets that are each other's other end. A message comes as it was
/// sent, whole; neither end waits.
pub fn pair() -> Result<[Fd; 2], Errno> {
    raw::socket_pair()
}

/// Sends a message, and files that the receiver gets descriptors of.
///
/// EAGAIN: the receiver has as much as the kernel keeps for it.
pub fn send(
    to: At<'_>,
    bytes: &[u8],
    files: Option<[At<'_>; 2]>,
) -> Result<(), Errno> {
    raw::send_files(to, bytes, files)
}

/// Takes a message: its bytes that fit, 0 when the other end is gone, and its
/// files, none for those it did not bring, or for which there is no room.
pub fn receive(
    from: At<'_>,
    buffer: &mut [u8],
) -> Result<(usize, [Fd; 2]), Errno> {
    loop {
        match raw::receive_files(from, buffer) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::sys::{AsFd as _, file, pipe, read, write_all};

    #[test]
    fn a_message_brings_files() {
        let [here, there] = pair().unwrap();
        let [end, start] = pipe(true).unwrap();
        let mut buffer = [0; 8];
        let nothing = receive(there.as_fd(), &mut buffer);
        assert_eq!(nothing.unwrap_err(), Errno::EAGAIN);
        send(here.as_fd(), b"one", Some([start.as_fd(), end.as_fd()])).unwrap();
        send(here.as_fd(), b"two", None).unwrap();
        drop(start);
        let (count, [new, copy]) = receive(there.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"one");
        write_all(new.as_fd(), b"through").unwrap();
        assert_eq!(read(copy.as_fd(), &mut buffer), Ok(7));
        let (count, [none, _]) = receive(there.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"two");
        assert_eq!(file::info_of(none.as_fd()), Err(Errno::EBADF));
        drop(here);
        assert_eq!(receive(there.as_fd(), &mut buffer).unwrap().0, 0);
    }
}
