//! Statements that change definitions.

use rand::Rng;
use rand::rngs::StdRng;

use super::Flavor;
use super::catalog::{Catalog, Column, Table, pick, quoted};
use super::{tables, types};

const COMMON: &[&str] = &[
    "add-column",
    "add-column-placed",
    "add-columns",
    "add-generated",
    "add-invisible",
    "drop-column",
    "modify-column",
    "change-column",
    "rename-column",
    "reorder-column",
    "set-default",
    "drop-default",
    "column-comment",
    "add-index",
    "create-index",
    "add-unique",
    "add-prefix-index",
    "drop-index",
    "rename-index",
    "add-primary",
    "drop-primary",
    "replace-primary",
    "add-foreign-key",
    "drop-foreign-key",
    "add-check",
    "multi-alter",
    "table-comment",
    "table-options",
    "auto-increment",
    "rebuild",
    "convert-charset",
    "default-charset",
    "partition-by",
    "remove-partitioning",
    "add-partition",
    "coalesce-partition",
    "truncate-partition",
    "reorganize-partition",
    "drop-partition",
    "rename-table",
    "alter-rename",
    "swap-tables",
    "create-table",
    "create-like",
    "create-select",
    "recreate-table",
    "drop-table",
    "drop-tables-if-exists",
    "truncate",
    "executable-comment",
    "view",
    "trigger",
    "routine",
    "analyze",
    "alter-database",
];

const MYSQL: &[&str] = &["functional-index", "descending-index", "invisible-index", "toggle-invisible"];

const MARIADB: &[&str] = &["or-replace", "if-exists", "add-period", "instant-reorder"];

/// All kinds.
pub fn kinds(flavor: Flavor) -> Vec<&'static str> {
    COMMON.iter().chain(if flavor == Flavor::Mysql { MYSQL } else { MARIADB }).copied().collect()
}

const COLUMNS_MAX: usize = 16;
const NAMES: [&str; 14] =
    ["c0", "c1", "c2", "c3", "c4", "n1", "n2", "n3", "n4", "n5", "from", "ключ", "a b", "we`ird"];

/// Statements of one kind; `None` when no table is fit for it. Only the last one is what the kind is about.
pub fn statements(rng: &mut StdRng, kind: &str, flavor: Flavor, catalog: &Catalog) -> Option<Vec<String>> {
    // Now and then at a table made for it: others may have been altered out of all fitness.
    if rng.random_range(0..4) == 0
        && let Some((number, last)) = anew(kind)
    {
        let name = tables::name(number);
        let create = tables::create(rng, flavor, &name, number);
        return Some(vec![
            format!("DROP TABLE IF EXISTS {name}"),
            create,
            format!("ALTER TABLE {name} {last}"),
        ]);
    }
    fitting(rng, kind, flavor, catalog)
}

/// The table that a kind needs, by its number, and the kind's clause for it.
fn anew(kind: &str) -> Option<(usize, &'static str)> {
    Some(match kind {
        "drop-partition" => (14, "DROP PARTITION p0"),
        "reorganize-partition" => (
            14,
            "REORGANIZE PARTITION p1 INTO (PARTITION p2 VALUES LESS THAN (20), PARTITION p1 VALUES LESS THAN (30))",
        ),
        "truncate-partition" => (14, "TRUNCATE PARTITION p0"),
        "coalesce-partition" => (15, "COALESCE PARTITION 1"),
        "add-partition" => (15, "ADD PARTITION PARTITIONS 2"),
        "remove-partitioning" => (15, "REMOVE PARTITIONING"),
        "partition-by" => (0, "PARTITION BY HASH (id) PARTITIONS 2"),
        "auto-increment" => (1, "AUTO_INCREMENT = 500"),
        "add-prefix-index" => (9, "ADD KEY p9 (txt(5))"),
        "drop-foreign-key" => (13, "DROP FOREIGN KEY fk_self"),
        "add-foreign-key" => {
            (13, "ADD CONSTRAINT fk_two FOREIGN KEY (up) REFERENCES t13 (id) ON DELETE CASCADE")
        }
        "drop-primary" => (17, "DROP PRIMARY KEY"),
        "replace-primary" => (17, "DROP PRIMARY KEY, ADD PRIMARY KEY (e, k)"),
        "rename-index" => (6, "RENAME INDEX a_b TO b_a"),
        "drop-index" => (7, "DROP INDEX by_b"),
        _ => return None,
    })
}

