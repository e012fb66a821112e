//! Exact numbers: as many digits as the servers' DECIMAL.

use std::cmp::Ordering;

use num_bigint::{BigInt, Sign};

/// Most digits behind the point.
pub const SCALE_MAX: u32 = 30;
/// Most digits.
pub const DIGITS_MAX: u32 = 65;
/// Digits that a division adds behind the point (`div_precision_increment`).
const DIVISION_DIGITS: u32 = 4;

/// `mantissa / 10^scale`.
#[derive(Debug, Clone)]
pub struct Decimal {
    mantissa: BigInt,
    scale: u32,
}

impl Decimal {
    /// A whole number.
    pub fn from_int(value: impl Into<BigInt>) -> Self {
        Decimal { mantissa: value.into(), scale: 0 }
    }

    /// Reads `-12.340`, all of the text.
    pub fn parse(text: &str) -> Option<Self> {
        let (sign, digits) = match text.as_bytes().first()? {
            b'-' => ("-", &text[1..]),
            b'+' => ("", &text[1..]),
            _ => ("", text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(whole) || !all_digits(fraction) || whole.len() + fraction.len() == 0 {
            return None;
        }
        if fraction.len() > 200 || whole.len() > 400 {
            return None;
        }
        let mantissa: BigInt = format!("{sign}{whole}{fraction}").parse().ok()?;
        Some(Decimal { mantissa, scale: u32::try_from(fraction.len()).ok()? })
    }

    fn power(exponent: u32) -> BigInt {
        BigInt::from(10u8).pow(exponent)
    }

    fn mantissa_at(&self, scale: u32) -> BigInt {
        &self.mantissa * Self::power(scale.saturating_sub(self.scale))
    }

    /// Digits behind the point.
    pub fn scale(&self) -> u32 {
        self.scale
    }

    pub fn is_zero(&self) -> bool {
        self.mantissa.sign() == Sign::NoSign
    }

    pub fn is_negative(&self) -> bool {
        self.mantissa.sign() == Sign::Minus
    }

    /// None beyond what a server's DECIMAL holds.
    fn fits(self) -> Option<Self> {
        let value = if self.scale > SCALE_MAX { self.round(SCALE_MAX) } else { self };
        (value.mantissa.magnitude().to_string().len() <= DIGITS_MAX as usize).then_some(value)
    }

    pub fn add(&self, other: &Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        Decimal { mantissa: self.mantissa_at(scale) + other.mantissa_at(scale), scale }.fits()
    }

    pub fn sub(&self, other: &Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        Decimal { mantissa: self.mantissa_at(scale) - other.mantissa_at(scale), scale }.fits()
    }

    pub fn mul(&self, other: &Self) -> Option<Self> {
        Decimal { mantissa: &self.mantissa * &other.mantissa, scale: self.scale + other.scale }.fits()
    }

    /// The quotient, rounded at the number of digits that the servers show; the divisor is not zero.
    pub fn div(&self, other: &Self) -> Option<Self> {
        let scale = (self.scale + DIVISION_DIGITS).min(SCALE_MAX);
        let numerator = &self.mantissa * Self::power(scale + other.scale + 1);
        let denominator = &other.mantissa * Self::power(self.scale);
        Decimal { mantissa: numerator / denominator, scale: scale + 1 }.round(scale).fits()
    }

    /// The remainder, with the sign of the dividend; the divisor is not zero.
    pub fn rem(&self, other: &Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        Decimal { mantissa: self.mantissa_at(scale) % other.mantissa_at(scale), scale }.fits()
    }

    pub fn neg(&self) -> Self {
        Decimal { mantissa: -&self.mantissa, scale: self.scale }
    }

    /// Half away from zero.
    pub fn round(&self, scale: u32) -> Self {
        if self.scale <= scale {
            return self.clone();
        }
        let unit = Self::power(self.scale - scale);
        let half = &unit / 2;
        let shifted = if self.is_negative() { &self.mantissa - half } else { &self.mantissa + half };
        Decimal { mantissa: shifted / unit, scale }
    }

    /// Toward zero.
    pub fn truncate(&self, scale: u32) -> Self {
        if self.scale <= scale {
            return self.clone();
        }
        Decimal { mantissa: &self.mantissa / Self::power(self.scale - scale), scale }
    }

    /// The same number with exactly so many digits behind the point.
    pub fn with_scale(&self, scale: u32) -> Self {
        let rounded = self.round(scale);
        Decimal { mantissa: rounded.mantissa_at(scale), scale }
    }

    /// The largest whole number not above.
    pub fn floor(&self) -> Self {
        let whole = self.truncate(0);
        if self.is_negative() && whole != *self {
            Decimal { mantissa: whole.mantissa - 1, scale: 0 }
        } else {
            whole
        }
    }

    /// The whole part, if it is an integer of 64 bits.
    pub fn to_i128(&self) -> Option<i128> {
        i128::try_from(self.truncate(0).mantissa).ok()
    }

    pub fn to_f64(&self) -> f64 {
        self.to_string().parse().unwrap_or(f64::NAN)
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let scale = self.scale.max(other.scale);
        self.mantissa_at(scale).cmp(&other.mantissa_at(scale))
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = self.mantissa.magnitude().to_string();
        let scale = self.scale as usize;
        let digits = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let sign = if self.is_negative() { "-" } else { "" };
        if scale == 0 { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{fraction}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dec(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn arithmetic_is_exact() {
        assert_eq!(dec("0.1").add(&dec("0.2")).unwrap().to_string(), "0.3");
        assert_eq!(dec("1").div(&dec("3")).unwrap().to_string(), "0.3333");
        assert_eq!(dec("-2.00").div(&dec("3")).unwrap().to_string(), "-0.666667");
        assert_eq!(dec("-7.5").rem(&dec("2")).unwrap().to_string(), "-1.5");
        assert_eq!(dec("-2.5").round(0).to_string(), "-3");
        assert_eq!(dec("-2.5").floor().to_string(), "-3");
        assert_eq!(dec("-0.05").to_string(), "-0.05");
        assert!(dec("1.0") == dec("1.000") && dec("-1") < dec("0.5"));
        assert!(dec(&"9".repeat(65)).add(&dec("1")).is_none());
        assert!(Decimal::parse("1e5").is_none() && Decimal::parse(".").is_none());
    }
}
