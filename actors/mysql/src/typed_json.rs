//! JSON documents with values whose types JSON text does not have: decimals, dates, times, binary strings.
//!
//! A server sends documents as text, in which a decimal looks like a double and a date like a string. Beside the
//! text it can be asked for the types (`JSON_TABLE` walks a document), and both together make an expression of
//! `JSON_OBJECT`, `JSON_ARRAY` and literals that gives the same document again.

use crate::literal::{write_hex, write_text};

/// The server refuses deeper documents.
const DEPTH_MAX: usize = 101;
/// Types that text does not have, by the name `JSON_TYPE` gives them and the letter used here.
const TYPES: [(&str, char); 7] = [
    ("DECIMAL", 'D'),
    ("DATE", 'd'),
    ("TIME", 't'),
    ("DATETIME", 'T'),
    ("BLOB", 'B'),
    ("BIT", 'b'),
    ("OPAQUE", 'O'),
];
/// A type that text has.
const PLAIN: u8 = b'-';
/// Paths of `JSON_TABLE` to all values in objects and to all in arrays.
const MEMBERS: &str = "_utf8mb4'$**.*'";
const ELEMENTS: &str = "_utf8mb4'$**[*]'";

fn table(column: &str, path: &str) -> String {
    format!("JSON_TABLE({column}, {path} COLUMNS (o FOR ORDINALITY, v JSON PATH _utf8mb4'$')) j")
}

/// A condition that is true for documents with such values (MySQL 8.0.4 and later).
pub fn json_is_typed_sql(column: &str) -> String {
    let names: Vec<String> = TYPES.iter().map(|(name, _)| format!("_utf8mb4'{name}'")).collect();
    let names = names.join(",");
    let inner =
        |path| format!("EXISTS (SELECT 1 FROM {} WHERE JSON_TYPE(j.v) IN ({names}))", table(column, path));
    format!("(JSON_TYPE({column}) IN ({names}) OR {} OR {})", inner(MEMBERS), inner(ELEMENTS))
}

/// Three expressions that tell the types in a document: its own, those in objects, those in arrays. The session
/// needs a `group_concat_max_len` that is large enough.
pub fn json_types_sql(column: &str) -> [String; 3] {
    let letters: String =
        TYPES.iter().map(|(name, letter)| format!(" WHEN _utf8mb4'{name}' THEN '{letter}'")).collect();
    let letter = |of: &str| format!("CASE JSON_TYPE({of}){letters} ELSE '-' END");
    let inner = |path| {
        format!(
            "(SELECT GROUP_CONCAT({} ORDER BY j.o SEPARATOR '') FROM {})",
            letter("j.v"),
            table(column, path)
        )
    };
    [letter(column), inner(MEMBERS), inner(ELEMENTS)]
}

/// What the expressions of [`json_types_sql`] gave for a document.
#[derive(Debug, Clone, Copy)]
pub struct JsonTypes<'a> {
    /// The document's own type.
    pub root: &'a [u8],
    /// Types of the values in objects.
    pub members: &'a [u8],
    /// Types of the values in arrays.
    pub elements: &'a [u8],
}

/// Appends an expression that gives the document. False when text and types do not belong together; `out` is then
/// as it was.
pub fn write_typed_json(text: &[u8], types: JsonTypes<'_>, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let done = (|| {
        let mut parser = Parser { text, at: 0 };
        let mut root = parser.node(0)?;
        parser.blanks();
        (parser.at == text.len()).then_some(())?;
        root.kind = *types.root.first()?;
        let (mut members, mut elements) = (types.members.iter(), types.elements.iter());
        root.assign(&mut members, &mut elements)?;
        (members.next().is_none() && elements.next().is_none()).then_some(())?;
        // A function's result is JSON; a scalar has to be made so: of the document's text, or of a value of its type.
        if let What::Scalar(scalar) = root.what {
            out.extend_from_slice(b"CAST(");
            if root.kind == PLAIN || root.is_kept_as_text()? {
                write_text(scalar, "utf8mb4", out);
            } else {
                root.write(out)?;
            }
            out.extend_from_slice(b" AS JSON)");
            Some(())
        } else {
            root.write(out)
        }
    })();
    if done.is_none() {
        out.truncate(start);
    }
    done.is_some()
}

struct Node<'a> {
    kind: u8,
    what: What<'a>,
}

