//! `query-status`: dmctl's short form, a table for people, and the judgement on health.

use std::collections::BTreeMap;

use comfy_table::{Cell, Color};
use serde_json::{Value, json};

use crate::output::{BAD, WARN, flag, list, number, styled, table, text};

/// Names of tables in a line.
const TABLES_SHOWN: usize = 5;

/// Something in the answer needs a person.
pub fn is_unhealthy(answer: &Value) -> bool {
    list(answer, "sources").iter().any(|source| {
        !flag(source, "result")
            || list(source, "subTaskStatus").iter().any(|subtask| {
                has_errors(&subtask["result"])
                    || list(&subtask["dmnode"], "tables").iter().any(|one| text(one, "stage") == "stopped")
            })
    })
}

fn has_errors(result: &Value) -> bool {
    !list(result, "errors").is_empty()
}

/// Every subtask shown is finished, and there is at least one.
pub fn is_all_finished(answer: &Value) -> bool {
    let mut stages =
        list(answer, "sources").iter().flat_map(|source| list(source, "subTaskStatus")).peekable();
    stages.peek().is_some() && stages.all(|subtask| text(subtask, "stage") == "Finished")
}

/// The short form that dmctl prints for `query-status` without arguments; none when a part of the answer
/// is false, since then the details are needed.
pub fn summary(answer: &Value) -> Option<Value> {
    let sources = list(answer, "sources");
    if !flag(answer, "result") || sources.iter().any(|source| !flag(source, "result")) {
        return None;
    }
    let mut tasks: BTreeMap<&str, Vec<(&Value, &Value)>> = BTreeMap::new();
    for source in sources {
        for subtask in list(source, "subTaskStatus") {
            tasks.entry(text(subtask, "name")).or_default().push((source, subtask));
        }
    }
    let tasks: Vec<Value> = tasks
        .into_iter()
        .map(|(name, members)| {
            let ids: Vec<&str> =
                members.iter().map(|(source, _)| text(&source["sourceStatus"], "source")).collect();
            json!({"taskName": name, "taskStatus": task_status(name, &members), "sources": ids})
        })
        .collect();
    Some(json!({"result": flag(answer, "result"), "msg": text(answer, "msg"), "tasks": tasks}))
}

/// One word for a task, by dmctl's priorities.
fn task_status(name: &str, members: &[(&Value, &Value)]) -> String {
    let details = format!(". Please run `query-status {name}` to get more details.");
    let stage = |subtask: &Value| text(subtask, "stage").to_owned();
    if members.iter().any(|(_, subtask)| stage(subtask) == "Paused" && has_errors(&subtask["result"])) {
        return format!("Error - Some error occurred in subtask{details}");
    }
    for (source, subtask) in members {
        let relay = &source["sourceStatus"]["relayStatus"];
        let relay_stage = text(relay, "stage");
        if stage(subtask) == "Running"
            && text(subtask, "unit") == "Sync"
            && (relay_stage == "Paused" || relay_stage == "Stopped")
        {
            let shown = if has_errors(&relay["result"]) { "Error" } else { relay_stage };
            return format!("Error - Relay status is {shown}{details}");
        }
    }
    if members.iter().any(|(_, subtask)| stage(subtask) == "Paused") {
        return "Paused".to_owned();
    }
    match members.first() {
        Some((_, first)) if members.iter().all(|(_, subtask)| stage(subtask) == stage(first)) => stage(first),
        _ => "Running".to_owned(),
    }
}

