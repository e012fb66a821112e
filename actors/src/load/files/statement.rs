//! What a statement of a data file means: rows for one table, a setting of the session, or something to pass over.
//! Everything else is refused, because nothing of a file is executed that is not understood.

/// A statement of a data file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Insert(Insert),
    /// Settings, names in lower case.
    Set(Vec<(String, String)>),
    /// Locks, keys and transactions of the tool that wrote the file.
    Nothing,
    /// What it is not.
    Refused(&'static str),
}

/// `INSERT INTO [db.]table [(columns)] VALUES …`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Insert {
    pub table: Vec<u8>,
    /// Quoted, as they stand; `None` when the statement has no list.
    pub columns: Option<Vec<u8>>,
    /// Where the first row begins.
    pub rows_at: usize,
    pub rows: u64,
    /// Values `0` and `DEFAULT` without quotes: how we write error values.
    pub bare: u64,
}

/// Looks at a statement.
pub(super) fn meaning(statement: &[u8]) -> Meaning {
    let text = unwrapped(statement);
    let mut words = Words { bytes: text, at: 0 };
    let Some(first) = words.word() else { return Meaning::Refused("no statement") };
    let is = |word: &str| first.eq_ignore_ascii_case(word.as_bytes());
    if is("INSERT") {
        return insert(text, words).map_or_else(Meaning::Refused, Meaning::Insert);
    }
    if is("SET") {
        return settings(words).map_or(Meaning::Refused("a SET with unknown settings"), Meaning::Set);
    }
    if ["LOCK", "UNLOCK", "COMMIT", "BEGIN", "START", "USE"].iter().any(|word| is(word)) {
        return Meaning::Nothing;
    }
    if is("ALTER") && [b"DISABLE KEYS".as_slice(), b"ENABLE KEYS"].iter().any(|end| ends_with(text, end)) {
        return Meaning::Nothing;
    }
    Meaning::Refused("neither INSERT nor SET")
}

fn ends_with(text: &[u8], end: &[u8]) -> bool {
    text.len()
        .checked_sub(end.len())
        .and_then(|at| text.get(at..))
        .is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

/// Without the comment that all of it stands in.
fn unwrapped(statement: &[u8]) -> &[u8] {
    let inner = statement
        .strip_prefix(b"/*!")
        .or_else(|| statement.strip_prefix(b"/*M!"))
        .and_then(|inner| inner.strip_suffix(b"*/"));
    let Some(inner) = inner else { return statement };
    let digits = inner.iter().take_while(|byte| byte.is_ascii_digit()).count();
    inner.get(digits..).unwrap_or_default().trim_ascii()
}

struct Words<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Words<'a> {
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn blanks(&mut self) {
        self.at += self.rest().iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    }

    fn take(&mut self, byte: u8) -> bool {
        self.blanks();
        let found = self.rest().first() == Some(&byte);
        self.at += usize::from(found);
        found
    }

    /// Letters, digits, `_`, `@`, `.`.
    fn word(&mut self) -> Option<&'a [u8]> {
        self.blanks();
        let rest = self.rest();
        let of_word = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'@' | b'$');
        let len = rest.iter().take_while(of_word).count();
        self.at += len;
        rest.get(..len).filter(|word| !word.is_empty())
    }

    fn takes(&mut self, word: &str) -> bool {
        let at = self.at;
        if self.word().is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes())) {
            return true;
        }
        self.at = at;
        false
    }

    /// A name, quoted or not, without its quotes.
    fn name(&mut self) -> Option<Vec<u8>> {
        if !self.take(b'`') {
            return self.word().map(<[u8]>::to_vec);
        }
        let mut name = Vec::new();
        loop {
            let end = memchr::memchr(b'`', self.rest())?;
            name.extend_from_slice(self.rest().get(..end)?);
            self.at += end + 1;
            if self.rest().first() != Some(&b'`') {
                return Some(name);
            }
            name.push(b'`');
            self.at += 1;
        }
    }
}

fn insert(text: &[u8], mut words: Words<'_>) -> Result<Insert, &'static str> {
    if words.takes("IGNORE") {
        return Err("INSERT IGNORE");
    }
    words.takes("INTO");
    let mut table = words.name().ok_or("an INSERT without a table")?;
    if words.take(b'.') {
        table = words.name().ok_or("an INSERT without a table")?;
    }
    let mut columns = None;
    if words.take(b'(') {
        let start = words.at;
        loop {
            words.name().ok_or("an INSERT with an odd list of columns")?;
            if !words.take(b',') {
                break;
            }
        }
        let end = words.at;
        if !words.take(b')') {
            return Err("an INSERT with an odd list of columns");
        }
        columns = text.get(start..end).map(|list| list.trim_ascii().to_vec());
    }
    if !words.takes("VALUES") && !words.takes("VALUE") {
        return Err("an INSERT without VALUES");
    }
    words.blanks();
    let rows_at = words.at;
    let (rows, bare) = count(words.rest()).ok_or("an INSERT with more than rows")?;
    Ok(Insert { table, columns, rows_at, rows, bare })
}

/// The rows in parentheses, and the bare values among theirs; `None` when there is anything else.
fn count(bytes: &[u8]) -> Option<(u64, u64)> {
    let (mut rows, mut bare) = (0, 0);
    let mut depth = 0u32;
    // Where a value of a row began.
    let mut value = 0;
    let mut expects_row = true;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\'' | b'"' | b'`' => at = end_of_string(bytes, at)?,
            b'(' => {
                if depth == 0 {
                    if !expects_row {
                        return None;
                    }
                    rows += 1;
                    expects_row = false;
                    value = at + 1;
                }
                depth += 1;
            }
            b')' | b',' if depth == 1 => {
                let text = bytes.get(value..at).unwrap_or_default().trim_ascii();
                bare += u64::from(text == b"0" || text.eq_ignore_ascii_case(b"DEFAULT"));
                value = at + 1;
                depth -= u32::from(byte == b')');
            }
            b')' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => {
                if expects_row {
                    return None;
                }
                expects_row = true;
            }
            byte if depth == 0 && !byte.is_ascii_whitespace() => return None,
            _ => {}
        }
        at += 1;
    }
    (depth == 0 && rows > 0 && !expects_row).then_some((rows, bare))
}

