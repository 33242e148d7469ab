//! A layer's bytes, checked and inflated in one pass.
//!
//! A thread of its own reads the blob, hashes it and inflates it; the tar comes out of a bounded pipe, so that memory does not
//! grow with the image, and is hashed by who takes it, which shares the work well between two processors. What was unpacked is
//! believed only after [`Reading::finish`].

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{Scope, ScopedJoinHandle};

use super::zstd::Zstd;
use super::{Budget, UnpackError};
use crate::digest::{Digest, Hasher};
use crate::image::{Compression, Layer};
use crate::source::Opened;

/// What one message of the pipe holds at most.
const CHUNK: usize = 128 << 10;
/// Messages in flight: 2 MiB a layer.
const DEPTH: usize = 16;

/// A layer that is being read.
pub(crate) struct Reading<'scope> {
    /// The uncompressed tar.
    pub(super) pipe: Pipe,
    stop: Arc<AtomicBool>,
    diff_id: &'scope Digest,
    reader: ScopedJoinHandle<'scope, Result<(), UnpackError>>,
}

/// The reading end: buffered, and the buffers go back to the writing end. What is taken is hashed.
pub(super) struct Pipe {
    diff: Hasher,
    full: mpsc::Receiver<Vec<u8>>,
    empty: mpsc::Sender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
}

impl<'scope> Reading<'scope> {
    /// Starts the thread that reads layer `index` of `opened`.
    pub(crate) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        opened: &'env Opened,
        index: usize,
        budget: &'env Budget,
    ) -> Self {
        let (full_in, full) = mpsc::sync_channel(DEPTH);
        let (empty, empty_out) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let diff_id = &opened.image.layers[index].diff_id;
        let diff = Hasher::new(diff_id.algorithm());
        let reader = scope.spawn(move || {
            let layer = &opened.image.layers[index];
            let source = opened.layer(index).map_err(UnpackError::Read)?;
            let sink = Sink { full: full_in, empty: empty_out, stopped };
            decode(source, layer, budget, &sink)
        });
        Reading { pipe: Pipe { diff, full, empty, chunk: Vec::new(), at: 0 }, stop, diff_id, reader }
    }

    /// Joins the thread, and says whether `unpacked` can be believed: digests and sizes are as the image says.
    ///
    /// # Errors
    ///
    /// What the reading thread found wrong, if anything, else the error in `unpacked`: an archive that makes no sense is
    /// most often one that was damaged.
    pub(crate) fn finish<T>(mut self, unpacked: Result<T, UnpackError>) -> Result<T, UnpackError> {
        let damaged = |error: &UnpackError| matches!(error, UnpackError::Format(_) | UnpackError::Entry { .. });
        let whole = unpacked.as_ref().err().is_none_or(damaged);
        if whole {
            // What comes after the archive's end belongs to the layer all the same.
            while self.pipe.next() {}
        } else {
            self.stop.store(true, Ordering::Relaxed);
        }
        let Pipe { diff, full, .. } = self.pipe;
        // Without a receiver the thread no longer waits.
        drop(full);
        match self.reader.join() {
            Ok(read) => read?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        let found = diff.finish();
        if whole && found != *self.diff_id {
            return Err(UnpackError::DiffId(found));
        }
        unpacked
    }
}

impl Reading<'_> {
    /// Stops reading; what was read is of no use any more.
    pub(super) fn abandon(self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Pipe {
    /// Takes the next chunk; false at the end of the stream.
    fn next(&mut self) -> bool {
        // At the end the other side is gone, and an empty chunk stays.
        let next = self.full.recv().unwrap_or_default();
        self.diff.update(&next);
        // Nobody needs the buffer when the other side is gone.
        let _ = self.empty.send(std::mem::replace(&mut self.chunk, next));
        self.at = 0;
        !self.chunk.is_empty()
    }
}

impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.fill_buf()?.read(buf)?;
        self.consume(got);
        Ok(got)
    }
}

impl BufRead for Pipe {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.chunk.len() {
            self.next();
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at = (self.at + amount).min(self.chunk.len());
    }
}

/// The writing end.
struct Sink {
    full: mpsc::SyncSender<Vec<u8>>,
    empty: mpsc::Receiver<Vec<u8>>,
    stopped: Arc<AtomicBool>,
}

impl Sink {
    fn buffer(&self) -> Vec<u8> {
        let mut buffer = self.empty.try_recv().unwrap_or_default();
        buffer.resize(CHUNK, 0);
        buffer
    }
}

/// Bytes as stored: hashed and counted as they pass.
struct Stored<'a, R> {
    inner: R,
    hasher: Option<Hasher>,
    count: &'a Cell<u64>,
}

impl<R: Read> Read for Stored<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buf)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buf[..got]);
        }
        self.count.set(self.count.get() + got as u64);
        Ok(got)
    }
}

