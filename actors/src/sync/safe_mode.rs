//! Safe mode: changes are rewritten so that applying them twice does no harm. Exactly-once does not need it; it is on
//! only while the stream is inside a window that has a reason and an end, both durable and shown.
//!
//! | reason | end |
//! |---|---|
//! | `safe-mode: true` in the task | where the source was when the setting was first seen |
//! | `start-task --safe-mode-duration` | the first transaction's time stamp plus the duration |
//! | a checkpoint of DM with an exit point | the exit point |
//! | going back by `--start-time` or by a changed checkpoint row | where the task was ([`super::rewind`]) |

use std::time::Duration;

use dmnode_model::error::CodedError;
use dmnode_model::ids::SourceId;
use dmnode_model::status::SafeModeStatus;
use dmnode_model::{BinlogPosition, Flavor, Gtid, GtidSet, Location};
use dmnode_mysql::{Connection, ServerInfo, current_location};

use super::applier::Statement;
use super::change::describe_location;
use super::rewind::Rewind;
use super::stream::{Halt, Stream};
use crate::progress::{ProgressStore, ProgressUpdate, text_literal};
use crate::target::target_error;

/// The reason of the setting, and its name in the meta table.
const SETTING: &str = "setting";

/// Where a window ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Until {
    /// At this location, inclusive.
    Location(Location),
    /// So long after the first transaction, by the source's clock.
    After(Duration),
    /// At this time of the source, seconds since 1970.
    Time(u64),
}

/// The windows the stream is in, if any.
#[derive(Debug, Default)]
pub struct SafeMode {
    windows: Vec<(String, Until)>,
    /// Has to be written before anything is done in the window.
    record: Option<String>,
    /// Where the end of a timed window is remembered.
    timed: Option<(String, SourceId, String)>,
}

/// What the task asks for.
#[derive(Debug, Default)]
pub struct Asked {
    /// `safe-mode: true`.
    pub setting: bool,
    /// `start-task --safe-mode-duration`, with the identity of that start.
    pub window: Option<(u64, Duration)>,
}

/// Where windows are remembered.
pub(super) struct Record<'a> {
    pub table: String,
    pub source: &'a SourceId,
}

impl Record<'_> {
    pub fn put_sql(&self, reason: &str, until: &Until) -> String {
        let text = |text: &str| text_literal(text);
        let (file, pos, gtid, time) = match until {
            Until::Location(location) => (
                text(&location.position.file),
                location.position.pos,
                location.gtid_set.as_ref().map_or_else(|| "NULL".to_owned(), |set| text(&set.to_string())),
                0,
            ),
            Until::Time(time) => ("''".to_owned(), 0, "NULL".to_owned(), *time),
            Until::After(_) => ("''".to_owned(), 0, "NULL".to_owned(), 0),
        };
        format!(
            "INSERT INTO {} (source_id, reason, until_file, until_pos, until_gtid, until_time) \
             VALUES ({}, {}, {file}, {pos}, {gtid}, {time}) ON DUPLICATE KEY UPDATE until_file = {file}, \
             until_pos = {pos}, until_gtid = {gtid}, until_time = {time}",
            self.table,
            text(self.source.as_str()),
            text(reason)
        )
    }

    pub fn create_sql(&self) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (source_id VARCHAR(64) NOT NULL, reason VARCHAR(128) NOT NULL, \
             until_file VARCHAR(255) NOT NULL, until_pos BIGINT UNSIGNED NOT NULL, until_gtid LONGTEXT NULL, \
             until_time BIGINT UNSIGNED NOT NULL, PRIMARY KEY (source_id, reason)) \
             ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin",
            self.table
        )
    }
}

impl SafeMode {
    /// Finds the window that this generation begins in.
    pub async fn open(
        store: &ProgressStore,
        source_id: &SourceId,
        asked: &Asked,
        start: &Location,
        source: &mut Connection,
        info: &ServerInfo,
    ) -> Result<Self, CodedError> {
        let record = Record { table: store.table("dmnode_safe_mode"), source: source_id };
        let mut conn = store.connect().await?;
        let exit =
            dm_exit_point(&mut conn, &store.table("syncer_checkpoint"), source_id, info.flavor).await?;
        let known = known(&mut conn, &record, SETTING, info.flavor).await?;
        let mut safe_mode = Self::default();
        if asked.setting {
            let until = match known {
                Some(until) => until,
                None => {
                    conn.execute(record.create_sql()).await.map_err(|error| target_error(&error))?;
                    let now = current_location(source, info)
                        .await
                        .map_err(|error| super::start::position_unknown(&error))?;
                    let until = Until::Location(now);
                    safe_mode.record = Some(record.put_sql(SETTING, &until));
                    until
                }
            };
            safe_mode.windows.push(("`safe-mode: true` in the task".to_owned(), until));
        } else if known.is_some() {
            // Setting it again opens a new window.
            safe_mode.record = Some(format!(
                "DELETE FROM {} WHERE source_id = {} AND reason = '{SETTING}'",
                record.table,
                text_literal(source_id.as_str())
            ));
        }
        if let Some((id, duration)) = &asked.window {
            // One window for one start of the task, however often the unit begins anew.
            let id = format!("start {id}");
            let until = match self::known(&mut conn, &record, &id, info.flavor).await? {
                None => {
                    conn.execute(record.create_sql()).await.map_err(|error| target_error(&error))?;
                    Until::After(*duration)
                }
                Some(until) => until,
            };
            let reason = format!("start-task --safe-mode-duration {} s", duration.as_secs());
            safe_mode.timed = Some((record.table.clone(), source_id.clone(), id));
            safe_mode.windows.push((reason, until));
        }
        if let Some(exit) = exit {
            let reason = "DM's checkpoint: what follows may be applied already".to_owned();
            safe_mode.windows.push((reason, Until::Location(exit)));
        }
        for back in Rewind::ALL {
            if let Some(until) = self::known(&mut conn, &record, back.key(), info.flavor).await? {
                safe_mode.windows.push((back.reason().to_owned(), until));
            }
        }
        conn.close().await;
        safe_mode.advance(start);
        Ok(safe_mode)
    }

