//! The last step of an online schema change: the shadow takes the real table's place.
//!
//! What was collected of the shadow is executed on the real table. When its beginning was not seen (the task began in the
//! middle of the change), it is searched in the source's binlog, backwards; when that is gone too, the
//! table as the source has it now is compared with the target's ([`super::online_diff`]).

use std::time::Duration;

use dmnode_model::TableName;
use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::{BinlogPosition, quote_ident};
use dmnode_mysql::{BinlogEvent, Connection, EventBody, QueryEvent, RowDecoder, ServerInfo};
use dmnode_schema::{SqlMode, Statement, TableRole, rewrite};
use tokio::time::Instant;

use super::coordinator::Shared;
use super::derive::definition_at_source;
use super::online::{Kept, Move, Online, Record};
use super::online_diff::{Change, Known, alter, foreign_keys_like};
use super::scope::Scope;
use super::stream::{Halt, Stream};
use super::stream_ddl::plain;
use crate::load::DdlCopied;

/// Searching the binlog for the beginning of a schema change may take so long.
const SEARCH_LIMIT: Duration = Duration::from_secs(600);
/// To ask the source about one table.
const ASK_LIMIT: Duration = Duration::from_secs(60);
/// So many tables are named in one report.
const NAMED_MAX: usize = 10;

/// Whether a shadow's statement may change what its rows have: all but the next AUTO_INCREMENT value, which gh-ost sets by
/// a statement of its own.
fn changes_structure(sql: &str) -> bool {
    let sql = sql.trim_end().trim_end_matches(|c: char| c.is_ascii_digit() || c == '=' || c.is_whitespace());
    let ends = sql.len().checked_sub("auto_increment".len()).and_then(|at| sql.get(at..));
    // One option alone has no comma.
    sql.contains(',') || !ends.is_some_and(|word| word.eq_ignore_ascii_case("auto_increment"))
}

impl Stream {
    /// What is to be executed for a statement of an online schema change, with names that are the same after a crash.
    pub(super) async fn online_statements(
        &mut self,
        moves: &[Move],
        query: &QueryEvent,
        event: &BinlogEvent,
        end: &BinlogPosition,
    ) -> Result<Vec<(String, QueryEvent)>, Halt> {
        let mut all = Vec::new();
        for (number, step) in moves.iter().enumerate() {
            match step {
                Move::Settle(real) => {
                    let sql = format!("DROP TABLE IF EXISTS {}", real.quoted());
                    all.push((format!("settle{number}"), with_text(query, sql)));
                }
                Move::Swap { helper, real } => {
                    let forgotten = moves[..number].contains(&Move::Forget(helper.clone()));
                    let record = self.online.record(helper).filter(|_| !forgotten).cloned();
                    let statements = self.swap(helper, real, record, query, event, end).await?;
                    all.extend(
                        statements.into_iter().map(|(name, query)| (format!("swap{number}{name}"), query)),
                    );
                }
                _ => {}
            }
        }
        Ok(all)
    }

