//! Dates and times, in the forms of MySQL 5.6 and later, the older ones, and MariaDB's own with fractions.

use crate::{
    binlog::{Cursor, Malformed},
    value::SmallText,
};

type Decoded = Result<SmallText, Malformed>;

/// Longest text: `-838:59:59.123456` and `2026-08-01 12:00:00.123456`.
const TEXT_MAX: usize = 32;

/// Text under construction, without allocation.
struct Writer {
    bytes: [u8; TEXT_MAX],
    len: usize,
}

impl Writer {
    fn new() -> Self {
        Self { bytes: [0; TEXT_MAX], len: 0 }
    }

    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = byte;
            self.len += 1;
        }
    }

    /// At least `width` digits.
    fn number(&mut self, mut number: u64, width: usize) {
        let mut digits = [b'0'; 20];
        let mut at = digits.len();
        while number > 0 || digits.len() - at < width {
            at -= 1;
            // A digit is below 10.
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
        }
        for digit in &digits[at..] {
            self.push(*digit);
        }
    }

    fn date(&mut self, year: u64, month: u64, day: u64) {
        self.number(year, 4);
        self.push(b'-');
        self.number(month, 2);
        self.push(b'-');
        self.number(day, 2);
    }

    fn time(&mut self, hour: u64, minute: u64, second: u64) {
        self.number(hour, 2);
        self.push(b':');
        self.number(minute, 2);
        self.push(b':');
        self.number(second, 2);
    }

    /// The first `fsp` digits of microseconds.
    fn fraction(&mut self, microseconds: u64, fsp: u8) {
        if fsp > 0 {
            self.push(b'.');
            self.number(microseconds / 10u64.pow(6 - u32::from(fsp.min(6))), fsp.into());
        }
    }

    fn finish(&self) -> SmallText {
        SmallText::from_ascii(&self.bytes[..self.len])
    }
}

/// Bytes of a fraction with so many digits.
fn fraction_bytes(fsp: u8) -> usize {
    usize::from(fsp.min(6)).div_ceil(2)
}

/// Microseconds from a fraction in so many bytes, which counts in hundredths, ten-thousandths or microseconds.
fn microseconds(fraction: u64, bytes: usize) -> Result<u64, Malformed> {
    let micros = fraction * [0, 10_000, 100, 1][bytes.min(3)];
    if micros > 999_999 { Err(Malformed::new("fraction of a second out of range")) } else { Ok(micros) }
}

/// DATE in three bytes.
pub(super) fn date(cursor: &mut Cursor<'_>) -> Decoded {
    let packed = u64::from(cursor.u24()?);
    let mut text = Writer::new();
    text.date(packed >> 9, (packed >> 5) & 15, packed & 31);
    Ok(text.finish())
}

/// DATETIME(n) of MySQL 5.6 and later.
pub(super) fn datetime2(cursor: &mut Cursor<'_>, fsp: u8) -> Decoded {
    let packed =
        cursor.uint_be(5)?.checked_sub(0x80_0000_0000).ok_or_else(|| Malformed::new("negative DATETIME"))?;
    let bytes = fraction_bytes(fsp);
    let micros = microseconds(cursor.uint_be(bytes)?, bytes)?;
    Ok(packed_datetime(packed, micros, fsp))
}

/// Date and time packed into an integer, as DATETIME columns and JSON have it.
pub(super) fn packed_datetime(packed: u64, micros: u64, fsp: u8) -> SmallText {
    let (ymd, hms) = (packed >> 17, packed & 0x1_ffff);
    let year_month = ymd >> 5;
    let mut text = Writer::new();
    text.date(year_month / 13, year_month % 13, ymd & 31);
    text.push(b' ');
    text.time(hms >> 12, (hms >> 6) & 63, hms & 63);
    text.fraction(micros, fsp);
    text.finish()
}

/// The date part alone of the same packed integer.
pub(super) fn packed_date(packed: u64) -> SmallText {
    let year_month = packed >> 22;
    let mut text = Writer::new();
    text.date(year_month / 13, year_month % 13, (packed >> 17) & 31);
    text.finish()
}

