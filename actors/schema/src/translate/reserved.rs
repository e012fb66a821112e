//! Column names that are words of the other dialect: put in backticks.

use super::Work;
use super::shape::{PartKind, skip_if_exists};

/// Reserved in one flavour and not in the other.
const WORDS: [&str; 34] = [
    // MariaDB
    "CURRENT_ROLE",
    "OFFSET",
    "PAGE_CHECKSUM",
    "RETURNING",
    "ROW_NUMBER",
    "SLOW",
    "GENERAL",
    "REF_SYSTEM_ID",
    // MySQL
    "CUBE",
    "CUME_DIST",
    "DENSE_RANK",
    "EMPTY",
    "FIRST_VALUE",
    "FUNCTION",
    "GENERATED",
    "GET",
    "GROUPING",
    "GROUPS",
    "LAG",
    "LAST_VALUE",
    "LATERAL",
    "LEAD",
    "MANUAL",
    "NTH_VALUE",
    "NTILE",
    "OF",
    "PARALLEL",
    "PERCENT_RANK",
    "QUALIFY",
    "RANK",
    "ROW",
    "ROWS",
    "STORED",
    "SYSTEM",
];

pub(super) fn run(work: &mut Work<'_, '_>) {
    let tokens = work.tokens;
    let mut names: Vec<usize> = work.columns().iter().map(|c| c.name).collect();
    for part in &work.shape.parts {
        match part.kind {
            PartKind::Index => names.extend(part.tokens.clone().filter(|i| {
                let before = i.wrapping_sub(1);
                tokens.punct(before, '(') || tokens.punct(before, ',')
            })),
            PartKind::Action | PartKind::Columns => {
                let start = part.tokens.start;
                if tokens.is_any(start, &["DROP", "ALTER", "CHANGE", "MODIFY"]) {
                    let after_column = start + 1 + usize::from(tokens.is(start + 1, "COLUMN"));
                    names.push(skip_if_exists(tokens, after_column));
                }
                names.extend(part.tokens.clone().filter(|i| tokens.is(i.wrapping_sub(1), "AFTER")));
            }
            PartKind::Constraint | PartKind::Options => {}
        }
    }
    names.sort_unstable();
    names.dedup();
    // `SYSTEM VERSIONING` and the like stand where a column could.
    for i in names {
        if tokens.is_any(i, &WORDS) && !tokens.is_any(i + 1, &["VERSIONING", "BY", "KEY", "INDEX"]) {
            work.replace(i..i + 1, dmnode_model::quote_ident(tokens.text(i)));
        }
    }
}