/// The place of the quote that ends the string which begins at `start`. Doubled quotes are two strings, which is the same.
fn end_of_string(bytes: &[u8], start: usize) -> Option<usize> {
    let quote = *bytes.get(start)?;
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(quote, b'\\', bytes.get(at..)?)?;
        if bytes.get(at) == Some(&quote) {
            return Some(at);
        }
        at += if quote == b'`' { 1 } else { 2 };
    }
}

/// Settings that change how rows are read, and those that mean nothing here.
fn settings(mut words: Words<'_>) -> Option<Vec<(String, String)>> {
    let mut all = Vec::new();
    if words.takes("NAMES") {
        let charset = value(&mut words)?;
        if words.takes("COLLATE") {
            value(&mut words)?;
        }
        words.blanks();
        return words.rest().is_empty().then(|| vec![("names".to_owned(), charset)]);
    }
    loop {
        if !words.takes("SESSION") {
            words.takes("LOCAL");
        }
        let name = words.word()?;
        if name == b"@@SESSION" || name == b"@@session" {
            if !words.take(b'.') {
                return None;
            }
            continue;
        }
        let name = String::from_utf8(name.to_ascii_lowercase()).ok()?;
        words.take(b':');
        if !words.take(b'=') {
            return None;
        }
        let value = value(&mut words)?;
        // Variables of the tool's own, which keep what is restored in the end.
        let own = name.starts_with('@') && !name.starts_with("@@") || value.starts_with('@');
        if !own {
            all.push((name, value));
        }
        if !words.take(b',') {
            break;
        }
    }
    words.blanks();
    words.rest().is_empty().then_some(all)
}

/// A word, a number or a string without special characters.
fn value(words: &mut Words<'_>) -> Option<String> {
    words.blanks();
    let value = match words.rest().first()? {
        quote @ (b'\'' | b'"') => {
            let inner = words.rest().get(1..)?;
            let end = memchr::memchr(*quote, inner)?;
            words.at += end + 2;
            inner.get(..end)?
        }
        _ => words.word()?,
    };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_@+-:/,. ".contains(byte);
    value.iter().all(plain).then(|| String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(sql: &str) -> (String, Option<String>, u64, u64) {
        match meaning(sql.as_bytes()) {
            Meaning::Insert(insert) => {
                let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
                assert!(sql[insert.rows_at..].starts_with('('));
                (text(insert.table), insert.columns.map(text), insert.rows, insert.bare)
            }
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn rows_are_counted() {
        assert_eq!(rows("INSERT INTO `t` VALUES (1,'),(')"), ("t".into(), None, 1, 0));
        assert_eq!(
            rows("insert into `a`.`b``c` (`x,)`, y) values\n(0,DEFAULT),\n( 0 , '\\'),(0'),(f(0, 1), '0')"),
            ("b`c".into(), Some("`x,)`, y".into()), 3, 3)
        );
    }

    #[test]
    fn only_rows_are_taken() {
        for sql in [
            "INSERT IGNORE INTO t VALUES (1)",
            "REPLACE INTO t VALUES (1)",
            "INSERT INTO t SELECT 1",
            "INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = 1",
            "INSERT INTO t VALUES (1),",
            "INSERT INTO t VALUES (1) (2)",
            "INSERT INTO t VALUES (1",
            "INSERT INTO t VALUES ('1)",
            "INSERT INTO t VALUES",
            "DROP TABLE t",
            "ALTER TABLE t ADD a INT",
            "SET a",
            "SET NAMES utf8 x",
            "SET GLOBAL a = 1",
            "SET time_zone = (SELECT 1)",
            "",
        ] {
            assert!(matches!(meaning(sql.as_bytes()), Meaning::Refused(_)), "{sql}");
        }
        for sql in ["LOCK TABLES `t` WRITE", "/*!40000 ALTER TABLE `t` DISABLE KEYS */", "UNLOCK TABLES"] {
            assert_eq!(meaning(sql.as_bytes()), Meaning::Nothing, "{sql}");
        }
    }

    #[test]
    fn settings_are_read() {
        for (sql, want) in [
            ("/*!40101 SET NAMES binary*/", vec![("names", "binary")]),
            ("SET NAMES 'utf8mb4' COLLATE utf8mb4_bin", vec![("names", "utf8mb4")]),
            ("/*!40103 SET TIME_ZONE='+00:00' */", vec![("time_zone", "+00:00")]),
            (
                "SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='A,B', SESSION foreign_key_checks = 0",
                vec![("sql_mode", "A,B"), ("foreign_key_checks", "0")],
            ),
            ("/*!40101 SET SQL_MODE=@OLD_SQL_MODE */", vec![]),
        ] {
            let want = want.into_iter().map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
            assert_eq!(meaning(sql.as_bytes()), Meaning::Set(want), "{sql}");
        }
    }
}
