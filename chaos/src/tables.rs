//! The mixed tables that the workload writes and the seed fills, and random rows for them.
//!
//! | table | what it is there for |
//! |---|---|
//! | `counters` | `n = n + 1`: a change applied twice or not at all is visible for ever |
//! | `ledger` | append-only, no key: a transaction applied twice leaves two rows |
//! | `marks` | no key, equal rows, updated and deleted one at a time |
//! | `orders` | composite key, ENUM, SET, DECIMAL, JSON, TIMESTAMP |
//! | `accounts` | character key and second unique key, case-insensitive collation, latin1 text, DOUBLE; keys are updated |
//! | `documents` | auto-increment key, binary unique key, texts and blobs, FLOAT, BIT, DATE, TIME, YEAR, generated column |

use std::fmt::Write as _;

use rand::Rng;
use rand::rngs::StdRng;

/// Rows of `counters`.
pub const COUNTER_COUNT: i64 = 64;
/// Tenants in `orders`.
pub const TENANT_COUNT: i64 = 50;

/// `CREATE TABLE` statements of all tables in schema `schema`.
pub fn create_statements(schema: &str) -> Vec<String> {
    let schema = quote_ident(schema);
    let tables = [
        "counters (id INT NOT NULL PRIMARY KEY, n BIGINT NOT NULL DEFAULT 0, \
         touched TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6))",
        "ledger (writer INT NOT NULL, seq BIGINT NOT NULL, digest CHAR(16) NOT NULL, amount DECIMAL(20,4) NOT NULL, \
         noted DATETIME(6) NOT NULL)",
        "marks (kind INT NOT NULL, label VARCHAR(20) NULL)",
        "orders (tenant INT NOT NULL, order_no BIGINT NOT NULL, state ENUM('new','paid','sent','closed') NOT NULL, \
         total DECIMAL(12,2) NOT NULL, flags SET('gift','rush','export','test') NULL, items JSON NULL, note TEXT NULL, \
         created TIMESTAMP(3) NULL, PRIMARY KEY (tenant, order_no), KEY by_state (state, created))",
        "accounts (code CHAR(12) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL, \
         email VARCHAR(80) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL, \
         name VARCHAR(60) CHARACTER SET latin1 NULL, balance DOUBLE NOT NULL, PRIMARY KEY (code), UNIQUE KEY by_email (email))",
        "documents (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, token BINARY(8) NOT NULL, title VARCHAR(100) NOT NULL, \
         body MEDIUMTEXT NULL, payload BLOB NULL, score FLOAT NULL, bits BIT(10) NULL, born DATE NULL, at TIME(3) NULL, \
         made YEAR NULL, title_length INT GENERATED ALWAYS AS (CHAR_LENGTH(title)) STORED, \
         PRIMARY KEY (id), UNIQUE KEY by_token (token))",
    ];
    let mut statements = vec![format!("CREATE DATABASE IF NOT EXISTS {schema} CHARACTER SET utf8mb4")];
    statements.extend(tables.iter().map(|table| {
        let (name, definition) = table.split_once(' ').unwrap_or((table, ""));
        format!("CREATE TABLE IF NOT EXISTS {schema}.`{name}` {definition} ENGINE=InnoDB")
    }));
    let counters =
        (0..COUNTER_COUNT).map(|id| format!("({id},'2020-01-01 00:00:00')")).collect::<Vec<_>>().join(",");
    statements.push(format!("INSERT IGNORE INTO {schema}.counters (id, touched) VALUES {counters}"));
    statements
}

/// A value list for `orders (tenant, order_no, state, total, flags, items, note, created)`.
pub fn order_row(rng: &mut StdRng, tenant: i64, order_no: i64) -> String {
    let state = ["new", "paid", "sent", "closed"][rng.random_range(0..4)];
    let total = decimal(rng, 10_000_000, 2);
    let flags = ["NULL", "''", "'gift'", "'rush,test'", "'gift,rush,export,test'"][rng.random_range(0..5)];
    let items = optional(rng, |rng| {
        let text = words(rng, 2).replace(['\'', '"', '\\', '\t', '\n'], "");
        quote_text(&format!(
            r#"{{"lines": [{}, {}, null], "gift": {}, "text": "{text}"}}"#,
            rng.random_range(-5..5_000_000_i64),
            rng.random_range(1..100),
            rng.random::<bool>()
        ))
    });
    let note = optional(rng, |rng| quote_text(&words(rng, 6)));
    let created = optional(rng, |rng| format!("'{} {}'", date(rng), time_of_day(rng, 3)));
    format!("({tenant},{order_no},'{state}',{total},{flags},{items},{note},{created})")
}

