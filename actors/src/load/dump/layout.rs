//! Names and the `metadata` file of a dump, as Dumpling writes them.

use dmnode_model::config::{DumpCompression, DumpFileType};
use dmnode_model::gtid::{Flavor, GtidSet};
use dmnode_model::ids::TableName;
use dmnode_model::position::{BinlogPosition, Location};

/// The file that says where the dump stands; a directory without it is not complete.
pub(crate) const METADATA: &str = "metadata";

const STARTED: &str = "Started dump at: ";
const FINISHED: &str = "Finished dump at: ";
const STATUS: &str = "SHOW MASTER STATUS:";

/// A name in a file's name: `%XX` for what separates the parts of it or that a file system may refuse.
pub(crate) fn escape(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for (at, c) in name.char_indices() {
        let schema =
            c == '-' && name.get(at + 1..at + 7).is_some_and(|word| word.eq_ignore_ascii_case("schema"));
        if schema || c < ' ' || "%\"*./:<>?\\|".contains(c) {
            out.push_str(&format!("%{:02X}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// What `escape` was given. A `%` that is followed by something else stands for itself.
pub(crate) fn unescape(name: &str) -> String {
    let bytes = name.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = (byte == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(code) => {
                out.push(code);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What stands at the end of a compressed file's name.
pub(crate) fn compressed(compression: DumpCompression) -> &'static str {
    match compression {
        DumpCompression::None => "",
        DumpCompression::Gzip => ".gz",
        DumpCompression::Zstd => ".zst",
        DumpCompression::Snappy => ".snappy",
    }
}

/// The file that creates a database.
pub(super) fn schema_file(schema: &str) -> String {
    format!("{}-schema-create.sql", escape(schema))
}

/// The file that creates a table.
pub(super) fn table_file(table: &TableName) -> String {
    format!("{}.{}-schema.sql", escape(&table.schema), escape(&table.table))
}

/// A file of rows: the chunk's number and, with four digits, that of the file in it.
pub(super) fn data_file(table: &TableName, chunk: u32, file: u32, kind: DumpFileType) -> String {
    let end = match kind {
        DumpFileType::Sql => "sql",
        DumpFileType::Csv => "csv",
    };
    format!("{}.{}.{chunk:09}{file:04}.{end}", escape(&table.schema), escape(&table.table))
}

/// What `metadata` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// `2026-01-02 15:04:05`.
    pub started: String,
    pub finished: String,
    pub location: Location,
}

impl Metadata {
    pub fn text(&self) -> String {
        format!(
            "{STARTED}{}\n{STATUS}\n\tLog: {}\n\tPos: {}\n\tGTID:{}\n\n{FINISHED}{}\n",
            self.started,
            self.location.position.file,
            self.location.position.pos,
            self.location.gtid_text(),
            self.finished
        )
    }

    /// Reads what Dumpling, mydumper (in either of its formats) or we have written. The error says what is missing.
    pub fn parse(text: &str, flavor: Flavor) -> Result<Self, String> {
        let (mut started, mut finished) = (String::new(), String::new());
        let (mut file, mut pos, mut gtid) = (String::new(), None, String::new());
        // A MySQL set may go over several lines, each ended by a comma.
        let mut more = false;
        // Only the source's own position counts: `SHOW SLAVE STATUS` tells that of its source.
        let mut here = false;
        for line in text.lines() {
            let line = line.trim().trim_start_matches("# ");
            if more {
                gtid.push_str(line);
                more = line.ends_with(',');
                continue;
            }
            if line.starts_with("SHOW ") || line.starts_with('[') {
                // What is read after the connections exist is not where the rows were read.
                here = line == STATUS || line == "[master]" || line == "[source]";
                continue;
            }
            if let Some(time) = line.strip_prefix(STARTED) {
                time.clone_into(&mut started);
            } else if let Some(time) = line.strip_prefix(FINISHED) {
                time.clone_into(&mut finished);
            } else if here && let Some((key, value)) = line.split_once([':', '=']) {
                let value = value.trim().trim_matches(['"', '\'']);
                match key.trim() {
                    "Log" | "File" | "SOURCE_LOG_FILE" => value.clone_into(&mut file),
                    "Pos" | "Position" | "SOURCE_LOG_POS" => {
                        pos = Some(value.parse::<u64>().map_err(|_| "its position is no number".to_owned())?);
                    }
                    "GTID" | "Executed_Gtid_Set" | "executed_gtid_set" => {
                        value.clone_into(&mut gtid);
                        more = value.ends_with(',');
                    }
                    _ => {}
                }
            }
        }
        if finished.is_empty() {
            return Err(format!("it has no line `{}`, so the dump has not ended", FINISHED.trim_end()));
        }
        let Some(pos) = pos.filter(|_| !file.is_empty()) else {
            return Err("it has no position (`Log` and `Pos` under `SHOW MASTER STATUS`)".to_owned());
        };
        let gtid_set = match gtid.as_str() {
            "" => None,
            text => Some(GtidSet::parse(flavor, text).map_err(|err| format!("its GTID set: {err}"))?),
        };
        let location = Location { position: BinlogPosition { file, pos }, gtid_set };
        Ok(Self { started, finished, location })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_dumpling_does() {
        for (name, want) in [
            ("plain", "plain"),
            ("a.b", "a%2Eb"),
            ("100%", "100%25"),
            ("x-Schema-create", "x%2DSchema-create"),
            ("-schem", "-schem"),
            ("wei`rd 名", "wei`rd 名"),
            ("a/b\\c:d*?\"<>|\n", "a%2Fb%5Cc%3Ad%2A%3F%22%3C%3E%7C%0A"),
        ] {
            assert_eq!(escape(name), want);
            assert_eq!(unescape(want), name);
        }
        assert_eq!(unescape("%zz%4"), "%zz%4");
        assert_eq!(
            data_file(&TableName::new("a.b", "c"), 3, 1, DumpFileType::Sql),
            "a%2Eb.c.0000000030001.sql"
        );
    }

    #[test]
    fn metadata_is_read_as_each_tool_writes_it() {
        let set = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5,5e11fa47-71ca-11e1-9e33-c80aa9429562:7";
        let ours = Metadata {
            started: "2026-01-02 03:04:05".into(),
            finished: "2026-01-02 03:04:06".into(),
            location: Location {
                position: BinlogPosition::new("bin.000003", 154),
                gtid_set: Some(GtidSet::parse(Flavor::Mysql, set).unwrap()),
            },
        };
        assert_eq!(Metadata::parse(&ours.text(), Flavor::Mysql), Ok(ours.clone()));
        let dumpling = format!(
            "Started dump at: 2026-01-02 03:04:05\nSHOW MASTER STATUS:\n\tLog: bin.000003\n\tPos: 154\n\tGTID:{}\n\n\
             SHOW MASTER STATUS: /* AFTER CONNECTION POOL ESTABLISHED */\n\tLog: bin.000009\n\tPos: 4\n\tGTID:\n\n\
             SHOW SLAVE STATUS:\n\tHost: h\n\tLog: other.000001\n\tPos: 99\n\tGTID:\n\nFinished dump at: 2026-01-02 03:04:06\n",
            set.replace(',', ",\n")
        );
        assert_eq!(Metadata::parse(&dumpling, Flavor::Mysql), Ok(ours.clone()));
        let ini = format!(
            "# Started dump at: 2026-01-02 03:04:05\n[master]\n# Channel_Name = ''\nFile = bin.000003\nPosition = 154\n\
             Executed_Gtid_Set = {set}\n\n[`a`.`t`]\nRows = 2\n# Finished dump at: 2026-01-02 03:04:06\n"
        );
        assert_eq!(Metadata::parse(&ini, Flavor::Mysql), Ok(ours));
        for (bad, want) in [
            ("", "Finished"),
            ("Finished dump at: x", "no position"),
            ("SHOW MASTER STATUS:\nLog: a\nPos: b\nFinished dump at: x", "no number"),
            ("SHOW MASTER STATUS:\nLog: a\nPos: 4\nGTID: ?\nFinished dump at: x", "GTID"),
        ] {
            let error = Metadata::parse(bad, Flavor::Mysql).unwrap_err();
            assert!(error.contains(want), "{error}");
        }
    }
}
