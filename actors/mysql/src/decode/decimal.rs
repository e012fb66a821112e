//! DECIMAL in MySQL's binary form.

use crate::{
    binlog::{Cursor, Malformed},
    value::SmallText,
};

/// Bytes that hold so many digits of a group not full.
const BYTES_OF_DIGITS: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
/// Most digits a DECIMAL has.
const PRECISION_MAX: u8 = 65;
/// Sign, digits, point.
const TEXT_MAX: usize = 96;

/// Bytes of a DECIMAL(precision, scale).
fn storage(precision: u8, scale: u8) -> usize {
    let (whole, fraction) = (usize::from(precision - scale), usize::from(scale));
    whole / 9 * 4 + BYTES_OF_DIGITS[whole % 9] + fraction / 9 * 4 + BYTES_OF_DIGITS[fraction % 9]
}

/// Reads a decimal as text with `scale` digits after the point.
pub(super) fn decimal(cursor: &mut Cursor<'_>, precision: u8, scale: u8) -> Result<SmallText, Malformed> {
    if precision == 0 || precision > PRECISION_MAX || scale > precision {
        return Err(Malformed::new(format!("DECIMAL({precision},{scale})")));
    }
    let mut bytes = [0u8; 40];
    let len = storage(precision, scale);
    let bytes = &mut bytes[..len];
    bytes.copy_from_slice(cursor.take(len)?);
    // The sign is the first bit, inverted; a negative number has all other bits inverted.
    let negative = bytes[0] & 0x80 == 0;
    bytes[0] ^= 0x80;
    if negative {
        for byte in bytes.iter_mut() {
            *byte = !*byte;
        }
    }
    let mut groups = Cursor::new(bytes);
    let mut text = [0u8; TEXT_MAX];
    let mut at = 0;
    if negative {
        text[at] = b'-';
        at += 1;
    }
    let whole = usize::from(precision - scale);
    let start = at;
    push_group(&mut groups, whole % 9, &mut text, &mut at)?;
    for _ in 0..whole / 9 {
        push_group(&mut groups, 9, &mut text, &mut at)?;
    }
    // Leading zeros go, but one digit stays.
    let zeros = text[start..at].iter().take_while(|digit| **digit == b'0').count();
    if zeros == at - start {
        text[start] = b'0';
        at = start + 1;
    } else {
        text.copy_within(start + zeros..at, start);
        at -= zeros;
    }
    if scale > 0 {
        text[at] = b'.';
        at += 1;
        for _ in 0..scale / 9 {
            push_group(&mut groups, 9, &mut text, &mut at)?;
        }
        push_group(&mut groups, usize::from(scale % 9), &mut text, &mut at)?;
    }
    Ok(SmallText::from_ascii(&text[..at]))
}

/// Writes a group of up to nine digits.
fn push_group(
    groups: &mut Cursor<'_>,
    digits: usize,
    text: &mut [u8; TEXT_MAX],
    at: &mut usize,
) -> Result<(), Malformed> {
    let mut number = groups.uint_be(BYTES_OF_DIGITS[digits])?;
    for slot in text[*at..*at + digits].iter_mut().rev() {
        // A digit is below 10.
        *slot = b'0' + (number % 10) as u8;
        number /= 10;
    }
    if number != 0 {
        return Err(Malformed::new("group of digits out of range"));
    }
    *at += digits;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(bytes: &[u8], precision: u8, scale: u8) -> String {
        assert_eq!(storage(precision, scale), bytes.len());
        decimal(&mut Cursor::new(bytes), precision, scale).unwrap().to_string()
    }

    #[test]
    fn decimals_read_as_written() {
        // 1234567890.1234, the manual's example.
        let example = [0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2];
        assert_eq!(run(&example, 14, 4), "1234567890.1234");
        let negative: Vec<u8> = example.iter().map(|byte| !byte).collect();
        assert_eq!(run(&negative, 14, 4), "-1234567890.1234");
        assert_eq!(run(&[0x80], 1, 1), "0.0");
        assert_eq!(run(&[0x80, 0], 2, 1), "0.0");
        assert_eq!(run(&[0x80], 2, 0), "0");
    }

    #[test]
    fn every_precision_reads_its_own_largest_value() {
        for precision in 1..=PRECISION_MAX {
            for scale in 0..=precision.min(30) {
                let (whole, fraction) = (usize::from(precision - scale), usize::from(scale));
                let mut bytes = Vec::new();
                for (index, digits) in [whole % 9]
                    .into_iter()
                    .chain(std::iter::repeat_n(9, whole / 9 + fraction / 9))
                    .chain([fraction % 9])
                    .enumerate()
                {
                    let _ = index;
                    let number = (10u64.pow(u32::try_from(digits).unwrap()) - 1).to_be_bytes();
                    bytes.extend_from_slice(&number[8 - BYTES_OF_DIGITS[digits]..]);
                }
                bytes[0] ^= 0x80;
                let want = match (whole, fraction) {
                    (0, fraction) => format!("0.{}", "9".repeat(fraction)),
                    (whole, 0) => "9".repeat(whole),
                    (whole, fraction) => format!("{}.{}", "9".repeat(whole), "9".repeat(fraction)),
                };
                assert_eq!(run(&bytes, precision, scale), want);
                assert!(decimal(&mut Cursor::new(&bytes[..bytes.len() - 1]), precision, scale).is_err());
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(decimal(&mut Cursor::new(&[0xff; 60]), 65, 30).is_err());
        assert!(decimal(&mut Cursor::new(&[0; 60]), 0, 0).is_err());
        assert!(decimal(&mut Cursor::new(&[0; 60]), 70, 0).is_err());
        assert!(decimal(&mut Cursor::new(&[0; 60]), 5, 6).is_err());
    }
}
