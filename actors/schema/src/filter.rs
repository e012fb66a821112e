//! Which databases and tables a task takes: DM's block-allow list.

use dmnode_model::CodedError;
use dmnode_model::TableName;
use dmnode_model::codes;
use dmnode_model::config::{BlockAllowListConfig, SubtaskConfig, TablePattern};
use dmnode_model::tables::TableChoice;

use crate::pattern::{Pattern, PatternError};

/// Databases of the servers themselves and of monitoring tools: never migrated, whatever the list says.
const SYSTEM_SCHEMAS: [&str; 7] = [
    "dm_heartbeat",
    "sys",
    "mysql",
    "information_schema",
    "inspection_schema",
    "performance_schema",
    "metrics_schema",
];

/// `name` is a database of the server itself.
pub fn is_system_schema(name: &str) -> bool {
    SYSTEM_SCHEMAS.iter().any(|system| system.eq_ignore_ascii_case(name))
}

/// A compiled block-allow list.
#[derive(Debug, Clone, Default)]
pub struct BlockAllowList {
    do_dbs: Vec<Pattern>,
    ignore_dbs: Vec<Pattern>,
    do_tables: Vec<TablePatterns>,
    ignore_tables: Vec<TablePatterns>,
    choice: TableChoice,
}

#[derive(Debug, Clone)]
struct TablePatterns {
    schema: Pattern,
    table: Pattern,
}

impl TablePatterns {
    fn matches(&self, name: &TableName) -> Result<bool, PatternError> {
        Ok(self.schema.matches(&name.schema)? && self.table.matches(&name.table)?)
    }
}

impl BlockAllowList {
    /// Compiles the list; a bad pattern is refused with its place.
    pub fn new(config: &BlockAllowListConfig, case_sensitive: bool) -> Result<BlockAllowList, CodedError> {
        let schemas = |list: &[String]| -> Result<Vec<Pattern>, CodedError> {
            list.iter().map(|text| Pattern::new(text, case_sensitive).map_err(bad_list)).collect()
        };
        let tables = |list: &[TablePattern]| -> Result<Vec<TablePatterns>, CodedError> {
            let compile = |entry: &TablePattern| {
                Ok(TablePatterns {
                    schema: Pattern::new(&entry.db_name, case_sensitive)?,
                    table: Pattern::new(&entry.tbl_name, case_sensitive)?,
                })
            };
            list.iter().map(|entry| compile(entry).map_err(bad_list)).collect()
        };
        Ok(BlockAllowList {
            do_dbs: schemas(&config.do_dbs)?,
            ignore_dbs: schemas(&config.ignore_dbs)?,
            do_tables: tables(&config.do_tables)?,
            ignore_tables: tables(&config.ignore_tables)?,
            choice: TableChoice::default(),
        })
    }

    /// The list of a subtask, with the tables that joined or left it one by one.
    pub fn of(subtask: &SubtaskConfig, case_sensitive: bool) -> Result<BlockAllowList, CodedError> {
        let list = Self::new(&subtask.block_allow_list, case_sensitive)?;
        Ok(Self { choice: subtask.choice.clone(), ..list })
    }

    /// Database statements on `schema` are in scope, and its tables may be.
    pub fn schema_in_scope(&self, schema: &str) -> Result<bool, CodedError> {
        if is_system_schema(schema) || self.choice.only.is_some() {
            return Ok(false);
        }
        if !self.do_dbs.is_empty() {
            return any(&self.do_dbs, |p| p.matches(schema));
        }
        Ok(!any(&self.ignore_dbs, |p| p.matches(schema))?)
    }

    /// Rows and structure of `table` are in scope.
    pub fn table_in_scope(&self, table: &TableName) -> Result<bool, CodedError> {
        if let Some(decided) = self.choice.decide(table) {
            return Ok(decided && !is_system_schema(&table.schema));
        }
        if !self.schema_in_scope(&table.schema)? {
            return Ok(false);
        }
        if any(&self.do_tables, |p| p.matches(table))? {
            return Ok(true);
        }
        if any(&self.ignore_tables, |p| p.matches(table))? {
            return Ok(false);
        }
        Ok(self.do_tables.is_empty())
    }