    /// What has to be written before anything else is.
    pub fn take_record(&mut self) -> Option<String> {
        self.record.take()
    }

    /// Whether a transaction with this end lies in the window.
    pub fn covers(&mut self, end: &BinlogPosition, gtid: Option<&Gtid>, timestamp: u32) -> bool {
        let mut inside_any = false;
        let (timed, record) = (&self.timed, &mut self.record);
        self.windows.retain_mut(|(reason, until)| {
            if let Until::After(duration) = until {
                *until = Until::Time(u64::from(timestamp) + duration.as_secs());
                if let Some((table, source, id)) = timed {
                    *record = Some(Record { table: table.clone(), source }.put_sql(id, until));
                }
            }
            let inside = match until {
                Until::Location(until) => is_before(until, end, gtid),
                Until::Time(time) => u64::from(timestamp) <= *time,
                Until::After(_) => true,
            };
            inside_any |= inside;
            let stays = inside || !matches!(until, Until::Time(_));
            if !stays {
                ended(reason);
            }
            stays
        });
        inside_any
    }

    /// The stream has come to this place.
    pub fn advance(&mut self, location: &Location) {
        self.windows.retain(|(reason, until)| {
            let passed = matches!(until, Until::Location(until) if has_reached(location, until));
            if passed {
                ended(reason);
            }
            !passed
        });
    }

    /// Another server has taken the source's place: ends are told by GTID only. The statement remembers that.
    pub fn switched(&mut self, store_table: &str, source: &SourceId) -> Option<String> {
        let mut any = false;
        for (_, until) in &mut self.windows {
            if let Until::Location(until) = until {
                until.position = BinlogPosition::default();
                any = true;
            }
        }
        any.then(|| {
            format!(
                "UPDATE {store_table} SET until_file = '', until_pos = 0 WHERE source_id = {} AND until_file <> ''",
                text_literal(source.as_str())
            )
        })
    }

    /// For the status.
    pub fn status(&self) -> Option<SafeModeStatus> {
        if self.windows.is_empty() {
            return None;
        }
        let until = |until: &Until| match until {
            Until::Location(location) => describe_location(location),
            Until::After(duration) => format!("{} s after the first transaction", duration.as_secs()),
            Until::Time(time) => format!("events of the source's time {time} (seconds since 1970)"),
        };
        let reasons: Vec<&str> = self.windows.iter().map(|(reason, _)| reason.as_str()).collect();
        let ends: Vec<String> = self.windows.iter().map(|(_, end)| until(end)).collect();
        Some(SafeModeStatus { reason: reasons.join("; "), until: ends.join("; ") })
    }
}

fn ended(reason: &str) {
    tracing::info!(reason, "the window of safe mode is passed");
}

impl Stream {
    /// Judges the open transaction, which reaches up to here at least. A window that begins with it is written down
    /// first.
    pub(super) async fn enter_safe_mode(&mut self, end: &BinlogPosition) -> Result<(), Halt> {
        if self.safe_mode.windows.is_empty() {
            return Ok(());
        }
        let timestamp = self.assembler.timestamp();
        self.open.safe = self.safe_mode.covers(end, self.assembler.gtid(), timestamp);
        if let Some(sql) = self.safe_mode.take_record()
            && let Some(first) = self.appliers.first()
        {
            first.lock().await.conn.apply(&ProgressUpdate::unchanged(), &mut Statement(&sql)).await?;
        }
        *self.shared.safe_mode.lock() = self.safe_mode.status();
        Ok(())
    }

    /// Whether the open transaction lies in a window.
    pub(super) fn safe_now(&self) -> bool {
        self.open.safe
    }

    /// The window is left when everything in it is in the target.
    pub(super) fn leave_safe_mode(&mut self) {
        if !self.safe_mode.windows.is_empty() {
            let applied = self.shared.window.lock().location().clone();
            self.safe_mode.advance(&applied);
            *self.shared.safe_mode.lock() = self.safe_mode.status();
        }
    }
}