/// TIME(n) of MySQL 5.6 and later: whole and fraction together are one big-endian number with an offset.
pub(super) fn time2(cursor: &mut Cursor<'_>, fsp: u8) -> Decoded {
    let bytes = fraction_bytes(fsp);
    let bits = 8 * bytes as u32;
    // At most six bytes: fits.
    let stored = cursor.uint_be(3 + bytes)? as i64;
    let value = stored - (0x80_0000_i64 << bits);
    let magnitude = value.unsigned_abs();
    let micros = microseconds(magnitude & ((1 << bits) - 1), bytes)?;
    Ok(packed_time(value < 0, magnitude >> bits, micros, fsp))
}

/// A time packed into an integer.
pub(super) fn packed_time(negative: bool, packed: u64, micros: u64, fsp: u8) -> SmallText {
    let mut text = Writer::new();
    if negative {
        text.push(b'-');
    }
    text.time((packed >> 12) & 0x3ff, (packed >> 6) & 63, packed & 63);
    text.fraction(micros, fsp);
    text.finish()
}

/// TIMESTAMP(n) of MySQL 5.6 and later, in UTC.
pub(super) fn timestamp2(cursor: &mut Cursor<'_>, fsp: u8) -> Decoded {
    let seconds = cursor.uint_be(4)?;
    let bytes = fraction_bytes(fsp);
    let micros = microseconds(cursor.uint_be(bytes)?, bytes)?;
    Ok(utc(seconds, micros, fsp))
}

/// TIMESTAMP of older servers.
pub(super) fn timestamp(cursor: &mut Cursor<'_>) -> Decoded {
    Ok(utc(cursor.u32()?.into(), 0, 0))
}

/// DATETIME of older servers: the decimal number 20260801120000.
pub(super) fn datetime(cursor: &mut Cursor<'_>) -> Decoded {
    let number = cursor.u64()?;
    let (date, time) = (number / 1_000_000, number % 1_000_000);
    let mut text = Writer::new();
    text.date(date / 10_000, date / 100 % 100, date % 100);
    text.push(b' ');
    text.time(time / 10_000, time / 100 % 100, time % 100);
    Ok(text.finish())
}

/// TIME of older servers: the signed decimal number 8385959 in three bytes.
pub(super) fn time(cursor: &mut Cursor<'_>) -> Decoded {
    let raw = cursor.u24()?;
    let (negative, number) = if raw & 0x80_0000 != 0 { (true, 0x100_0000 - raw) } else { (false, raw) };
    let number = u64::from(number);
    let mut text = Writer::new();
    if negative {
        text.push(b'-');
    }
    text.time(number / 10_000, number / 100 % 100, number % 100);
    Ok(text.finish())
}

/// TIMESTAMP(n) of MariaDB before the MySQL 5.6 format.
pub(super) fn timestamp_hires(cursor: &mut Cursor<'_>, fsp: u8) -> Decoded {
    let seconds = cursor.uint_be(4)?;
    let bytes = [0, 1, 1, 2, 2, 3, 3][usize::from(fsp.min(6))];
    let micros = cursor.uint_be(bytes)?.saturating_mul(10u64.pow(6 - u32::from(fsp.min(6))));
    Ok(utc(seconds, micros % 1_000_000, fsp))
}

/// DATETIME(n) of MariaDB before the MySQL 5.6 format: one mixed-radix number.
pub(super) fn datetime_hires(cursor: &mut Cursor<'_>, fsp: u8) -> Decoded {
    let bytes = [5, 6, 6, 7, 7, 7, 8][usize::from(fsp.min(6))];
    let packed = cursor.uint_be(bytes)?;
    let scale = 10u64.pow(u32::from(fsp.min(6)));
    let micros = packed % scale * (1_000_000 / scale);
    let mut rest = packed / scale;
    let mut next = |radix: u64| {
        let digit = rest % radix;
        rest /= radix;
        digit
    };
    let (second, minute, hour, day, month) = (next(60), next(60), next(24), next(32), next(13));
    let mut text = Writer::new();
    text.date(rest, month, day);
    text.push(b' ');
    text.time(hour, minute, second);
    text.fraction(micros, fsp);
    Ok(text.finish())
}