    /// A database that is not in scope has tables that are: what is done to it as a whole concerns them.
    pub fn has_tables_without(&self, schema: &str) -> Result<bool, CodedError> {
        Ok(self.choice.has_single_tables_of(schema) && !self.schema_in_scope(schema)?)
    }

    /// The table was taken out by name.
    pub fn is_removed(&self, table: &TableName) -> bool {
        self.choice.removed.contains(table)
    }

    /// Why a table is out of scope although nothing says that it should be: it matches none of the patterns that allow
    /// tables. None for a table in scope, or one that is left out by name.
    pub fn unmatched_table(&self, table: &TableName) -> Result<Option<String>, CodedError> {
        if is_system_schema(&table.schema)
            || self.choice.only.is_some()
            || self.choice.decide(table).is_some()
        {
            return Ok(None);
        }
        if !self.do_dbs.is_empty() && !any(&self.do_dbs, |p| p.matches(&table.schema))? {
            let meant = self.do_dbs.iter().find(|p| p.resembles(&table.schema));
            return Ok(meant.map(|p| {
                let schema = dmnode_model::quote_ident(&table.schema);
                format!(
                    "database {schema} matches no pattern of do-dbs; `{}` is near{}",
                    p.text(),
                    meaning(&[p])
                )
            }));
        }
        if !self.schema_in_scope(&table.schema)? || self.do_tables.is_empty() {
            return Ok(None);
        }
        if any(&self.do_tables, |p| p.matches(table))? || any(&self.ignore_tables, |p| p.matches(table))? {
            return Ok(None);
        }
        let meant = self.do_tables.iter().find(|p| p.table.resembles(&table.table));
        let near = meant
            .map_or_else(String::new, |p| format!("; `{}` is near{}", p.table.text(), meaning(&[&p.table])));
        Ok(Some(format!("table {table} matches no pattern of do-tables{near}")))
    }

    /// Patterns with a class in brackets that match fewer names than they seem to be meant for.
    pub fn misread(&self, schemas: &[String], tables: &[TableName]) -> Result<Vec<String>, CodedError> {
        let mut found = Vec::new();
        for pattern in &self.do_dbs {
            found.extend(pattern.misread(schemas.iter().map(String::as_str)).map_err(bad_list)?);
        }
        for entry in &self.do_tables {
            found.extend(misread_table(&entry.schema, &entry.table, schemas, tables).map_err(bad_list)?);
        }
        Ok(found)
    }

    /// The allowing patterns that match none of the given databases and tables, as text, each with what it means
    /// where that often surprises. Such a pattern is rarely what its writer wanted.
    pub fn unmatched(&self, schemas: &[String], tables: &[TableName]) -> Result<Vec<String>, CodedError> {
        let mut unmatched = Vec::new();
        for pattern in &self.do_dbs {
            if !any(schemas, |schema| pattern.matches(schema))? {
                unmatched.push(format!("do-dbs `{}`{}", pattern.text(), meaning(&[pattern])));
            }
        }
        for entry in &self.do_tables {
            if !any(tables, |table| entry.matches(table))? {
                let (schema, table) = (&entry.schema, &entry.table);
                unmatched.push(format!(
                    "do-tables `{}`.`{}`{}",
                    schema.text(),
                    table.text(),
                    meaning(&[schema, table])
                ));
            }
        }
        Ok(unmatched)
    }
}

pub(crate) fn misread_table(
    schema: &Pattern,
    table: &Pattern,
    schemas: &[String],
    tables: &[TableName],
) -> Result<Vec<String>, PatternError> {
    let mut inside = Vec::new();
    for name in tables {
        if schema.matches(&name.schema)? {
            inside.push(name.table.as_str());
        }
    }
    let schemas = schema.misread(schemas.iter().map(String::as_str))?;
    Ok(schemas.into_iter().chain(table.misread(inside.into_iter())?).collect())
}

pub(crate) fn meaning(patterns: &[&Pattern]) -> String {
    let notes: Vec<String> = patterns.iter().filter_map(|p| p.explain()).collect();
    if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) }
}