enum What<'a> {
    Object(Vec<(Vec<u8>, Node<'a>)>),
    Array(Vec<Node<'a>>),
    /// The value as it stands in the text.
    Scalar(&'a [u8]),
}

type Letters<'a> = std::slice::Iter<'a, u8>;

impl Node<'_> {
    /// The server lists the children of a value before their children, and values in the order of the text.
    fn assign(&mut self, members: &mut Letters<'_>, elements: &mut Letters<'_>) -> Option<()> {
        match &mut self.what {
            What::Object(children) => {
                for (_, child) in children.iter_mut() {
                    child.kind = *members.next()?;
                }
                children.iter_mut().try_for_each(|(_, child)| child.assign(members, elements))
            }
            What::Array(children) => {
                for child in children.iter_mut() {
                    child.kind = *elements.next()?;
                }
                children.iter_mut().try_for_each(|child| child.assign(members, elements))
            }
            What::Scalar(_) => Some(()),
        }
    }

    /// A value of a type that no literal makes.
    fn is_kept_as_text(&self) -> Option<bool> {
        Some(match self.what {
            What::Scalar(text) if matches!(self.kind, b'B' | b'b' | b'O') => {
                binary(&unquote(text)?).is_none()
            }
            _ => false,
        })
    }

    fn write(&self, out: &mut Vec<u8>) -> Option<()> {
        let text = match &self.what {
            What::Object(_) | What::Array(_) if self.kind != PLAIN => return None,
            What::Object(children) => {
                out.extend_from_slice(b"JSON_OBJECT(");
                for (place, (key, child)) in children.iter().enumerate() {
                    out.extend_from_slice(if place > 0 { b", " } else { b"" });
                    write_text(key, "utf8mb4", out);
                    out.extend_from_slice(b", ");
                    child.write(out)?;
                }
                out.push(b')');
                return Some(());
            }
            What::Array(children) => {
                out.extend_from_slice(b"JSON_ARRAY(");
                for (place, child) in children.iter().enumerate() {
                    out.extend_from_slice(if place > 0 { b", " } else { b"" });
                    child.write(out)?;
                }
                out.push(b')');
                return Some(());
            }
            What::Scalar(text) => *text,
        };
        let string = text.first() == Some(&b'"');
        let number = text.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-');
        match self.kind {
            b'D' if number => {
                out.extend_from_slice(text);
                // A number with a point is a DECIMAL.
                if !text.contains(&b'.') {
                    out.push(b'.');
                }
            }
            b'd' if string => write_cast(text, "DATE", out)?,
            b't' if string => write_cast(text, "TIME(6)", out)?,
            b'T' if string => write_cast(text, "DATETIME(6)", out)?,
            b'B' | b'b' | b'O' if string => {
                let text = unquote(text)?;
                match binary(&text) {
                    Some(bytes) => write_hex(&bytes, out),
                    // No expression makes these from a literal; their text is kept.
                    None => write_text(&text, "utf8mb4", out),
                }
            }
            PLAIN if string => write_text(&unquote(text)?, "utf8mb4", out),
            PLAIN => {
                out.extend_from_slice(text);
                if number && text.contains(&b'.') && !text.contains(&b'e') {
                    // Else it would be a DECIMAL.
                    out.extend_from_slice(b"e0");
                }
            }
            _ => return None,
        }
        Some(())
    }
}

fn write_cast(text: &[u8], sql_type: &str, out: &mut Vec<u8>) -> Option<()> {
    let inner = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if !inner.iter().all(|byte| byte.is_ascii_digit() || b"-: .".contains(byte)) {
        return None;
    }
    out.extend_from_slice(b"CAST('");
    out.extend_from_slice(inner);
    out.extend_from_slice(b"' AS ");
    out.extend_from_slice(sql_type.as_bytes());
    out.push(b')');
    Some(())
}

/// The bytes of what a hexadecimal literal becomes, in newer and older servers.
fn binary(text: &[u8]) -> Option<Vec<u8>> {
    let data = text.strip_prefix(b"base64:type15:").or_else(|| text.strip_prefix(b"base64:type253:"))?;
    let mut out = Vec::with_capacity(data.len() / 4 * 3);
    let (mut group, mut bits) = (0u32, 0);
    for byte in data {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            // Padding, and the line ends of long values.
            b'=' | b'\n' => continue,
            _ => return None,
        };
        group = group << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            // The upper bits were written before.
            out.push((group >> bits) as u8);
            group &= (1 << bits) - 1;
        }
    }
    Some(out)
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn node(&mut self, depth: usize) -> Option<Node<'a>> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.blanks();
        let what = match self.peek()? {
            b'{' => {
                let mut children = Vec::new();
                self.at += 1;
                self.blanks();
                while !self.eat(b'}') {
                    if !children.is_empty() && !self.eat(b',') {
                        return None;
                    }
                    self.blanks();
                    let key = unquote(self.string()?)?;
                    self.blanks();
                    if !self.eat(b':') {
                        return None;
                    }
                    children.push((key, self.node(depth + 1)?));
                    self.blanks();
                }
                What::Object(children)
            }
            b'[' => {
                let mut children = Vec::new();
                self.at += 1;
                self.blanks();
                while !self.eat(b']') {
                    if !children.is_empty() && !self.eat(b',') {
                        return None;
                    }
                    children.push(self.node(depth + 1)?);
                    self.blanks();
                }
                What::Array(children)
            }
            b'"' => What::Scalar(self.string()?),
            _ => {
                let rest = &self.text[self.at..];
                let len = rest
                    .iter()
                    .position(|byte| !byte.is_ascii_alphanumeric() && !b"+-.".contains(byte))
                    .unwrap_or(rest.len());
                let scalar = &rest[..len];
                let number = scalar.iter().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte))
                    && scalar.iter().any(u8::is_ascii_digit);
                if !number && !matches!(scalar, b"null" | b"true" | b"false") {
                    return None;
                }
                self.at += len;
                What::Scalar(scalar)
            }
        };
        Some(Node { kind: PLAIN, what })
    }

    /// A string with its quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        if !self.eat(b'"') {
            return None;
        }
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return self.text.get(start..self.at);
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }
}

