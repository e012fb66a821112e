//! Skeleton.

use dmnode_model::{CodedError, Flavor};

use crate::lex::SqlMode;

/// `8.0.36` as `(8, 0, 36)`.
pub type ServerVersion = (u32, u32, u32);

/// A statement in the target's dialect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Translated {
    /// The statement.
    pub sql: String,
    /// Statements to be executed before it: what one statement of the source needs two for in the target.
    pub prelude: Vec<String>,
    /// What was changed that a reader of the target should know.
    pub notes: Vec<String>,
}

/// The statement as the target's flavour takes it.
pub fn translate(
    sql: &str,
    _mode: SqlMode,
    _from: Flavor,
    _to: Flavor,
    _to_version: ServerVersion,
) -> Result<Translated, CodedError> {
    Ok(Translated { sql: sql.to_owned(), prelude: Vec::new(), notes: Vec::new() })
}

/// The target's name for a collation.
pub fn translate_collation(name: &str, _from: Flavor, _to: Flavor, _to_version: ServerVersion) -> (String, Option<String>) {
    (name.to_owned(), None)
}