fn fitting(rng: &mut StdRng, kind: &str, flavor: Flavor, catalog: &Catalog) -> Option<Vec<String>> {
    if let Some(statements) = whole_tables(rng, kind, flavor, catalog) {
        return Some(statements);
    }
    if let Some(clause) = partitions(rng, kind, catalog) {
        return Some(vec![clause]);
    }
    let table = catalog.any(rng)?;
    let name = table.quoted();
    if kind == "multi-alter" {
        let clauses: Vec<String> = (0..rng.random_range(2..5))
            .filter_map(|_| {
                let kinds = [
                    "add-column",
                    "drop-column",
                    "modify-column",
                    "rename-column",
                    "add-index",
                    "drop-index",
                    "table-comment",
                    "add-column-placed",
                    "set-default",
                    "change-column",
                    "rename-index",
                ];
                let kind = pick(rng, &kinds)?;
                clause(rng, kind, flavor, table)
            })
            .collect();
        return (clauses.len() > 1).then(|| vec![format!("ALTER TABLE {name} {}", clauses.join(", "))]);
    }
    match kind {
        "add-primary" => {
            // Two of the same are in the way most of the time.
            let keyless = catalog.any_where(rng, |table| table.primary().is_none())?;
            let clause = clause(rng, kind, flavor, keyless)?;
            let name = keyless.quoted();
            return Some(vec![format!("DELETE FROM {name}"), format!("ALTER TABLE {name} {clause}")]);
        }
        "drop-foreign-key" => {
            let table = catalog.any_where(rng, |table| !table.foreign_keys.is_empty())?;
            let clause = clause(rng, kind, flavor, table)?;
            return Some(vec![format!("ALTER TABLE {} {clause}", table.quoted())]);
        }
        "create-index" => {
            let column = table.any_column(rng, |column| column.is_short() && !column.generated)?;
            return Some(vec![format!(
                "CREATE INDEX i{} ON {name} ({})",
                rng.random_range(0..20),
                quoted(&column.name)
            )]);
        }
        "executable-comment" => {
            let clause = clause(rng, "add-column", flavor, table)?;
            return Some(vec![format!("ALTER /* why */ TABLE {name} /*!50000 {clause} */ -- done")]);
        }
        _ => {}
    }
    let clause = clause(rng, kind, flavor, table)?;
    let how = match rng.random_range(0..12) {
        0 => ", ALGORITHM=COPY",
        1 => ", ALGORITHM=INPLACE, LOCK=NONE",
        _ => "",
    };
    Some(vec![format!("ALTER TABLE {name} {clause}{how}")])
}