    async fn swap(
        &mut self,
        helper: &TableName,
        real: &TableName,
        record: Option<Record>,
        query: &QueryEvent,
        event: &BinlogEvent,
        end: &BinlogPosition,
    ) -> Result<Vec<(String, QueryEvent)>, Halt> {
        if let Some(filter) = &self.filter
            && filter.ddl_is_copied(real, end, self.assembler.gtid()) == DdlCopied::Yes
        {
            return Ok(Vec::new());
        }
        let target = self.scope.router().route(real)?;
        let Some(before) = self.tables.definition(&target).await? else {
            return Err(CodedError::new(
                codes::DDL_UNSUPPORTED,
                "the shadow of an online schema change becomes a table that the target does not have; its rows were not migrated",
            )
            .object(format!("{target} (source {real}, shadow {helper})"))
            .remedy("if it is a table like any other, correct `shadow-table-rules`; copy it into the target by hand, then `binlog skip` the statement")
            .into());
        };
        let complete = record.filter(Record::is_complete);
        let is_shadow = self.scope.online().role(&helper.table) == TableRole::Shadow;
        let record = match complete {
            Some(record) => Some(record),
            None if is_shadow => self.search_beginning(helper, event).await?,
            None => None,
        };
        let Some(record) = record else {
            return Ok(self.compare(helper, real, &before, query, event).await?.into_iter().collect());
        };
        tracing::info!(table = %real, shadow = %helper, location = %end, statements = record.ddls.len(),
            "an online schema change is carried out");
        let mut all = Vec::new();
        let create = record.dmnode.as_ref().and_then(|own| own.create.as_ref());
        if let Some(create) = create
            && let Some(clauses) = foreign_keys_like(&before, &create.sql)
        {
            let sql = format!("ALTER TABLE {} {clauses}", real.quoted());
            all.push(("keys".to_owned(), session_of(create, query, sql)));
        }
        let alters = record.statements().iter().filter(|kept| changes_structure(&kept.sql)).count();
        if alters > 1 {
            // The tool's rows have the last defaults; rows here get those of the statement that adds the column.
            self.shared.warn(format!(
                "the shadow {helper} of {real} was altered {alters} times: rows that were there before may have other values in columns that are new; compare with `diff`"
            ));
        }
        for (number, kept) in record.statements().iter().enumerate() {
            let sql = self.renamed(kept, query, helper, real);
            all.push((format!("ddl{number}"), session_of(kept, query, sql)));
        }
        Ok(all)
    }

    /// A shadow's statement with the real table's name.
    fn renamed(&self, kept: &Kept, query: &QueryEvent, shadow: &TableName, real: &TableName) -> String {
        let session = session_of(kept, query, String::new());
        let mode =
            session.sql_mode.map(|bits| SqlMode::from_bits(bits, self.reader.flavor())).unwrap_or_default();
        let statement = Statement::classify(&kept.sql, &session.schema, mode);
        let lower = self.scope.lower_case;
        let is_shadow = |name: &TableName| {
            let same = |a: &str, b: &str| if lower { a.to_lowercase() == b } else { a == b };
            same(&name.schema, &shadow.schema) && same(&name.table, &shadow.table)
        };
        let name = |name: &TableName| if is_shadow(name) { real.clone() } else { name.clone() };
        rewrite(&kept.sql, &statement, name, str::to_owned)
    }

    /// Searches the source's binlog for the beginning of a schema change, from its end backwards, file by file.
    async fn search_beginning(
        &mut self,
        shadow: &TableName,
        rename: &BinlogEvent,
    ) -> Result<Option<Record>, Halt> {
        tracing::warn!(shadow = %shadow, file = %rename.file,
            "the beginning of an online schema change was not seen: the binlog is searched for it");
        let files = self.reader.files().await?;
        let last = files.iter().position(|file| **file == *rename.file).map_or(files.len(), |at| at + 1);
        let limit = Instant::now() + SEARCH_LIMIT;
        let mut later: Vec<Move> = Vec::new();
        for file in files[..last].iter().rev() {
            let Some(mut moves) = self.search_file(file, shadow, rename, limit).await? else { break };
            moves.append(&mut later);
            if let Some(begin) = moves.iter().rposition(|step| matches!(step, Move::Begin { .. })) {
                let mut found = Online::empty();
                found.apply(&self.scope, &moves[begin..]);
                return Ok(found.record(shadow).cloned());
            }
            later = moves;
        }
        Ok(None)
    }