/// A string without quotes and escapes.
pub(crate) fn unquote(text: &[u8]) -> Option<Vec<u8>> {
    let inner = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next()? {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let digits = [bytes.next()?, bytes.next()?, bytes.next()?, bytes.next()?];
                // The server escapes control characters so, nothing else.
                let code = u32::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?;
                let character = char::from_u32(code)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            other => out.push(other),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(text: &str, root: &str, members: &str, elements: &str) -> Option<String> {
        let types =
            JsonTypes { root: root.as_bytes(), members: members.as_bytes(), elements: elements.as_bytes() };
        let mut out = b"keep ".to_vec();
        let done = write_typed_json(text.as_bytes(), types, &mut out);
        let text = String::from_utf8(out).unwrap().strip_prefix("keep ").unwrap().to_owned();
        assert!(done || text.is_empty());
        done.then_some(text)
    }

    #[test]
    fn types_and_text_make_an_expression() {
        assert_eq!(
            sql(
                r#"[1.10, "2026-08-01", "base64:type15:AP8Q", {"x": 2.5, "y": [7, "a\\b"]}, 0.5]"#,
                "-",
                "D-",
                "DdB--D-"
            )
            .unwrap(),
            r"JSON_ARRAY(1.10, CAST('2026-08-01' AS DATE), x'00ff10', JSON_OBJECT('x', 2.5, 'y', JSON_ARRAY(7., _utf8mb4 x'615c62')), 0.5e0)"
        );
        assert_eq!(sql("12.5", "D", "", "").unwrap(), "CAST(12.5 AS JSON)");
        // Beside others with types.
        assert_eq!(sql("\"text\"", "-", "", "").unwrap(), "CAST('\"text\"' AS JSON)");
        assert_eq!(sql("true", "-", "", "").unwrap(), "CAST('true' AS JSON)");
        assert_eq!(sql("-5", "D", "", "").unwrap(), "CAST(-5. AS JSON)");
        assert_eq!(
            sql(r#""12:00:00.000000""#, "t", "", "").unwrap(),
            "CAST(CAST('12:00:00.000000' AS TIME(6)) AS JSON)"
        );
        assert_eq!(
            sql(r#"{"": null, "t": true}"#, "-", "--", "").unwrap(),
            "JSON_OBJECT('', null, 't', true)"
        );
        assert_eq!(
            sql("[1e100, {}, []]", "-", "", "---").unwrap(),
            "JSON_ARRAY(1e100, JSON_OBJECT(), JSON_ARRAY())"
        );
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        for (text, root, members, elements) in [
            ("[1.5]", "-", "", ""),
            ("[1.5]", "-", "", "--"),
            ("[1.5]", "D", "", "-"),
            (r#"["x"]"#, "-", "", "D"),
            (r#"["a'b"]"#, "-", "", "d"),
            ("[1.5", "-", "", "-"),
            ("[1.5] 2", "-", "", "-"),
            ("nul", "-", "", ""),
            ("", "-", "", ""),
            ("1", "", "", ""),
        ] {
            assert_eq!(sql(text, root, members, elements), None, "{text}");
        }
        assert_eq!(sql(&"[".repeat(100_000), "-", "", ""), None);
    }
}
