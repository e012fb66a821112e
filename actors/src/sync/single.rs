//! Applying changes one at a time, where a merged batch was not accepted: the change that does not fit is known then,
//! and the task's policy decides what becomes of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dmnode_model::codes;
use dmnode_model::config::MissingRow;
use dmnode_model::error::CodedError;
use dmnode_model::policy::Fault;
use dmnode_mysql::{ExecSummary, Row, SqlError};

use super::change::{Change, RowChange};
use super::conflict::{Conflict, ConflictLog, Tally};
use super::deliver::{Place, fits, not_found, refused, run, warnings};
use super::diagnose::Evidence;
use super::statement::{Builder, Dialect, Packet, Verb, exact_match, fires};
use super::table::{Shape, Table};
use crate::computed::is_of_operand;
use crate::target::{ApplyError, TargetTransaction};

/// MySQL's `ER_CHECK_CONSTRAINT_VIOLATED`.
const CHECK_VIOLATED: u16 = 3819;

/// How changes are turned into statements, and what happens when they do not fit.
pub struct Rules {
    /// How SQL is written.
    pub dialect: Dialect,
    /// Changes of one row are folded into their net effect.
    pub fold: bool,
    /// An UPDATE or DELETE that finds no row.
    pub missing: MissingRow,
    /// Where conflicts are counted.
    pub conflicts: ConflictLog,
    /// What is known when a row is in the way.
    pub evidence: Evidence,
}

/// Applies changes one at a time inside one target transaction.
pub struct Single<'a> {
    rules: &'a Rules,
    place: Place<'a>,
    foreign_key_checks: bool,
    /// What did not fit.
    pub tally: Tally,
}

enum Outcome {
    Done(ExecSummary),
    Duplicate(SqlError),
}

impl<'a> Single<'a> {
    /// Foreign key checks are off, as in every session of an applier.
    pub fn new(rules: &'a Rules, place: Place<'a>) -> Self {
        Self { rules, place, foreign_key_checks: false, tally: Tally::default() }
    }

    /// Applies changes; the first has this number.
    pub async fn apply(
        &mut self,
        transaction: &mut TargetTransaction<'_>,
        changes: impl Iterator<Item = &Change> + Send,
        first: usize,
        safe: bool,
    ) -> Result<(), ApplyError> {
        for (number, change) in changes.enumerate() {
            if safe {
                self.idempotent(transaction, change, first + number).await?;
            } else {
                self.one(transaction, change, first + number).await?;
            }
        }
        self.checks(transaction, false).await
    }

    async fn one(
        &mut self,
        transaction: &mut TargetTransaction<'_>,
        change: &Change,
        number: usize,
    ) -> Result<(), ApplyError> {
        self.checks(transaction, fires(change)).await?;
        let table = &change.table;
        let was_lenient = table.is_lenient();
        let build = || Builder::single(self.rules.dialect, &change.row, table, number);
        let Some(packet) = build() else { return Ok(()) };
        let outcome = match self.attempt(transaction, &packet).await? {
            Err(_) if !was_lenient => {
                table.constraints_warn.store(true, Ordering::Relaxed);
                let Some(packet) = build() else { return Ok(()) };
                self.execute(transaction, &packet).await?
            }
            Err(refused) => return Err(refused.into()),
            Ok(outcome) => outcome,
        };
        match (outcome, &change.row) {
            (Outcome::Done(summary), row) => match (summary.affected_rows, row) {
                (1, _) => Ok(()),
                (0, RowChange::Update(..) | RowChange::Delete(_)) => {
                    if let Some(packet) =
                        Builder::single_by_value(self.rules.dialect, &change.row, table, number)
                        && let Outcome::Done(found) = self.execute(transaction, &packet).await?
                        && found.affected_rows == 1
                    {
                        return Ok(());
                    }
                    self.missing(transaction, change, number).await
                }
                (found, row) => Err(not_found(table, verb(row), found, 1, (self.place)(Some(number))).into()),
            },
            (Outcome::Duplicate(_), RowChange::Insert(row))
                if self.rules.missing != MissingRow::Strict
                    && self.is_present(transaction, table, row).await? =>
            {
                self.count(table, Conflict::InsertPresent, number);
                Ok(())
            }
            (Outcome::Duplicate(error), RowChange::Insert(row) | RowChange::Update(_, row)) => {
                self.in_the_way(transaction, change, row, number, &error).await
            }
            (Outcome::Duplicate(error), RowChange::Delete(_)) => {
                Err(refused(table, Verb::Delete, (self.place)(Some(number)), &error).into())
            }
        }
    }