/// One clause of `ALTER TABLE`.
fn clause(rng: &mut StdRng, kind: &str, flavor: Flavor, table: &Table) -> Option<String> {
    let full = table.columns.len() >= COLUMNS_MAX;
    // A column without which the table can live.
    let spare = |rng: &mut StdRng| -> Option<Column> {
        let keys_too = rng.random_range(0..8) == 0;
        table.any_column(rng, |column| keys_too || !table.is_key(column)).cloned()
    };
    match kind {
        "add-column" if !full => {
            Some(format!("ADD COLUMN {} {}", new_name(rng, table)?, types::any(rng, flavor)))
        }
        "add-column-placed" if !full => {
            let new = new_name(rng, table)?;
            let place = match rng.random_range(0..3) {
                0 => "FIRST".to_owned(),
                _ => format!("AFTER {}", quoted(&pick(rng, &table.columns)?.name)),
            };
            Some(format!("ADD COLUMN {new} {} {place}", types::any(rng, flavor)))
        }
        "add-columns" if !full => {
            let (a, b) = (new_name(rng, table)?, new_name(rng, table)?);
            Some(format!("ADD COLUMN ({a} {}, {b} {})", types::any(rng, flavor), types::any(rng, flavor)))
        }
        "add-generated" if !full => {
            let base = table.any_column(rng, |column| {
                column.is_number() && !column.generated && !column.auto_increment
            })?;
            let stored = if rng.random() { "STORED" } else { "VIRTUAL" };
            Some(format!(
                "ADD COLUMN {} VARCHAR(80) GENERATED ALWAYS AS (CONCAT('n', {})) {stored}",
                new_name(rng, table)?,
                quoted(&base.name)
            ))
        }
        "add-invisible" if !full => Some(match flavor {
            Flavor::Mysql => format!("ADD COLUMN {} INT DEFAULT 3 INVISIBLE", new_name(rng, table)?),
            Flavor::Mariadb => format!("ADD COLUMN {} INT INVISIBLE DEFAULT 3", new_name(rng, table)?),
        }),
        "drop-column" if table.columns.len() > 3 => {
            Some(format!("DROP COLUMN {}", quoted(&spare(rng)?.name)))
        }
        "modify-column" => {
            Some(format!("MODIFY COLUMN {} {}", quoted(&spare(rng)?.name), types::any(rng, flavor)))
        }
        "change-column" => Some(format!(
            "CHANGE COLUMN {} {} {}",
            quoted(&spare(rng)?.name),
            new_name(rng, table)?,
            types::any(rng, flavor)
        )),
        "rename-column" => Some(format!(
            "RENAME COLUMN {} TO {}",
            quoted(&table.any_column(rng, |_| true)?.name),
            new_name(rng, table)?
        )),
        "reorder-column" | "instant-reorder" => {
            let moved = table.any_column(rng, |column| {
                column.column_type == "int" || column.column_type.starts_with("int(")
            })?;
            let place = match rng.random_range(0..3) {
                0 => "FIRST".to_owned(),
                _ => format!("AFTER {}", quoted(&pick(rng, &table.columns)?.name)),
            };
            let how = if kind == "instant-reorder" { ", ALGORITHM=INSTANT" } else { "" };
            let null = if moved.nullable { "NULL" } else { "NOT NULL" };
            Some(format!("MODIFY COLUMN {} INT {null} {place}{how}", quoted(&moved.name)))
        }
        "set-default" => {
            let column = table.any_column(rng, |column| {
                column.is_number() && !column.generated && !column.auto_increment
            })?;
            Some(format!("ALTER COLUMN {} SET DEFAULT {}", quoted(&column.name), rng.random_range(0..9)))
        }
        "drop-default" => {
            let column = table.any_column(rng, |column| column.nullable && !column.generated)?;
            Some(format!("ALTER COLUMN {} DROP DEFAULT", quoted(&column.name)))
        }
        "toggle-invisible" => {
            let column = table.any_column(rng, |column| !table.is_key(column))?;
            let verb = if rng.random() { "INVISIBLE" } else { "VISIBLE" };
            Some(format!("ALTER COLUMN {} SET {verb}", quoted(&column.name)))
        }
        "column-comment" => {
            let column = table.any_column(rng, |column| {
                column.column_type.starts_with("varchar(300)") || column.column_type.starts_with("int")
            })?;
            let null = if column.nullable { "NULL" } else { "NOT NULL" };
            Some(format!(
                "MODIFY COLUMN {} {} {null} COMMENT 'new; comment ''{}'' -- ü'",
                quoted(&column.name),
                column.column_type,
                rng.random_range(0..100)
            ))
        }
        "add-index" => {
            let a = table.any_column(rng, Column::is_short)?;
            let b = table.any_column(rng, Column::is_short)?;
            let columns = if a.name == b.name {
                quoted(&a.name)
            } else {
                format!("{}, {}", quoted(&a.name), quoted(&b.name))
            };
            Some(format!("ADD INDEX i{} ({columns})", rng.random_range(0..20)))
        }
        "add-unique" => {
            let a = table.any_column(rng, Column::is_short)?;
            Some(format!("ADD UNIQUE KEY u{} ({})", rng.random_range(0..9), quoted(&a.name)))
        }
        "add-prefix-index" => {
            let a = table
                .any_column(rng, |column| column.is_long() || column.column_type.contains("char(300)"))?;
            let unique = if rng.random_range(0..4) == 0 { "UNIQUE " } else { "" };
            Some(format!(
                "ADD {unique}KEY p{} ({}({}))",
                rng.random_range(0..9),
                quoted(&a.name),
                rng.random_range(2..12)
            ))
        }
        "functional-index" => {
            let a = table.any_column(rng, |column| column.is_number())?;
            Some(format!("ADD INDEX f{} ((`{}` + 1))", rng.random_range(0..5), a.name.replace('`', "``")))
        }
        "descending-index" => {
            let a = table.any_column(rng, Column::is_short)?;
            Some(format!("ADD INDEX d{} ({} DESC)", rng.random_range(0..5), quoted(&a.name)))
        }
        "invisible-index" => {
            let index = table.indexes.iter().find(|index| index.name != "PRIMARY")?;
            let verb = if rng.random() { "INVISIBLE" } else { "VISIBLE" };
            Some(format!("ALTER INDEX {} {verb}", quoted(&index.name)))
        }
        "drop-index" if !table.has_relations() => {
            let spare: Vec<_> = table.indexes.iter().filter(|index| index.name != "PRIMARY").collect();
            Some(format!("DROP INDEX {}", quoted(&pick(rng, &spare)?.name)))
        }
        "rename-index" => {
            let spare: Vec<_> = table.indexes.iter().filter(|index| index.name != "PRIMARY").collect();
            Some(format!("RENAME INDEX {} TO r{}", quoted(&pick(rng, &spare)?.name), rng.random_range(0..20)))
        }
        "add-primary" if table.primary().is_none() => {
            let column = table.any_column(rng, |column| column.is_short() && !column.generated)?;
            Some(format!("ADD PRIMARY KEY ({})", quoted(&column.name)))
        }
        "drop-primary" if !table.has_relations() => {
            table.primary()?;
            Some("DROP PRIMARY KEY".to_owned())
        }
        "replace-primary" if !table.has_relations() => {
            let old = table.primary()?;
            let column = table.any_column(rng, |column| {
                column.is_short() && !column.nullable && !old.columns.contains(&column.name)
            })?;
            let mut columns: Vec<String> = old.columns.iter().map(|column| quoted(column)).collect();
            columns.insert(rng.random_range(0..=columns.len()), quoted(&column.name));
            Some(format!("DROP PRIMARY KEY, ADD PRIMARY KEY ({})", columns.join(", ")))
        }
        "add-foreign-key" => {
            let column = table.any_column(rng, |column| {
                column.column_type.starts_with("int") && !column.column_type.contains("unsigned")
            })?;
            let action = ["CASCADE", "RESTRICT", "SET NULL"][rng.random_range(0..3)];
            Some(format!(
                "ADD CONSTRAINT fk{} FOREIGN KEY ({}) REFERENCES t10 (id) ON DELETE {action}",
                rng.random_range(0..1000),
                quoted(&column.name)
            ))
        }
        "drop-foreign-key" => Some(format!("DROP FOREIGN KEY {}", quoted(pick(rng, &table.foreign_keys)?))),
        "add-check" => {
            let column = table.any_column(rng, |column| column.is_number() && !column.auto_increment)?;
            Some(format!(
                "ADD CONSTRAINT ck{} CHECK ({} IS NULL OR {} <> 4711)",
                rng.random_range(0..1000),
                quoted(&column.name),
                quoted(&column.name)
            ))
        }
        "table-comment" => Some(format!("COMMENT = 'it''s `{}`; -- ü'", rng.random_range(0..100))),
        "table-options" => Some(
            [
                "ROW_FORMAT=DYNAMIC",
                "ROW_FORMAT=COMPACT",
                "STATS_PERSISTENT=1",
                "AVG_ROW_LENGTH=100",
                "ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8",
            ][rng.random_range(0..5)]
            .to_owned(),
        ),
        "auto-increment" => {
            table.columns.iter().find(|column| column.auto_increment)?;
            Some(format!("AUTO_INCREMENT = {}", rng.random_range(1..10_000)))
        }
        "rebuild" => Some(["ENGINE=InnoDB", "FORCE"][rng.random_range(0..2)].to_owned()),
        "convert-charset" => {
            let charset = [
                "utf8mb4",
                "utf8mb4 COLLATE utf8mb4_bin",
                "latin1",
                "gbk",
                "utf8mb4 COLLATE utf8mb4_unicode_ci",
            ][rng.random_range(0..5)];
            Some(format!("CONVERT TO CHARACTER SET {charset}"))
        }
        "default-charset" => Some(format!(
            "DEFAULT CHARACTER SET {}",
            ["utf8mb4", "latin1", "utf8mb4 COLLATE utf8mb4_bin"][rng.random_range(0..3)]
        )),
        "if-exists" => {
            let (verb, column) = if rng.random() {
                ("DROP COLUMN IF EXISTS", "n5".to_owned())
            } else {
                ("ADD COLUMN IF NOT EXISTS", format!("n4 {}", types::any(rng, flavor)))
            };
            (verb.starts_with("DROP") || !full).then(|| format!("{verb} {column}"))
        }
        "add-period" if !full => {
            // Rows of a period are ordinary columns to the binlog.
            Some(format!(
                "ADD COLUMN p{a} DATE NOT NULL DEFAULT '2000-01-01', ADD COLUMN q{a} DATE NOT NULL DEFAULT '2001-01-01', \
                 ADD PERIOD FOR valid{a} (p{a}, q{a})",
                a = rng.random_range(0..9)
            ))
        }
        _ => None,
    }
}

