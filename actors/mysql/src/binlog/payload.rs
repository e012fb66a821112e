//! TRANSACTION_PAYLOAD events: a transaction's events, compressed. Unpacked as a stream, so that the size of a
//! transaction does not matter for memory.

use std::io::Read;

use bytes::{Bytes, BytesMut};

use super::{
    cursor::{Cursor, Malformed, Parsed, share},
    event::{EventHeader, types},
    parse::HEADER_LEN,
};

/// How much is unpacked at a time.
const CHUNK: usize = 64 * 1024;
/// No event is bigger: the servers' own limit of a packet.
const EVENT_MAX: usize = 1 << 30;
/// Largest window a compressed stream may ask for (64 MiB); the server uses 2 MiB.
const WINDOW_LOG_MAX: u32 = 26;

const FIELD_END: u64 = 0;
const FIELD_SIZE: u64 = 1;
const FIELD_COMPRESSION: u64 = 2;
const FIELD_UNCOMPRESSED_SIZE: u64 = 3;
const COMPRESSION_ZSTD: u64 = 0;
const COMPRESSION_NONE: u64 = 255;

/// The events of a payload, one after the other.
pub(super) struct PayloadEvents {
    source: Box<dyn Read + Send + Sync>,
    buffer: BytesMut,
    /// Bytes announced and not unpacked yet, if the length was announced.
    left: Option<u64>,
    ended: bool,
}

impl PayloadEvents {
    pub fn open(body: &Bytes) -> Parsed<Self> {
        let mut cursor = Cursor::new(body);
        let (mut size, mut compression, mut left) = (None, COMPRESSION_NONE, None);
        loop {
            let field = cursor.lenenc()?;
            if field == FIELD_END {
                break;
            }
            let len = cursor.lenenc_len()?;
            let mut value = Cursor::new(cursor.take(len)?);
            match field {
                FIELD_SIZE => size = Some(value.lenenc()?),
                FIELD_COMPRESSION => compression = value.lenenc()?,
                FIELD_UNCOMPRESSED_SIZE => left = Some(value.lenenc()?),
                _ => {}
            }
        }
        let payload = share(body, cursor.rest());
        if size.is_some_and(|size| size != payload.len() as u64) {
            return Err(Malformed::new("payload is not as long as it says"));
        }
        let reader = std::io::Cursor::new(payload);
        let source: Box<dyn Read + Send + Sync> = match compression {
            COMPRESSION_ZSTD => {
                let broken = |error: std::io::Error| Malformed::new(format!("compressed payload: {error}"));
                let mut decoder = zstd::stream::read::Decoder::with_buffer(reader).map_err(broken)?;
                decoder.window_log_max(WINDOW_LOG_MAX).map_err(broken)?;
                Box::new(decoder)
            }
            COMPRESSION_NONE => Box::new(reader),
            other => return Err(Malformed::new(format!("payload compression {other}"))),
        };
        Ok(Self { source, buffer: BytesMut::new(), left, ended: false })
    }

    /// The next event's header and its body, which has no checksum; `None` after the last.
    pub fn next(&mut self) -> Parsed<Option<(EventHeader, Bytes)>> {
        if !self.fill(HEADER_LEN)? {
            return match (self.buffer.len(), self.left) {
                (0, None | Some(0)) => Ok(None),
                (0, Some(left)) => Err(Malformed::new(format!("payload ends {left} bytes early"))),
                _ => Err(Malformed::new("payload ends inside an event header")),
            };
        }
        let header = EventHeader::parse(&self.buffer)?;
        let size = header.size as usize;
        if !(HEADER_LEN..=EVENT_MAX).contains(&size) {
            return Err(Malformed::new(format!("event of {size} bytes in a payload")));
        }
        if header.event_type == types::TRANSACTION_PAYLOAD {
            return Err(Malformed::new("payload inside a payload"));
        }
        if !self.fill(size)? {
            return Err(Malformed::new("payload ends inside an event"));
        }
        let event = self.buffer.split_to(size).freeze();
        Ok(Some((header, event.slice(HEADER_LEN..))))
    }

    /// Unpacks until `len` bytes are there; false if the payload ends before.
    fn fill(&mut self, len: usize) -> Parsed<bool> {
        while self.buffer.len() < len {
            if self.ended {
                return Ok(false);
            }
            let have = self.buffer.len();
            self.buffer.resize(have + CHUNK, 0);
            let read = self.source.read(&mut self.buffer[have..]);
            let read = read.map_err(|error| Malformed::new(format!("compressed payload: {error}")))?;
            self.buffer.truncate(have + read);
            self.ended = read == 0;
            if let Some(left) = &mut self.left {
                *left = left
                    .checked_sub(read as u64)
                    .ok_or_else(|| Malformed::new("payload unpacks to more than it says"))?;
            }
        }
        Ok(true)
    }
}

impl std::fmt::Debug for PayloadEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PayloadEvents").field("left", &self.left).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lenenc(value: usize) -> Vec<u8> {
        [&[0xfe][..], &(value as u64).to_le_bytes()].concat()
    }

    fn payload(events: &[u8], announced: usize) -> Bytes {
        let packed = zstd::encode_all(events, 3).unwrap();
        let mut body = vec![3, 9];
        body.extend(lenenc(announced));
        body.extend([2, 1, 0, 1, 9]);
        body.extend(lenenc(packed.len()));
        body.push(0);
        body.extend(packed);
        body.into()
    }

    fn event(len: usize) -> Vec<u8> {
        let mut event = vec![0, 0, 0, 0, 16, 1, 0, 0, 0];
        event.extend(u32::try_from(HEADER_LEN + len).unwrap().to_le_bytes());
        event.extend([0; 6]);
        event.extend((0..len).map(|i| (i % 251) as u8));
        event
    }

    fn read_all(body: &Bytes) -> Parsed<Vec<usize>> {
        let mut events = PayloadEvents::open(body)?;
        let mut lens = Vec::new();
        while let Some((_, body)) = events.next()? {
            lens.push(body.len());
        }
        Ok(lens)
    }

    #[test]
    fn events_of_all_sizes_come_out() {
        let lens = [8, 0, CHUNK * 3 + 5, 1, CHUNK];
        let events: Vec<u8> = lens.iter().flat_map(|len| event(*len)).collect();
        assert_eq!(read_all(&payload(&events, events.len())).unwrap(), lens);
    }

    #[test]
    fn what_is_cut_damaged_or_lies_is_an_error() {
        let events = [event(100), event(2000)].concat();
        let good = payload(&events, events.len());
        for cut in 0..good.len() {
            assert!(read_all(&good.slice(..cut)).is_err(), "cut at {cut}");
        }
        assert!(read_all(&payload(&events, events.len() - 1)).is_err());
        assert!(read_all(&payload(&events, events.len() + 1)).is_err());
        assert!(read_all(&payload(&events[..events.len() - 1], events.len() - 1)).is_err());
        // A flipped bit must not panic, whatever else it does.
        for at in 0..good.len() {
            let mut bad = good.to_vec();
            bad[at] ^= 0x40;
            let _ = read_all(&bad.into());
        }
    }
}
