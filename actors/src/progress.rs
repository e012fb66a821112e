//! Durable progress of one subtask, in the target beside the data.
//!
//! The table `<task>_dmnode_progress` in the meta schema has one row per (source, applier). A row is fence and
//! progress at once: `epoch`, `token` and `seq` are the condition of every target transaction
//! ([`crate::target`]); the *watermark* says up to where every source transaction is applied; `applied` names
//! those beyond it that this applier has committed. A restart begins at the highest watermark of all rows and
//! skips the union of the applied sets: nothing is lost, nothing is applied twice.

mod applied;
pub(crate) mod meta;
mod take_over;
mod window;

pub use applied::{AppliedSet, TxnId};
pub use take_over::{ProgressStore, TakeOver, TargetSpec};
pub(crate) use take_over::{SQL_MODE, TargetShared, table_name};
pub use window::{ApplierBook, Ordinal, Window};

use dmnode_model::gtid::{Flavor, GtidSet};
use dmnode_model::position::{BinlogPosition, Location};

/// A watermark with the number that orders the watermarks of one subtask over all generations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermark {
    /// Grows with every advance.
    pub number: u64,
    /// Every source transaction up to here is in the target.
    pub location: Location,
}

/// What a target transaction changes in its applier's progress row, besides the sequence.
#[derive(Debug, Clone, Default)]
pub struct ProgressUpdate {
    pub(crate) watermark: Option<WatermarkText>,
    pub(crate) applied: Option<String>,
}

impl ProgressUpdate {
    /// Raises the sequence only.
    pub fn unchanged() -> Self {
        Self::default()
    }

    /// Moves the watermark; `applied` becomes empty. For units that have nothing in flight beyond it.
    pub fn watermark(watermark: &Watermark) -> Self {
        Self { watermark: Some(WatermarkText::new(watermark)), applied: Some(String::new()) }
    }
}

/// A watermark as the columns of the progress row hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WatermarkText {
    pub number: u64,
    pub file: String,
    pub pos: u64,
    pub gtid: Option<String>,
    pub flavor: Option<&'static str>,
}

const MYSQL: &str = "mysql";
const MARIADB: &str = "mariadb";

impl WatermarkText {
    pub(crate) fn new(watermark: &Watermark) -> Self {
        let location = &watermark.location;
        let flavor = location.gtid_set.as_ref().map(|set| match set {
            GtidSet::Mysql(_) => MYSQL,
            GtidSet::Mariadb(_) => MARIADB,
        });
        Self {
            number: watermark.number,
            file: location.position.file.clone(),
            pos: location.position.pos,
            gtid: location.gtid_set.as_ref().map(ToString::to_string),
            flavor,
        }
    }
}

/// Reads a watermark back from the columns of a progress row.
pub(crate) fn read_location(
    file: String,
    pos: u64,
    gtid: Option<&str>,
    flavor: Option<&str>,
) -> Result<Location, String> {
    let gtid_set = match (gtid, flavor) {
        (Some(text), Some(flavor)) => {
            let flavor = match flavor {
                MYSQL => Flavor::Mysql,
                MARIADB => Flavor::Mariadb,
                other => return Err(format!("`{other}` is not a flavor")),
            };
            Some(GtidSet::parse(flavor, text).map_err(|err| err.to_string())?)
        }
        _ => None,
    };
    Ok(Location { position: BinlogPosition { file, pos }, gtid_set })
}

/// Appends a text as an SQL literal that means the same under every `sql_mode`.
pub(crate) fn push_text(out: &mut Vec<u8>, text: &str) {
    if text
        .bytes()
        .all(|byte| byte != b'\'' && byte != b'\\' && (byte == b'\n' || (0x20..0x7f).contains(&byte)))
    {
        out.push(b'\'');
        out.extend_from_slice(text.as_bytes());
        out.push(b'\'');
    } else {
        out.extend_from_slice(b"_utf8mb4 x'");
        for byte in text.bytes() {
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        }
        out.push(b'\'');
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// [`push_text`] as a string.
pub(crate) fn text_literal(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    push_text(&mut out, text);
    String::from_utf8_lossy(&out).into_owned()
}
