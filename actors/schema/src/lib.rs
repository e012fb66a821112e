//! What a SQL statement means to a migration: is it in scope, which tables does it touch, what is it called in the
//! target, and how is it written so that the target's dialect takes it.
//!
//! Nothing but [`definition`] is a parser of SQL. A tolerant lexer ([`lex`]) and a grammar of the first words ([`Statement`])
//! classify every statement that MySQL or MariaDB write to a binlog and find the bytes of every table's name; names
//! are then spliced, all other bytes stay as they were written.

mod classify;
pub mod definition;
pub mod event_filter;
pub mod expression;
pub mod filter;
pub mod lex;
pub mod online;
pub mod pattern;
mod propose;
pub mod route;
mod routing;
mod split;
pub mod statement;
pub mod translate;

pub use event_filter::{Event, EventFilter, FilteredStatement, StatementFilter, Subject, Text, Verdict};
pub use filter::{BlockAllowList, is_system_schema};
pub use lex::SqlMode;
pub use online::{OnlineRules, TableRole, has_words, only_renames};
pub use propose::propose_replacement;
pub use route::{ExtendedColumn, Router};
pub use routing::{rewrite_routed, split_statements, strip_create_select_suffix};
pub use split::{split_operations, splitting_may_help, without_hints};
pub use statement::{NameRef, NameRole, SchemaRef, Statement, StatementKind, XaVerb, rewrite};
pub use translate::{
    ServerVersion, Translated, translate, translate_collation, translate_with_default, with_utf8mb4_collation,
};
