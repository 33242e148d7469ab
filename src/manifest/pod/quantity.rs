//! Amounts as Kubernetes writes them: `100m`, `64Mi`, `1e3`.
//!
//! Source: `k8s.io/apimachinery/pkg/api/resource`.

use std::str::FromStr;

/// An amount in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Quantity(u128);

/// Text that is no amount.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an amount such as 250m, 1.5 or 64Mi")]
pub(super) struct QuantityError(String);

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let error = || QuantityError(text.to_owned());
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(digits);
        let binary = |power: u32| 1000 * 1024_u128.pow(power);
        let decimal = |power: u32| 10_u128.pow(power + 3);
        let unit = match suffix {
            "m" => 1,
            "" => decimal(0),
            "k" => decimal(3),
            "M" => decimal(6),
            "G" => decimal(9),
            "T" => decimal(12),
            "P" => decimal(15),
            "Ki" => binary(1),
            "Mi" => binary(2),
            "Gi" => binary(3),
            "Ti" => binary(4),
            "Pi" => binary(5),
            _ => {
                let power = suffix.strip_prefix(['e', 'E']).and_then(|power| power.parse().ok());
                decimal(power.filter(|power| *power <= 15).ok_or_else(error)?)
            }
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let fits = |text: &str| text.len() <= 15 && text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + part.len() == 0 || !fits(whole) || !fits(part) {
            return Err(error());
        }
        let value = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
        let (whole, fraction) = (value(whole).ok_or_else(error)?, value(part).ok_or_else(error)?);
        let shift = 10_u128.pow(u32::try_from(part.len()).map_err(|_| error())?);
        // Rounded up, as Kubernetes does.
        Ok(Quantity(whole * unit + (fraction * unit).div_ceil(shift)))
    }
}

impl Quantity {
    /// Whole units, rounded up.
    pub(super) fn units(self) -> Option<u64> {
        u64::try_from(self.0.div_ceil(1000)).ok()
    }

    /// With three decimals at most: `0.25`.
    pub(super) fn decimal(self) -> String {
        let text = format!("{}.{:03}", self.0 / 1000, self.0 % 1000);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }

    /// How often another goes into it, rounded up; 0 for a divisor of nothing.
    pub(super) fn divided(self, by: Quantity) -> u128 {
        if by.0 == 0 { 0 } else { self.0.div_ceil(by.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Quantity> {
        text.parse().ok()
    }

    #[test]
    fn amounts_are_kubernetes_own() {
        let units = |text: &str| parsed(text).and_then(Quantity::units);
        assert_eq!([units("64Mi"), units("1.5Gi"), units("1k")], [Some(64 << 20), Some(3 << 29), Some(1000)]);
        assert_eq!([units("100m"), units("1e3"), units("0"), units(".5")], [Some(1), Some(1000), Some(0), Some(1)]);
        let decimal = |text: &str| parsed(text).map(Quantity::decimal);
        assert_eq!(decimal("250m").as_deref(), Some("0.25"));
        assert_eq!([decimal("2"), decimal("1.5")], [Some("2".to_owned()), Some("1.5".to_owned())]);
        assert_eq!(parsed("1Gi").unwrap().divided(parsed("1Mi").unwrap()), 1024);
        for text in ["", "m", "1x", "-1", "1.2.3", "1 Mi", "64MB", "1e99", "9999999999999999"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
