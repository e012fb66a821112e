//! Statements that change rows.

use rand::Rng;
use rand::rngs::StdRng;

use super::Flavor;
use super::catalog::{Catalog, Column, Table, pick, quoted};
use super::values::value;

/// Kinds of statements on one or more tables; each makes one statement or a few that belong together.
const KINDS: &[&str] = &[
    "insert",
    "insert-many",
    "insert-ignore",
    "insert-on-duplicate",
    "insert-select",
    "replace",
    "load-data",
    "update-row",
    "update-some",
    "update-key",
    "update-same",
    "swap-keys",
    "shift-keys",
    "update-two-tables",
    "update-json",
    "increment",
    "delete-row",
    "delete-some",
    "delete-many",
    "delete-from-two",
];

/// Things that are not one statement.
const TRANSACTIONS: &[&str] = &["savepoint", "rollback", "large-transaction", "xa", "temporary-table"];

/// All kinds.
pub fn kinds(_flavor: Flavor) -> Vec<&'static str> {
    KINDS.iter().chain(TRANSACTIONS).copied().collect()
}

/// The kinds that [`statements`] makes.
pub fn statement_kinds() -> &'static [&'static str] {
    KINDS
}

/// Statements of one kind; empty when no table is fit for it. `LOAD DATA` comes with its data.
pub fn statements(rng: &mut StdRng, kind: &str, catalog: &Catalog) -> Option<Vec<String>> {
    let table = catalog.any(rng)?;
    let one = |statement: String| Some(vec![statement]);
    match kind {
        "insert" => one(insert(rng, table, "INSERT INTO", 1)),
        "insert-many" => {
            let rows = rng.random_range(2..30);
            one(insert(rng, table, "INSERT INTO", rows))
        }
        "insert-ignore" => {
            let rows = rng.random_range(1..6);
            one(insert(rng, table, "INSERT IGNORE INTO", rows))
        }
        "replace" => {
            let rows = rng.random_range(1..4);
            one(insert(rng, table, "REPLACE INTO", rows))
        }
        "insert-on-duplicate" => {
            let rows = rng.random_range(1..4);
            let insert = insert(rng, table, "INSERT INTO", rows);
            let sets = assignments(rng, table, 2)?;
            one(format!("{insert} ON DUPLICATE KEY UPDATE {sets}"))
        }
        "insert-select" => {
            let table = catalog.any_where(rng, |table| {
                table.primary().is_none() || table.columns.iter().any(|column| column.auto_increment)
            })?;
            let columns: Vec<String> = table
                .writable()
                .iter()
                .filter(|column| !column.auto_increment)
                .map(|column| quoted(&column.name))
                .collect();
            let columns = columns.join(",");
            let name = table.quoted();
            one(format!(
                "INSERT INTO {name} ({columns}) SELECT {columns} FROM {name} ORDER BY RAND() LIMIT 4"
            ))
        }
        "load-data" => load_data(rng, table),
        "update-row" => {
            let sets = assignments(rng, table, 3)?;
            let place = place(rng, table);
            one(format!("UPDATE {} SET {sets} WHERE {place} LIMIT 1", table.quoted()))
        }
        "update-some" => {
            let sets = assignments(rng, table, 2)?;
            let limit = rng.random_range(1..20);
            one(format!("UPDATE {} SET {sets} ORDER BY RAND() LIMIT {limit}", table.quoted()))
        }
        "update-key" => {
            let key = key_column(rng, table)?;
            let value = value(rng, key, true);
            let place = place(rng, table);
            one(format!(
                "UPDATE {} SET {} = {value} WHERE {place} LIMIT 1",
                table.quoted(),
                quoted(&key.name)
            ))
        }
        "update-same" => {
            let column = table.any_column(rng, |column| !column.generated)?;
            let name = quoted(&column.name);
            one(format!("UPDATE {} SET {name} = {name} LIMIT 5", table.quoted()))
        }
        "increment" => {
            let column = table.any_column(rng, |column| column.is_number() && !column.generated)?;
            let name = quoted(&column.name);
            let place = place(rng, table);
            one(format!(
                "UPDATE {} SET {name} = {name} + 1 WHERE {place} ORDER BY {name} DESC LIMIT 3",
                table.quoted()
            ))
        }
        "swap-keys" => swap_keys(rng, catalog),
        "shift-keys" => {
            let table = catalog.any_where(rng, |table| integer_key(table).is_some())?;
            let name = quoted(&integer_key(table)?.name);
            let (step, order) = if rng.random() { ("+ 1", "DESC") } else { ("- 1", "ASC") };
            one(format!(
                "UPDATE {} SET {name} = {name} {step} ORDER BY {name} {order} LIMIT 20",
                table.quoted()
            ))
        }
        "update-two-tables" => {
            let other = catalog.any(rng)?;
            if other.name == table.name {
                return None;
            }
            let (a, b) = (table.any_column(rng, |c| !c.generated)?, other.any_column(rng, |c| !c.generated)?);
            let (x, y) = (value(rng, a, false), value(rng, b, false));
            let (p, q) = (place(rng, table), place(rng, other));
            // Names of columns are the same in both tables, so each condition stands in a table of its own.
            one(format!(
                "UPDATE {t} a, {o} b SET a.{an} = {x}, b.{bn} = {y} WHERE {p} AND {q}",
                t = table.quoted(),
                o = other.quoted(),
                an = quoted(&a.name),
                bn = quoted(&b.name),
                p = qualified(&p, "a"),
                q = qualified(&q, "b"),
            ))
        }
        "update-json" => {
            // MariaDB's JSON is a text.
            let is_json = |column: &Column| {
                ["json", "longtext"].contains(&column.data_type.as_str()) && !column.generated
            };
            let table = catalog.any_where(rng, |table| table.columns.iter().any(is_json))?;
            let column = table.any_column(rng, is_json)?;
            let name = quoted(&column.name);
            let number = rng.random_range(0..1000);
            let change = match rng.random_range(0..4) {
                0 => format!("JSON_SET({name}, '$.a', {number})"),
                1 => format!("JSON_REPLACE({name}, '$.k', 'new {number}')"),
                2 => format!("JSON_REMOVE({name}, '$.b')"),
                _ => format!("JSON_SET({name}, '$.list[1]', '{number}', '$.x', 'ü')"),
            };
            one(format!("UPDATE {} SET {name} = {change} WHERE JSON_VALID({name}) LIMIT 3", table.quoted()))
        }
        "delete-row" => {
            let place = place(rng, table);
            one(format!("DELETE FROM {} WHERE {place} LIMIT 1", table.quoted()))
        }
        "delete-some" => {
            let limit = rng.random_range(1..10);
            one(format!("DELETE FROM {} ORDER BY RAND() LIMIT {limit}", table.quoted()))
        }
        "delete-many" => one(format!("DELETE FROM {} WHERE RAND() < 0.4", table.quoted())),
        "delete-from-two" => {
            let other = catalog.any(rng)?;
            if other.name == table.name {
                return None;
            }
            let (p, q) = (place(rng, table), place(rng, other));
            one(format!(
                "DELETE a, b FROM {} a JOIN {} b WHERE {} AND {}",
                table.quoted(),
                other.quoted(),
                qualified(&p, "a"),
                qualified(&q, "b")
            ))
        }
        _ => None,
    }
}