fn decode(source: impl Read, layer: &Layer, budget: &Budget, sink: &Sink) -> Result<(), UnpackError> {
    let count = Cell::new(0);
    let hasher = layer.digest.as_ref().map(|digest| Hasher::new(digest.algorithm()));
    let mut stored = BufReader::with_capacity(CHUNK, Stored { inner: source, hasher, count: &count });
    let found = of_content(stored.fill_buf().map_err(read_error)?)?;
    agree(layer.compression, found)?;
    let mut inflated = 0;
    {
        let mut inflate: Box<dyn Read> = match found {
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(&mut stored)),
            Compression::Zstd => Box::new(Zstd::new(&mut stored, budget.limits.zstd_window)),
            Compression::None | Compression::ByContent => Box::new(&mut stored),
        };
        loop {
            if sink.stopped.load(Ordering::Relaxed) {
                return Ok(());
            }
            let mut chunk = sink.buffer();
            let got = fill(&mut inflate, &mut chunk).map_err(read_error)?;
            if got == 0 {
                break;
            }
            chunk.truncate(got);
            inflated += got as u64;
            budget.bytes(got as u64)?;
            budget.ratio(count.get(), inflated)?;
            if sink.full.send(chunk).is_err() {
                // Nobody is at the other end any more, so nobody asks for a result either.
                return Ok(());
            }
        }
    }
    // What a decoder left unread belongs to the blob all the same.
    io::copy(&mut stored, &mut io::sink()).map_err(read_error)?;
    if count.get() != layer.size {
        return Err(UnpackError::Size { said: layer.size, found: count.get() });
    }
    if let (Some(said), Some(hasher)) = (&layer.digest, stored.into_inner().hasher) {
        let found = hasher.finish();
        if found != *said {
            return Err(UnpackError::Digest { said: said.clone(), found });
        }
    }
    Ok(())
}

/// Reads until the buffer is full or the stream ends: the pipe is cheaper with full chunks.
fn fill(source: &mut dyn Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match source.read(&mut buf[filled..]) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn of_content(start: &[u8]) -> Result<Compression, UnpackError> {
    match start {
        [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(UnpackError::Format("xz compression is not supported".into())),
        [b'B', b'Z', b'h', ..] => Err(UnpackError::Format("bzip2 compression is not supported".into())),
        _ => Ok(Compression::None),
    }
}

fn agree(said: Compression, found: Compression) -> Result<(), UnpackError> {
    let name = |compression| match compression {
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
        Compression::None | Compression::ByContent => "not compressed",
    };
    if said == found || said == Compression::ByContent {
        return Ok(());
    }
    Err(UnpackError::Compression { said: name(said), found: name(found) })
}

fn read_error(error: io::Error) -> UnpackError {
    match error.downcast::<UnpackError>() {
        Ok(error) => error,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            UnpackError::Read(io::Error::new(error.kind(), "it ends too early; is the file truncated?"))
        }
        Err(error) => UnpackError::Read(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unpack::Limits;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn run(blob: &[u8], layer: &Layer) -> Result<Vec<u8>, UnpackError> {
        let (full_in, full) = mpsc::sync_channel(1000);
        let (_empty, empty_out) = mpsc::channel();
        let sink = Sink { full: full_in, empty: empty_out, stopped: Arc::default() };
        decode(blob, layer, &Budget::new(&Limits::default()), &sink)?;
        drop(sink);
        Ok(full.iter().flatten().collect())
    }

    fn layer(blob: &[u8], content: &[u8], compression: Compression) -> Layer {
        Layer {
            digest: Some(Digest::sha256(blob)),
            diff_id: Digest::sha256(content),
            size: blob.len() as u64,
            compression,
            created_by: None,
        }
    }

    #[test]
    fn several_gzip_members_are_one_stream() {
        let blob = [gzip(b"one "), gzip(b"two")].concat();
        let said = layer(&blob, b"one two", Compression::Gzip);
        assert_eq!(run(&blob, &said).unwrap(), b"one two");
        assert_eq!(run(&blob, &Layer { compression: Compression::ByContent, ..said }).unwrap(), b"one two");
    }

    #[test]
    fn each_wrong_promise_is_named() {
        let blob = gzip(b"content");
        let good = layer(&blob, b"content", Compression::Gzip);
        assert!(run(&blob, &good).is_ok());
        let wrong_digest = Layer { digest: Some(Digest::sha256(b"other")), ..good.clone() };
        assert!(matches!(run(&blob, &wrong_digest), Err(UnpackError::Digest { .. })));
        let wrong_size = Layer { size: 1, ..good.clone() };
        assert!(matches!(run(&blob, &wrong_size), Err(UnpackError::Size { .. })));
        let wrong_type = Layer { compression: Compression::Zstd, ..good.clone() };
        assert!(matches!(run(&blob, &wrong_type), Err(UnpackError::Compression { .. })));
        assert!(matches!(run(&blob[..blob.len() - 9], &good), Err(UnpackError::Read(_))));
    }
}
