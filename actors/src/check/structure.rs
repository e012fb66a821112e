//! Whether the target's tables can take the rows: DM's findings about table structures, in DM's words, each with the
//! statement that mends it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dmnode_model::{CodedError, Scope, TableName, codes, quote_ident};
use dmnode_mysql::{ColumnInfo, KeyInfo, ServerInfo, SqlError, TableInfo};
use dmnode_schema::{SqlMode, translate, translate_collation};

use super::connect::{failed, limited};
use super::inventory::Table;
use super::{Item, Source, Target};
use crate::progress::text_literal;

/// One finding about a table.
struct Found {
    text: String,
    instruction: String,
    fails: bool,
}

fn warned(text: String, instruction: String) -> Found {
    Found { text, instruction, fails: false }
}

fn put(item: Item, found: Found) -> Item {
    if found.fails {
        let err = CodedError::new(codes::CHECK_EXTENDED_COLUMNS, found.text).remedy(found.instruction);
        item.fail(err.scope(Scope::Downstream))
    } else {
        item.warn(found.text, &found.instruction)
    }
}

/// As DM writes a list.
fn list<T: AsRef<str>>(names: &[T]) -> String {
    format!("[{}]", names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" "))
}

fn item() -> Item {
    Item::new("table structure compatibility check", "check compatibility of table structure")
}

/// Definitions that the target's flavour cannot hold, and target tables that are not like the source's.
pub(super) async fn structure(sources: &mut [Source<'_>], target: &mut Target) -> Option<Item> {
    let mut item = item();
    let existing = match existing_tables(target).await {
        Ok(existing) => existing,
        Err(err) => return Some(item.fail(failed(&err, Scope::Downstream))),
    };
    let (major, minor, patch) = target.info.version;
    let version = (u32::from(major), u32::from(minor), u32::from(patch));
    for source in sources.iter_mut() {
        for table in &source.inventory.tables {
            for found in of_source(table, existing.contains(&table.to)) {
                item = put(item, found);
            }
        }
        item = match differences(item, source, target).await {
            Ok(item) => item,
            Err((err, scope)) => return Some(self::item().fail(failed(&err, scope))),
        };
        let from = source.info.flavor;
        if !source.subtask.mode.has_full_copy() || from == target.info.flavor {
            continue;
        }
        for table in source.inventory.tables.iter().filter(|t| !existing.contains(&t.to)) {
            let sql = format!("SHOW CREATE TABLE {}", table.from);
            let row = match limited(source.connection.query_one(sql)).await {
                Ok(row) => row,
                Err(err) if err.is_connection_lost() => {
                    return Some(item.fail(failed(&err, Scope::Upstream)));
                }
                // Dropped meanwhile, or not to be read: told elsewhere.
                Err(_) => continue,
            };
            let Some(definition) = row.and_then(|row| row.string(1)) else { continue };
            if let Err(mut err) =
                translate(&definition, SqlMode::default(), from, target.info.flavor, version)
            {
                err.statement = None;
                item = item.fail(err.object(&table.from));
            }
        }
    }
    Some(item)
}

/// What the source's table alone tells.
fn of_source(table: &Table, exists: bool) -> Vec<Found> {
    let Table { from, to, .. } = table;
    let mut found = Vec::new();
    if !table.has_key {
        found.push(warned(
            format!("table {from} primary/unique key does not exist"),
            format!(
                "ALTER TABLE {from} ADD PRIMARY KEY (…); at the source, with the columns that tell its rows apart: without a \
                 key, changes are applied one by one and in order"
            ),
        ));
    }
    if !exists && !table.extended.is_empty() {
        let columns: Vec<&str> = table.extended.iter().map(|it| it.column.as_str()).collect();
        found.push(Found {
            text: format!(
                "table {from} upstream table {} who has extended columns {} does not exist in downstream table",
                from.table,
                list(&columns)
            ),
            instruction: format!(
                "CREATE TABLE {to} (…); in the target, with the source's columns and those that the extract rules of the route fill"
            ),
            fails: true,
        });
    }
    found
}

/// How target tables that exist differ from those of the source, as far as that matters to rows.
async fn differences(
    mut item: Item,
    source: &mut Source<'_>,
    target: &mut Target,
) -> Result<Item, (SqlError, Scope)> {
    let mut by_schema: BTreeMap<(String, String), Vec<Table>> = BTreeMap::new();
    for table in &source.inventory.tables {
        let key = (table.from.schema.clone(), table.to.schema.clone());
        by_schema.entry(key).or_default().push(table.clone());
    }
    for ((from_schema, to_schema), tables) in by_schema {
        let theirs = limited(TableInfo::load_schema_tables(&mut target.connection, &to_schema))
            .await
            .map_err(|err| (err, Scope::Downstream))?;
        if theirs.is_empty() {
            continue;
        }
        let sql = format!(
            "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {} AND IS_NULLABLE = 'NO' \
             AND COLUMN_DEFAULT IS NULL AND EXTRA NOT LIKE '%auto_increment%' AND EXTRA NOT LIKE '%GENERATED%'",
            text_literal(&to_schema)
        );
        let rows = limited(target.connection.query(sql)).await.map_err(|err| (err, Scope::Downstream))?;
        let required: BTreeSet<(String, String)> =
            rows.iter().filter_map(|row| Some((row.string(0)?, row.string(1)?.to_lowercase()))).collect();
        let ours = limited(TableInfo::load_schema_tables(&mut source.connection, &from_schema))
            .await
            .map_err(|err| (err, Scope::Upstream))?;
        let ours: HashMap<&str, &TableInfo> =
            ours.iter().map(|info| (info.name.table.as_str(), info)).collect();
        let theirs: HashMap<&str, &TableInfo> =
            theirs.iter().map(|info| (info.name.table.as_str(), info)).collect();
        for table in tables {
            let (Some(ours), Some(theirs)) =
                (ours.get(table.from.table.as_str()), theirs.get(table.to.table.as_str()))
            else {
                continue;
            };
            let pair = Pair { ours, theirs, source: &source.info, target: &target.info };
            for found in pair.compare(&table, &required) {
                item = put(item, found);
            }
        }
    }
    Ok(item)
}

struct Pair<'a> {
    ours: &'a TableInfo,
    theirs: &'a TableInfo,
    source: &'a ServerInfo,
    target: &'a ServerInfo,
}

