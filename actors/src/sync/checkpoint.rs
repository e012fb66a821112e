//! DM's checkpoint row, kept up to date for people and tools. It is not what a restart goes by.

use std::sync::Arc;
use std::time::Duration;

use dmnode_model::Location;
use dmnode_model::ids::SourceId;
use tokio::time::Instant;

use super::origin::{Link, Origin};
use crate::progress::meta::{DM_ROW, EVIDENCE, Facts, SOURCE};
use crate::progress::text_literal;

/// When and how the global row of `<task>_syncer_checkpoint` is written.
#[derive(Debug)]
pub struct Checkpoint {
    table: String,
    source: SourceId,
    every: Duration,
    last: Option<(Location, Instant)>,
    facts: Facts,
    link: Arc<Link>,
    origin: Option<Origin>,
}

impl Checkpoint {
    /// For this (quoted) table and source.
    pub fn new(table: String, source: SourceId, every: Duration, facts: Facts, link: Arc<Link>) -> Self {
        Self { table, source, every, last: None, facts, link, origin: None }
    }

    /// The statements, when the row is to be written now.
    pub fn due(&mut self, location: &Location, finally: bool) -> Option<Vec<String>> {
        let due = match &self.last {
            None => true,
            Some((written, at)) => written != location && (finally || at.elapsed() >= self.every),
        };
        if !due || location.position.is_empty() {
            return None;
        }
        let gtid = location.gtid_set.as_ref().map(ToString::to_string).unwrap_or_default();
        // DM's column has 32 bits.
        let pos = location.position.pos.min(u64::from(u32::MAX));
        let mut statements = vec![format!(
            "INSERT INTO {} (id, cp_schema, cp_table, binlog_name, binlog_pos, binlog_gtid, exit_safe_binlog_name, \
             exit_safe_binlog_pos, exit_safe_binlog_gtid, table_info, is_global) \
             VALUES ({}, '', '', {file}, {pos}, {gtid}, '', 0, '', 'null', 1) ON DUPLICATE KEY UPDATE \
             binlog_name = {file}, binlog_pos = {pos}, binlog_gtid = {gtid}",
            self.table,
            text_literal(self.source.as_str()),
            file = text_literal(&location.position.file),
            gtid = text_literal(&gtid),
        )];
        // A row that differs from this was changed by somebody else.
        let written = super::dm::remembered(&location.position.file, pos, &gtid);
        statements.push(self.facts.put_sql(DM_ROW, &written));
        let evidence = self.link.recent.lock().last_applied(location).map(super::evidence::Evidence::text);
        statements.push(self.facts.put_sql(EVIDENCE, &evidence.unwrap_or_default()));
        let origin = self.link.origin.lock().clone();
        if let Some(origin) = origin
            && self.origin.as_ref() != Some(&origin)
        {
            statements.push(self.facts.put_sql(SOURCE, &origin.to_string()));
            self.origin = Some(origin);
        }
        Some(statements)
    }

    /// The row has been written.
    pub fn written(&mut self, location: Location, at: Instant) {
        self.last = Some((location, at));
    }
}
