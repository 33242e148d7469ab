//! Files with holes, in the four notations of GNU tar.
//!
//! Source: GNU tar manual, "Storing Sparse Files".

use std::io::BufRead;

use super::entries::Entries;
use super::{UnpackError, pax};

/// Offset and length of each piece of data.
pub(super) type Segments = Vec<(u64, u64)>;

/// More pieces than any sane file has; each costs a system call and 16 bytes of memory.
const SEGMENTS_MAX: usize = 100_000;

/// Old GNU: descriptions inside the header and in blocks after it.
pub(super) fn of_blocks<'a>(blocks: impl Iterator<Item = &'a tar::GnuSparseHeader>) -> Result<Segments, UnpackError> {
    let number = |n: std::io::Result<u64>| n.map_err(|_| wrong("a piece is not a number"));
    blocks
        .filter(|block| !block.is_empty())
        .map(|block| Ok((number(block.offset())?, number(block.length())?)))
        .collect()
}

/// PAX 0.0 and 0.1: offsets and lengths taking turns.
pub(super) fn of_numbers(numbers: &[u64]) -> Result<Segments, UnpackError> {
    if !numbers.len().is_multiple_of(2) {
        return Err(wrong("an offset has no length"));
    }
    let segments = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    bounded(&segments)?;
    Ok(segments)
}

/// PAX 1.0: a count, then the numbers, each on its own line at the start of the data, filled up to a whole block.
pub(super) fn of_data<R: BufRead>(entries: &mut Entries<'_, R>) -> Result<Segments, UnpackError> {
    let mut read = 0;
    let count = line(entries, &mut read)?;
    if count > SEGMENTS_MAX as u64 {
        return Err(wrong("it has too many pieces"));
    }
    let mut segments = Vec::new();
    for _ in 0..count {
        segments.push((line(entries, &mut read)?, line(entries, &mut read)?));
    }
    while !read.is_multiple_of(512) {
        byte(entries, &mut read)?;
    }
    Ok(segments)
}

pub(super) fn bounded(segments: &Segments) -> Result<(), UnpackError> {
    if segments.len() > SEGMENTS_MAX { Err(wrong("it has too many pieces")) } else { Ok(()) }
}

/// Pieces must follow each other, lie inside the file, and be exactly as long as the data.
pub(super) fn check(segments: &Segments, size: u64, data: u64) -> Result<(), UnpackError> {
    let mut end = 0;
    let mut sum: u64 = 0;
    for (offset, length) in segments {
        if *offset < end {
            return Err(wrong("its pieces overlap"));
        }
        end = offset
            .checked_add(*length)
            .filter(|end| *end <= size)
            .ok_or_else(|| wrong("a piece lies beyond its end"))?;
        sum += length;
    }
    if sum == data { Ok(()) } else { Err(wrong("its pieces are not as long as its data")) }
}

fn line<R: BufRead>(entries: &mut Entries<'_, R>, read: &mut u64) -> Result<u64, UnpackError> {
    let mut digits = Vec::new();
    loop {
        match byte(entries, read)? {
            b'\n' => return pax::number(&digits).ok_or_else(|| wrong("a piece is not a number")),
            _ if digits.len() > 20 => return Err(wrong("a piece is not a number")),
            digit => digits.push(digit),
        }
    }
}

fn byte<R: BufRead>(entries: &mut Entries<'_, R>, read: &mut u64) -> Result<u8, UnpackError> {
    let byte = *entries.chunk()?.first().ok_or_else(|| wrong("its map is cut off"))?;
    entries.consume(1);
    *read += 1;
    Ok(byte)
}

fn wrong(why: &str) -> UnpackError {
    UnpackError::Format(format!("a sparse file contradicts itself: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_must_follow_each_other_inside_the_file() {
        assert!(check(&vec![(0, 2), (10, 5)], 15, 7).is_ok());
        assert!(check(&vec![], 15, 0).is_ok());
        assert!(check(&vec![(0, 2), (1, 5)], 15, 7).is_err());
        assert!(check(&vec![(10, 6)], 15, 6).is_err());
        assert!(check(&vec![(0, 2)], 15, 3).is_err());
        assert!(check(&vec![(u64::MAX, 2)], u64::MAX, 2).is_err());
        assert!(of_numbers(&[1]).is_err());
    }
}
