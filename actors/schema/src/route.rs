//! Which target table a source table goes to: DM's table routes.

use std::sync::Arc;

use dmnode_model::config::RouteRule;
use dmnode_model::{CodedError, SourceId, TableName, codes, regular_expression};
use fancy_regex::Regex;

use crate::filter::{meaning, misread_table};
use crate::pattern::{Pattern, PatternError};

/// Compiled routes.
#[derive(Debug, Clone, Default)]
pub struct Router {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    schema: Pattern,
    /// Without one the rule routes whole databases.
    table: Option<Pattern>,
    target_schema: String,
    /// Empty keeps the table's own name.
    target_table: String,
    /// In DM's order: from the table, the schema, the source.
    extracts: Vec<Extract>,
}

/// A column whose value is taken out of a name.
#[derive(Debug, Clone)]
struct Extract {
    from: Origin,
    regexp: Arc<Regex>,
    column: String,
}

/// Which name.
#[derive(Debug, Clone, Copy)]
enum Origin {
    Table,
    Schema,
    Source,
}

/// A column that a route adds to every row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtendedColumn {
    /// The target's column.
    pub column: String,
    /// What it holds; empty when the rule's expression is not found in the name.
    pub value: String,
}

/// Bounds one search in a name.
const BACKTRACK_LIMIT: usize = 200_000;

impl Extract {
    fn all(rule: &RouteRule) -> Result<Vec<Extract>, CodedError> {
        let rules = [
            (Origin::Table, &rule.extract_table),
            (Origin::Schema, &rule.extract_schema),
            (Origin::Source, &rule.extract_source),
        ];
        let given = rules.into_iter().filter_map(|(from, rule)| Some((from, rule.as_ref()?)));
        given
            .map(|(from, rule)| {
                let regexp = regular_expression::compile(&rule.regexp, false, BACKTRACK_LIMIT);
                let regexp = Arc::new(regexp.map_err(|why| bad_route(format!("`{}`: {why}", rule.regexp)))?);
                Ok(Extract { from, regexp, column: rule.target_column.clone() })
            })
            .collect()
    }

    /// DM's meaning: what all groups have found, one behind the other.
    fn value(&self, name: &str) -> Result<String, CodedError> {
        let found =
            self.regexp.captures(name).map_err(|err| bad_route(format!("`{}`: {err}", self.regexp)))?;
        let groups = found.iter().flat_map(|captures| captures.iter().skip(1).flatten());
        Ok(groups.map(|group| group.as_str()).collect())
    }
}

impl Rule {
    fn text(&self) -> String {
        let table = self.table.as_ref().map_or_else(String::new, |t| format!(".`{}`", t.text()));
        format!("`{}`{table} -> `{}`", self.schema.text(), self.target_schema)
    }

    fn matches(&self, name: &TableName) -> Result<bool, PatternError> {
        Ok(self.schema.matches(&name.schema)?
            && match &self.table {
                Some(table) => table.matches(&name.table)?,
                None => true,
            })
    }
}

impl Router {
    /// Compiles the rules.
    pub fn new(rules: &[RouteRule], case_sensitive: bool) -> Result<Router, CodedError> {
        let compile = |rule: &RouteRule| -> Result<Rule, CodedError> {
            for (key, value) in
                [("schema-pattern", &rule.schema_pattern), ("target-schema", &rule.target_schema)]
            {
                if value.is_empty() {
                    return Err(bad_route(format!("a route has no `{key}`")));
                }
            }
            let pattern = |text: &str| Pattern::new(text, case_sensitive).map_err(bad_route);
            let table = (!rule.table_pattern.is_empty()).then(|| pattern(&rule.table_pattern)).transpose()?;
            Ok(Rule {
                schema: pattern(&rule.schema_pattern)?,
                table,
                target_schema: rule.target_schema.clone(),
                target_table: rule.target_table.clone(),
                extracts: Extract::all(rule)?,
            })
        };
        Ok(Router { rules: rules.iter().map(compile).collect::<Result<_, _>>()? })
    }