impl Pair<'_> {
    fn compare(&self, table: &Table, required: &BTreeSet<(String, String)>) -> Vec<Found> {
        let mut found = Vec::new();
        self.foreign_keys(&mut found);
        self.character_set(&mut found);
        self.keys(&mut found);
        if !self.extended(table, &mut found) {
            self.columns(table, required, &mut found);
        }
        let from = &self.ours.name;
        for one in &mut found {
            one.text = format!("table {from} {}", one.text);
        }
        found
    }

    fn foreign_keys(&self, found: &mut Vec<Found>) {
        if !self.target.version_string.contains("TiDB") {
            return;
        }
        for key in &self.ours.foreign_keys {
            found.push(warned(
                format!("Foreign Key {} is parsed but ignored by TiDB.", key.name),
                format!(
                    "ALTER TABLE {} DROP FOREIGN KEY {}; at the source, or live with it",
                    self.ours.name,
                    quote_ident(&key.name)
                ),
            ));
        }
    }

    fn character_set(&self, found: &mut Vec<Found>) {
        let (ours, theirs) = (self.ours, self.theirs);
        let normal = |name: &str| if name == "utf8" { "utf8mb3".to_owned() } else { name.to_lowercase() };
        let (name, other) = (&ours.name.table, &theirs.name.table);
        let same = "Different ones may refuse characters, or take other values for equal";
        if let (Some(from), Some(to)) = (&ours.charset, &theirs.charset)
            && normal(from) != normal(to)
            && normal(to) != "utf8mb4"
        {
            found.push(warned(
                format!("charset is not same, upstream: ({name} {from}), downstream: ({other} {to})"),
                format!("ALTER TABLE {} CONVERT TO CHARACTER SET {from}; in the target. {same}", theirs.name),
            ));
            return;
        }
        if let (Some(from), Some(to)) = (&ours.collation, &theirs.collation) {
            let (major, minor, patch) = self.target.version;
            let version = (u32::from(major), u32::from(minor), u32::from(patch));
            let (wanted, _) = translate_collation(from, self.source.flavor, self.target.flavor, version);
            let normal = |name: &str| name.to_lowercase().replace("utf8mb3_", "utf8_");
            if normal(&wanted) != normal(to) {
                let charset = ours.charset.as_deref().unwrap_or("utf8mb4");
                found.push(warned(
                    format!("collation is not same, upstream: ({name} {from}), downstream: ({other} {to})"),
                    format!(
                        "ALTER TABLE {} CONVERT TO CHARACTER SET {charset} COLLATE {wanted}; in the target. {same}",
                        theirs.name
                    ),
                ));
            }
        }
    }

    fn keys(&self, found: &mut Vec<Found>) {
        let columns = |info: &TableInfo, key: &KeyInfo| -> Vec<String> {
            let name = |at: usize| info.columns.get(at).map(|column| column.name.to_lowercase());
            let mut names: Vec<String> =
                key.columns.iter().map(|part| part.column.and_then(name).unwrap_or_default()).collect();
            names.sort();
            names
        };
        let sets = |info: &TableInfo| -> BTreeMap<Vec<String>, String> {
            let unique = info.keys.iter().filter(|key| key.unique);
            unique.map(|key| (columns(info, key), key.name.clone())).collect()
        };
        let (ours, theirs) = (sets(self.ours), sets(self.theirs));
        let (from, to) = (&self.ours.name, &self.theirs.name);
        for (columns, key) in ours.iter().filter(|(columns, _)| !theirs.contains_key(*columns)) {
            let list_sql: Vec<String> = columns.iter().map(|name| quote_ident(name)).collect();
            let add = if key == "PRIMARY" {
                "PRIMARY KEY".to_owned()
            } else {
                format!("UNIQUE KEY {}", quote_ident(key))
            };
            found.push(warned(
                format!(
                    "upstream has more PK or NOT NULL UK than downstream, index name: {key}, columns: {}",
                    list(columns)
                ),
                format!("ALTER TABLE {to} ADD {add} ({}); in the target, as in {from}", list_sql.join(", ")),
            ));
        }
        for (columns, key) in theirs.iter().filter(|(columns, _)| !ours.contains_key(*columns)) {
            let drop = if key == "PRIMARY" {
                "PRIMARY KEY".to_owned()
            } else {
                format!("INDEX {}", quote_ident(key))
            };
            found.push(warned(
                format!(
                    "downstream has more PK or NOT NULL UK than upstream, table name: {}, index name: {key}, columns: {}",
                    to.table,
                    list(columns)
                ),
                format!(
                    "ALTER TABLE {to} DROP {drop}; in the target, or make sure that the rows of {from} are unique by these columns"
                ),
            ));
        }
    }

    /// Columns of the route; `true` when they are not as they must be.
    fn extended(&self, table: &Table, found: &mut Vec<Found>) -> bool {
        let named = |info: &TableInfo, wanted: bool| -> Vec<&str> {
            let columns = table.extended.iter().map(|it| it.column.as_str());
            columns.filter(|name| info.column(name).is_some() == wanted).collect()
        };
        let (double, missing) = (named(self.ours, true), named(self.theirs, false));
        if !double.is_empty() {
            found.push(Found {
                text: format!("upstream table must not contain extended column {}", list(&double)),
                instruction: "give the extract rules of the route another `target-column`".to_owned(),
                fails: true,
            });
        }
        if !missing.is_empty() {
            let adds: Vec<String> = missing
                .iter()
                .map(|name| format!("ADD COLUMN {} VARCHAR(64) NOT NULL", quote_ident(name)))
                .collect();
            found.push(Found {
                text: format!("downstream table must contain extended columns {}", list(&missing)),
                instruction: format!("ALTER TABLE {} {}; in the target", self.theirs.name, adds.join(", ")),
                fails: true,
            });
        }
        !double.is_empty() || !missing.is_empty()
    }

    fn columns(&self, table: &Table, required: &BTreeSet<(String, String)>, found: &mut Vec<Found>) {
        let (ours, theirs, to) = (self.ours, self.theirs, &self.theirs.name);
        let lacking: Vec<&ColumnInfo> =
            ours.columns.iter().filter(|column| theirs.column(&column.name).is_none()).collect();
        if !lacking.is_empty() {
            let names: Vec<&str> = lacking.iter().map(|column| column.name.as_str()).collect();
            let adds: Vec<String> = lacking
                .iter()
                .map(|c| format!("ADD COLUMN {} {}", quote_ident(&c.name), c.column_type_text))
                .collect();
            found.push(warned(
                format!("upstream has more columns than downstream, columns: {}", list(&names)),
                format!("ALTER TABLE {to} {}; in the target", adds.join(", ")),
            ));
        }
        let filled =
            |name: &str| table.extended.iter().any(|it| it.column.to_lowercase() == name.to_lowercase());
        let further: Vec<&ColumnInfo> = theirs
            .columns
            .iter()
            .filter(|c| ours.column(&c.name).is_none() && !filled(&c.name))
            .filter(|c| required.contains(&(to.table.clone(), c.name.to_lowercase())))
            .collect();
        if !further.is_empty() {
            let names: Vec<&str> = further.iter().map(|column| column.name.as_str()).collect();
            let changes: Vec<String> = further
                .iter()
                .map(|c| format!("MODIFY {} {} NULL", quote_ident(&c.name), c.column_type_text))
                .collect();
            found.push(warned(
                format!(
                    "downstream has more columns than upstream that require values to insert records, table name: {}, columns: {}",
                    to.table,
                    list(&names)
                ),
                format!("ALTER TABLE {to} {}; in the target", changes.join(", ")),
            ));
        }
    }
}

async fn existing_tables(target: &mut Target) -> Result<BTreeSet<TableName>, SqlError> {
    let rows =
        limited(target.connection.query("SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES"))
            .await?;
    Ok(rows.iter().filter_map(|row| Some(TableName::new(row.string(0)?, row.string(1)?))).collect())
}