    /// Safe mode: whatever was applied of it before, the target then has the state after the change.
    async fn idempotent(
        &mut self,
        transaction: &mut TargetTransaction<'_>,
        change: &Change,
        number: usize,
    ) -> Result<(), ApplyError> {
        let (dialect, table) = (self.rules.dialect, &change.table);
        if table.shape == Shape::Keyless {
            return Err(CodedError::new(
                codes::SAFE_MODE_KEYLESS,
                "a table without a key changes inside a window of safe mode: whether a row was written before cannot be told",
            )
            .object(table.target())
            .at((self.place)(Some(number)).unwrap_or_default())
            .into());
        }
        self.checks(transaction, fires(change)).await?;
        let row = match &change.row {
            RowChange::Insert(row) => row,
            RowChange::Delete(_) => {
                if let Some(packet) = Builder::single(dialect, &change.row, table, number) {
                    self.execute(transaction, &packet).await?;
                }
                return Ok(());
            }
            RowChange::Update(before, after) => {
                if fires(change) {
                    // The actions must take place, unless they have: then the row is not there any more.
                    let packet = Builder::single(dialect, &change.row, table, number);
                    if let Some(packet) = packet
                        && let Outcome::Done(summary) = self.execute(transaction, &packet).await?
                        && summary.affected_rows > 0
                    {
                        return Ok(());
                    }
                    self.checks(transaction, false).await?;
                } else if keys_differ(table, before, after) {
                    let gone = RowChange::Delete(before.clone());
                    if let Some(packet) = Builder::single(dialect, &gone, table, number) {
                        self.execute(transaction, &packet).await?;
                    }
                }
                after
            }
        };
        let Some(packet) = Builder::replace(dialect, row, table, number) else { return Ok(()) };
        match self.execute(transaction, &packet).await? {
            Outcome::Done(summary) => {
                if summary.affected_rows > 1 && matches!(change.row, RowChange::Insert(_)) {
                    self.count(table, Conflict::SafeModeReplaced, number);
                }
                Ok(())
            }
            Outcome::Duplicate(error) => {
                Err(refused(table, Verb::Insert, (self.place)(Some(number)), &error).into())
            }
        }
    }

    /// The change found no row.
    async fn missing(
        &mut self,
        transaction: &mut TargetTransaction<'_>,
        change: &Change,
        number: usize,
    ) -> Result<(), ApplyError> {
        let table = &change.table;
        let conflict = match (self.rules.missing, &change.row) {
            (MissingRow::Strict, row) => {
                return Err(not_found(table, verb(row), 0, 1, (self.place)(Some(number))).into());
            }
            (MissingRow::Repair, RowChange::Update(_, after)) => {
                // The row itself has no actions to fire: it was not there.
                self.checks(transaction, false).await?;
                let insert = RowChange::Insert(after.clone());
                let Some(packet) = Builder::single(self.rules.dialect, &insert, table, number) else {
                    return Ok(());
                };
                match self.execute(transaction, &packet).await? {
                    Outcome::Done(_) => Conflict::UpdateRepaired,
                    Outcome::Duplicate(_) if self.is_present(transaction, table, after).await? => {
                        Conflict::UpdatePresent
                    }
                    Outcome::Duplicate(error) => {
                        return self.in_the_way(transaction, change, after, number, &error).await;
                    }
                }
            }
            (MissingRow::Ignore, RowChange::Update(..)) => Conflict::UpdateIgnored,
            (MissingRow::Repair | MissingRow::Ignore, _) => Conflict::DeleteIgnored,
        };
        self.count(table, conflict, number);
        Ok(())
    }

