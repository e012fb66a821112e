//! Dates and times, zero parts included.

use std::fmt;

/// Which of the types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemporalKind {
    /// DATE.
    Date,
    /// DATETIME and TIMESTAMP.
    DateTime,
    /// TIME.
    Time,
}

/// A value of DATE, DATETIME, TIMESTAMP or TIME.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Temporal {
    pub kind: TemporalKind,
    pub year: u32,
    pub month: u32,
    pub day: u32,
    /// Of a TIME up to 838.
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    pub micros: u32,
    /// Of a TIME.
    pub negative: bool,
    /// Digits of the fraction that are shown.
    pub digits: u8,
}

const ZERO: Temporal = Temporal {
    kind: TemporalKind::Date,
    year: 0,
    month: 0,
    day: 0,
    hour: 0,
    minute: 0,
    second: 0,
    micros: 0,
    negative: false,
    digits: 0,
};

pub fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 (proleptic Gregorian).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y - era * 400;
    let doy = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z - era * 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    (year, u32::try_from(month).unwrap_or(0), u32::try_from(day).unwrap_or(0))
}

impl Temporal {
    /// Reads the strict forms `2024-02-29`, `2024-02-29 12:00:00[.123456]` (with `T` as well). Zero parts are
    /// taken; days that no month has are not.
    pub fn parse_date_time(text: &str) -> Option<Temporal> {
        let text = text.trim();
        let (date, time) = match text.find([' ', 'T']) {
            Some(at) => (&text[..at], Some(text[at + 1..].trim_start())),
            None => (text, None),
        };
        let mut parts = date.split('-');
        let (y, m, d) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some()
            || y.len() != 4
            || !(1..=2).contains(&m.len())
            || !(1..=2).contains(&d.len())
        {
            return None;
        }
        let number =
            |s: &str| if s.bytes().all(|b| b.is_ascii_digit()) { s.parse::<u32>().ok() } else { None };
        let (year, month, day) = (number(y)?, number(m)?, number(d)?);
        if month > 12 || day > days_in_month(year, if month == 0 { 1 } else { month }) {
            return None;
        }
        let date = Temporal { year, month, day, ..ZERO };
        let Some(time) = time else { return Some(date) };
        let clock = Self::parse_clock(time)?;
        if clock.hour > 23 {
            return None;
        }
        Some(Temporal { kind: TemporalKind::DateTime, year, month, day, ..clock })
    }

    /// Reads `[-]hhh:mm:ss[.ffffff]`.
    pub fn parse_time(text: &str) -> Option<Temporal> {
        let text = text.trim();
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let clock = Self::parse_clock(rest)?;
        (clock.hour <= 838).then_some(Temporal { kind: TemporalKind::Time, negative, ..clock })
    }

    fn parse_clock(text: &str) -> Option<Temporal> {
        let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
        let mut parts = clock.split(':');
        let number = |s: &str| {
            if !s.is_empty() && s.len() <= 3 && s.bytes().all(|b| b.is_ascii_digit()) {
                s.parse::<u32>().ok()
            } else {
                None
            }
        };
        let (hour, minute) = (number(parts.next()?)?, number(parts.next()?)?);
        let second = match parts.next() {
            Some(s) => number(s)?,
            None => 0,
        };
        if parts.next().is_some() || minute > 59 || second > 59 || fraction.len() > 6 {
            return None;
        }
        if !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let micros = format!("{fraction:0<6}").parse().ok()?;
        Some(Temporal { hour, minute, second, micros, digits: u8::try_from(fraction.len()).ok()?, ..ZERO })
    }

    /// `20240229` and `20240229120000`.
    pub fn parse_number(number: u64) -> Option<Temporal> {
        let text = number.to_string();
        let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or("0");
        match text.len() {
            8 => Self::parse_date_time(&format!("{}-{}-{}", part(0..4), part(4..6), part(6..8))),
            14 => Self::parse_date_time(&format!(
                "{}-{}-{} {}:{}:{}",
                part(0..4),
                part(4..6),
                part(6..8),
                part(8..10),
                part(10..12),
                part(12..14)
            )),
            _ => None,
        }
    }

    /// What orders values of one kind.
    pub fn rank(&self) -> i128 {
        let clock = i128::from(self.hour) * 3600 + i128::from(self.minute) * 60 + i128::from(self.second);
        let date = (i128::from(self.year) * 16 + i128::from(self.month)) * 32 + i128::from(self.day);
        let rank = (date * 3_600_000 + clock) * 1_000_000 + i128::from(self.micros);
        if self.negative { -rank } else { rank }
    }