/// MySQL's sets tell by themselves; the positions do otherwise.
fn is_before(until: &Location, end: &BinlogPosition, gtid: Option<&Gtid>) -> bool {
    match (&until.gtid_set, gtid) {
        (Some(set @ GtidSet::Mysql(_)), Some(gtid)) if !set.is_empty() => set.contains(gtid),
        (Some(set), Some(gtid)) if until.position.is_empty() => set.contains(gtid),
        _ => *end <= until.position,
    }
}

pub(super) fn has_reached(location: &Location, until: &Location) -> bool {
    match (&location.gtid_set, &until.gtid_set) {
        (Some(read), Some(wanted)) if until.position.is_empty() => read.contains_set(wanted),
        (Some(read), Some(wanted @ GtidSet::Mysql(_))) if !wanted.is_empty() => read.contains_set(wanted),
        _ => location.position >= until.position,
    }
}

pub(super) async fn known(
    conn: &mut Connection,
    record: &Record<'_>,
    reason: &str,
    flavor: Flavor,
) -> Result<Option<Until>, CodedError> {
    let sql = format!(
        "SELECT until_file, until_pos, until_gtid, until_time FROM {} WHERE source_id = {} AND reason = {}",
        record.table,
        text_literal(record.source.as_str()),
        text_literal(reason)
    );
    let row = match conn.query_one(sql).await {
        Ok(row) => row,
        Err(error) if error.code() == Some(1146) => return Ok(None),
        Err(error) => return Err(target_error(&error).object(&record.table)),
    };
    let Some(row) = row else { return Ok(None) };
    if let Some(time) = row.u64(3).filter(|time| *time > 0) {
        return Ok(Some(Until::Time(time)));
    }
    let position = BinlogPosition { file: row.string(0).unwrap_or_default(), pos: row.u64(1).unwrap_or(0) };
    let gtid_set = match row.string(2) {
        Some(text) => Some(GtidSet::parse(flavor, &text)?),
        None => None,
    };
    Ok(Some(Until::Location(Location { position, gtid_set })))
}

/// DM may have applied more than its checkpoint says, up to its "safe mode exit point".
async fn dm_exit_point(
    conn: &mut Connection,
    table: &str,
    source: &SourceId,
    flavor: Flavor,
) -> Result<Option<Location>, CodedError> {
    let sql = format!(
        "SELECT exit_safe_binlog_name, exit_safe_binlog_pos, exit_safe_binlog_gtid FROM {table} \
         WHERE id = {} AND is_global = 1",
        text_literal(source.as_str())
    );
    let row = match conn.query_one(sql).await {
        Ok(row) => row,
        // 1054: a layout of DM 1.0, which knows no exit point.
        Err(error) if matches!(error.code(), Some(1054 | 1146)) => return Ok(None),
        Err(error) => return Err(target_error(&error).object(table)),
    };
    let Some(row) = row else { return Ok(None) };
    let file = row.string(0).unwrap_or_default();
    if file.is_empty() {
        return Ok(None);
    }
    let gtid_set =
        row.string(2).filter(|text| !text.is_empty()).and_then(|text| GtidSet::parse(flavor, &text).ok());
    Ok(Some(Location { position: BinlogPosition { file, pos: row.u64(1).unwrap_or(4) }, gtid_set }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(pos: u64) -> Location {
        Location { position: BinlogPosition { file: "bin.000002".into(), pos }, gtid_set: None }
    }

    #[test]
    fn a_window_ends_at_its_location() {
        let mut mode =
            SafeMode { windows: vec![("x".into(), Until::Location(at(500)))], record: None, timed: None };
        assert!(mode.covers(&at(400).position, None, 1) && mode.covers(&at(500).position, None, 1));
        assert!(!mode.covers(&at(501).position, None, 1));
        mode.advance(&at(499));
        assert!(mode.status().is_some());
        mode.advance(&at(500));
        assert!(mode.status().is_none());
        assert!(!mode.covers(&at(400).position, None, 1));
    }

    #[test]
    fn a_window_ends_at_its_time() {
        let mut mode = SafeMode {
            windows: vec![("x".into(), Until::After(Duration::from_secs(60)))],
            record: None,
            timed: None,
        };
        assert!(mode.covers(&at(4).position, None, 1000));
        assert!(mode.covers(&at(5).position, None, 1060));
        assert!(!mode.covers(&at(6).position, None, 1061));
        assert!(mode.status().is_none(), "and does not open again");
        assert!(!mode.covers(&at(7).position, None, 1001));
    }

    #[test]
    fn gtids_tell_it_where_there_are_any() {
        let set = GtidSet::parse(Flavor::Mysql, "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5").unwrap();
        let until = Location { gtid_set: Some(set), ..at(100) };
        let gtid = |text: &str| Gtid::parse(Flavor::Mysql, text).unwrap();
        assert!(is_before(&until, &at(900).position, Some(&gtid("3e11fa47-71ca-11e1-9e33-c80aa9429562:5"))));
        assert!(!is_before(&until, &at(50).position, Some(&gtid("3e11fa47-71ca-11e1-9e33-c80aa9429562:6"))));
    }
}
