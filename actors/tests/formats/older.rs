//! A server that was upgraded still sends the binlogs of its former version: a file built by hand as MySQL 5.7 writes it
//! lies among those of the source.

use std::fs;
use std::path::Path;

use dmnode_model::codes;

use crate::stream_rig::StreamRig;
use crate::support::Kind;

/// Written by 5.7.11; its first event says so.
const RECORDED: &[u8] = include_bytes!("../../mysql/corpus/recorded/mysql-5.7.11.binlog");
const HEADER: usize = 19;
const FORMAT_DESCRIPTION_END: usize = 4 + 119;
/// In a format description: the algorithm of checksums, before its own.
const CHECKSUM_ALGORITHM: usize = FORMAT_DESCRIPTION_END - 5;

const QUERY: u8 = 2;
const XID: u8 = 16;
const TABLE_MAP: u8 = 19;
const PRE_GA_WRITE_ROWS: u8 = 20;
const WRITE_ROWS_V1: u8 = 23;
const UPDATE_ROWS_V1: u8 = 24;
const DELETE_ROWS_V1: u8 = 25;
const ANONYMOUS_GTID: u8 = 34;
const PREVIOUS_GTIDS: u8 = 35;

/// A binlog file of 5.7, without checksums.
struct File(Vec<u8>);

/// Which columns are NULL, `id`, `s`.
type OldRow<'a> = (u8, i32, &'a str);

impl File {
    fn new() -> Self {
        let mut bytes = RECORDED[..FORMAT_DESCRIPTION_END].to_vec();
        bytes[CHECKSUM_ALGORITHM] = 0;
        let mut file = Self(bytes);
        file.event(PREVIOUS_GTIDS, &[0; 8]);
        file
    }

    fn event(&mut self, kind: u8, body: &[u8]) {
        let size = u32::try_from(HEADER + body.len()).unwrap();
        let end = u32::try_from(self.0.len()).unwrap() + size;
        self.0.extend(1_500_000_000u32.to_le_bytes());
        self.0.push(kind);
        self.0.extend(1u32.to_le_bytes());
        self.0.extend(size.to_le_bytes());
        self.0.extend(end.to_le_bytes());
        self.0.extend(0u16.to_le_bytes());
        self.0.extend(body);
    }

    /// A transaction begins, without a name and without commit times.
    fn begins(&mut self) {
        let mut body = vec![1];
        body.extend([0; 24]);
        body.push(2);
        body.extend([0; 16]);
        self.event(ANONYMOUS_GTID, &body);
    }

    fn query(&mut self, schema: &str, sql: &str) {
        // flags2, sql_mode (strict), the catalog, character sets: the client's utf8mb4, the server's latin1.
        let mut status = vec![0, 0, 0, 0, 0, 1];
        status.extend((1u64 << 21).to_le_bytes());
        status.extend(b"\x06\x03std\x04\x2d\x00\x2d\x00\x08\x00");
        let mut body = 2u32.to_le_bytes().to_vec();
        body.extend([0; 4]);
        body.push(u8::try_from(schema.len()).unwrap());
        body.extend([0; 2]);
        body.extend(u16::try_from(status.len()).unwrap().to_le_bytes());
        body.extend(status);
        body.extend(schema.as_bytes());
        body.push(0);
        body.extend(sql.as_bytes());
        self.event(QUERY, &body);
    }

    fn statement(&mut self, sql: &str) {
        self.begins();
        self.query("app", sql);
    }