fn new_name(rng: &mut StdRng, table: &Table) -> Option<String> {
    let free: Vec<&&str> = NAMES.iter().filter(|name| table.column(name).is_none()).collect();
    pick(rng, &free).map(|name| quoted(name))
}

fn partitions(rng: &mut StdRng, kind: &str, catalog: &Catalog) -> Option<String> {
    let by = |rng: &mut StdRng, method: &str| {
        catalog
            .any_where(rng, |table| table.partition_method == method && table.partitions.len() < 12)
            .cloned()
    };
    let clause = |table: &Table, clause: String| Some(format!("ALTER TABLE {} {clause}", table.quoted()));
    match kind {
        "partition-by" => {
            let table = catalog
                .any_where(rng, |table| table.partitions.is_empty() && table.foreign_keys.is_empty())?;
            let key = table.primary()?;
            let column = table.column(key.columns.first()?)?;
            let name = quoted(&column.name);
            let how = match column.data_type.ends_with("int") && rng.random() {
                true => format!("PARTITION BY HASH ({name}) PARTITIONS {}", rng.random_range(2..5)),
                false => format!("PARTITION BY KEY ({name}) PARTITIONS {}", rng.random_range(2..5)),
            };
            clause(table, how)
        }
        "remove-partitioning" => {
            let table = catalog.any_where(rng, |table| !table.partitions.is_empty())?;
            clause(table, "REMOVE PARTITIONING".to_owned())
        }
        "add-partition" => {
            let table = by(rng, "HASH").or_else(|| by(rng, "KEY"))?;
            clause(&table, "ADD PARTITION PARTITIONS 1".to_owned())
        }
        "coalesce-partition" => {
            let table = by(rng, "HASH").or_else(|| by(rng, "KEY"))?;
            clause(&table, "COALESCE PARTITION 1".to_owned())
        }
        "truncate-partition" => {
            let table = catalog.any_where(rng, |table| !table.partitions.is_empty())?;
            clause(table, format!("TRUNCATE PARTITION {}", pick(rng, &table.partitions)?))
        }
        "reorganize-partition" => {
            let table = by(rng, "RANGE")?;
            if !table.partitions.iter().any(|partition| partition == "pmax") {
                return None;
            }
            let limit = 30 + table.partitions.len() * 7 + rng.random_range(0..5);
            clause(
                &table,
                format!(
                    "REORGANIZE PARTITION pmax INTO (PARTITION p{limit} VALUES LESS THAN ({limit}), \
                     PARTITION pmax VALUES LESS THAN MAXVALUE)"
                ),
            )
        }
        "drop-partition" => {
            let table = by(rng, "RANGE")?;
            clause(&table, format!("DROP PARTITION {}", table.partitions.first()?))
        }
        _ => None,
    }
}