/// The answer for people: one line per subtask, then every error in full.
pub fn render(answer: &Value) -> String {
    let mut rows = table(&["TASK", "SOURCE", "NODE", "STAGE", "UNIT", "PROGRESS", "LAG", "POSITION"]);
    let mut below = Vec::new();
    let mut row_count = 0;
    for source in list(answer, "sources") {
        let status = &source["sourceStatus"];
        let (source_id, worker) = (text(status, "source"), text(status, "worker"));
        if !flag(source, "result") {
            below.push(styled(BAD, &format!("{source_id}: {}", text(source, "msg"))));
        }
        below.extend(error_lines(source_id, &status["result"]));
        for subtask in list(source, "subTaskStatus") {
            row_count += 1;
            rows.add_row([
                Cell::new(text(subtask, "name")),
                Cell::new(source_id),
                Cell::new(worker),
                stage_cell(subtask),
                Cell::new(text(subtask, "unit")),
                Cell::new(progress(subtask)),
                Cell::new(lag(subtask)),
                Cell::new(position(subtask)),
            ]);
            let name = format!("{} / {source_id}", text(subtask, "name"));
            let msg = text(subtask, "msg");
            if !msg.is_empty() {
                below.push(format!("{name}: {msg}"));
            }
            below.extend(error_lines(&name, &subtask["result"]));
            for warning in list(&subtask["sync"], "warnings").iter().filter_map(Value::as_str) {
                below.push(styled(WARN, &format!("{name}: warning: {warning}")));
            }
            below.extend(replication_notes(&name, &subtask["sync"]));
            below.extend(joining_notes(&name, &subtask["dmnode"]));
            below.extend(what_next(text(subtask, "name"), subtask));
            below.extend(restarts(&name, subtask));
        }
    }
    let mut out = if row_count == 0 { "no tasks".to_owned() } else { rows.to_string() };
    for line in below {
        out.push('\n');
        out.push_str(&line);
    }
    out
}

/// What an operator must know of the replication beside its lag: safe mode, a large transaction, what was done otherwise
/// than at the source, what was passed over.
fn replication_notes(name: &str, sync: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let safe_mode = &sync["safeMode"];
    if safe_mode.is_object() {
        let (reason, until) = (text(safe_mode, "reason"), text(safe_mode, "until"));
        lines.push(styled(WARN, &format!("{name}: safe mode ({reason}) until {until}")));
    }
    let large = &sync["largeTransaction"];
    if large.is_object() {
        lines.push(format!(
            "{name}: a large transaction is on its way into the target: {} rows in {} s, from {}",
            grouped(number(large, "rows").unwrap_or_default()),
            number(large, "seconds").unwrap_or_default(),
            text(large, "location")
        ));
    }
    let counts = |field: &str| {
        let counts = list(sync, field).iter().map(|one| {
            format!("{} ({})", text(one, "kind"), grouped(number(one, "count").unwrap_or_default()))
        });
        counts.collect::<Vec<_>>().join(", ")
    };
    let conflicts = counts("conflicts");
    if !conflicts.is_empty() {
        lines.push(styled(
            WARN,
            &format!("{name}: rows in the target were not what they were at the source: {conflicts}; find the difference with diff"),
        ));
    }
    let passed_over = counts("notMigrated");
    if !passed_over.is_empty() {
        lines.push(format!(
            "{name}: not migrated, since they hold no rows: statements on {passed_over}; make in the target by hand what is needed of them"
        ));
    }
    lines
}

/// Tables on their way into the task.
fn joining_notes(name: &str, extra: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for one in list(extra, "tables") {
        let tables = list(one, "tables");
        let first: Vec<&str> = tables.iter().filter_map(Value::as_str).take(TABLES_SHOWN).collect();
        let more = if tables.len() > TABLES_SHOWN { " …" } else { "" };
        let mut line =
            format!("{name}: {} {}{more}: {}", text(one, "op"), first.join(", "), text(one, "stage"));
        if let Some(rows) = number(&one["copy"], "rowsDone").filter(|_| text(one, "stage") == "copying") {
            line.push_str(&format!(", {} rows", grouped(rows)));
        }
        let error = &one["error"];
        if error.is_object() {
            let code = number(error, "ErrCode").unwrap_or_default();
            line.push_str(&format!("; error {code}: {}", text(error, "Message")));
            lines.push(styled(BAD, &line));
            for (label, field) in [("cause", "RawCause"), ("remedy", "Workaround")] {
                if !text(error, field).is_empty() {
                    lines.push(format!("    {label}: {}", text(error, field)));
                }
            }
            if text(one, "stage") == "stopped" {
                lines.push(
                    "    next: the other tables go on; correct the cause, then resume-task, or remove-table"
                        .to_owned(),
                );
            }
        } else {
            lines.push(line);
        }
    }
    lines
}

