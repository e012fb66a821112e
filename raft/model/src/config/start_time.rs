//! `--start-time`: from when on an incremental task replicates.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use serde::Serialize;

use super::fields::parse_duration;

/// The start time of a start, and which start it was: a task that is resumed, or moved to another node, does not begin
/// at its start time again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct StartTime {
    /// As it was given.
    pub text: String,
    /// Number of the request in the cluster's log.
    pub request: u64,
}

/// `--safe-mode-duration` of a start, and which start it was.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SafeModeWindow {
    /// How long, by the time stamps of the source's transactions.
    pub duration: Duration,
    /// Number of the request in the cluster's log.
    pub request: u64,
}

impl SafeModeWindow {
    /// Reads a duration such as `60s` or `1m30s`, in whole seconds.
    pub fn parse(text: &str) -> Option<Duration> {
        parse_duration(text).filter(|duration| duration.as_secs() > 0)
    }
}

/// A start time, read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StartInstant {
    /// Date and time.
    pub civil: DateTime,
    /// Its distance from UTC; without one the time is meant in the source's time zone.
    pub offset: Option<Offset>,
}

impl StartInstant {
    /// Reads DM's forms: `2006-01-02 15:04:05` or `2006-01-02T15:04:05`, either may be followed by `Z`, `+08:00` or
    /// `+0800`.
    ///
    /// # Errors
    /// The text has another form; in DM's words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "error while parse start-time, expected in the format like '2006-01-02 15:04:05' or '2006-01-02T15:04:05', got '{text}'"
            )
        };
        let (civil, rest) = text.split_at_checked(CIVIL_LENGTH).ok_or_else(bad)?;
        let civil = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"]
            .iter()
            .find_map(|format| DateTime::strptime(format, civil).ok())
            .ok_or_else(bad)?;
        let offset = match rest.trim_start() {
            "" => None,
            "Z" | "z" => Some(Offset::UTC),
            rest => Some(parse_offset(rest).ok_or_else(bad)?),
        };
        Ok(Self { civil, offset })
    }

    /// Seconds since 1970, if the time says of itself how far from UTC it is.
    pub fn unix_seconds(&self) -> Option<i64> {
        self.offset?.to_timestamp(self.civil).ok().map(jiff::Timestamp::as_second)
    }

    /// Date and time as SQL writes them.
    pub fn sql_text(&self) -> String {
        self.civil.strftime("%Y-%m-%d %H:%M:%S").to_string()
    }
}

/// Length of `2006-01-02 15:04:05`.
const CIVIL_LENGTH: usize = 19;

/// `+08:00` or `+0800`.
fn parse_offset(text: &str) -> Option<Offset> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits = match text.as_bytes().get(1..)? {
        [h1, h2, b':', m1, m2] | [h1, h2, m1, m2] => [*h1, *h2, *m1, *m2],
        _ => return None,
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let [h1, h2, m1, m2] = digits.map(|digit| i32::from(digit - b'0'));
    let (hours, minutes) = (h1 * 10 + h2, m1 * 10 + m2);
    if hours > 14 || minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 60 + minutes) * 60).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_times_have_dms_forms() {
        for (text, seconds) in [
            ("2026-01-02 03:04:05", None),
            ("2026-01-02T03:04:05", None),
            ("1970-01-01 00:00:01Z", Some(1)),
            ("1970-01-01T08:00:00+08:00", Some(0)),
            ("1970-01-01 08:00:07+0800", Some(7)),
            ("1969-12-31 19:00:00 -0500", Some(0)),
        ] {
            let read = StartInstant::parse(text).unwrap();
            assert_eq!(read.unix_seconds(), seconds, "{text}");
            assert_eq!(read.sql_text(), text[..19].replace('T', " "), "{text}");
        }
        for wrong in [
            "",
            "yesterday",
            "2026-13-02 03:04:05",
            "2026-01-02",
            "2026-01-02 03:04",
            "2026-01-02 03:04:05 CET",
            "2026-01-02 03:04:05+25:00",
            "2026-01-02 03:04:05+8",
            "2026-01-02 03:04:0é",
        ] {
            assert!(StartInstant::parse(wrong).is_err(), "{wrong}");
        }
    }
}