/// Statements about whole tables.
fn whole_tables(rng: &mut StdRng, kind: &str, flavor: Flavor, catalog: &Catalog) -> Option<Vec<String>> {
    let extra = |rng: &mut StdRng| {
        catalog.any_where(rng, |table| tables::is_extra(&table.name)).map(|table| table.name.clone())
    };
    let free = || (0..tables::EXTRA_COUNT).map(tables::extra_name).find(|name| !catalog.has(name));
    let one = |statement: String| Some(vec![statement]);
    match kind {
        "rename-table" => one(format!("RENAME TABLE {} TO {}", extra(rng)?, free()?)),
        "alter-rename" => one(format!("ALTER TABLE {} RENAME TO {}", extra(rng)?, free()?)),
        "swap-tables" => {
            let (a, b) = (catalog.any(rng)?, catalog.any(rng)?);
            (a.name != b.name).then(|| {
                vec![format!(
                    "RENAME TABLE {a} TO swap_tmp, {b} TO {a}, swap_tmp TO {b}",
                    a = a.name,
                    b = b.name
                )]
            })
        }
        "create-table" => {
            let number = rng.random_range(0..tables::TABLE_COUNT);
            // Names of foreign keys are unique in a schema.
            let number = if (11..=13).contains(&number) { 0 } else { number };
            let statement = tables::create(rng, flavor, &free()?, number);
            one(statement)
        }
        "or-replace" => {
            let name = extra(rng)?;
            one(tables::create(rng, flavor, &name, rng.clone().random_range(0..10)).replacen(
                "CREATE",
                "CREATE OR REPLACE",
                1,
            ))
        }
        "recreate-table" => {
            let number = rng.random_range(0..tables::TABLE_COUNT);
            let name = tables::name(number);
            Some(vec![format!("DROP TABLE IF EXISTS {name}"), tables::create(rng, flavor, &name, number)])
        }
        "create-like" => one(format!("CREATE TABLE {} LIKE {}", free()?, catalog.any(rng)?.name)),
        "create-select" => {
            let from = catalog.any(rng)?;
            let column = from.any_column(rng, Column::is_short)?;
            let keys = if column.nullable { "" } else { "(KEY k (made)) " };
            one(format!(
                "CREATE TABLE {} {keys}SELECT {} AS made, 1 AS one FROM {} LIMIT 30",
                free()?,
                quoted(&column.name),
                from.name
            ))
        }
        "drop-table" => one(format!("DROP TABLE {}", extra(rng)?)),
        "drop-tables-if-exists" => {
            one(format!("DROP TABLE IF EXISTS {}, never_there /* gone */", extra(rng)?))
        }
        "truncate" => one(format!("TRUNCATE TABLE {}", catalog.any(rng)?.name)),
        "view" => Some(vec![
            format!(
                "CREATE OR REPLACE VIEW v{} AS SELECT * FROM {}",
                rng.random_range(0..2),
                catalog.any(rng)?.name
            ),
            "DROP VIEW IF EXISTS v1".to_owned(),
        ]),
        "trigger" => {
            let (on, into) =
                (catalog.any(rng)?, catalog.any_where(rng, |table| table.column("a").is_some())?);
            Some(vec![
                "DROP TRIGGER IF EXISTS trg".to_owned(),
                format!(
                    "CREATE TRIGGER trg AFTER INSERT ON {} FOR EACH ROW INSERT IGNORE INTO {} (a) VALUES (7)",
                    on.name, into.name
                ),
            ])
        }
        "routine" => Some(vec![
            "DROP PROCEDURE IF EXISTS proc".to_owned(),
            "CREATE PROCEDURE proc() BEGIN DELETE FROM t00 LIMIT 1; UPDATE t01 SET id = id LIMIT 1; END"
                .to_owned(),
            "CALL proc()".to_owned(),
        ]),
        "analyze" => one(format!("ANALYZE TABLE {}", catalog.any(rng)?.name)),
        // Always the same: sessions whose current database it is go on with the old character set, which no event tells.
        "alter-database" => one("ALTER DATABASE CHARACTER SET utf8mb4".to_owned()),
        _ => None,
    }
}
