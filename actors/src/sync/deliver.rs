//! Sending packets of statements and looking at what each of them did.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::policy::Fault;
use dmnode_mysql::{ColumnType, ExecSummary, MultiError, SqlError, TextRow};

use super::conflict::key_columns;
use super::statement::{Expect, Packet, Planned, Verb};
use super::table::Table;
use crate::target::{ApplyError, TargetTransaction, packet_needed};

/// Where a change stands in the binlog, for people.
pub type Place<'a> = &'a (dyn Fn(Option<usize>) -> Option<String> + Sync);

/// Sends a packet and checks what each statement did.
pub async fn send(
    transaction: &mut TargetTransaction<'_>,
    packet: &Packet,
    packet_max: usize,
    place: Place<'_>,
) -> Result<(), ApplyError> {
    fits(packet, packet_max, place)?;
    let summaries = match run(transaction, packet).await {
        Ok(summaries) => summaries,
        Err(ApplyError::Multi(error)) => {
            let planned = packet.statements.get(error.index);
            return match planned.and_then(|planned| Some((planned, planned.table.as_ref()?))) {
                Some((planned, table)) if error.error.fault() == Fault::Refused => {
                    Err(refused(table, planned.verb, place(planned.change), &error.error).into())
                }
                _ => Err(ApplyError::Multi(error)),
            };
        }
        Err(error) => return Err(error),
    };
    for (index, planned) in packet.statements.iter().enumerate() {
        let summary = summaries.get(index).cloned().unwrap_or_default();
        let (Expect::Rows(expected), Some(table)) = (planned.expect, &planned.table) else { continue };
        if summary.affected_rows != expected {
            let place = place(planned.change);
            return Err(not_found(table, planned.verb, summary.affected_rows, expected, place).into());
        }
        if summary.warnings > 0 || (planned.error_members > 0 && table.vectors) {
            let last = index + 1 == packet.statements.len();
            warnings(transaction, planned, table, &summary, last, place).await?;
        }
    }
    Ok(())
}

/// Runs the statements of a packet. The error of a single statement looks as if it were one of several.
pub async fn run(
    transaction: &mut TargetTransaction<'_>,
    packet: &Packet,
) -> Result<Vec<ExecSummary>, ApplyError> {
    if packet.parameters.is_empty() {
        return transaction.execute_many(&packet.sql).await;
    }
    let parameters = packet.parameters.iter().map(|bytes| bytes.to_vec()).collect();
    match transaction.execute_prepared(&packet.sql, parameters).await {
        Ok(summary) => Ok(vec![summary]),
        Err(ApplyError::Sql(error)) => Err(MultiError { index: 0, error, done: Vec::new() }.into()),
        Err(error) => Err(error),
    }
}

/// A statement that the server would not even read is not sent: it would look like a lost connection.
pub fn fits(packet: &Packet, packet_max: usize, place: Place<'_>) -> Result<(), CodedError> {
    let lengths: Vec<usize> = packet.parameters.iter().map(|bytes| bytes.len()).collect();
    let size = packet_needed(packet.sql.len(), &lengths, packet_max);
    if size < packet_max {
        return Ok(());
    }
    let planned = packet.statements.iter().find_map(|planned| Some((planned, planned.table.as_ref()?)));
    let error =
        CodedError::new(codes::ROW_TOO_LARGE, "a row change is larger than the target's max_allowed_packet");
    Err(match planned {
        None => error,
        Some((planned, table)) => error
            .object(table.target())
            .at(place(planned.change).unwrap_or_default())
            .cause(format!(
                "the {} needs {size} bytes, max_allowed_packet is {packet_max} ({})",
                verb(planned.verb),
                key_columns(table)
            ))
            .remedy(format!(
                "SET GLOBAL max_allowed_packet = {} in the target (and in its configuration), then resume-task",
                (size.next_multiple_of(1 << 20) + (1 << 20)).min(1 << 30)
            )),
    })
}

/// The target's refusal of a row.
pub fn refused(table: &Table, what: Verb, place: Option<String>, error: &SqlError) -> CodedError {
    let code = error.code().unwrap_or(0);
    CodedError::new(codes::ROW_REFUSED, format!("the target refused to {} a row", verb(what)))
        .object(table.target())
        .at(place.unwrap_or_default())
        .cause(format!("ERROR {code}: {}", without_values(code, &error.message)))
}