fn insert(rng: &mut StdRng, table: &Table, verb: &str, row_count: usize) -> String {
    let columns = insert_columns(rng, table);
    let names: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
    let rows: Vec<String> = (0..row_count)
        .map(|_| {
            let values: Vec<String> = columns.iter().map(|column| insert_value(rng, table, column)).collect();
            format!("({})", values.join(","))
        })
        .collect();
    format!("{verb} {} ({}) VALUES {}", table.quoted(), names.join(","), rows.join(","))
}

/// Mostly all columns; those that may be left out are left out now and then.
fn insert_columns<'t>(rng: &mut StdRng, table: &'t Table) -> Vec<&'t Column> {
    let all = table.writable();
    let some: Vec<&Column> = all
        .iter()
        .filter(|column| {
            let optional = column.nullable || column.has_default || column.auto_increment;
            !optional || rng.random_range(0..8) > 0
        })
        .copied()
        .collect();
    if some.is_empty() { all } else { some }
}

fn insert_value(rng: &mut StdRng, table: &Table, column: &Column) -> String {
    if column.auto_increment && rng.random_range(0..3) > 0 {
        return "NULL".to_owned();
    }
    if column.has_default && rng.random_range(0..10) == 0 {
        return "DEFAULT".to_owned();
    }
    value(rng, column, table.is_key(column))
}