    /// The target of a table. A rule with a table pattern beats one without; two that match on one level are an
    /// error, since either answer would surprise somebody.
    pub fn route(&self, name: &TableName) -> Result<TableName, CodedError> {
        let Some(rule) = self.rule_of(name)? else { return Ok(name.clone()) };
        let table = if rule.target_table.is_empty() { &name.table } else { &rule.target_table };
        Ok(TableName::new(rule.target_schema.as_str(), table.as_str()))
    }

    /// The columns that the table's route adds to its rows, with their values.
    pub fn extended(&self, name: &TableName, source: &SourceId) -> Result<Vec<ExtendedColumn>, CodedError> {
        let Some(rule) = self.rule_of(name)? else { return Ok(Vec::new()) };
        let column = |extract: &Extract| {
            let value = extract.value(match extract.from {
                Origin::Table => &name.table,
                Origin::Schema => &name.schema,
                Origin::Source => source.as_str(),
            })?;
            Ok(ExtendedColumn { column: extract.column.clone(), value })
        };
        rule.extracts.iter().map(column).collect()
    }

    fn rule_of(&self, name: &TableName) -> Result<Option<&Rule>, CodedError> {
        let mut by_table = Vec::new();
        let mut by_schema = Vec::new();
        for rule in &self.rules {
            if rule.matches(name).map_err(bad_route)? {
                if rule.table.is_some() { by_table.push(rule) } else { by_schema.push(rule) }
            }
        }
        let matching = if by_table.is_empty() { by_schema } else { by_table };
        only_one(&matching, &name.quoted())
    }

    /// The target of a database, by the rules without a table pattern.
    pub fn route_schema(&self, schema: &str) -> Result<String, CodedError> {
        let mut matching = Vec::new();
        for rule in self.rules.iter().filter(|r| r.table.is_none()) {
            if rule.schema.matches(schema).map_err(bad_route)? {
                matching.push(rule);
            }
        }
        let rule = only_one(&matching, &dmnode_model::quote_ident(schema))?;
        Ok(rule.map_or_else(|| schema.to_owned(), |r| r.target_schema.clone()))
    }

