//! The difference between two tables as servers show them (`SHOW CREATE TABLE`), as clauses of an ALTER TABLE.
//!
//! Servers write each column, key and constraint on a line of its own. Only what follows from the two texts without doubt
//! becomes a clause: a column that goes while another comes may be one that was renamed, which nothing here tells.

use dmnode_model::quote_ident;

/// What the real table had at the source before.
pub(super) struct Known {
    pub columns: Vec<String>,
    pub keys: Vec<String>,
}

/// What makes one table the other.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// They are alike.
    None,
    /// Clauses of ALTER TABLE.
    Clauses(String),
    /// It cannot be told; the text says why.
    Ambiguous(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Column,
    Key,
    Foreign,
    Check,
}

/// One line of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item<'a> {
    kind: Kind,
    /// Without quotes; `PRIMARY` for the primary key.
    name: String,
    text: &'a str,
}

/// A definition in parts.
struct Parts<'a> {
    items: Vec<Item<'a>>,
    options: String,
    partitions: &'a str,
}

/// The quoted name at the start of a text, and what is behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('`')?;
    let mut name = String::new();
    loop {
        let end = rest.find('`')?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('`') {
            Some(behind) => {
                name.push('`');
                rest = behind;
            }
            None => return Some((name, rest)),
        }
    }
}

fn item(line: &str) -> Option<Item<'_>> {
    let text = line.trim();
    let text = text.strip_suffix(',').unwrap_or(text);
    if let Some((name, _)) = quoted(text) {
        return Some(Item { kind: Kind::Column, name, text });
    }
    if text.starts_with("PRIMARY KEY") {
        return Some(Item { kind: Kind::Key, name: "PRIMARY".to_owned(), text });
    }
    if let Some(rest) = text.strip_prefix("CONSTRAINT ") {
        let (name, rest) = quoted(rest)?;
        let kind = if rest.starts_with(" FOREIGN KEY") { Kind::Foreign } else { Kind::Check };
        return Some(Item { kind, name, text });
    }
    for start in ["UNIQUE KEY ", "FULLTEXT KEY ", "SPATIAL KEY ", "VECTOR KEY ", "KEY "] {
        if let Some(rest) = text.strip_prefix(start) {
            return Some(Item { kind: Kind::Key, name: quoted(rest)?.0, text });
        }
    }
    None
}

fn parts(create: &str) -> Option<Parts<'_>> {
    let body = create.split_once("(\n")?.1;
    let end = body.find("\n)")?;
    let items: Option<Vec<Item<'_>>> = body[..end].lines().map(item).collect();
    let rest = &body[end + 2..];
    let (options, partitions) = rest.split_once('\n').unwrap_or((rest, ""));
    let mut options = options.trim().to_owned();
    if let Some(at) = options.find("AUTO_INCREMENT=") {
        let behind = options[at + "AUTO_INCREMENT=".len()..].trim_start_matches(|c: char| c.is_ascii_digit());
        options = format!("{}{}", &options[..at], behind.trim_start());
    }
    Some(Parts { items: items?, options, partitions })
}

impl Parts<'_> {
    fn of(&self, kind: Kind) -> impl Iterator<Item = &Item<'_>> {
        self.items.iter().filter(move |item| item.kind == kind)
    }

    fn find(&self, kind: Kind, name: &str) -> Option<&Item<'_>> {
        self.of(kind).find(|item| same(&item.name, name))
    }
}

fn same(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
}

/// A shadow has the foreign keys of its own CREATE TABLE: under other names those of pt-online-schema-change, none that of
/// gh-ost, which is made by LIKE. The clauses give the target's table the same ones; `None` when it has them already, or
/// has none at all, which is taken for a wish.
pub(super) fn foreign_keys_like(target: &str, shadow: &str) -> Option<String> {
    let target = parts(target)?;
    let has: Vec<&Item<'_>> = target.of(Kind::Foreign).collect();
    if has.is_empty() {
        return None;
    }
    let shadow = match parts(shadow) {
        Some(shadow) => shadow,
        // `LIKE`, with or without parentheses, copies none; of any other text nothing is known.
        None if shadow.to_ascii_uppercase().contains("LIKE") => {
            Parts { items: Vec::new(), options: String::new(), partitions: "" }
        }
        None => return None,
    };
    let mut clauses: Vec<String> = has
        .iter()
        .filter(|item| shadow.find(Kind::Foreign, &item.name).is_none())
        .map(|item| format!("DROP FOREIGN KEY {}", quote_ident(&item.name)))
        .collect();
    // The index that the server made for a foreign key would take the name of the new one.
    for item in has.iter().filter(|item| shadow.find(Kind::Foreign, &item.name).is_none()) {
        if let (Some(own), Some(wanted)) =
            (target.find(Kind::Key, &item.name), shadow.find(Kind::Key, &item.name))
            && own.text == wanted.text
        {
            clauses.push(format!("DROP KEY {}", quote_ident(&own.name)));
            clauses.push(format!("ADD {}", wanted.text));
        }
    }
    clauses.extend(
        shadow
            .of(Kind::Foreign)
            .filter(|item| target.find(Kind::Foreign, &item.name).is_none())
            .map(|item| format!("ADD {}", item.text)),
    );
    (!clauses.is_empty()).then(|| clauses.join(", "))
}

