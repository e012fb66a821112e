//! Bytes on disk and on the wire: one version byte, then bincode, bounded in size.

use bincode::Options;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Raised with every change of what is stored or sent. Bytes of another version are refused, not misread.
pub(crate) const VERSION: u8 = 3;
/// Nothing larger is decoded, whatever the bytes claim.
pub(crate) const LIMIT: u64 = 256 * 1024 * 1024;

/// Why bytes were not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("empty")]
    Empty,
    #[error(
        "format version {0} is unknown to this program (it knows {VERSION}): all nodes and the data directory must be of one version"
    )]
    Version(u8),
    #[error("{0}")]
    Malformed(String),
}

fn options() -> impl Options {
    bincode::DefaultOptions::new().with_limit(LIMIT).with_varint_encoding().reject_trailing_bytes()
}

/// Encodes with the version byte in front.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = vec![VERSION];
    options().serialize_into(&mut bytes, value).map_err(|err| CodecError::Malformed(err.to_string()))?;
    Ok(bytes)
}

/// Decodes what [`encode`] made; any other bytes give an error.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    match bytes.split_first() {
        None => Err(CodecError::Empty),
        Some((&VERSION, body)) => {
            options().deserialize(body).map_err(|err| CodecError::Malformed(err.to_string()))
        }
        Some((version, _)) => Err(CodecError::Version(*version)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Command, State};

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(mut bytes: Vec<u8>) {
            let _ = decode::<State>(&bytes);
            bytes.insert(0, VERSION);
            let _ = decode::<State>(&bytes);
            let _ = decode::<Command>(&bytes);
        }
    }

    /// What comes from a disk or from a peer: snapshots, log entries, messages.
    #[test]
    fn fuzz_stored_and_sent_bytes() {
        use crate::rpc::{ProposeReply, ProposeRequest, ReadRequest};
        use crate::types::TypeConfig;

        let request = ReadRequest { cluster_id: "c".into(), timeout_ms: 7 };
        let seeds = [encode(&State::default()).unwrap(), encode(&request).unwrap(), vec![VERSION, 1, 2, 3]];
        let seeds: Vec<&[u8]> = seeds.iter().map(Vec::as_slice).collect();
        dmnode_fuzz::fuzz("stored and sent bytes", &seeds, &["\u{2}", "n1", "source-id: a"], |input| {
            let state = decode::<State>(input);
            if let Ok(state) = &state {
                assert_eq!(decode::<State>(&encode(state).unwrap()).as_ref(), Ok(state));
            }
            dmnode_fuzz::sign(&(
                state.is_ok(),
                decode::<Command>(input).err(),
                decode::<openraft::Entry<TypeConfig>>(input).err(),
                decode::<openraft::raft::AppendEntriesRequest<TypeConfig>>(input).is_ok(),
                decode::<openraft::raft::VoteRequest<u64>>(input).is_ok(),
                decode::<ProposeRequest>(input).is_ok(),
                decode::<ProposeReply>(input).is_ok(),
                decode::<ReadRequest>(input).is_ok(),
            ))
        });
    }

    #[test]
    fn a_newer_version_is_named() {
        assert_eq!(decode::<u8>(&[VERSION + 1, 0]), Err(CodecError::Version(VERSION + 1)));
        assert_eq!(decode::<u8>(&[]), Err(CodecError::Empty));
        assert_eq!(decode::<u8>(&encode(&7_u8).unwrap()), Ok(7));
        assert!(decode::<u8>(&[VERSION, 7, 7]).is_err());
    }
}
