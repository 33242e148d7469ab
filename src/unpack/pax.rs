//! PAX extended headers.
//!
//! The `tar` crate splits records at line ends, so it cannot read an attribute whose value has one in it
//! (`security.capability` may); records are read by their length here, as POSIX says.
//!
//! Source: POSIX.1-2017, `pax`, "pax Extended Header"; GNU tar manual, "Storing Sparse Files".

/// What an extended header says about the entry after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) linkpath: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    /// Seconds and nanoseconds since 1970.
    pub(super) mtime: Option<(i64, i64)>,
    /// `SCHILY.xattr.NAME`.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: SparseKeys,
}

/// The `GNU.sparse.*` keys; versions 0.0, 0.1 and 1.0 use different ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SparseKeys {
    pub(super) major: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// Offsets and lengths, taking turns.
    pub(super) map: Vec<u64>,
}

/// Reads the records of an extended header.
pub(super) fn parse(mut bytes: &[u8]) -> Result<Pax, String> {
    let mut pax = Pax::default();
    while !bytes.is_empty() {
        let bad = || "an extended header is malformed".to_owned();
        let space = bytes.iter().position(|byte| *byte == b' ').ok_or_else(bad)?;
        let length = number(&bytes[..space]).and_then(|n| usize::try_from(n).ok()).ok_or_else(bad)?;
        let record = bytes.get(space + 1..length).and_then(|record| record.strip_suffix(b"\n")).ok_or_else(bad)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
        take(&mut pax, &record[..equals], &record[equals + 1..])
            .ok_or_else(|| format!("an extended header has a bad `{}`", super::error::shown(&record[..equals])))?;
        bytes = &bytes[length..];
    }
    Ok(pax)
}

fn take(pax: &mut Pax, key: &[u8], value: &[u8]) -> Option<()> {
    // An empty value takes back what an earlier header said; there is none that austere keeps.
    if value.is_empty() && !key.starts_with(b"SCHILY.xattr.") {
        return Some(());
    }
    match key {
        b"path" => pax.path = Some(value.to_owned()),
        b"linkpath" => pax.linkpath = Some(value.to_owned()),
        b"size" => pax.size = Some(number(value)?),
        b"uid" => pax.uid = Some(number(value)?),
        b"gid" => pax.gid = Some(number(value)?),
        b"mtime" => pax.mtime = Some(time(value)?),
        b"GNU.sparse.major" => pax.sparse.major = Some(number(value)?),
        b"GNU.sparse.name" => pax.sparse.name = Some(value.to_owned()),
        b"GNU.sparse.size" | b"GNU.sparse.realsize" => pax.sparse.real_size = Some(number(value)?),
        b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => pax.sparse.map.push(number(value)?),
        b"GNU.sparse.map" => {
            pax.sparse.map = value.split(|byte| *byte == b',').map(number).collect::<Option<_>>()?;
        }
        _ => {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                pax.xattrs.push((name.to_owned(), value.to_owned()));
            }
        }
    }
    Some(())
}

/// A decimal number without sign.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `[-]SECONDS[.FRACTION]`; digits beyond the ninth are dropped.
fn time(text: &[u8]) -> Option<(i64, i64)> {
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let dot = text.iter().position(|byte| *byte == b'.').unwrap_or(text.len());
    let seconds = i64::try_from(number(&text[..dot])?).ok()?;
    let fraction = text.get(dot + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanos = digits.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    match (negative, nanos) {
        (false, _) => Some((seconds, nanos)),
        (true, 0) => Some((-seconds, 0)),
        (true, _) => Some((-seconds - 1, 1_000_000_000 - nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
        let mut length = rest.len();
        while length.to_string().len() + rest.len() != length {
            length = length.to_string().len() + rest.len();
        }
        [length.to_string().as_bytes(), &rest].concat()
    }

    #[test]
    fn a_value_may_have_a_line_end_in_it() {
        let bytes = [record("SCHILY.xattr.user.a", b"1\n2"), record("path", b"x"), record("unknown", b"")].concat();
        let pax = parse(&bytes).unwrap();
        assert_eq!(pax.xattrs, [(b"user.a".to_vec(), b"1\n2".to_vec())]);
        assert_eq!(pax.path.as_deref(), Some(&b"x"[..]));
    }

    #[test]
    fn times_have_nanoseconds_and_may_lie_before_1970() {
        assert_eq!(time(b"1.5"), Some((1, 500_000_000)));
        assert_eq!(time(b"1350244992.023960108999"), Some((1_350_244_992, 23_960_108)));
        assert_eq!(time(b"-0.25"), Some((-1, 750_000_000)));
        assert_eq!(time(b"-3"), Some((-3, 0)));
        assert_eq!(time(b"1.x"), None);
    }

    #[test]
    fn lies_are_refused() {
        for bytes in [&b"5 a=b\n"[..], b"99 path=x\n", b"6 a=bc", b"x", b"0 a=b\n", b"12 size=-12\n", b"8 uid=x\n"] {
            assert!(parse(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(parse(b"10 size=7\n").unwrap().size, Some(7));
    }
}