    /// Rows of `app.t (id INT, s VARCHAR(20))`, in events of version 1: no length of further data, no metadata.
    fn rows(&mut self, events: &[(u8, &[OldRow<'_>])]) {
        self.begins();
        self.query("app", "BEGIN");
        for (kind, rows) in events {
            let mut map = vec![7, 0, 0, 0, 0, 0, 1, 0];
            map.extend(b"\x03app\0\x01t\0\x02\x03\x0f\x02");
            map.extend(80u16.to_le_bytes());
            map.push(0b10);
            self.event(TABLE_MAP, &map);
            let mut body = vec![7, 0, 0, 0, 0, 0, 1, 0, 2, 0b11];
            if *kind == UPDATE_ROWS_V1 {
                body.push(0b11);
            }
            for (nulls, id, text) in *rows {
                body.push(*nulls);
                body.extend(id.to_le_bytes());
                if *nulls == 0 {
                    body.push(u8::try_from(text.len()).unwrap());
                    body.extend(text.as_bytes());
                }
            }
            self.event(*kind, &body);
        }
        self.event(XID, &9u64.to_le_bytes());
    }

    /// Becomes the source's last file so far.
    async fn put_into(self, rig: StreamRig) -> StreamRig {
        let put = |data: &Path| {
            fs::write(data.join("bin.000002"), &self.0).unwrap();
            let index = data.join("bin.index");
            let names = fs::read_to_string(&index).unwrap();
            assert_eq!(names.trim(), "./bin.000001");
            fs::write(index, format!("{names}./bin.000002\n")).unwrap();
        };
        StreamRig { source: rig.source.restart_after(put).await, ..rig }
    }
}

async fn rig(target: Kind) -> StreamRig {
    let arguments = ["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"];
    StreamRig::with(Kind::Mysql, &arguments, target, &[], false).await
}

/// `utf8mb4` without a collation meant `utf8mb4_general_ci` to 5.7, and means another one to the target.
#[tokio::test]
async fn statements_of_5_7_keep_its_default_collation() {
    let mut file = File::new();
    file.statement("CREATE DATABASE app CHARACTER SET utf8mb4");
    file.statement("CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(20)) DEFAULT CHARSET=utf8mb4");
    file.rows(&[
        (WRITE_ROWS_V1, &[(0, 1, "eins"), (0, 2, "zwei"), (0b10, 3, "")]),
        (UPDATE_ROWS_V1, &[(0, 1, "eins"), (0, 1, "\u{fc}ber \u{1f600}"), (0b10, 3, ""), (0, 3, "drei")]),
        (DELETE_ROWS_V1, &[(0, 2, "zwei")]),
    ]);
    file.statement(
        "CREATE TABLE app.l (a VARCHAR(9) CHARACTER SET utf8mb4, b VARCHAR(9), c VARCHAR(9)) CHARSET latin1",
    );
    file.statement("ALTER TABLE app.l MODIFY b VARCHAR(9) CHARACTER SET utf8mb4");
    file.statement("CREATE TABLE app.m (a VARCHAR(9)) CHARSET latin1");
    file.statement("ALTER TABLE app.m CONVERT TO CHARACTER SET utf8mb4");
    file.statement("CREATE TABLE app.n (a VARCHAR(9) COLLATE utf8mb4_bin)");
    for target in [Kind::Mysql, Kind::Mariadb] {
        let mut rig = File(file.0.clone()).put_into(rig(target).await).await;
        let mut running = rig.start();
        rig.caught_up(&mut running).await;
        let columns = "SELECT CONCAT(table_name, '.', column_name, ' ', collation_name) FROM information_schema.columns \
                       WHERE table_schema = 'app' AND collation_name IS NOT NULL ORDER BY table_name, ordinal_position";
        let columns: Vec<String> =
            rig.target.query(columns).await.iter().map(|row| row[0].clone().unwrap()).collect();
        assert_eq!(
            columns,
            [
                "l.a utf8mb4_general_ci",
                "l.b utf8mb4_general_ci",
                "l.c latin1_swedish_ci",
                "m.a utf8mb4_general_ci",
                "n.a utf8mb4_bin",
                "t.s utf8mb4_general_ci"
            ]
        );
        let schema =
            "SELECT default_collation_name FROM information_schema.schemata WHERE schema_name = 'app'";
        assert_eq!(rig.target.query(schema).await[0][0].as_deref(), Some("utf8mb4_general_ci"));
        let rows = rig.target.query("SELECT id, s FROM app.t ORDER BY id").await;
        let text = |row: &Vec<Option<String>>| row[1].clone().unwrap();
        assert_eq!(rows.iter().map(text).collect::<Vec<_>>(), ["\u{fc}ber \u{1f600}", "drei"]);
        running.stop().await;
    }
}

/// Rows of version 0 were written by servers before 5.1.16 only; they are named, not guessed at.
#[tokio::test]
async fn rows_of_version_0_stop_the_task() {
    let mut file = File::new();
    file.statement("CREATE DATABASE app");
    file.statement("CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(20))");
    file.rows(&[(PRE_GA_WRITE_ROWS, &[(0, 1, "eins")])]);
    let mut rig = file.put_into(rig(Kind::Mariadb).await).await;
    let error = rig.start().error().await;
    assert_eq!(error.code, codes::BINLOG_UNSUPPORTED, "{error}");
    let text = error.to_string();
    assert!(text.contains("PRE_GA_WRITE_ROWS") && text.contains("bin.000002"), "{text}");
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.t").await, 0);
}

/// A statement that nobody knows stops the task, unless a filter leaves it out: one without a table, since nobody knows whose it is.
#[tokio::test]
async fn f18_a_filter_passes_a_statement_that_would_stop_the_task() {
    let mut file = File::new();
    file.statement("CREATE DATABASE app");
    file.statement("CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(20))");
    file.rows(&[(WRITE_ROWS_V1, &[(0, 1, "eins")])]);
    file.statement("FROBNICATE TABLE app.t QUICKLY (");
    file.rows(&[(WRITE_ROWS_V1, &[(0, 2, "zwei")])]);
    let mut rig = file.put_into(rig(Kind::Mysql).await).await;
    let error = rig.start().error().await;
    assert_eq!(error.code, codes::SYNCER_PARSE_DDL, "{error}");
    assert!(error.to_string().contains("FROBNICATE TABLE"), "{error}");
    rig.instance = "    filter-rules: [f]\n";
    rig.task =
        "filters: {f: {schema-pattern: app, sql-pattern: ['^frobnicate\\s'], action: Ignore}}\n".into();
    let mut running = rig.start();
    rig.caught_up(&mut running).await;
    assert_eq!(rig.target.number("SELECT COUNT(*) FROM app.t").await, 2);
    running.stop().await;
}