/// What makes `target` like `new`. Columns and keys that the source's table did not have before (`before`) are the
/// target's own and stay.
pub(super) fn alter(target: &str, new: &str, before: Option<&Known>) -> Change {
    let (Some(target), Some(new)) = (parts(target), parts(new)) else {
        return Change::Ambiguous("a definition is not understood".to_owned());
    };
    if target.partitions != new.partitions {
        return Change::Ambiguous("the table's partitions differ".to_owned());
    }
    let had = |name: &str| before.is_none_or(|known| known.columns.iter().any(|column| same(column, name)));
    let had_key = |name: &str| before.is_none_or(|known| known.keys.iter().any(|key| same(key, name)));
    let goes: Vec<&Item<'_>> = target
        .of(Kind::Column)
        .filter(|item| new.find(Kind::Column, &item.name).is_none() && had(&item.name))
        .collect();
    let comes: Vec<&Item<'_>> =
        new.of(Kind::Column).filter(|item| target.find(Kind::Column, &item.name).is_none()).collect();
    if let (Some(goes), Some(comes)) = (goes.first(), comes.first()) {
        return Change::Ambiguous(format!(
            "column {} is gone and {} is new: it may have been renamed",
            quote_ident(&goes.name),
            quote_ident(&comes.name)
        ));
    }
    if let Some(column) = goes.first()
        && before.is_none()
    {
        return Change::Ambiguous(format!(
            "column {} is not in the source's table, and it is not known whether it was",
            quote_ident(&column.name)
        ));
    }
    let mut clauses: Vec<String> = Vec::new();
    for kind in [Kind::Foreign, Kind::Check] {
        if kind == Kind::Foreign && target.of(kind).next().is_none() {
            continue;
        }
        for item in target.of(kind) {
            if new.find(kind, &item.name).is_none_or(|now| now.text != item.text) {
                let what = if kind == Kind::Foreign { "FOREIGN KEY" } else { "CONSTRAINT" };
                clauses.push(format!("DROP {what} {}", quote_ident(&item.name)));
            }
        }
    }
    for item in target.of(Kind::Key) {
        let now = new.find(Kind::Key, &item.name);
        if now.map_or_else(|| had_key(&item.name), |now| now.text != item.text) {
            clauses.push(match item.name.as_str() {
                "PRIMARY" => "DROP PRIMARY KEY".to_owned(),
                name => format!("DROP KEY {}", quote_ident(name)),
            });
        }
    }
    clauses.extend(goes.iter().map(|item| format!("DROP COLUMN {}", quote_ident(&item.name))));
    columns(&target, &new, &mut clauses);
    for item in new.of(Kind::Key) {
        if target.find(Kind::Key, &item.name).is_none_or(|was| was.text != item.text) {
            clauses.push(format!("ADD {}", item.text));
        }
    }
    for kind in [Kind::Foreign, Kind::Check] {
        if kind == Kind::Foreign && target.of(kind).next().is_none() {
            continue;
        }
        for item in new.of(kind) {
            if target.find(kind, &item.name).is_none_or(|was| was.text != item.text) {
                clauses.push(format!("ADD {}", item.text));
            }
        }
    }
    if target.options != new.options && !new.options.is_empty() {
        clauses.push(new.options.clone());
    }
    if clauses.is_empty() { Change::None } else { Change::Clauses(clauses.join(", ")) }
}