    /// What a file says of a shadow before `rename`; `None` when it cannot be read in time.
    async fn search_file(
        &mut self,
        file: &str,
        shadow: &TableName,
        rename: &BinlogEvent,
        limit: Instant,
    ) -> Result<Option<Vec<Move>>, Halt> {
        let nothing = Online::empty();
        let mut reader = self.reader.another(file).await?;
        let mut found = Vec::new();
        loop {
            if self.ctx.cancel.is_cancelled() {
                return Err(Halt::Cancelled);
            }
            let event = match tokio::time::timeout_at(limit, reader.next()).await {
                Ok(Ok(event)) => event,
                Ok(Err(error)) if error.is_connection_lost() => return Err(self.reader.coded(&error).into()),
                Ok(Err(error)) => {
                    tracing::warn!(file, error = %error, "a binlog file cannot be searched");
                    return Ok(None);
                }
                Err(_) => {
                    tracing::warn!(file, "the search of the binlog takes too long and is given up");
                    return Ok(None);
                }
            };
            self.ctx.heartbeat.beat();
            match &event.body {
                EventBody::Rotate { file: next, .. } if next != file => return Ok(Some(found)),
                _ if event.file == rename.file && event.start_pos >= rename.start_pos => {
                    return Ok(Some(found));
                }
                EventBody::Query(query) => {
                    // A statement that cannot be followed says nothing about this shadow's definition.
                    let judged = nothing.judge(&self.scope, query, self.reader.flavor()).ok().flatten();
                    found.extend(judged.into_iter().flat_map(|judged| judged.moves).filter(|step| {
                        matches!(step, Move::Begin { shadow: name, .. } | Move::Collect { shadow: name, .. }
                            if name == shadow)
                    }));
                }
                _ => {}
            }
        }
    }

    /// The change that makes the target's table what the source's is, when nobody has seen the schema change.
    async fn compare(
        &mut self,
        helper: &TableName,
        real: &TableName,
        target: &str,
        query: &QueryEvent,
        event: &BinlogEvent,
    ) -> Result<Option<(String, QueryEvent)>, Halt> {
        let stop = |cause: String| {
            CodedError::new(
                codes::SYNCER_UNIT_GHOST_ONLINE_DDL_ON_GHOST_TBL,
                format!(
                    "online ddl metadata for ghost temporary table `{}`.`{}` not found",
                    helper.schema, helper.table
                ),
            )
            .object(real)
            .cause(cause)
            .remedy(
                "execute the schema change on the target's table by hand, then `binlog skip` the statement",
            )
        };
        let heartbeat = self.ctx.heartbeat.clone();
        let asked = heartbeat
            .while_pending(ASK_LIMIT, definition_at_source(&self.endpoints[0], real, true))
            .await
            .map_err(|error| {
                CodedError::new(
                    codes::SOURCE_CONNECTION,
                    "the source cannot be asked for a table's definition",
                )
                .object(real)
                .cause(error)
            })?;
        let Some((info, since)) = asked else {
            return Err(stop(
                "its beginning is not in the source's binlog, and the source has the table no longer".into(),
            )
            .into());
        };
        let settled = since.is_some_and(|since| since <= u64::from(event.header.timestamp));
        if !settled {
            let unlike =
                self.tables.shadow_map(helper).is_some_and(|map| RowDecoder::new(map, &info).is_err());
            if unlike {
                return Err(stop("its beginning is not in the source's binlog, and the source has changed the table again since".into()).into());
            }
            tracing::warn!(table = %real,
                "the source's definition of a table may be younger than the schema change that it is taken for");
        }
        let before = self.tables.followed(real).await?.map(|definition| Known {
            columns: definition.columns.iter().map(|column| column.name.clone()).collect(),
            keys: definition.keys.iter().map(|key| key.name.clone()).collect(),
        });
        let new = info.create_sql.unwrap_or_default();
        match alter(target, &new, before.as_ref()) {
            Change::None => Ok(None),
            Change::Clauses(clauses) => {
                self.shared.warn(format!(
                    "{real}: the beginning of an online schema change was not seen; the target's table was made like the source's is now"
                ));
                let sql = format!("ALTER TABLE {} {clauses}", real.quoted());
                Ok(Some(("compared".to_owned(), with_text(&plain(query), sql))))
            }
            Change::Ambiguous(why) => {
                Err(stop(format!("its beginning is not in the source's binlog, and {why}")).into())
            }
        }
    }

