//! What a change is called in the `events` of a filter.

/// A kind of change, by the name it has in `events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event(pub &'static str);

impl Event {
    /// Rows appear.
    pub const INSERT: Event = Event("insert");
    /// Rows change.
    pub const UPDATE: Event = Event("update");
    /// Rows vanish.
    pub const DELETE: Event = Event("delete");

    fn class(self) -> Class {
        if matches!(self.0, "insert" | "update" | "delete") {
            Class::Dml
        } else if PLAIN.contains(&self.0) {
            Class::Ddl
        } else {
            Class::IncompatibleDdl
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Dml,
    Ddl,
    IncompatibleDdl,
}

/// DDL that DM does not count among the `incompatible ddl changes`.
const PLAIN: [&str; 8] = [
    "create database",
    "alter database",
    "create table",
    "create index",
    "create view",
    "drop view",
    "alter table",
    "add table partition",
];

/// The one spelling of names that have two.
pub(super) fn canonical(event: &str) -> String {
    let event = event.to_lowercase();
    match event.split_once(' ') {
        Some((verb @ ("create" | "alter" | "drop"), "schema")) => format!("{verb} database"),
        _ => event,
    }
}

/// Whether a list of `events` has an event that goes by these names. The items are looked at in order and the first
/// that says anything decides; an empty list says no. The classes go by the name that DM gives the event.
pub(super) fn matches(list: &[String], events: &[Event]) -> bool {
    let Some(class) = events.first().map(|event| event.class()) else { return false };
    for item in list {
        let (about, verdict) = match item.as_str() {
            "all" => (true, true),
            "none" => (true, false),
            "all ddl" => (class != Class::Dml, true),
            "none ddl" => (class != Class::Dml, false),
            "all dml" => (class == Class::Dml, true),
            "none dml" => (class == Class::Dml, false),
            "incompatible ddl changes" => (class == Class::IncompatibleDdl, true),
            name => (events.iter().any(|event| event.0 == name), true),
        };
        if about {
            return verdict;
        }
    }
    false
}

/// The event is told by comparing a column with what it was before.
pub(super) fn needs_definition(event: &str) -> bool {
    matches!(
        event,
        "alter table"
            | "incompatible ddl changes"
            | "value range decrease"
            | "precision decrease"
            | "modify column"
            | "modify default value"
            | "modify columns order"
            | "modify charset"
            | "modify collation"
            | "remove auto increment"
            | "drop unique key"
    )
}
