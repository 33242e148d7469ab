//! Amounts as docker writes them: `64m`, `1.5` processors, `-1` for no limit.

use std::fmt;
use std::str::FromStr;

/// Bytes: `b`, `k`, `m`, `g` or `t` behind a number, powers of 1024, upper or lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A limit of bytes that may be lifted with `-1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// As much as the host has.
    Unlimited,
    /// Memory and swap together.
    Total(Bytes),
}

/// Processors, in billionths of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus(u64);

/// The most processes and threads, or no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pids(pub Option<u32>);

/// A value that is no amount.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not {1}")]
pub struct AmountError(String, &'static str);

/// The least memory that docker takes; a container does not start with less.
const LEAST_MEMORY: u64 = 6 << 20;

impl FromStr for Bytes {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let error = || AmountError(text.to_owned(), "a number of bytes such as 512m or 2g, 6m at least");
        let lower = text.to_ascii_lowercase();
        let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let shift = match &lower[digits.len()..] {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(error()),
        };
        let bytes = scaled(digits, 1 << shift).filter(|bytes| (LEAST_MEMORY..1 << 62).contains(bytes));
        bytes.map(Bytes).ok_or_else(error)
    }
}

/// `whole[.part]` times `unit`, rounded down; `None` for anything else and for what does not fit.
fn scaled(text: &str, unit: u64) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return None;
    }
    let fraction =
        u128::from(part.parse::<u64>().ok()?) * u128::from(unit) / 10_u128.pow(u32::try_from(part.len()).ok()?);
    let whole = u128::from(whole.parse::<u64>().ok()?) * u128::from(unit);
    u64::try_from(whole + fraction).ok()
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units.into_iter().find(|(shift, _)| self.0 != 0 && self.0.is_multiple_of(1 << shift)) {
            Some((shift, unit)) => write!(f, "{} {unit}", self.0 >> shift),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

impl FromStr for Swap {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        if text == "-1" { Ok(Swap::Unlimited) } else { text.parse().map(Swap::Total) }
    }
}

impl FromStr for Pids {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        // The kernel has no more than 2^22 pids.
        let number = text.parse().ok().filter(|number| (-1..=1 << 22).contains(number));
        let number: i32 =
            number.ok_or_else(|| AmountError(text.to_owned(), "a number of processes, or -1 for no limit"))?;
        Ok(Pids(u32::try_from(number).ok().filter(|number| *number > 0)))
    }
}

impl FromStr for Cpus {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let error = || AmountError(text.to_owned(), "a number of processors from 0.01, such as 1.5");
        let billionths = scaled(text, 1_000_000_000).ok_or_else(error)?;
        // The kernel's least quota is 1 ms of each 100.
        (10_000_000..=1 << 50).contains(&billionths).then_some(Cpus(billionths)).ok_or_else(error)
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        let part = format!("{part:09}");
        match part.trim_end_matches('0') {
            "" => write!(f, "{whole}"),
            part => write!(f, "{whole}.{part}"),
        }
    }
}

impl Cpus {
    /// The length of a period in microseconds: docker's, and the kernel's own.
    pub const PERIOD: u64 = 100_000;

    /// Microseconds of each period.
    pub fn quota(self) -> u64 {
        self.0 / (1_000_000_000 / Cpus::PERIOD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Option<u64> {
        text.parse::<Bytes>().ok().map(|bytes| bytes.0)
    }

    #[test]
    fn sizes_are_docker_s() {
        assert_eq!(bytes("64m"), Some(64 << 20));
        assert_eq!(bytes("1.5G"), Some(3 << 29));
        assert_eq!(bytes("8MiB"), Some(8 << 20));
        assert_eq!(bytes("7000000"), Some(7_000_000));
        for wrong in ["", "m", "5m", "0", "-1", "64 m", "64x", "1e9", ".5g", "9999999999t", "+64m", "64m\0"] {
            assert_eq!(bytes(wrong), None, "{wrong:?}");
        }
        assert_eq!("-1".parse(), Ok(Swap::Unlimited));
        assert_eq!([Bytes(64 << 20), Bytes(7_000_000)].map(|bytes| bytes.to_string()), ["64 MiB", "7000000 bytes"]);
    }

    #[test]
    fn processors_are_microseconds_of_a_period() {
        let quota = |text: &str| text.parse::<Cpus>().ok().map(Cpus::quota);
        assert_eq!(quota("1.5"), Some(150_000));
        assert_eq!(quota("0.01"), Some(1_000));
        assert_eq!(["1.50", "2", "0.01"].map(|text| text.parse::<Cpus>().unwrap().to_string()), ["1.5", "2", "0.01"]);
        assert_eq!([quota("0"), quota("0.001"), quota("-1"), quota("two"), quota("1,5")], [None; 5]);
    }

    #[test]
    fn no_limit_of_processes_is_no_limit() {
        assert_eq!("20".parse(), Ok(Pids(Some(20))));
        assert_eq!(("0".parse(), "-1".parse()), (Ok(Pids(None)), Ok(Pids(None))));
        assert!(["", "-2", "1.5", "9999999"].iter().all(|wrong| wrong.parse::<Pids>().is_err()));
    }
}