/// A value list for `accounts (code, email, name, balance)`.
pub fn account_row(rng: &mut StdRng, code: &str) -> String {
    let name = optional(rng, |rng| {
        let name = ["Müller", "O'Brien", "Ångström", "Zoë \\ Co", "plain name", ""][rng.random_range(0..6)];
        quote_text(name)
    });
    let email = format!("{code}.{}@example.test", rng.random_range(0..1_000_000));
    format!("({},{},{name},{})", quote_text(code), quote_text(&email), double(rng))
}

/// A value list for `documents (id, token, title, body, payload, score, bits, born, at, made)`; the server numbers when
/// `id` is `None`.
pub fn document_row(rng: &mut StdRng, id: Option<i64>, token: u64, body_words: usize) -> String {
    let id = id.map_or_else(|| "NULL".to_owned(), |id| id.to_string());
    let title = quote_text(&words(rng, 3));
    let body = optional(rng, |rng| quote_text(&words(rng, body_words)));
    let payload = optional(rng, |rng| {
        let mut hex = String::from("x'");
        for _ in 0..rng.random_range(0..40) {
            let _ = write!(hex, "{:02x}", rng.random::<u8>());
        }
        hex + "'"
    });
    let score = optional(rng, |rng| format!("{:e}", rng.random::<f32>() * 1000.0));
    let bits = optional(rng, |rng| rng.random_range(0..1024).to_string());
    let born = optional(rng, |rng| format!("'{}'", date(rng)));
    let at = optional(rng, |rng| format!("'{}'", time_of_day(rng, 3)));
    let made = optional(rng, |rng| rng.random_range(1970..2100).to_string());
    format!("({id},x'{token:016x}',{title},{body},{payload},{score},{bits},{born},{at},{made})")
}

/// An account code of mixed case; `number` makes it unique whatever the collation.
pub fn account_code(rng: &mut StdRng, number: i64) -> String {
    let case = if rng.random::<bool>() { "Acc" } else { "aCC" };
    format!("{case}{:x}", number & 0xf_ffff_ffff)
}

/// Quotes text as a SQL string.
pub fn quote_text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Quotes an identifier.
pub fn quote_ident(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn optional(rng: &mut StdRng, value: impl FnOnce(&mut StdRng) -> String) -> String {
    if rng.random_range(0..8) == 0 { "NULL".to_owned() } else { value(rng) }
}

fn words(rng: &mut StdRng, count: usize) -> String {
    const WORDS: [&str; 14] = [
        "alpha",
        "Bravo",
        "čárka",
        "日本語",
        "𝄞🎵",
        "it's",
        "\"quoted\"",
        "back\\slash",
        "tab\there",
        "new\nline",
        "%",
        "_",
        "ß",
        "zulu",
    ];
    (0..count).map(|_| WORDS[rng.random_range(0..WORDS.len())]).collect::<Vec<_>>().join(" ")
}

fn decimal(rng: &mut StdRng, below: i64, scale: u32) -> String {
    let unit = 10_i64.pow(scale);
    let value = rng.random_range(-below..below);
    format!(
        "{}{}.{:0width$}",
        if value < 0 { "-" } else { "" },
        (value / unit).abs(),
        (value % unit).abs(),
        width = scale as usize
    )
}

/// An amount for `ledger`.
pub fn amount(rng: &mut StdRng) -> String {
    decimal(rng, 1_000_000_000_000, 4)
}

fn double(rng: &mut StdRng) -> String {
    format!("{:e}", (rng.random::<f64>() - 0.5) * 10_f64.powi(rng.random_range(-5..12)))
}

fn date(rng: &mut StdRng) -> String {
    format!("{}-{:02}-{:02}", rng.random_range(1971..2037), rng.random_range(1..13), rng.random_range(1..29))
}

fn time_of_day(rng: &mut StdRng, digits: usize) -> String {
    let fraction = rng.random_range(0..10_u32.pow(digits as u32));
    format!(
        "{:02}:{:02}:{:02}.{fraction:0digits$}",
        rng.random_range(0..24),
        rng.random_range(0..60),
        rng.random_range(0..60)
    )
}
