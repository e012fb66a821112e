//! Answers for people, one function per shape.

use comfy_table::{Cell, Color};
use serde_json::Value;

use crate::output::{BAD, WARN, flag, list, styled, table, text};

/// `{result, msg, sources: [W]}`.
pub fn workers(answer: &Value) -> String {
    let mut rows = table(&["SOURCE", "NODE", "RESULT", "MESSAGE"]);
    for worker in list(answer, "sources") {
        let result = if flag(worker, "result") {
            Cell::new("ok").fg(Color::Green)
        } else {
            Cell::new("failed").fg(Color::Red)
        };
        rows.add_row([
            Cell::new(text(worker, "source")),
            Cell::new(text(worker, "worker")),
            result,
            Cell::new(text(worker, "msg")),
        ]);
    }
    with_message(answer, (!list(answer, "sources").is_empty()).then(|| rows.to_string()))
}

/// The result of an operation on all tasks of a source.
pub fn batch(answer: &Value) -> String {
    let mut rows = table(&["TASK", "OPERATION", "SOURCE", "NODE", "RESULT", "MESSAGE"]);
    for task in list(answer, "tasks") {
        let name = text(task, "task");
        let op = text(task, "op");
        if list(task, "sources").is_empty() {
            rows.add_row([
                name,
                op,
                "",
                "",
                if flag(task, "result") { "ok" } else { "failed" },
                text(task, "msg"),
            ]);
        }
        for worker in list(task, "sources") {
            let result = if flag(worker, "result") { "ok" } else { "failed" };
            rows.add_row([
                name,
                op,
                text(worker, "source"),
                text(worker, "worker"),
                result,
                text(worker, "msg"),
            ]);
        }
    }
    with_message(answer, (!list(answer, "tasks").is_empty()).then(|| rows.to_string()))
}

/// `list-member`.
pub fn members(answer: &Value) -> String {
    let mut parts = Vec::new();
    for member in list(answer, "members") {
        if let Some(leader) = member.get("leader").filter(|value| value.is_object()) {
            match (text(leader, "msg"), text(leader, "name")) {
                ("", name) => parts.push(format!("leader: {name} ({})", text(leader, "addr"))),
                (msg, _) => parts.push(styled(WARN, &format!("leader: {msg}"))),
            }
        }
        if let Some(master) = member.get("master").filter(|value| value.is_object()) {
            let mut rows = table(&["MASTER", "MEMBER ID", "ALIVE", "PEER", "CLIENT"]);
            for one in list(master, "masters") {
                let alive = if flag(one, "alive") {
                    Cell::new("yes").fg(Color::Green)
                } else {
                    Cell::new("no").fg(Color::Red)
                };
                let urls =
                    |field| list(one, field).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
                rows.add_row([
                    Cell::new(text(one, "name")),
                    Cell::new(text(one, "memberID")),
                    alive,
                    Cell::new(urls("peerURLs")),
                    Cell::new(urls("clientURLs")),
                ]);
            }
            parts.push(rows.to_string());
        }
        if let Some(worker) = member.get("worker").filter(|value| value.is_object()) {
            let mut rows = table(&["WORKER", "ADDRESS", "STAGE", "SOURCE"]);
            for one in list(worker, "workers") {
                let stage = text(one, "stage");
                let color = if stage == "offline" { Color::Red } else { Color::Green };
                rows.add_row([
                    Cell::new(text(one, "name")),
                    Cell::new(text(one, "addr")),
                    Cell::new(stage).fg(color),
                    Cell::new(text(one, "source")),
                ]);
            }
            parts.push(rows.to_string());
        }
    }
    with_message(answer, (!parts.is_empty()).then(|| parts.join("\n")))
}

/// `check-task`: where every table goes, what matches nothing, and the text of the check.
pub fn checked(answer: &Value) -> String {
    let mut parts = Vec::new();
    let tables = list(answer, "tables");
    if !tables.is_empty() {
        let mut rows = table(&["SOURCE", "TABLE", "TARGET"]);
        for one in tables {
            let (from, to) = (text(one, "from"), text(one, "to"));
            rows.add_row([text(one, "source"), from, if from == to { "same name" } else { to }]);
        }
        parts.push(rows.to_string());
    }
    for line in list(answer, "unmatched").iter().filter_map(Value::as_str) {
        parts.push(styled(WARN, &format!("matches nothing: {line}")));
    }
    parts.push(check(text(answer, "msg")));
    parts.join("\n")
}