fn assignments(rng: &mut StdRng, table: &Table, at_most: usize) -> Option<String> {
    let writable = table.writable();
    let mut sets: Vec<String> = Vec::new();
    for _ in 0..rng.random_range(1..=at_most) {
        let column = pick(rng, &writable)?;
        let name = quoted(&column.name);
        if !sets.iter().any(|set| set.starts_with(&format!("{name} ="))) {
            sets.push(format!("{name} = {}", value(rng, column, table.is_key(column))));
        }
    }
    Some(sets.join(", "))
}

/// A condition that a few rows fulfil; its columns stand in backticks, everything else does not.
fn place(rng: &mut StdRng, table: &Table) -> String {
    let short = |column: &Column| column.is_short() && !column.generated;
    let key =
        table.indexes.iter().filter_map(|index| table.column(index.columns.first()?)).find(|c| short(c));
    let Some(column) = key.or_else(|| table.any_column(rng, short)) else { return "TRUE".to_owned() };
    let name = quoted(&column.name);
    match value(rng, column, true).as_str() {
        "NULL" | "DEFAULT" => format!("{name} IS NULL"),
        value if rng.random_range(0..3) == 0 => format!("{name} >= {value}"),
        value => format!("{name} = {value}"),
    }
}

/// The condition with its column taken from `alias`.
fn qualified(place: &str, alias: &str) -> String {
    if place.starts_with('`') { format!("{alias}.{place}") } else { place.to_owned() }
}

fn key_column<'t>(rng: &mut StdRng, table: &'t Table) -> Option<&'t Column> {
    let index = pick(rng, &table.indexes)?;
    table.column(pick(rng, &index.columns)?).filter(|column| !column.generated)
}

/// The only column of a primary or unique key, when it is a whole number.
fn integer_key(table: &Table) -> Option<&Column> {
    table
        .indexes
        .iter()
        .filter(|index| index.unique && index.columns.len() == 1)
        .filter_map(|index| table.column(index.columns.first()?))
        .find(|column| column.data_type.ends_with("int") && !column.generated)
}

/// Two rows change keys, by way of a third value.
fn swap_keys(rng: &mut StdRng, catalog: &Catalog) -> Option<Vec<String>> {
    let table = catalog.any_where(rng, |table| integer_key(table).is_some())?;
    let key = quoted(&integer_key(table)?.name);
    let name = table.quoted();
    let (a, b) = (rng.random_range(0..30), rng.random_range(30..60));
    Some(vec![
        format!("UPDATE {name} SET {key} = 101 WHERE {key} = {a}"),
        format!("UPDATE {name} SET {key} = {a} WHERE {key} = {b}"),
        format!("UPDATE {name} SET {key} = {b} WHERE {key} = 101"),
    ])
}

/// `LOAD DATA LOCAL`, the data behind a line of its own: the writer hands it over.
fn load_data(rng: &mut StdRng, table: &Table) -> Option<Vec<String>> {
    let columns: Vec<&Column> = table
        .writable()
        .into_iter()
        .filter(|column| (column.is_number() || column.is_text()) && column.is_short())
        .collect();
    if columns.is_empty() {
        return None;
    }
    let names: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
    let mut data = String::new();
    for _ in 0..rng.random_range(1..20) {
        let fields: Vec<String> = columns
            .iter()
            .map(|column| match column.nullable && rng.random_range(0..6) == 0 {
                true => "\\N".to_owned(),
                false => rng.random_range(0..100).to_string(),
            })
            .collect();
        data.push_str(&fields.join("\t"));
        data.push('\n');
    }
    let verb = ["IGNORE", "REPLACE", ""][rng.random_range(0..3)];
    Some(vec![
        format!(
            "LOAD DATA LOCAL INFILE 'rows' {verb} INTO TABLE {} CHARACTER SET utf8mb4 ({})",
            table.quoted(),
            names.join(",")
        ),
        data,
    ])
}