/// TIME(n) of MariaDB before the MySQL 5.6 format: a number with an offset.
pub(super) fn time_hires(cursor: &mut Cursor<'_>, fsp: u8) -> Decoded {
    const SECONDS_MAX: i64 = 838 * 3600 + 59 * 60 + 59;
    let bytes = [3, 4, 4, 5, 5, 5, 6][usize::from(fsp.min(6))];
    let scale = 10i64.pow(u32::from(fsp.min(6)));
    // At most six bytes: fits.
    let value = cursor.uint_be(bytes)? as i64 - (SECONDS_MAX + 1) * scale;
    let (magnitude, scale) = (value.unsigned_abs(), scale.unsigned_abs());
    let (seconds, fraction) = (magnitude / scale, magnitude % scale);
    let mut text = Writer::new();
    if value < 0 {
        text.push(b'-');
    }
    text.time(seconds / 3600, seconds / 60 % 60, seconds % 60);
    text.fraction(fraction * (1_000_000 / scale), fsp);
    Ok(text.finish())
}

/// Seconds since 1970 as date and time in UTC; 0 is the zero date.
fn utc(seconds: u64, micros: u64, fsp: u8) -> SmallText {
    let mut text = Writer::new();
    if seconds == 0 && micros == 0 {
        text.date(0, 0, 0);
        text.push(b' ');
        text.time(0, 0, 0);
    } else {
        let (year, month, day) = civil(seconds / 86_400);
        text.date(year, month, day);
        text.push(b' ');
        let time = seconds % 86_400;
        text.time(time / 3600, time / 60 % 60, time % 60);
    }
    text.fraction(micros, fsp);
    text.finish()
}

/// The Gregorian date so many days after 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years that begin in March put the leap day at their end; eras of 400 years all look alike.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(decode: impl Fn(&mut Cursor<'_>) -> Decoded, bytes: &[u8]) -> String {
        for cut in 0..bytes.len() {
            assert!(decode(&mut Cursor::new(&bytes[..cut])).is_err());
        }
        let mut cursor = Cursor::new(bytes);
        let text = decode(&mut cursor).unwrap().to_string();
        assert!(cursor.is_empty());
        text
    }

    #[test]
    fn negative_times_keep_their_fraction() {
        assert_eq!(run(|c| time2(c, 1), &[0x7f, 0xff, 0xff, 0xf6]), "-00:00:00.1");
        assert_eq!(run(|c| time2(c, 2), &[0x7f, 0xff, 0xfe, 0xf6]), "-00:00:01.10");
        assert_eq!(run(|c| time2(c, 0), &[0x80, 0x00, 0x00]), "00:00:00");
        assert_eq!(run(|c| time2(c, 0), &[0x7f, 0xff, 0xff]), "-00:00:01");
        let lowest = (0x8000_0000_0000_i64 - (((838 << 12 | 59 << 6 | 59) << 24) | 999_999)).to_be_bytes();
        assert_eq!(run(|c| time2(c, 6), &lowest[2..]), "-838:59:59.999999");
        assert_eq!(run(time, &[0x01, 0x00, 0x00]), "00:00:01");
        assert_eq!(run(time, &[0xff, 0xff, 0xff]), "-00:00:01");
        assert_eq!(run(time, &[0x59, 0x0a, 0x80]), "-838:59:59");
    }

    #[test]
    fn dates_of_all_ages() {
        assert_eq!(run(date, &[0, 0, 0]), "0000-00-00");
        assert_eq!(run(date, &[0x9f, 0x1f, 0x4e]), "9999-12-31");
        assert_eq!(run(|c| timestamp2(c, 6), &[0, 0, 0, 0, 0, 0, 0]), "0000-00-00 00:00:00.000000");
        assert_eq!(run(|c| timestamp2(c, 0), &[0, 0, 0, 1]), "1970-01-01 00:00:01");
        assert_eq!(
            run(|c| timestamp2(c, 3), &[0x7f, 0xff, 0xff, 0xff, 0x27, 0x06]),
            "2038-01-19 03:14:07.999"
        );
        assert_eq!(run(timestamp, &[0xff, 0xff, 0xff, 0xff]), "2106-02-07 06:28:15");
        assert_eq!(run(datetime, &20_260_801_120_304u64.to_le_bytes()), "2026-08-01 12:03:04");
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(47_541), (2100, 3, 1));
        assert_eq!(run(|c| datetime2(c, 0), &[0x80, 0, 0, 0, 0]), "0000-00-00 00:00:00");
        assert!(datetime2(&mut Cursor::new(&[0, 0, 0, 0, 0]), 0).is_err());
    }
}