    /// Tells what an online schema change has left open.
    pub(super) fn report_online(&self, moves: &[Move], at: &str) {
        for step in moves {
            match step {
                Move::Begin { shadow, .. } => {
                    tracing::info!(shadow = %shadow, location = at, "an online schema change begins");
                }
                Move::Leave { real, to: Some(to) } if !replaced(moves, real) => self.shared.warn(format!(
                    "{real} was renamed to {to} at {at} and nothing has taken its place yet: the target keeps its table"
                )),
                Move::Leave { real, to: None } if !replaced(moves, real) => self.shared.warn(format!(
                    "{real} was dropped at {at} while an online schema change of it is under way: the target keeps its table until that ends"
                )),
                Move::Swap { real, .. } | Move::Return(real) | Move::Settle(real) => {
                    self.shared.unwarn(&format!("{real} was "));
                }
                _ => {}
            }
        }
    }
}

fn replaced(moves: &[Move], table: &TableName) -> bool {
    moves.iter().any(|step| matches!(step, Move::Swap { real, .. } if real == table))
}

fn with_text(query: &QueryEvent, sql: String) -> QueryEvent {
    QueryEvent { sql: sql.into(), client_collation: None, ..query.clone() }
}

/// A statement in the session that it was written in.
fn session_of(kept: &Kept, query: &QueryEvent, sql: String) -> QueryEvent {
    if kept.sql_mode.is_none() {
        // DM writes its statements with ordinary quotes.
        return with_text(&plain(query), sql);
    }
    let mut session = with_text(query, sql);
    session.schema.clone_from(&kept.schema);
    session.sql_mode = kept.sql_mode;
    session.flags2 = kept.flags.or(session.flags2);
    session.explicit_defaults_for_timestamp = kept.explicit_defaults;
    session
}

/// At the start: tables of the source that are left out because of their names, and what is still collected.
pub(super) async fn report_start(
    source: &mut Connection,
    info: &ServerInfo,
    scope: &Scope,
    online: &Online,
    shared: &Shared,
) {
    if scope.online().is_empty() {
        return;
    }
    for real in online.waiting().take(NAMED_MAX) {
        shared.warn(format!(
            "{real} was renamed or dropped at the source and nothing has taken its place yet: the target keeps its table"
        ));
    }
    let sql = "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' \
        AND TABLE_NAME LIKE '\\_%' ORDER BY TABLE_SCHEMA, TABLE_NAME";
    let rows = match source.query(sql).await {
        Ok(rows) => rows,
        Err(error) => {
            tracing::warn!(error = %error, server = ?info.flavor, "the source cannot be asked for tables of schema changes");
            return;
        }
    };
    let mut named = Vec::new();
    let mut more = 0;
    for row in rows {
        let name = TableName::new(row.string(0).unwrap_or_default(), row.string(1).unwrap_or_default());
        let role = scope.online().role(&name.table);
        if role == TableRole::Real || !scope.is_left_out(&name).unwrap_or(false) {
            continue;
        }
        if named.len() == NAMED_MAX {
            more += 1;
            continue;
        }
        let what = match (role, online.record(&name)) {
            (TableRole::Shadow, Some(_)) => "shadow, its statements are collected",
            (TableRole::Shadow, None) => "shadow, its beginning was not seen",
            _ => "left over",
        };
        named.push(format!("{}.{} ({what})", quote_ident(&name.schema), quote_ident(&name.table)));
    }
    if !named.is_empty() {
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        shared.warn(format!(
            "tables of online schema changes at the source are not migrated: {}{more}",
            named.join(", ")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_number_is_no_change_of_structure() {
        for sql in [
            "alter /* gh-ost */ table `a`.`_t_gho` auto_increment=5",
            "ALTER TABLE _t_gho AUTO_INCREMENT = 17 ",
        ] {
            assert!(!changes_structure(sql), "{sql}");
        }
        for sql in [
            "ALTER TABLE _t_gho ADD x INT",
            "ALTER TABLE _t_gho ADD x INT, AUTO_INCREMENT=5",
            "x",
            "ALTER TABLE t ADD é1",
        ] {
            assert!(changes_structure(sql), "{sql}");
        }
    }
}