    fn count(&mut self, table: &Table, conflict: Conflict, number: usize) {
        self.tally.add(table, conflict, (self.place)(Some(number)));
    }

    /// A row with a key of this one is in the way.
    async fn in_the_way(
        &self,
        transaction: &mut TargetTransaction<'_>,
        change: &Change,
        row: &Row,
        number: usize,
        error: &SqlError,
    ) -> Result<(), ApplyError> {
        let diagnosis = self.rules.evidence.diagnose(transaction, change, row, error).await?;
        Err(diagnosis.at((self.place)(Some(number)).unwrap_or_default()).into())
    }

    /// Whether exactly this row is in the target, byte for byte.
    async fn is_present(
        &self,
        transaction: &mut TargetTransaction<'_>,
        table: &Table,
        row: &Row,
    ) -> Result<bool, ApplyError> {
        let sql = exact_match(table, row);
        if sql.len() + 64 > self.rules.dialect.packet_max {
            return Ok(false);
        }
        Ok(!transaction.query(sql).await?.is_empty())
    }

    async fn checks(
        &mut self,
        transaction: &mut TargetTransaction<'_>,
        wanted: bool,
    ) -> Result<(), ApplyError> {
        if self.foreign_key_checks != wanted {
            transaction
                .execute(if wanted { "SET foreign_key_checks=1" } else { "SET foreign_key_checks=0" })
                .await?;
            self.foreign_key_checks = wanted;
        }
        Ok(())
    }

    /// Runs a packet of one statement; what breaks a constraint is refused.
    async fn execute(
        &self,
        transaction: &mut TargetTransaction<'_>,
        packet: &Packet,
    ) -> Result<Outcome, ApplyError> {
        Ok(self.attempt(transaction, packet).await??)
    }

    /// Runs a packet of one statement. The inner error: a constraint's expression warned, or the constraint is broken, which
    /// a lenient statement tells apart; nothing was changed.
    async fn attempt(
        &self,
        transaction: &mut TargetTransaction<'_>,
        packet: &Packet,
    ) -> Result<Result<Outcome, CodedError>, ApplyError> {
        fits(packet, self.rules.dialect.packet_max, self.place)?;
        let done = run(transaction, packet).await;
        let planned = packet.statements.first();
        let table: Option<&Arc<Table>> = planned.and_then(|planned| planned.table.as_ref());
        let (Some(planned), Some(table)) = (planned, table) else {
            return Ok(Ok(Outcome::Done(ExecSummary::default())));
        };
        match done {
            Ok(summaries) => {
                let summary = summaries.into_iter().next().unwrap_or_default();
                if summary.warnings > 0 || (planned.error_members > 0 && table.vectors) {
                    warnings(transaction, planned, table, &summary, true, self.place).await?;
                }
                Ok(Ok(Outcome::Done(summary)))
            }
            Err(ApplyError::Multi(error)) if error.error.code() == Some(1062) => {
                Ok(Ok(Outcome::Duplicate(error.error)))
            }
            Err(ApplyError::Multi(error)) if error.error.fault() == Fault::Refused => {
                let refused = refused(table, planned.verb, (self.place)(planned.change), &error.error);
                // A strict session of MySQL takes a constraint whose expression warns for one that is broken.
                let code = error.error.code().unwrap_or(0);
                match code == CHECK_VIOLATED || is_of_operand(code.into(), &error.error.message) {
                    true => Ok(Err(refused)),
                    false => Err(refused.into()),
                }
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether an UPDATE touches a unique key. A key over an expression may be touched by any column.
fn keys_differ(table: &Table, before: &Row, after: &Row) -> bool {
    table.info.keys.iter().filter(|key| key.unique).flat_map(|key| &key.columns).any(|part| {
        match part.column {
            Some(index) if !table.column(index).generated => {
                before.values.get(index) != after.values.get(index)
            }
            _ => true,
        }
    })
}

fn verb(row: &RowChange) -> Verb {
    match row {
        RowChange::Insert(_) => Verb::Insert,
        RowChange::Update(..) => Verb::Update,
        RowChange::Delete(_) => Verb::Delete,
    }
}