    /// Whether the target of a table is, by the rules, also that of other tables of the source.
    pub fn is_shared(&self, name: &TableName) -> Result<bool, CodedError> {
        let target = self.route(name)?;
        for rule in &self.rules {
            let same_table = match (&rule.table, rule.target_table.as_str()) {
                (_, fixed) if !fixed.is_empty() => fixed == target.table,
                (Some(pattern), _) => pattern.matches(&target.table).map_err(bad_route)?,
                (None, _) => true,
            };
            if rule.target_schema != target.schema || !same_table {
                continue;
            }
            let one_table =
                rule.target_table.is_empty() || rule.table.as_ref().is_some_and(Pattern::is_exact);
            let only_this = rule.schema.is_exact() && one_table && rule.matches(name).map_err(bad_route)?;
            if !only_this {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the target of a database is, by the rules, also that of other databases or their tables.
    pub fn is_schema_shared(&self, schema: &str) -> Result<bool, CodedError> {
        let target = self.route_schema(schema)?;
        for rule in self.rules.iter().filter(|rule| rule.target_schema == target) {
            if !rule.schema.is_exact() || !rule.schema.matches(schema).map_err(bad_route)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A route for tables like this one that does not match it.
    pub fn near_miss(&self, name: &TableName) -> Result<Option<String>, CodedError> {
        let mut near = None;
        for rule in &self.rules {
            if rule.matches(name).map_err(bad_route)? {
                return Ok(None);
            }
            let alike = match &rule.table {
                Some(table) => {
                    rule.schema.matches(&name.schema).map_err(bad_route)? && table.resembles(&name.table)
                }
                None => rule.schema.resembles(&name.schema),
            };
            if alike && near.is_none() {
                let patterns: Vec<&Pattern> =
                    std::iter::once(&rule.schema).chain(rule.table.as_ref()).collect();
                near = Some(format!("route {}{}", rule.text(), meaning(&patterns)));
            }
        }
        Ok(near)
    }

    /// Patterns with a class in brackets that match fewer names than they seem to be meant for.
    pub fn misread(&self, schemas: &[String], tables: &[TableName]) -> Result<Vec<String>, CodedError> {
        let mut found = Vec::new();
        for rule in &self.rules {
            match &rule.table {
                Some(table) => {
                    found.extend(misread_table(&rule.schema, table, schemas, tables).map_err(bad_route)?);
                }
                None => {
                    found.extend(rule.schema.misread(schemas.iter().map(String::as_str)).map_err(bad_route)?)
                }
            }
        }
        Ok(found)
    }

    /// The rules that match none of the given tables, as text.
    pub fn unmatched(&self, tables: &[TableName]) -> Result<Vec<String>, CodedError> {
        let mut unmatched = Vec::new();
        for rule in &self.rules {
            let mut found = false;
            for table in tables {
                found = found || rule.matches(table).map_err(bad_route)?;
            }
            if !found {
                let patterns: Vec<&Pattern> =
                    std::iter::once(&rule.schema).chain(rule.table.as_ref()).collect();
                unmatched.push(format!("{}{}", rule.text(), meaning(&patterns)));
            }
        }
        Ok(unmatched)
    }
}

fn only_one<'a>(matching: &[&'a Rule], object: &str) -> Result<Option<&'a Rule>, CodedError> {
    match matching {
        [] => Ok(None),
        [rule] => Ok(Some(rule)),
        several => {
            let rules: Vec<String> = several.iter().map(|r| r.text()).collect();
            Err(CodedError::new(codes::GEN_TABLE_ROUTER, format!("generate table router: {object} matches more than one route"))
                .object(object)
                .cause(rules.join(", "))
                .remedy("make the patterns of these routes exclude each other, or take one of them out of `route-rules`"))
        }
    }
}

fn bad_route(cause: impl std::fmt::Display) -> CodedError {
    CodedError::new(codes::CONFIG_GEN_TABLE_ROUTER, "generate table router error").cause(cause).remedy(
        "correct the patterns in `routes`: `*` is any run of characters, `?` one, `[a-c]` one of a class, and a pattern \
         that starts with `~` is a regular expression",
    )
}

#[cfg(test)]
mod tests {
    use dmnode_model::config::ExtractRule;

    use super::*;

    fn rule(schema: &str, table: &str, target_schema: &str, target_table: &str) -> RouteRule {
        RouteRule {
            schema_pattern: schema.into(),
            table_pattern: table.into(),
            target_schema: target_schema.into(),
            target_table: target_table.into(),
            ..Default::default()
        }
    }

    fn routed(router: &Router, schema: &str, table: &str) -> String {
        router.route(&TableName::new(schema, table)).unwrap().to_string()
    }

    #[test]
    fn table_level_beats_schema_level() {
        let router = Router::new(
            &[
                rule("shard_*", "", "merged", ""),
                rule("shard_*", "t_[0-9]", "merged", "t"),
                rule("~^x(?!y)", "~z", "q", ""),
            ],
            false,
        )
        .unwrap();
        assert_eq!(routed(&router, "SHARD_1", "t_1"), "`merged`.`t`");
        assert_eq!(routed(&router, "shard_1", "Other"), "`merged`.`Other`");
        assert_eq!(routed(&router, "xa", "azb"), "`q`.`azb`");
        assert_eq!(routed(&router, "xy", "azb"), "`xy`.`azb`");
        assert_eq!(router.route_schema("shard_9").unwrap(), "merged");
        assert_eq!(router.route_schema("xa").unwrap(), "xa");
    }

    #[test]
    fn two_matches_on_one_level_are_an_error_naming_both() {
        let router = Router::new(
            &[rule("a*", "t", "x", ""), rule("*b", "t", "y", ""), rule("ab", "", "z", "")],
            false,
        )
        .unwrap();
        let err = router.route(&TableName::new("ab", "t")).unwrap_err();
        assert_eq!(err.code, codes::GEN_TABLE_ROUTER);
        assert!(err.to_string().contains("`a*`.`t` -> `x`, `*b`.`t` -> `y`"), "{err}");
        assert_eq!(routed(&router, "ab", "u"), "`z`.`u`");
    }

    #[test]
    fn merged_targets_are_known() {
        let shared = |rules: &[RouteRule], schema: &str, table: &str| {
            Router::new(rules, false).unwrap().is_shared(&TableName::new(schema, table)).unwrap()
        };
        let merging = [rule("shop_*", "t_*", "all", "t"), rule("other", "u", "one", "v")];
        assert!(shared(&merging, "shop_1", "t_1"));
        assert!(!shared(&merging, "shop_1", "x") && !shared(&merging, "other", "u"));
        // The target's own name, not routed.
        assert!(shared(&merging, "all", "t"));
        // One table to another name, one database to another name.
        assert!(!shared(&[rule("a", "t", "b", "u")], "a", "t"));
        assert!(!shared(&[rule("a", "", "b", "")], "a", "t"));
        assert!(shared(&[rule("a*", "", "b", "")], "a", "t"));
        assert!(shared(&[rule("a", "t", "b", "u"), rule("c", "t", "b", "u")], "c", "t"));
        assert!(shared(&[rule("a", "", "b", ""), rule("c", "t", "b", "")], "a", "t"));
        assert!(!shared(&[rule("a", "", "b", ""), rule("c", "t", "b", "")], "a", "other"));
        let schema = |rules: &[RouteRule], name: &str| {
            Router::new(rules, false).unwrap().is_schema_shared(name).unwrap()
        };
        assert!(schema(&[rule("a*", "", "b", "")], "a1") && !schema(&[rule("a", "", "b", "")], "a"));
        assert!(schema(&[rule("a", "", "b", ""), rule("c", "t", "b", "u")], "a"));
        assert!(schema(&merging, "all") && !schema(&merging, "shop_1"));
    }

    #[test]
    fn columns_are_taken_out_of_names() {
        let extract = |regexp: &str, column: &str| {
            Some(ExtractRule { regexp: regexp.into(), target_column: column.into() })
        };
        let router = Router::new(
            &[
                RouteRule {
                    extract_table: extract("^t_(\\d+)(?:_(\\w))?", "c_table"),
                    extract_schema: extract("none(x)", "c_schema"),
                    extract_source: extract("(.*)", "c_source"),
                    ..rule("shard_*", "t_*", "merged", "t")
                },
                rule("shard_*", "", "merged", ""),
            ],
            false,
        )
        .unwrap();
        let of = |table: &str| {
            let found = router.extended(&TableName::new("shard_1", table), &SourceId::new("s1")).unwrap();
            found.into_iter().map(|it| format!("{}={}", it.column, it.value)).collect::<Vec<_>>()
        };
        assert_eq!(of("t_17_a"), ["c_table=17a", "c_schema=", "c_source=s1"]);
        assert_eq!(of("T_17"), ["c_table=", "c_schema=", "c_source=s1"], "expressions tell case apart");
        assert!(of("other").is_empty());
    }

    #[test]
    fn rules_without_effect_are_told() {
        let router = Router::new(&[rule("a", "t_[0-63]", "x", "t")], true).unwrap();
        let unmatched = router.unmatched(&[TableName::new("a", "t_17")]).unwrap();
        assert!(unmatched[0].contains("exactly one character"), "{unmatched:?}");
        assert!(router.unmatched(&[TableName::new("a", "t_3")]).unwrap().is_empty());
        assert!(Router::new(&[rule("", "t", "x", "")], true).is_err());
        assert!(Router::new(&[rule("[a", "t", "x", "")], true).is_err());
    }
}
