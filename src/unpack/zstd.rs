//! Zstandard streams of several frames, with a bound on the memory a frame may ask for.
//!
//! Source: RFC 8878, sections 3.1.1 (frames) and 3.1.2 (skippable frames).

use std::io::{self, BufRead, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::UnpackError;

/// Inflates frame after frame.
pub(super) struct Zstd<R> {
    source: R,
    decoder: FrameDecoder,
    within: bool,
    window: u64,
}

impl<R: BufRead> Zstd<R> {
    pub(super) fn new(source: R, window: u64) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(window);
        Zstd { source, decoder, within: false, window }
    }

    /// Reads the next frame's header; false at the end of the stream.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = io::copy(&mut (&mut self.source).take(length.into()), &mut io::sink())?;
                    if skipped < length.into() {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(FrameDecoderError::WindowSizeTooBig { .. }) => {
                    let what = "bytes of zstd window";
                    return Err(io::Error::other(UnpackError::Limit {
                        what,
                        limit: self.window,
                        flag: "--max-zstd-window",
                    }));
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.within && !self.next_frame()? {
                return Ok(0);
            }
            self.within = true;
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buf);
            }
            if self.decoder.is_finished() {
                self.within = false;
                continue;
            }
            let strategy = BlockDecodingStrategy::UptoBlocks(1);
            self.decoder.decode_blocks(&mut self.source, strategy).map_err(io::Error::other)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of one raw block, with a window of `1 << log` bytes.
    fn frame(log: u8, content: &[u8]) -> Vec<u8> {
        let block = u32::try_from(content.len()).unwrap() << 3 | 1;
        [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, (log - 10) << 3], &block.to_le_bytes()[..3], content].concat()
    }

    #[test]
    fn frames_follow_each_other_and_some_are_skipped() {
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let stream = [frame(20, b"one "), skippable, frame(20, b"two")].concat();
        let mut text = String::new();
        Zstd::new(&stream[..], 32 << 20).read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two");
    }

    #[test]
    fn a_window_above_the_limit_is_refused() {
        let read = |log, limit| Zstd::new(&frame(log, b"x")[..], limit).read_to_end(&mut Vec::new());
        assert!(read(26, 32 << 20).unwrap_err().to_string().contains("--max-zstd-window"));
        assert!(read(26, 64 << 20).is_ok());
        assert!(read(25, 32 << 20).is_ok());
    }
}
