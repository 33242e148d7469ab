//! A file's data, and its holes.

use std::io::BufRead;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::uio::pwrite;
use nix::unistd::{ftruncate, write as write_some};

use super::UnpackError;
use super::entries::Entries;
use super::error::refused;
use super::sparse::Segments;

/// Writes the data of the present entry; a file with holes gets its pieces where they belong.
pub(super) fn write<R: BufRead>(
    fd: &OwnedFd,
    tar: &mut Entries<'_, R>,
    size: u64,
    segments: Option<&Segments>,
    path: &[u8],
) -> Result<(), UnpackError> {
    let Some(segments) = segments else {
        loop {
            let chunk = tar.chunk()?;
            if chunk.is_empty() {
                return Ok(());
            }
            match write_some(fd, chunk) {
                Ok(written) => tar.consume(written),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(refused("write", path)(errno)),
            }
        }
    };
    let too_long = |_| refused("write", path)(Errno::EFBIG);
    ftruncate(fd, i64::try_from(size).map_err(too_long)?).map_err(refused("write", path))?;
    for (offset, length) in segments {
        let (mut at, end) = (*offset, offset + length);
        while at < end {
            let chunk = tar.chunk()?;
            let take = chunk.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            match pwrite(fd, &chunk[..take], i64::try_from(at).map_err(too_long)?) {
                Ok(written) => {
                    tar.consume(written);
                    at += written as u64;
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(refused("write", path)(errno)),
            }
        }
    }
    Ok(())
}
