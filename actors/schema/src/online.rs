//! Names of the tables that gh-ost and pt-online-schema-change make beside the table that they change.
//!
//! The rules are `shadow-table-rules` and `trash-table-rules`: regular expressions with one group, the real name. The
//! configuration has checked them.

use dmnode_model::config::SubtaskConfig;
use dmnode_model::error::CodedError;
use dmnode_model::{TableName, codes, regular_expression};
use fancy_regex::Regex;

use crate::lex::{SqlMode, Tokens};
use crate::statement::{NameRole, Statement};

/// Bound of one match.
const BACKTRACK_LIMIT: usize = 100_000;

/// What a table is by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableRole {
    /// A table like any other.
    Real,
    /// The copy with the new structure, which takes the real table's place.
    Shadow,
    /// What is left over: the former table, a sentry, a log of the tool.
    Trash,
}

/// The rules of one subtask; without rules every table is real.
#[derive(Debug, Default)]
pub struct OnlineRules {
    shadow: Vec<Regex>,
    trash: Vec<Regex>,
}

impl OnlineRules {
    /// Those of a subtask; none when `online-ddl` is off.
    pub fn new(subtask: &SubtaskConfig) -> Result<Self, CodedError> {
        if !subtask.online_ddl {
            return Ok(Self::default());
        }
        let compile = |rules: &[String], setting: &str| {
            rules
                .iter()
                .map(|rule| {
                    regular_expression::compile(rule, !subtask.case_sensitive, BACKTRACK_LIMIT).map_err(
                        |reason| {
                            CodedError::new(
                                codes::CONFIG_ONLINE_DDL_INVALID_REGEX,
                                format!(
                                    "config '{setting}' regex pattern '{rule}' invalid, reason: {reason}"
                                ),
                            )
                        },
                    )
                })
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            shadow: compile(&subtask.shadow_table_rules, "shadow-table-rules")?,
            trash: compile(&subtask.trash_table_rules, "trash-table-rules")?,
        })
    }

    /// No table is anything but real.
    pub fn is_empty(&self) -> bool {
        self.shadow.is_empty() && self.trash.is_empty()
    }

    /// What a table of this name is.
    pub fn role(&self, table: &str) -> TableRole {
        let is = |rules: &[Regex]| rules.iter().any(|rule| rule.is_match(table).unwrap_or(false));
        if is(&self.shadow) {
            TableRole::Shadow
        } else if is(&self.trash) {
            TableRole::Trash
        } else {
            TableRole::Real
        }
    }

    /// Not a table like any other.
    pub fn is_helper(&self, table: &str) -> bool {
        self.role(table) != TableRole::Real
    }

    /// The tables that a helper may belong to, the likeliest first. pt-online-schema-change puts further underscores
    /// before the name when the name with one is taken.
    pub fn real_names(&self, helper: &TableName) -> Vec<TableName> {
        let mut names: Vec<TableName> = Vec::new();
        for rule in self.shadow.iter().chain(&self.trash) {
            let Ok(Some(captures)) = rule.captures(&helper.table) else { continue };
            let Some(group) = captures.get(1) else { continue };
            let mut rest = group.as_str();
            loop {
                let name = TableName::new(helper.schema.as_str(), rest);
                if !names.contains(&name) {
                    names.push(name);
                }
                match rest.strip_prefix('_') {
                    Some(shorter) if !shorter.is_empty() => rest = shorter,
                    _ => break,
                }
            }
        }
        names
    }
}

/// Whether an `ALTER TABLE … RENAME` does nothing but to rename.
pub fn only_renames(sql: &str, statement: &Statement, mode: SqlMode) -> bool {
    let span =
        |role: NameRole| statement.tables.iter().find(|table| table.role == role).map(|table| &table.span);
    let (Some(from), Some(to)) = (span(NameRole::Target), span(NameRole::RenameTo)) else { return false };
    let tokens = Tokens::of(sql, mode);
    (0..tokens.len())
        .filter(|at| {
            let span = tokens.span(*at);
            span.start >= from.end && (span.start < to.start || span.start >= to.end)
        })
        .all(|at| {
            tokens.is_any(at, &["RENAME", "TO", "AS"]) || tokens.punct(at, '=') || tokens.punct(at, ';')
        })
}

/// Whether these words stand in a statement one after the other, outside of strings and comments.
pub fn has_words(sql: &str, mode: SqlMode, words: &[&str]) -> bool {
    let tokens = Tokens::of(sql, mode);
    (0..tokens.len()).any(|at| tokens.are(at, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(case_sensitive: bool) -> OnlineRules {
        let compile =
            |rule: &str| regular_expression::compile(rule, !case_sensitive, BACKTRACK_LIMIT).unwrap();
        OnlineRules {
            shadow: vec![compile("^_(.+)_(?:new|gho)$")],
            trash: vec![compile("^_(.+)_(?:ghc|del|old)$")],
        }
    }

    #[test]
    fn names_of_both_tools_have_roles() {
        let rules = rules(true);
        for (name, role) in [
            ("t", TableRole::Real),
            ("_t", TableRole::Real),
            ("t_new", TableRole::Real),
            ("__new", TableRole::Real),
            ("_t_new", TableRole::Shadow),
            ("__t_new", TableRole::Shadow),
            ("_t_gho", TableRole::Shadow),
            ("_T_GHO", TableRole::Real),
            ("_t_ghc", TableRole::Trash),
            ("_t_20240102030405_del", TableRole::Trash),
            ("_t_old", TableRole::Trash),
        ] {
            assert_eq!(rules.role(name), role, "{name}");
        }
        assert_eq!(self::rules(false).role("_T_GHO"), TableRole::Shadow);
        assert_eq!(OnlineRules::default().role("_t_gho"), TableRole::Real);
    }

    #[test]
    fn a_rename_may_be_part_of_more() {
        let pure = |sql: &str| {
            let mode = SqlMode::default();
            only_renames(sql, &Statement::classify(sql, "s", mode), mode)
        };
        assert!(pure("alter /* gh-ost */ table `s`.`t` rename `s`.`_t_del`"));
        assert!(pure("ALTER TABLE t RENAME TO x;"));
        assert!(!pure("ALTER TABLE t ADD c INT, RENAME TO x"));
        assert!(!pure("ALTER TABLE t RENAME x, ADD c INT"));
        assert!(has_words(
            "ALTER TABLE t TRUNCATE  partition p",
            SqlMode::default(),
            &["TRUNCATE", "PARTITION"]
        ));
    }

    #[test]
    fn the_real_name_is_the_group_or_shorter() {
        let names = |table: &str| -> Vec<String> {
            let names = rules(true).real_names(&TableName::new("s", table));
            names.into_iter().map(|name| name.table).collect()
        };
        assert_eq!(names("_t_new"), ["t"]);
        assert_eq!(names("___t_new"), ["__t", "_t", "t"]);
        assert_eq!(names("t"), Vec::<String>::new());
    }
}
