//! A descriptor out of a socket.

#![allow(unsafe_code)]

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// The descriptor that the next message carries (`SCM_RIGHTS`, unix(7)), close-on-exec; nothing when it carries none or the other end is
/// closed.
///
/// # Errors
///
/// recvmsg(2).
pub fn receive(socket: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Errno> {
    let mut byte = [0];
    let mut into = [IoSliceMut::new(&mut byte)];
    // Room for one: the kernel closes what does not fit.
    let mut space = cmsg_space!(RawFd);
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut into, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let first = message.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    });
    // SAFETY: the kernel made this descriptor for this very message, so nobody else owns it.
    Ok(first.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }))
}