fn stage_cell(subtask: &Value) -> Cell {
    let stage = text(subtask, "stage");
    match stage {
        "Running" | "Finished" => Cell::new(stage).fg(Color::Green),
        "Paused" if has_errors(&subtask["result"]) => Cell::new("Paused (error)").fg(Color::Red),
        _ => Cell::new(stage).fg(Color::Yellow),
    }
}

fn error_lines(name: &str, result: &Value) -> Vec<String> {
    list(result, "errors")
        .iter()
        .flat_map(|error| {
            let code = number(error, "ErrCode").unwrap_or_default();
            let mut lines = vec![styled(BAD, &format!("{name}: error {code}: {}", text(error, "Message")))];
            for (label, field) in [("cause", "RawCause"), ("remedy", "Workaround")] {
                if !text(error, field).is_empty() {
                    lines.push(format!("    {label}: {}", text(error, field)));
                }
            }
            lines
        })
        .collect()
}

/// Who acts next after an error: dmnode by itself, or the operator.
fn what_next(task: &str, subtask: &Value) -> Option<String> {
    let retry = &subtask["dmnode"]["retry"];
    if retry.is_object() {
        let failures = number(retry, "failures").unwrap_or_default();
        let seconds = number(retry, "nextTryInSeconds").unwrap_or_default();
        return Some(styled(
            WARN,
            &format!(
                "    next: tried again by itself in {seconds} s, at {} (attempt {}); pause-task {task} stops that",
                text(retry, "nextTry"),
                failures + 1
            ),
        ));
    }
    let waits = text(subtask, "stage") == "Paused" && has_errors(&subtask["result"]);
    waits.then(|| format!("    next: nothing happens by itself; correct the cause, then resume-task {task}"))
}

fn restarts(name: &str, subtask: &Value) -> Option<String> {
    let restarts = &subtask["dmnode"]["restarts"];
    let count = |field| number(restarts, field).unwrap_or_default();
    let (panics, errors, hangs) = (count("panics"), count("errors"), count("hangs"));
    (panics + errors + hangs > 0).then(|| {
        let mut line = format!("{name}: restarted after {panics} panics, {errors} errors, {hangs} hangs");
        let cause = text(&subtask["dmnode"], "lastRestartCause");
        // The error that stopped it is shown in full above.
        if !cause.is_empty() && !has_errors(&subtask["result"]) {
            line.push_str(&format!("; last: {cause}"));
        }
        styled(WARN, &line)
    })
}

/// Share of the copy that is done, 0 to 1; none when the subtask is not copying.
pub fn copy_share(subtask: &Value) -> Option<f64> {
    let copy = subtask.get("dmnode")?.get("copy").filter(|copy| copy.is_object())?;
    if let Some(share) = number(copy, "share") {
        return Some(share as f64 / 10_000.0);
    }
    // A node of an earlier version.
    let done = number(copy, "rowsDone")? as f64;
    let total = number(copy, "rowsTotal")? as f64;
    Some(if total > 0.0 { (done / total).min(1.0) } else { 0.0 })
}

