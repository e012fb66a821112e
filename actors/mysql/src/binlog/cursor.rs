//! Reading foreign bytes with every bound checked.

use bytes::Bytes;
use thiserror::Error;

/// Bytes that do not have the form they should have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what}")]
pub(crate) struct Malformed {
    /// What is wrong, for a person.
    pub what: String,
}

impl Malformed {
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

pub(crate) type Parsed<T> = Result<T, Malformed>;

/// A place in a slice. Reading moves it; reading past the end is an error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// How far it has come.
    pub fn position(&self) -> usize {
        self.at
    }

    pub fn remaining(&self) -> usize {
        self.data.len() - self.at
    }

    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.data[self.at..];
        self.at = self.data.len();
        rest
    }

    #[inline]
    pub fn take(&mut self, len: usize) -> Parsed<&'a [u8]> {
        match self.data[self.at..].get(..len) {
            Some(taken) => {
                self.at += len;
                Ok(taken)
            }
            None => Err(Malformed::new(format!(
                "{len} bytes expected at offset {}, {} are left",
                self.at,
                self.remaining()
            ))),
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    #[inline]
    pub fn u8(&mut self) -> Parsed<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub fn u16(&mut self) -> Parsed<u16> {
        self.array().map(u16::from_le_bytes)
    }

    #[inline]
    pub fn u24(&mut self) -> Parsed<u32> {
        let [a, b, c] = self.array()?;
        Ok(u32::from_le_bytes([a, b, c, 0]))
    }

    #[inline]
    pub fn u32(&mut self) -> Parsed<u32> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    pub fn u64(&mut self) -> Parsed<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A little-endian integer of 0 to 8 bytes.
    #[inline]
    pub fn uint(&mut self, len: usize) -> Parsed<u64> {
        if len > 8 {
            return Err(Malformed::new(format!("integer of {len} bytes")));
        }
        let mut array = [0; 8];
        array[..len].copy_from_slice(self.take(len)?);
        Ok(u64::from_le_bytes(array))
    }

    /// A big-endian integer of 0 to 8 bytes.
    #[inline]
    pub fn uint_be(&mut self, len: usize) -> Parsed<u64> {
        if len > 8 {
            return Err(Malformed::new(format!("integer of {len} bytes")));
        }
        let mut array = [0; 8];
        array[8 - len..].copy_from_slice(self.take(len)?);
        Ok(u64::from_be_bytes(array))
    }

    /// The protocol's length-encoded integer.
    pub fn lenenc(&mut self) -> Parsed<u64> {
        match self.u8()? {
            byte @ 0..=0xfa => Ok(byte.into()),
            0xfc => self.u16().map(Into::into),
            0xfd => self.u24().map(Into::into),
            0xfe => self.u64(),
            byte => Err(Malformed::new(format!("{byte:#x} starts no length"))),
        }
    }

    /// A length-encoded integer that is a length or count in this process.
    pub fn lenenc_len(&mut self) -> Parsed<usize> {
        let len = self.lenenc()?;
        usize::try_from(len).map_err(|_| Malformed::new(format!("length {len}")))
    }

    /// A string with its length in one byte before it.
    pub fn short_string(&mut self) -> Parsed<&'a [u8]> {
        let len = self.u8()?;
        self.take(len.into())
    }

    /// A string up to a NUL, which is consumed.
    pub fn nul_string(&mut self) -> Parsed<&'a [u8]> {
        let rest = &self.data[self.at..];
        let Some(len) = rest.iter().position(|byte| *byte == 0) else {
            return Err(Malformed::new("string without end"));
        };
        self.at += len + 1;
        Ok(&rest[..len])
    }

    /// Consumes a byte that must be NUL.
    pub fn nul(&mut self) -> Parsed<()> {
        match self.u8()? {
            0 => Ok(()),
            byte => Err(Malformed::new(format!("{byte:#x} where a NUL should be"))),
        }
    }
}

/// The part of `whole` that `part`, a slice of it, is; shares its memory.
pub(crate) fn share(whole: &Bytes, part: &[u8]) -> Bytes {
    if part.is_empty() {
        return Bytes::new();
    }
    let start = part.as_ptr() as usize;
    let base = whole.as_ptr() as usize;
    match start.checked_sub(base) {
        Some(offset) if offset + part.len() <= whole.len() => whole.slice(offset..offset + part.len()),
        _ => Bytes::copy_from_slice(part),
    }
}

/// Identifiers in the binlog are UTF-8; a damaged one is shown, not refused.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_past_the_end() {
        let mut cursor = Cursor::new(&[1, 2, 3]);
        assert!(cursor.u32().is_err());
        assert_eq!(cursor.u24().unwrap(), 0x03_02_01);
        assert!(cursor.u8().is_err());
        assert_eq!(cursor.take(0).unwrap(), b"");
        assert!(cursor.nul_string().is_err());
        assert!(cursor.take(usize::MAX).is_err());
    }

    #[test]
    fn lengths_of_each_width() {
        let mut cursor =
            Cursor::new(&[0xfa, 0xfc, 1, 2, 0xfd, 1, 2, 3, 0xfe, 1, 0, 0, 0, 0, 0, 0, 0x80, 0xff]);
        assert_eq!(cursor.lenenc().unwrap(), 0xfa);
        assert_eq!(cursor.lenenc().unwrap(), 0x0201);
        assert_eq!(cursor.lenenc().unwrap(), 0x03_0201);
        assert_eq!(cursor.lenenc().unwrap(), 0x8000_0000_0000_0001);
        assert!(cursor.lenenc().is_err());
    }

    #[test]
    fn sharing_does_not_copy() {
        let whole = Bytes::from(vec![1, 2, 3, 4]);
        let part = share(&whole, &whole[1..3]);
        assert_eq!(part.as_ptr(), whole[1..].as_ptr());
        assert_eq!(share(&whole, b"foreign"), Bytes::from_static(b"foreign"));
    }
}