fn any<T>(list: &[T], mut test: impl FnMut(&T) -> Result<bool, PatternError>) -> Result<bool, CodedError> {
    for item in list {
        if test(item).map_err(bad_list)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn bad_list(err: PatternError) -> CodedError {
    CodedError::new(codes::CONFIG_GEN_BA_LIST, "generate block allow list error")
        .object(format!("pattern `{}`", err.pattern))
        .cause(err)
        .remedy(
            "correct the pattern in `block-allow-list`: `*` is any run of characters, `?` one, `[a-c]` one of a class, \
             and a pattern that starts with `~` is a regular expression",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(db: &str, tbl: &str) -> TablePattern {
        TablePattern { db_name: db.into(), tbl_name: tbl.into() }
    }

    fn list(config: &BlockAllowListConfig) -> BlockAllowList {
        BlockAllowList::new(config, false).unwrap()
    }

    fn takes(list: &BlockAllowList, schema: &str, name: &str) -> bool {
        list.table_in_scope(&TableName::new(schema, name)).unwrap()
    }

    #[test]
    fn empty_list_takes_all_but_system_schemas() {
        let list = BlockAllowList::default();
        assert!(takes(&list, "shop", "t"));
        for system in ["mysql", "SYS", "Information_Schema", "performance_schema", "dm_heartbeat"] {
            assert!(!takes(&list, system, "t"), "{system}");
        }
    }

    #[test]
    fn do_dbs_win_over_ignore_dbs() {
        let list = list(&BlockAllowListConfig {
            do_dbs: vec!["shop*".into()],
            ignore_dbs: vec!["shop_old".into()],
            ..Default::default()
        });
        assert!(takes(&list, "Shop_old", "t"));
        assert!(!takes(&list, "other", "t"));
    }

    #[test]
    fn do_tables_win_over_ignore_tables_and_close_the_rest() {
        let config = BlockAllowListConfig {
            do_tables: vec![table("a", "t_*")],
            ignore_tables: vec![table("a", "t_1"), table("a", "x")],
            ..Default::default()
        };
        let list = list(&config);
        assert!(takes(&list, "a", "t_1"));
        assert!(!takes(&list, "a", "x"));
        assert!(!takes(&list, "a", "y"));
        assert!(!takes(&list, "b", "t_1"));
        assert!(list.schema_in_scope("b").unwrap());
    }

    #[test]
    fn ignore_tables_only() {
        let list = list(&BlockAllowListConfig {
            ignore_tables: vec![table("~^a$", "~^(?!keep_)")],
            ..Default::default()
        });
        assert!(takes(&list, "a", "keep_1"));
        assert!(!takes(&list, "a", "x"));
        assert!(takes(&list, "b", "x"));
    }

    #[test]
    fn bad_pattern_is_coded_and_named() {
        let err = BlockAllowList::new(
            &BlockAllowListConfig { do_dbs: vec!["~shop(".into()], ..Default::default() },
            false,
        )
        .unwrap_err();
        assert_eq!(err.code, codes::CONFIG_GEN_BA_LIST);
        assert!(err.to_string().contains("~shop("), "{err}");
    }

    #[test]
    fn patterns_that_match_nothing_are_told() {
        let list = list(&BlockAllowListConfig {
            do_dbs: vec!["shop".into(), "shpo".into()],
            do_tables: vec![table("shop", "t_[0-63]")],
            ..Default::default()
        });
        let unmatched = list.unmatched(&["shop".into()], &[TableName::new("shop", "t_12")]).unwrap();
        assert_eq!(unmatched.len(), 2);
        assert_eq!(unmatched[0], "do-dbs `shpo`");
        let tables: Vec<TableName> = (0..64).map(|n| TableName::new("shop", format!("t_{n}"))).collect();
        let misread = list.misread(&["shop".into()], &tables).unwrap();
        assert!(misread[0].contains("it matches 7 of the 64 names that begin with `t_`"), "{misread:?}");
        let later = list.unmatched_table(&TableName::new("shop", "t_64")).unwrap().unwrap();
        assert!(later.contains("`t_[0-63]` is near"), "{later}");
        assert_eq!(list.unmatched_table(&TableName::new("shop", "t_3")).unwrap(), None);
        assert_eq!(list.unmatched_table(&TableName::new("other", "t_3")).unwrap(), None);
        assert!(unmatched[1].contains("exactly one character of 0-6 or 3"), "{}", unmatched[1]);
    }
}