/// What a subtask has done so far, in one phrase.
pub fn progress(subtask: &Value) -> String {
    let copy = &subtask["dmnode"]["copy"];
    if copy.is_object() && text(subtask, "unit") != "Sync" {
        let rows = number(copy, "rowsDone").unwrap_or_default();
        let (tables, prepared) = (number(copy, "tablesTotal"), number(copy, "tablesPrepared"));
        if let (Some(total), Some(prepared)) = (tables, prepared)
            && prepared < total
            && rows == 0
        {
            return format!("{} of {} tables prepared", grouped(prepared), grouped(total));
        }
        let mut out = format!("{} rows", grouped(rows));
        if let (Some(total @ 2..), Some(done)) = (tables, number(copy, "tablesDone")) {
            out.push_str(&format!(", {} of {} tables", grouped(done), grouped(total)));
        }
        if let Some(share) = copy_share(subtask) {
            out = format!("{:.1} % ({out})", share * 100.0);
        }
        if let Some(eta) = number(copy, "etaSeconds") {
            out.push_str(&format!(
                ", {} left",
                humantime::format_duration(std::time::Duration::from_secs(eta))
            ));
        }
        return out;
    }
    if let Some(load) = subtask.get("load").filter(|load| load.is_object()) {
        return text(load, "progress").to_owned();
    }
    if let Some(dump) = subtask.get("dump").filter(|dump| dump.is_object()) {
        return text(dump, "progress").to_owned();
    }
    match subtask.get("sync").filter(|sync| sync.is_object()) {
        Some(sync) => format!(
            "{} rows, {}/s",
            grouped(number(sync, "totalRows").unwrap_or_default()),
            grouped(number(sync, "recentRps").unwrap_or_default())
        ),
        None => String::new(),
    }
}

/// Replication lag in words.
pub fn lag(subtask: &Value) -> String {
    match subtask.get("sync").filter(|sync| sync.is_object()) {
        Some(sync) => match number(sync, "secondsBehindMaster") {
            Some(0) if flag(sync, "synced") => "in step".to_owned(),
            Some(seconds) => format!("{seconds} s"),
            None => "?".to_owned(),
        },
        None => String::new(),
    }
}

/// As `file:offset`, which `binlog` takes and a narrow column does not break.
fn position(subtask: &Value) -> String {
    let load = text(&subtask["load"], "metaBinlog");
    let sync = text(&subtask["sync"], "syncerBinlog");
    let position = if sync.is_empty() { load } else { sync };
    let parts = position.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')?.split_once(", "));
    match parts {
        Some(("", _)) => String::new(),
        Some((file, offset)) => format!("{file}:{offset}"),
        None => position.to_owned(),
    }
}

