//! Literals of SQL.

use super::datum::Datum;
use super::decimal::Decimal;

/// `1`, `1.5`, `1e3`, `0x1F`, `0b01`.
pub(super) fn number(text: &str) -> Option<Datum> {
    let lower = text.to_ascii_lowercase();
    if let Some(hex) = lower.strip_prefix("0x") {
        return hex_bytes(hex).map(Datum::Hex);
    }
    if let Some(bits) = lower.strip_prefix("0b") {
        return bit_bytes(bits).map(Datum::Hex);
    }
    if lower.contains('e') {
        return lower.parse().ok().filter(|value: &f64| value.is_finite()).map(Datum::Double);
    }
    if lower.contains('.') || lower.len() > 20 {
        return Decimal::parse(&lower).map(Datum::Decimal);
    }
    match lower.parse::<i64>() {
        Ok(value) => Some(Datum::Int(value)),
        Err(_) => match lower.parse::<u64>() {
            Ok(value) => Some(Datum::UInt(value)),
            Err(_) => Decimal::parse(&lower).map(Datum::Decimal),
        },
    }
}

/// `'…'`, `"…"`, `n'…'`, `x'…'`, `b'…'` as they are written.
pub(super) fn string(text: &str) -> Option<Datum> {
    match text.as_bytes().first()? {
        b'x' | b'X' => hex_bytes(text.get(2..text.len().checked_sub(1)?)?).map(Datum::Hex),
        b'b' | b'B' => bit_bytes(text.get(2..text.len().checked_sub(1)?)?).map(Datum::Hex),
        b'n' | b'N' => unquote(text.get(1..)?).map(Datum::literal),
        _ => unquote(text).map(Datum::literal),
    }
}

fn hex_bytes(hex: &str) -> Option<Vec<u8>> {
    if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let padded = if hex.len().is_multiple_of(2) { hex.to_owned() } else { format!("0{hex}") };
    (0..padded.len()).step_by(2).map(|i| u8::from_str_radix(padded.get(i..i + 2)?, 16).ok()).collect()
}

fn bit_bytes(bits: &str) -> Option<Vec<u8>> {
    if !bits.bytes().all(|b| matches!(b, b'0' | b'1')) || bits.len() > 512 {
        return None;
    }
    let width = bits.len().div_ceil(8) * 8;
    let padded = format!("{bits:0>width$}");
    (0..width).step_by(8).map(|i| u8::from_str_radix(padded.get(i..i + 8)?, 2).ok()).collect()
}

/// A string without its quotes; `\%` and `\_` keep their backslash, as LIKE needs it.
fn unquote(text: &str) -> Option<String> {
    let quote = text.chars().next()?;
    let inner = text.get(1..text.len().checked_sub(1)?)?;
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next()? {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                '0' => out.push('\0'),
                'b' => out.push('\u{8}'),
                'Z' => out.push('\u{1a}'),
                c @ ('%' | '_') => {
                    out.push('\\');
                    out.push(c);
                }
                c => out.push(c),
            },
            c if c == quote => {
                chars.next();
                out.push(c);
            }
            c => out.push(c),
        }
    }
    Some(out)
}
