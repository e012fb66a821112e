//! Waiting until the target has what the sources had at a moment.

use std::collections::BTreeSet;
use std::time::Duration;

use dmnode_model::config::{SourceConfig, SubtaskConfig};
use dmnode_model::error::CodedError;
use dmnode_model::position::Location;
use dmnode_mysql::current_location;
use tokio::time::Instant;

use super::side::Side;
use crate::progress::{read_location, table_name, text_literal};

const POLL: Duration = Duration::from_millis(200);
/// Where the task's progress cannot be read, in-flight transactions get this time.
const BLIND_WAIT: Duration = Duration::from_secs(1);

/// What is known of the task's progress, per source.
pub(super) struct Lag {
    progress_table: String,
    sources: Vec<String>,
    timeout: Duration,
    /// Sources whose watermark did not move in a whole wait: nobody replicates them now.
    stalled: BTreeSet<usize>,
}

impl Lag {
    pub fn new(sources: &[(SourceConfig, SubtaskConfig)], timeout: Duration) -> Self {
        let progress_table = sources.first().map_or_else(String::new, |(_, subtask)| {
            table_name(&subtask.meta_schema, &subtask.task, "dmnode_progress")
        });
        let sources = sources.iter().map(|(source, _)| source.source_id.to_string()).collect();
        Self { progress_table, sources, timeout, stalled: BTreeSet::new() }
    }

    /// Waits until the task has applied everything these sources have now, or the time is up. Says whether it has.
    pub async fn pass(
        &mut self,
        sources: &mut [Side],
        target: &mut Side,
        indexes: &BTreeSet<usize>,
    ) -> Result<bool, CodedError> {
        let mut wanted = Vec::new();
        for index in indexes {
            let Some(side) = sources.get_mut(*index) else { continue };
            let server = side.server().clone();
            let location = current_location(side.connection().await?, &server).await;
            match location {
                Ok(location) => wanted.push((*index, location)),
                Err(error) => {
                    tracing::debug!(error = %error, source = %side.name(), "the source's position cannot be read");
                    tokio::time::sleep(BLIND_WAIT).await;
                    return Ok(false);
                }
            }
        }
        let deadline = Instant::now() + self.timeout;
        let mut all_passed = true;
        for (index, location) in wanted {
            all_passed &= self.wait(target, index, &location, deadline).await?;
        }
        Ok(all_passed)
    }

    async fn wait(
        &mut self,
        target: &mut Side,
        index: usize,
        wanted: &Location,
        deadline: Instant,
    ) -> Result<bool, CodedError> {
        let first = self.watermark(target, index).await?;
        let mut now = first.clone();
        loop {
            if now.as_ref().is_some_and(|watermark| has_passed(watermark, wanted)) {
                self.stalled.remove(&index);
                return Ok(true);
            }
            let moved = now != first;
            if moved {
                self.stalled.remove(&index);
            }
            // Without progress there is nothing to wait for: the task does not replicate this source.
            if now.is_none() || self.stalled.contains(&index) {
                return Ok(false);
            }
            if Instant::now() >= deadline {
                if !moved {
                    self.stalled.insert(index);
                }
                return Ok(false);
            }
            tokio::time::sleep(POLL).await;
            now = self.watermark(target, index).await?;
        }
    }

    /// The highest recorded watermark of the source.
    async fn watermark(&self, target: &mut Side, index: usize) -> Result<Option<Location>, CodedError> {
        let source = self.sources.get(index).map_or("", String::as_str);
        let sql = format!(
            "SELECT watermark_file, watermark_pos, watermark_gtid, flavor FROM {} \
             WHERE source_id = {} AND watermark_file IS NOT NULL ORDER BY watermark_no DESC LIMIT 1",
            self.progress_table,
            text_literal(source)
        );
        let rows = match target.query(&sql).await {
            Ok(rows) => rows,
            // No such table: the task never ran, or its metadata was removed.
            Err(error) if error.code == dmnode_model::codes::DIFF_TABLE_CHANGED => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(row) = rows.first() else { return Ok(None) };
        let (file, pos) = (row.string(0).unwrap_or_default(), row.u64(1).unwrap_or(0));
        let (gtid, flavor) = (row.string(2), row.string(3));
        Ok(read_location(file, pos, gtid.as_deref(), flavor.as_deref()).ok())
    }
}

fn has_passed(watermark: &Location, wanted: &Location) -> bool {
    let by_gtid = match (&watermark.gtid_set, &wanted.gtid_set) {
        (Some(watermark), Some(wanted)) => watermark.contains_set(wanted),
        _ => false,
    };
    by_gtid || watermark.position >= wanted.position
}

#[cfg(test)]
mod tests {
    use dmnode_model::{BinlogPosition, Flavor, GtidSet};

    use super::*;

    #[test]
    fn a_watermark_passes_by_gtid_or_by_position() {
        let at = |pos, set: &str| {
            Location::new(
                BinlogPosition::new("bin.000002", pos),
                (!set.is_empty()).then(|| GtidSet::parse(Flavor::Mariadb, set).unwrap()),
            )
        };
        assert!(has_passed(&at(10, ""), &at(10, "")));
        assert!(!has_passed(&at(9, ""), &at(10, "0-1-5")));
        assert!(has_passed(&at(9, "0-1-5"), &at(10, "0-1-5")), "a rotation moves the position only");
        assert!(!has_passed(&at(9, "0-1-4"), &at(10, "0-1-5")));
    }
}
