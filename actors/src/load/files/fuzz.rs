//! Fuzz target: whatever stands in a directory of dump files is cut and judged without a panic, in the same way wherever the
//! pieces of it end.

use dmnode_model::gtid::Flavor;

use super::splitter::{SplitError, Splitter};
use super::statement::{Meaning, meaning};
use crate::load::dump::layout::{Metadata, escape, unescape};

const LIMIT: usize = 4096;

fn split(text: &[u8], piece: usize) -> (Vec<Vec<u8>>, Result<(), SplitError>) {
    let mut splitter = Splitter::new(LIMIT);
    let mut out = Vec::new();
    for piece in text.chunks(piece) {
        if let Err(error) = splitter.push(piece, &mut out) {
            return (out, Err(error));
        }
    }
    (out, splitter.finish())
}

#[test]
fn fuzz_dump_files() {
    let seeds: [&[u8]; 5] = [
        b"/*!40101 SET NAMES binary*/;\n/*!40103 SET TIME_ZONE='+00:00' */;\nINSERT INTO `t` (`a`,b) VALUES\n(1,'x\\'; y'),\n(0,DEFAULT);\n",
        b"-- MySQL dump\n/*!40014 SET @OLD=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;\nLOCK TABLES `t` WRITE;\n/*!40000 ALTER TABLE `t` DISABLE KEYS */;",
        b"# c\n/* ; *//*M!100100 SET a=1*/;REPLACE INTO t VALUES (1) ON DUPLICATE KEY UPDATE a=(2);\xff\xd5\x5c';",
        b"Started dump at: 2026-01-02 03:04:05\nSHOW MASTER STATUS:\n\tLog: bin.000003\n\tPos: 154\n\tGTID:0-1-2,\n1-1-3\n\nFinished dump at: x",
        b"INSERT INTO a.`b``c` VALUES (f(1,(2)),\"\"\"\"),('')",
    ];
    let words = [
        "'",
        "`",
        "\"",
        "\\",
        ";",
        "/*",
        "*/",
        "/*!",
        "-- ",
        "#",
        "(",
        ")",
        ",",
        "INSERT INTO t VALUES ",
        "SET NAMES ",
    ];
    dmnode_fuzz::fuzz("dump files", &seeds, &words, |input| {
        let (whole, ended) = split(input, input.len().max(1));
        let (pieces, ended_in_pieces) = split(input, 3);
        // A limit may be seen earlier in small pieces; what was cut before is the same.
        if ended != Err(SplitError::TooLong) {
            assert_eq!((&whole, ended), (&pieces, ended_in_pieces));
        }
        let mut kinds = Vec::new();
        for statement in &whole {
            let meaning = meaning(statement);
            if let Meaning::Insert(insert) = &meaning {
                assert_eq!(statement.get(insert.rows_at), Some(&b'('), "rows begin there");
                assert!(insert.rows > 0);
            }
            kinds.push(std::mem::discriminant(&meaning));
        }
        let text = String::from_utf8_lossy(input);
        assert_eq!(unescape(&escape(&text)), text);
        let read = [Flavor::Mysql, Flavor::Mariadb].map(|flavor| Metadata::parse(&text, flavor).is_ok());
        dmnode_fuzz::sign(&(whole.len().min(4), ended, kinds, read))
    });
}
