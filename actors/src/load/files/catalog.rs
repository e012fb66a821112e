//! What a directory holds, by the names of its files.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::Path;

use dmnode_model::ids::TableName;
use sha2::{Digest, Sha256};

use crate::load::dump::layout::{METADATA, unescape};

/// A file with rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DataFile {
    pub name: String,
    pub table: TableName,
    pub size: u64,
}

/// The files of a dump by what they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Catalog {
    /// Files that create databases, by their names.
    pub schemas: BTreeMap<String, String>,
    /// Files that create tables.
    pub tables: BTreeMap<TableName, String>,
    pub data: Vec<DataFile>,
    /// Views, triggers, routines: named, not loaded.
    pub left_out: Vec<String>,
    /// Data in a form that is not read.
    pub unreadable: Vec<String>,
    /// Changes when any of these files does.
    pub digest: String,
}

enum Named {
    Schema(String),
    Table(TableName),
    View(TableName),
    LeftOut,
    Data(TableName),
    Unreadable,
    Nothing,
}

const PACKED: [&str; 5] = [".gz", ".zst", ".zstd", ".snappy", ".lz4"];

impl Catalog {
    pub fn read(directory: &Path) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let meta = std::fs::metadata(entry.path())?;
            if meta.is_file() {
                files.insert(entry.file_name().to_string_lossy().into_owned(), meta.len());
            }
        }
        let mut catalog = Self::of(&files);
        let mut hash = Sha256::new();
        for (name, size) in files.iter().filter(|(name, _)| !name.starts_with('.')) {
            hash.update(format!("{name}\n{size}\n"));
        }
        match std::fs::read(directory.join(METADATA)) {
            Ok(bytes) => hash.update(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        catalog.digest = dmnode_mysql::hex(&hash.finalize());
        Ok(catalog)
    }

    fn of(files: &BTreeMap<String, u64>) -> Self {
        let mut catalog = Self::default();
        let mut views = BTreeSet::new();
        for (name, &size) in files {
            match named(name) {
                Named::Schema(schema) => {
                    catalog.schemas.insert(schema, name.clone());
                }
                Named::Table(table) => {
                    catalog.tables.insert(table, name.clone());
                }
                Named::View(table) => {
                    catalog.left_out.push(name.clone());
                    views.insert(table);
                }
                Named::LeftOut => catalog.left_out.push(name.clone()),
                Named::Data(table) => catalog.data.push(DataFile { name: name.clone(), table, size }),
                Named::Unreadable => catalog.unreadable.push(name.clone()),
                Named::Nothing => {}
            }
        }
        // What stands in for a view until it is made.
        catalog.tables.retain(|table, _| !views.contains(table));
        catalog
    }
}

fn named(name: &str) -> Named {
    let packed = PACKED.iter().find_map(|end| name.strip_suffix(end).map(|stem| (stem, *end)));
    let (stem, end) = packed.unwrap_or((name, ""));
    let Some((stem, kind)) = stem.rsplit_once('.') else { return Named::Nothing };
    if !matches!(kind, "sql" | "csv" | "dat" | "parquet") {
        return Named::Nothing;
    }
    if end == ".lz4" {
        return Named::Unreadable;
    }
    if let Some(schema) = stem.strip_suffix("-schema-create") {
        return Named::Schema(unescape(schema));
    }
    let table = |stem: &str| {
        let (schema, table) = stem.split_once('.')?;
        Some(TableName::new(unescape(schema), unescape(table)))
    };
    if let Some(stem) = stem.strip_suffix("-schema") {
        return table(stem).map_or(Named::LeftOut, Named::Table);
    }
    if let Some(stem) = stem.strip_suffix("-schema-view") {
        return table(stem).map_or(Named::LeftOut, Named::View);
    }
    if ["-schema-triggers", "-schema-post", "-schema-sequence"].iter().any(|end| stem.ends_with(end)) {
        return Named::LeftOut;
    }
    if kind != "sql" {
        return Named::Unreadable;
    }
    // `schema.table`, and `.00001` or `.00000.00001` behind it.
    let mut stem = stem;
    while let Some((rest, number)) = stem.rsplit_once('.')
        && rest.contains('.')
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
    {
        stem = rest;
    }
    table(stem).map_or(Named::Nothing, Named::Data)
}

/// Opens a file, unpacking it.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let file = std::fs::File::open(path)?;
    let end = path.extension().map(|end| end.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(match end.as_str() {
        "gz" => Box::new(flate2::read::MultiGzDecoder::new(file)),
        "zst" | "zstd" => {
            let mut decoder = zstd::stream::read::Decoder::new(file)?;
            // Windows of more than 128 MB would be memory that the file asks for.
            decoder.window_log_max(27)?;
            Box::new(decoder)
        }
        "snappy" => Box::new(snap::read::FrameDecoder::new(file)),
        _ => Box::new(file),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_names() {
        let names = [
            "metadata",
            ".dmnode-dump",
            "a-schema-create.sql.gz",
            "a.t-schema.sql",
            "a.v-schema.sql",
            "a.v-schema-view.sql",
            "a.t-schema-triggers.sql",
            "a.t.0000000010002.sql.zst",
            "a.t.00001.00002.sql",
            "a%2Eb.c%2Ed.sql",
            "a.t.000000000.csv",
            "a.t.00000.sql.lz4",
            "README.txt",
        ];
        let catalog = Catalog::of(&names.iter().map(|name| ((*name).to_owned(), 1)).collect());
        assert_eq!(catalog.schemas.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(catalog.tables.keys().cloned().collect::<Vec<_>>(), [TableName::new("a", "t")]);
        let data: Vec<_> = catalog.data.iter().map(|file| (file.name.as_str(), file.table.clone())).collect();
        assert_eq!(
            data,
            [
                ("a%2Eb.c%2Ed.sql", TableName::new("a.b", "c.d")),
                ("a.t.0000000010002.sql.zst", TableName::new("a", "t")),
                ("a.t.00001.00002.sql", TableName::new("a", "t")),
            ]
        );
        assert_eq!(catalog.left_out, ["a.t-schema-triggers.sql", "a.v-schema-view.sql"]);
        assert_eq!(catalog.unreadable, ["a.t.00000.sql.lz4", "a.t.000000000.csv"]);
    }
}