/// A change did not find its row, or found too many.
pub fn not_found(table: &Table, what: Verb, found: u64, expected: u64, place: Option<String>) -> CodedError {
    CodedError::new(
        codes::ROW_NOT_FOUND,
        format!("{} found {found} of {expected} rows in the target, {}", verb(what), key_columns(table)),
    )
    .object(table.target())
    .at(place.unwrap_or_default())
}

/// Looks at a statement's warnings: those about its form pass, those about its rows stop it.
pub async fn warnings(
    transaction: &mut TargetTransaction<'_>,
    planned: &Planned,
    table: &Arc<Table>,
    summary: &ExecSummary,
    last: bool,
    place: Place<'_>,
) -> Result<(), ApplyError> {
    // Only the last statement's warnings can be asked for. From now on this table's statements travel alone.
    if summary.warnings > 0 {
        table.gives_warnings.store(true, Ordering::Relaxed);
    }
    let found = if last { transaction.warnings().await? } else { Vec::new() };
    // An error value is taken as it is, with a warning for each; without one, something else was written.
    let is_member = |row: &&TextRow| planned.error_members > 0 && is_error_member(row, table);
    let members_only = found.iter().filter(is_member).count() == planned.error_members;
    let is_computed =
        |row: &&TextRow| row.u64(1).zip(row.str(2)).is_some_and(|(code, text)| table.explains(code, &text));
    let harmful = found.iter().find(|row| {
        !(row.u64(1).is_some_and(is_harmless) || (members_only && is_member(row)) || is_computed(row))
    });
    if let Some(row) = harmful {
        let code = row.u64(1).unwrap_or(0);
        let text = row.str(2).unwrap_or_default();
        let text = without_values(u16::try_from(code).unwrap_or(0), &text);
        return Err(CodedError::new(
            codes::ROW_REFUSED,
            format!("the target would have altered a row ({})", verb(planned.verb)),
        )
        .object(table.target())
        .at(place(planned.change).unwrap_or_default())
        .cause(format!("warning {code}: {text}"))
        .into());
    }
    if !members_only && table.vectors {
        return Err(CodedError::new(codes::ROW_REFUSED, "an error value became another value in the target")
            .object(table.target())
            .at(place(planned.change).unwrap_or_default())
            .cause(format!("{} error values, {} warnings", planned.error_members, summary.warnings))
            .into());
    }
    // The server keeps only so many (max_error_count). Change by change all of them can be looked at.
    if found.len() < usize::from(summary.warnings) && planned.change.is_none() {
        return Err(CodedError::new(codes::ROW_REFUSED, "a statement gave warnings")
            .object(table.target())
            .at(place(planned.change).unwrap_or_default())
            .into());
    }
    Ok(())
}

/// Warnings about the form of a statement, not about its rows: deprecated syntax (1287, 1681, 3719, 3720, 3778,
/// 3135), unsafe for statement-based logging (1592).
fn is_harmless(code: u64) -> bool {
    matches!(code, 1287 | 1592 | 1681 | 3135 | 3719 | 3720 | 3778)
}

/// What servers say to error values: "Data truncated for column" of an ENUM, "Field … doesn't have a default value" of a
/// VECTOR.
fn is_error_member(row: &TextRow, table: &Table) -> bool {
    let (Some(code), Some(text)) = (row.u64(1), row.str(2)) else { return false };
    table.info.columns.iter().any(|column| match column.data_type {
        ColumnType::Enum(_) => {
            code == 1265 && text.starts_with(&format!("Data truncated for column '{}' at row ", column.name))
        }
        ColumnType::Vector(_) => {
            code == 1364 && text.starts_with(&format!("Field '{}' doesn't", column.name))
        }
        _ => false,
    })
}

fn verb(verb: Verb) -> &'static str {
    match verb {
        Verb::Insert => "insert",
        Verb::Update => "update",
        Verb::Delete => "delete",
        Verb::Session => "set",
    }
}

/// A server's message without the row values some of them quote.
pub fn without_values(code: u16, message: &str) -> String {
    if code == 1062 {
        // Duplicate entry '…' for key 'name'
        return match message.rsplit_once(" for key ") {
            Some((_, key)) => format!("Duplicate entry for key {key}"),
            None => "Duplicate entry".to_owned(),
        };
    }
    match message.find([':', '\'']) {
        Some(cut) if matches!(code, 1292 | 1366 | 1367 | 1411 | 1525 | 3140 | 3141 | 3854 | 4025) => {
            let tail = message.rfind(" for column ").map_or("", |place| &message[place..]);
            format!("{}…{tail}", message[..cut].trim_end())
        }
        _ => message.to_owned(),
    }
}
