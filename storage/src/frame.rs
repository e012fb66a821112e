//! Framing of every value on disk: version byte, length, checksum. The checksum covers the context (the key, or
//! the kind of file) as well, so that a value under a foreign key is found out.
//!
//! ```text
//! 0       1            5            9
//! version length (LE)  crc32 (LE)   payload …
//! ```

/// The only version so far.
pub const FRAME_VERSION: u8 = 1;
/// Bytes before the payload.
pub const FRAME_HEADER: usize = 9;

/// Why a frame cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than a header.
    #[error("{0} bytes are too short for a value")]
    Short(usize),
    /// Written by a newer program.
    #[error("unknown format version {0}; was this written by a newer version?")]
    Version(u8),
    /// Cut, or longer than it says.
    #[error("the value says {said} bytes and has {has}")]
    Length {
        /// By its header.
        said: usize,
        /// In fact.
        has: usize,
    },
    /// The bytes are not those that were written.
    #[error("the checksum does not match")]
    Checksum,
}

/// Wraps a payload.
pub fn frame(context: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(FRAME_HEADER + payload.len());
    framed.push(FRAME_VERSION);
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    framed.extend_from_slice(&length.to_le_bytes());
    framed.extend_from_slice(&checksum(context, length, payload).to_le_bytes());
    framed.extend_from_slice(payload);
    framed
}

/// Checks a frame and gives its payload.
pub fn unframe<'a>(context: &[u8], framed: &'a [u8]) -> Result<&'a [u8], FrameError> {
    let Some((header, payload)) = framed.split_at_checked(FRAME_HEADER) else {
        return Err(FrameError::Short(framed.len()));
    };
    let [version, l0, l1, l2, l3, c0, c1, c2, c3] = header else {
        return Err(FrameError::Short(framed.len()));
    };
    if *version != FRAME_VERSION {
        return Err(FrameError::Version(*version));
    }
    let length = u32::from_le_bytes([*l0, *l1, *l2, *l3]);
    if length as usize != payload.len() {
        return Err(FrameError::Length { said: length as usize, has: payload.len() });
    }
    if u32::from_le_bytes([*c0, *c1, *c2, *c3]) != checksum(context, length, payload) {
        return Err(FrameError::Checksum);
    }
    Ok(payload)
}

fn checksum(context: &[u8], length: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&(context.len() as u64).to_le_bytes());
    hasher.update(context);
    hasher.update(&length.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(context: Vec<u8>, payload: Vec<u8>) {
            let framed = frame(&context, &payload);
            prop_assert_eq!(unframe(&context, &framed), Ok(payload.as_slice()));
        }

        #[test]
        fn a_flipped_bit_is_found(payload in proptest::collection::vec(any::<u8>(), 0..200), at: usize, bit in 0..8_u32) {
            let mut framed = frame(b"k", &payload);
            let at = at % framed.len();
            framed[at] ^= 1_u8 << bit;
            prop_assert!(unframe(b"k", &framed).is_err());
        }

        #[test]
        fn a_cut_is_found(payload in proptest::collection::vec(any::<u8>(), 0..200), at: usize) {
            let framed = frame(b"k", &payload);
            prop_assert!(unframe(b"k", &framed[..at % framed.len()]).is_err());
        }

        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>) {
            let _ = unframe(b"k", &bytes);
        }
    }

    #[test]
    fn a_value_under_another_key_is_found() {
        assert_eq!(unframe(b"a", &frame(b"b", b"value")), Err(FrameError::Checksum));
    }
}