/// A number with its thousands set apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(subtasks: &[(&str, &str, Value)]) -> Value {
        let sources: Vec<Value> = subtasks
            .iter()
            .map(|(source, stage, result)| {
                json!({"result": true, "msg": "", "sourceStatus": {"source": source, "worker": "n1", "result": null, "relayStatus": null},
                    "subTaskStatus": [{"name": "test", "stage": stage, "unit": "Sync", "result": result, "unresolvedDDLLockID": "",
                        "sync": {"totalRows": "1234567", "recentRps": "12", "secondsBehindMaster": "0", "synced": true, "syncerBinlog": "(bin.000001, 4)"}, "validation": null}]})
            })
            .collect();
        json!({"result": true, "msg": "", "sources": sources})
    }

    fn error() -> Value {
        json!({"isCanceled": false, "errors": [{"ErrCode": 10006, "ErrClass": "database", "ErrScope": "downstream", "ErrLevel": "high", "Message": "m", "RawCause": "c", "Workaround": "w"}], "detail": null})
    }

    #[test]
    fn the_short_form_is_dmctls() {
        let short =
            summary(&answer(&[("s1", "Running", Value::Null), ("s2", "Running", Value::Null)])).unwrap();
        let expected = json!({"result": true, "msg": "", "tasks": [{"taskName": "test", "taskStatus": "Running", "sources": ["s1", "s2"]}]});
        assert_eq!(short, expected);
    }

    #[test]
    fn the_worst_subtask_names_the_task() {
        let status = |subtasks: &[(&str, &str, Value)]| {
            summary(&answer(subtasks)).unwrap()["tasks"][0]["taskStatus"].as_str().unwrap().to_owned()
        };
        let failed =
            "Error - Some error occurred in subtask. Please run `query-status test` to get more details.";
        assert_eq!(status(&[("a", "Running", Value::Null), ("b", "Paused", error())]), failed);
        assert_eq!(status(&[("a", "Running", Value::Null), ("b", "Paused", Value::Null)]), "Paused");
        assert_eq!(status(&[("a", "Finished", Value::Null), ("b", "Finished", Value::Null)]), "Finished");
        assert_eq!(status(&[("a", "Finished", Value::Null), ("b", "Running", Value::Null)]), "Running");
        let mut relay = answer(&[("a", "Running", Value::Null)]);
        relay["sources"][0]["sourceStatus"]["relayStatus"] = json!({"stage": "Paused", "result": error()});
        let text = summary(&relay).unwrap()["tasks"][0]["taskStatus"].as_str().unwrap().to_owned();
        assert!(text.starts_with("Error - Relay status is Error. Please run"), "{text}");
    }

    #[test]
    fn a_false_part_asks_for_the_details() {
        let mut value = answer(&[("a", "Running", Value::Null)]);
        assert!(!is_unhealthy(&value));
        value["sources"][0]["result"] = json!(false);
        assert!(summary(&value).is_none());
        assert!(is_unhealthy(&value));
        assert!(is_unhealthy(&answer(&[("a", "Paused", error())])));
    }

    #[test]
    fn the_table_shows_rows_lag_and_errors() {
        let shown = render(&answer(&[("s1", "Running", Value::Null), ("s2", "Paused", error())]));
        for part in ["1,234,567 rows", "in step", "bin.000001:4", "error 10006: m", "cause: c", "remedy: w"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert_eq!(render(&json!({"result": true, "sources": []})), "no tasks");
    }

    #[test]
    fn what_is_not_a_matter_of_course_is_said() {
        let mut value = answer(&[("s1", "Running", Value::Null)]);
        let plain = render(&value);
        assert!(!plain.contains("not migrated") && !plain.contains("safe mode"), "{plain}");
        let sync = &mut value["sources"][0]["subTaskStatus"][0]["sync"];
        sync["notMigrated"] = json!([{"kind": "view", "count": "1200"}, {"kind": "trigger", "count": "2"}]);
        sync["conflicts"] = json!([{"kind": "update-repaired", "count": 3}]);
        sync["safeMode"] = json!({"reason": "asked for", "until": "(bin.000002, 4)"});
        sync["largeTransaction"] =
            json!({"location": "bin.000001:700", "rows": "5000000", "bytes": "1", "seconds": "12"});
        let shown = render(&value);
        for part in [
            "statements on view (1,200), trigger (2); make in the target by hand",
            "not what they were at the source: update-repaired (3)",
            "safe mode (asked for) until (bin.000002, 4)",
            "5,000,000 rows in 12 s, from bin.000001:700",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
    }

    #[test]
    fn an_error_says_who_acts_next() {
        let shown = render(&answer(&[("s2", "Paused", error())]));
        assert!(
            shown.contains("next: nothing happens by itself; correct the cause, then resume-task test"),
            "{shown}"
        );
        let mut retried = answer(&[("s2", "Resuming", error())]);
        retried["sources"][0]["subTaskStatus"][0]["dmnode"] = json!({"retry": {"failures": "3", "nextTry": "2026-01-02 03:04:05 UTC", "nextTryInSeconds": "4"}});
        let shown = render(&retried);
        assert!(
            shown.contains("tried again by itself in 4 s, at 2026-01-02 03:04:05 UTC (attempt 4); pause-task test stops that"),
            "{shown}"
        );
        assert!(!render(&answer(&[("s1", "Paused", Value::Null)])).contains("next:"));
    }

    #[test]
    fn finished_needs_a_subtask() {
        assert!(!is_all_finished(&json!({"sources": []})));
        assert!(is_all_finished(&answer(&[("a", "Finished", Value::Null)])));
        assert!(!is_all_finished(&answer(&[("a", "Finished", Value::Null), ("b", "Running", Value::Null)])));
    }
}