    /// As a number: `20240229`, `20240229120000`, `-123456`.
    pub fn number(&self) -> i64 {
        let date = i64::from(self.year) * 10_000 + i64::from(self.month) * 100 + i64::from(self.day);
        let clock = i64::from(self.hour) * 10_000 + i64::from(self.minute) * 100 + i64::from(self.second);
        match self.kind {
            TemporalKind::Date => date,
            TemporalKind::DateTime => date * 1_000_000 + clock,
            TemporalKind::Time => {
                if self.negative {
                    -clock
                } else {
                    clock
                }
            }
        }
    }

    /// A whole calendar date: no part is zero.
    pub fn is_whole(&self) -> bool {
        self.month > 0 && self.day > 0
    }

    /// Days since 1970-01-01; None for a date with zero parts.
    pub fn days(&self) -> Option<i64> {
        self.is_whole().then(|| days_from_civil(self.year.into(), self.month.into(), self.day.into()))
    }

    /// The date alone.
    pub fn date(&self) -> Temporal {
        Temporal { year: self.year, month: self.month, day: self.day, ..ZERO }
    }

    /// The value plus so many months and microseconds; None outside of the years 0 to 9999 or for zero parts.
    pub fn plus(&self, months: i64, micros: i128, with_time: bool) -> Option<Temporal> {
        if !self.is_whole() {
            return None;
        }
        let month = i64::from(self.year) * 12 + i64::from(self.month) - 1 + months;
        let (year, month) = (month.div_euclid(12), u32::try_from(month.rem_euclid(12)).ok()? + 1);
        let year = u32::try_from(year).ok().filter(|year| *year <= 9999)?;
        let day = self.day.min(days_in_month(year, month));
        const DAY: i128 = 86_400_000_000;
        let clock = (i128::from(self.hour) * 3600 + i128::from(self.minute) * 60 + i128::from(self.second))
            * 1_000_000
            + i128::from(self.micros);
        let total = i128::from(days_from_civil(year.into(), month.into(), day.into())) * DAY + clock + micros;
        let (days, clock) = (i64::try_from(total.div_euclid(DAY)).ok()?, total.rem_euclid(DAY));
        let (year, month, day) = civil_from_days(days);
        let year = u32::try_from(year).ok().filter(|year| *year <= 9999)?;
        let seconds = u32::try_from(clock / 1_000_000).ok()?;
        let kind = if with_time { TemporalKind::DateTime } else { self.kind };
        let micros = u32::try_from(clock % 1_000_000).ok()?;
        Some(Temporal {
            kind,
            year,
            month,
            day,
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            micros,
            negative: false,
            digits: if micros == 0 { self.digits } else { 6 },
        })
    }
}

impl fmt::Display for Temporal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind != TemporalKind::Time {
            write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)?;
        }
        match self.kind {
            TemporalKind::Date => return Ok(()),
            TemporalKind::DateTime => f.write_str(" ")?,
            TemporalKind::Time if self.negative => f.write_str("-")?,
            TemporalKind::Time => {}
        }
        write!(f, "{:02}:{:02}:{:02}", self.hour, self.minute, self.second)?;
        if self.digits > 0 {
            let fraction = format!("{:06}", self.micros);
            write!(f, ".{}", fraction.get(..self.digits.into()).unwrap_or(&fraction))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_shows() {
        for text in
            ["2024-02-29", "0000-00-00", "2024-00-00", "2024-02-29 12:00:00.120", "9999-12-31 23:59:59"]
        {
            assert_eq!(Temporal::parse_date_time(text).unwrap().to_string(), text);
        }
        for text in ["-838:59:59.000001", "00:00:01"] {
            assert_eq!(Temporal::parse_time(text).unwrap().to_string(), text);
        }
        for text in ["2023-02-29", "2024-13-01", "24-01-01", "abc", "", "2024-01-01 25:00:00"] {
            assert!(Temporal::parse_date_time(text).is_none(), "{text}");
        }
        assert_eq!(Temporal::parse_number(20240229).unwrap().to_string(), "2024-02-29");
    }

    #[test]
    fn adds() {
        let date = Temporal::parse_date_time("2024-01-31").unwrap();
        assert_eq!(date.plus(1, 0, false).unwrap().to_string(), "2024-02-29");
        assert_eq!(date.plus(-12, -1, true).unwrap().to_string(), "2023-01-30 23:59:59.999999");
        assert!(date.plus(12 * 9999, 0, false).is_none());
        assert_eq!(date.days(), Some(19_753));
    }
}