/// The text of a check: its items as a table when there are any.
pub fn check(msg: &str) -> String {
    let Some((lead, details)) = msg.split_once("detail: ") else { return msg.trim_end().to_owned() };
    let mut values = serde_json::Deserializer::from_str(details).into_iter::<Value>();
    let Some(Ok(parsed)) = values.next() else { return msg.to_owned() };
    // Behind the items stand warnings about the file and notes, one a line.
    let more = details.get(values.byte_offset()..).unwrap_or_default();
    let more = more.split_once('\n').map(|(_, lines)| lines.trim_end()).unwrap_or_default();
    let details = parsed;
    let mut rows = table(&["CHECK", "STATE", "FINDING", "WHAT TO DO"]);
    for item in list(&details, "results") {
        let color = |state: &str| if state == "fail" { Color::Red } else { Color::Yellow };
        let state = text(item, "state");
        if list(item, "errors").is_empty() {
            rows.add_row([
                Cell::new(text(item, "name")),
                Cell::new(state).fg(color(state)),
                Cell::new(text(item, "extra")),
                Cell::new(text(item, "instruction")),
            ]);
        }
        for error in list(item, "errors") {
            let severity = text(error, "severity");
            let instruction = match text(error, "instruction") {
                "" => text(item, "instruction"),
                own => own,
            };
            let finding = short(text(error, "short_error"));
            let finding = match text(item, "extra") {
                "" => finding,
                extra => format!("{finding}\n{extra}"),
            };
            rows.add_row([
                Cell::new(text(item, "name")),
                Cell::new(severity).fg(color(severity)),
                Cell::new(finding),
                Cell::new(instruction),
            ]);
        }
    }
    let summary = &details["summary"];
    let count = |field: &str| summary.get(field).cloned().unwrap_or_default();
    let passed = flag(summary, "passed");
    let line = format!(
        "{}: {} checks, {} successful, {} warnings, {} failed",
        if passed { "passed" } else { "not passed" },
        count("total"),
        count("successful"),
        count("warning"),
        count("failed")
    );
    let line = if passed { line } else { styled(BAD, &line) };
    // What stands before the sentence is the code of the error, if there is one.
    let lead = lead.split(", Message:").next().filter(|code| code.starts_with("[code=")).unwrap_or_default();
    [lead.to_owned(), rows.to_string(), more.to_owned(), line]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

/// A coded error as a cell can hold it: number and message; the rest of the code is for machines.
fn short(error: &str) -> String {
    let parts = error.strip_prefix("[code=").and_then(|rest| {
        let (code, rest) = rest.split_once(':')?;
        Some((code, rest.split_once("], Message: ")?.1))
    });
    match parts {
        Some((code, message)) => format!("{code}: {message}"),
        None => error.to_owned(),
    }
}

fn with_message(answer: &Value, body: Option<String>) -> String {
    let msg = text(answer, "msg");
    let msg = if flag(answer, "result") {
        msg.to_owned()
    } else {
        styled(BAD, if msg.is_empty() { "failed" } else { msg })
    };
    [msg, body.unwrap_or_default()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_check_shows_its_findings() {
        let msg = "[code=26005:class=dm-master:scope=internal:level=medium], Message: fail to check synchronization configuration with type: check was failed, please see detail detail: {\"results\":[{\"id\":2,\"name\":\"mysql_binlog_format\",\"desc\":\"d\",\"state\":\"fail\",\"errors\":[{\"severity\":\"fail\",\"short_error\":\"binlog_format is STATEMENT\"}],\"instruction\":\"set it to ROW\",\"extra\":\"address of db instance - 127.0.0.1:3306\"}],\"summary\":{\"passed\":false,\"total\":14,\"successful\":13,\"failed\":1,\"warning\":0}}";
        let shown = check(msg);
        for part in [
            "code=26005",
            "binlog_format is STATEMENT",
            "set it to ROW",
            "14 checks, 13 successful, 0 warnings, 1 failed",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        let msg = msg.replace(
            "\"binlog_format is STATEMENT\"",
            "\"[code=60601:class=task-check:scope=upstream:level=high], Message: binlog_format is wrong\"",
        );
        let shown = check(&format!(
            "{msg}\nwarning: an unknown field\nnote: not migrated from source s1: view `a`.`v`"
        ));
        for part in [
            "60601: binlog_format",
            "warning: an unknown field",
            "note: not migrated from source s1: view `a`.`v`",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert!(
            !shown.contains("class=task-check:scope=upstream") && !shown.contains("Workaround"),
            "{shown}"
        );
        assert_eq!(check("pre-check is passed. "), "pre-check is passed.");
        assert_eq!(check("detail: {broken"), "detail: {broken");
    }

    #[test]
    fn members_are_three_tables() {
        let answer = json!({"result": true, "msg": "", "members": [
            {"leader": {"msg": "", "name": "n1", "addr": "127.0.0.1:8261"}},
            {"master": {"msg": "", "masters": [{"name": "n1", "memberID": "7", "alive": true, "peerURLs": ["http://127.0.0.1:8261"], "clientURLs": ["http://127.0.0.1:8261"]}]}},
            {"worker": {"msg": "", "workers": [{"name": "n1", "addr": "127.0.0.1:8261", "stage": "bound", "source": "s1"}]}}]});
        let shown = members(&answer);
        for part in ["leader: n1 (127.0.0.1:8261)", "MEMBER ID", "bound", "s1"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
    }

    #[test]
    fn a_failure_shows_its_message() {
        let shown = workers(&json!({"result": false, "msg": "no such task", "sources": []}));
        assert!(shown.contains("no such task") && !shown.contains("SOURCE"), "{shown}");
    }
}