/// Columns that come, that change, and that stand elsewhere.
fn columns(target: &Parts<'_>, new: &Parts<'_>, clauses: &mut Vec<String>) {
    let order = |a: &Parts<'_>, b: &Parts<'_>| -> Vec<String> {
        let common = a.of(Kind::Column).filter(|item| b.find(Kind::Column, &item.name).is_some());
        common.map(|item| item.name.to_lowercase()).collect()
    };
    let moved = order(target, new) != order(new, target);
    let mut previous: Option<&str> = None;
    for item in new.of(Kind::Column) {
        let place = match previous {
            None => " FIRST".to_owned(),
            Some(name) => format!(" AFTER {}", quote_ident(name)),
        };
        match target.find(Kind::Column, &item.name) {
            None => clauses.push(format!("ADD COLUMN {}{place}", item.text)),
            Some(_) if moved => clauses.push(format!("MODIFY COLUMN {}{place}", item.text)),
            Some(was) if was.text != item.text => clauses.push(format!("MODIFY COLUMN {}", item.text)),
            Some(_) => {}
        }
        previous = Some(&item.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: &str = "CREATE TABLE `t` (\n  `id` int(11) NOT NULL AUTO_INCREMENT,\n  `a``b` varchar(10) DEFAULT 'x,y',\n  `p` int(11) DEFAULT NULL,\n  PRIMARY KEY (`id`),\n  UNIQUE KEY `u` (`p`),\n  CONSTRAINT `fk` FOREIGN KEY (`p`) REFERENCES `o` (`id`)\n) ENGINE=InnoDB AUTO_INCREMENT=7 DEFAULT CHARSET=utf8mb4";

    fn known(columns: &[&str], keys: &[&str]) -> Known {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Known { columns: own(columns), keys: own(keys) }
    }

    fn clauses(target: &str, new: &str) -> String {
        match alter(target, new, Some(&known(&["id", "a`b", "p"], &["PRIMARY", "u"]))) {
            Change::Clauses(clauses) => clauses,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn equal_tables_need_nothing() {
        assert_eq!(alter(T, &T.replace("=7", "=9"), None), Change::None);
    }

    #[test]
    fn columns_keys_and_options_follow() {
        let new = T
            .replace(
                "  `p` int(11) DEFAULT NULL,\n",
                "  `p` bigint(20) DEFAULT NULL,\n  `n` int(11) NOT NULL DEFAULT 5,\n",
            )
            .replace("UNIQUE KEY `u`", "KEY `u`")
            .replace("utf8mb4", "utf8mb4 COMMENT='x'");
        assert_eq!(
            clauses(T, &new),
            "DROP KEY `u`, MODIFY COLUMN `p` bigint(20) DEFAULT NULL, ADD COLUMN `n` int(11) NOT NULL DEFAULT 5 AFTER `p`, \
             ADD KEY `u` (`p`), ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COMMENT='x'"
        );
        let moved = T
            .replace("  `a``b` varchar(10) DEFAULT 'x,y',\n", "")
            .replace("  PRIMARY", "  `a``b` varchar(10) DEFAULT 'x,y',\n  PRIMARY");
        assert_eq!(
            clauses(T, &moved),
            "MODIFY COLUMN `id` int(11) NOT NULL AUTO_INCREMENT FIRST, MODIFY COLUMN `p` int(11) DEFAULT NULL AFTER `id`, \
             MODIFY COLUMN `a``b` varchar(10) DEFAULT 'x,y' AFTER `p`"
        );
    }

    #[test]
    fn what_only_the_target_has_stays_and_doubts_are_told() {
        let own = T.replace("  PRIMARY", "  `own` int(11) DEFAULT NULL,\n  PRIMARY");
        let before = known(&["id", "a`b", "p"], &["PRIMARY", "u"]);
        assert_eq!(alter(&own, T, Some(&before)), Change::None);
        assert!(matches!(alter(&own, T, None), Change::Ambiguous(_)));
        let renamed = T.replace("  `p` int", "  `q` int");
        assert!(matches!(alter(T, &renamed, Some(&before)), Change::Ambiguous(_)));
    }

    #[test]
    fn foreign_keys_follow_the_shadow() {
        let shadow = T.replace("`fk`", "`_fk`");
        assert_eq!(
            foreign_keys_like(T, &shadow).unwrap(),
            "DROP FOREIGN KEY `fk`, ADD CONSTRAINT `_fk` FOREIGN KEY (`p`) REFERENCES `o` (`id`)"
        );
        assert_eq!(foreign_keys_like(T, "create table _t_gho like t").unwrap(), "DROP FOREIGN KEY `fk`");
        assert_eq!(foreign_keys_like(T, T), None);
        let without = T.replace(",\n  CONSTRAINT `fk` FOREIGN KEY (`p`) REFERENCES `o` (`id`)", "");
        assert_eq!(foreign_keys_like(&without, &shadow), None);
    }
}
