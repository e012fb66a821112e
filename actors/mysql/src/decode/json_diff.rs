//! Partial updates of JSON documents (`binlog_row_value_options=PARTIAL_JSON`): the binlog has the document before
//! the change and a list of differences, which are applied here.
//!
//! The layout of the differences is that of `Json_diff_vector::write_binary` in the server's `json_diff.cc`: four
//! bytes of length, then for each the operation, the path, and the new value in binary form.

use super::json::kind;
use crate::binlog::{Cursor, Malformed};

type Decoded<T> = Result<T, Malformed>;

/// The server refuses deeper documents.
const DEPTH_MAX: usize = 100;

const REPLACE: u8 = 0;
const INSERT: u8 = 1;
const REMOVE: u8 = 2;

/// A document that can be changed.
#[derive(Debug, Clone, PartialEq)]
enum Node<'a> {
    Object(Vec<(&'a [u8], Node<'a>)>),
    Array(Vec<Node<'a>>),
    /// Type and bytes.
    Scalar(u8, &'a [u8]),
}

/// A step of a path.
#[derive(Debug, PartialEq)]
enum Leg {
    Member(Vec<u8>),
    Cell(usize),
}

/// A document with the differences applied, in binary form. `diffs` is the value in the row image without its
/// length.
pub(super) fn apply(document: &[u8], diffs: &[u8]) -> Decoded<Vec<u8>> {
    let mut parser = Parser { values_left: document.len().saturating_add(diffs.len()) };
    let mut root = parser.document(document)?;
    let mut paths = Vec::new();
    let mut cursor = Cursor::new(diffs);
    while !cursor.is_empty() {
        let operation = cursor.u8()?;
        let len = cursor.lenenc_len()?;
        let path = cursor.take(len)?;
        let value = match operation {
            REMOVE => None,
            REPLACE | INSERT => {
                let len = cursor.lenenc_len()?;
                Some(cursor.take(len)?)
            }
            other => return Err(Malformed::new(format!("JSON difference {other}"))),
        };
        paths.push((operation, legs(path)?, value));
    }
    // The keys of inserted members live as long as the paths.
    for (operation, legs, value) in &paths {
        let value = value.map(|value| parser.document(value)).transpose()?;
        change(&mut root, *operation, legs, value)?;
    }
    let mut out = vec![kind_of(&root)];
    encode(&root, &mut out, 0)?;
    Ok(out)
}

fn change<'a>(root: &mut Node<'a>, operation: u8, legs: &'a [Leg], value: Option<Node<'a>>) -> Decoded<()> {
    let nowhere = || Malformed::new("JSON difference at a place that does not exist");
    let Some((last, parents)) = legs.split_last() else {
        // The whole document.
        return match (operation, value) {
            (REPLACE, Some(value)) => {
                *root = value;
                Ok(())
            }
            _ => Err(nowhere()),
        };
    };
    let mut node = root;
    for leg in parents {
        node = match (node, leg) {
            (Node::Object(members), Leg::Member(name)) => {
                let found = members.iter_mut().find(|(key, _)| *key == name.as_slice());
                &mut found.ok_or_else(nowhere)?.1
            }
            (Node::Array(cells), Leg::Cell(index)) => cells.get_mut(*index).ok_or_else(nowhere)?,
            _ => return Err(nowhere()),
        };
    }
    match (node, last) {
        (Node::Object(members), Leg::Member(name)) => {
            let found = members.iter().position(|(key, _)| *key == name.as_slice());
            match (operation, found, value) {
                (REPLACE, Some(at), Some(value)) => members[at].1 = value,
                (REMOVE, Some(at), _) => {
                    members.remove(at);
                }
                (INSERT, None, Some(value)) => {
                    // The server's order of keys: shorter ones first.
                    let name = name.as_slice();
                    let at = members.partition_point(|(key, _)| (key.len(), *key) < (name.len(), name));
                    members.insert(at, (name, value));
                }
                _ => return Err(nowhere()),
            }
        }
        (Node::Array(cells), Leg::Cell(index)) => match (operation, value) {
            (REPLACE, Some(value)) => *cells.get_mut(*index).ok_or_else(nowhere)? = value,
            (REMOVE, _) if *index < cells.len() => {
                cells.remove(*index);
            }
            (INSERT, Some(value)) => cells.insert((*index).min(cells.len()), value),
            _ => return Err(nowhere()),
        },
        _ => return Err(nowhere()),
    }
    Ok(())
}

/// `$.key."another key"[3]`.
fn legs(path: &[u8]) -> Decoded<Vec<Leg>> {
    let broken = || Malformed::new("path of a JSON difference");
    let mut rest = path.strip_prefix(b"$").ok_or_else(broken)?;
    let mut legs = Vec::new();
    while let Some((first, tail)) = rest.split_first() {
        match first {
            b'[' => {
                let end = tail.iter().position(|byte| *byte == b']').ok_or_else(broken)?;
                let number = std::str::from_utf8(&tail[..end]).ok().and_then(|text| text.trim().parse().ok());
                legs.push(Leg::Cell(number.ok_or_else(broken)?));
                rest = &tail[end + 1..];
            }
            b'.' if tail.first() == Some(&b'"') => {
                let mut end = 1;
                while *tail.get(end).ok_or_else(broken)? != b'"' {
                    end += if tail[end] == b'\\' { 2 } else { 1 };
                }
                let name = crate::typed_json::unquote(&tail[..=end]).ok_or_else(broken)?;
                legs.push(Leg::Member(name));
                rest = &tail[end + 1..];
            }
            b'.' => {
                let end = tail.iter().position(|byte| matches!(byte, b'.' | b'[')).unwrap_or(tail.len());
                legs.push(Leg::Member(tail[..end].to_vec()));
                rest = &tail[end..];
            }
            _ => return Err(broken()),
        }
        if legs.len() > DEPTH_MAX {
            return Err(broken());
        }
    }
    Ok(legs)
}

struct Parser {
    /// Values do not share bytes: a document whose offsets run in circles ends here.
    values_left: usize,
}

impl Parser {
    fn document<'a>(&mut self, document: &'a [u8]) -> Decoded<Node<'a>> {
        match document.split_first() {
            Some((kind, value)) => self.value(*kind, value, 0),
            // What the server itself takes an empty column value for.
            None => Ok(Node::Scalar(kind::LITERAL, &[0])),
        }
    }

    fn value<'a>(&mut self, value_kind: u8, data: &'a [u8], depth: usize) -> Decoded<Node<'a>> {
        super::json::enter(&mut self.values_left, depth)?;
        let mut cursor = Cursor::new(data);
        match value_kind {
            kind::SMALL_OBJECT | kind::LARGE_OBJECT | kind::SMALL_ARRAY | kind::LARGE_ARRAY => {}
            kind::LITERAL => {
                cursor.take(1)?;
            }
            kind::INT16 | kind::UINT16 => {
                cursor.take(2)?;
            }
            kind::INT32 | kind::UINT32 => {
                cursor.take(4)?;
            }
            kind::INT64 | kind::UINT64 | kind::DOUBLE => {
                cursor.take(8)?;
            }
            kind::STRING | kind::OPAQUE => {
                if value_kind == kind::OPAQUE {
                    cursor.u8()?;
                }
                let len = super::json::length(&mut cursor)?;
                cursor.take(len)?;
            }
            other => return Err(Malformed::new(format!("JSON value of type {other}"))),
        }
        let large = matches!(value_kind, kind::LARGE_OBJECT | kind::LARGE_ARRAY);
        match value_kind {
            kind::SMALL_OBJECT | kind::LARGE_OBJECT => self.container(data, true, large, depth),
            kind::SMALL_ARRAY | kind::LARGE_ARRAY => self.container(data, false, large, depth),
            _ => Ok(Node::Scalar(value_kind, &data[..cursor.position()])),
        }
    }

    fn container<'a>(
        &mut self,
        data: &'a [u8],
        object: bool,
        large: bool,
        depth: usize,
    ) -> Decoded<Node<'a>> {
        let width = if large { 4 } else { 2 };
        let offset = |cursor: &mut Cursor<'a>| cursor.uint(width).map(|number| number as usize);
        let mut cursor = Cursor::new(data);
        let count = offset(&mut cursor)?;
        let size = offset(&mut cursor)?;
        let data =
            data.get(..size).ok_or_else(|| Malformed::new("JSON container larger than the document"))?;
        let at = |start: usize| data.get(start..).ok_or_else(|| Malformed::new("JSON offset out of range"));
        let mut keys = Cursor::new(at(cursor.position())?);
        let keys_len = if object { count.saturating_mul(width + 2) } else { 0 };
        let mut entries = Cursor::new(at(cursor.position().saturating_add(keys_len))?);
        let (mut members, mut cells) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let name = if object {
                let start = offset(&mut keys)?;
                let len = usize::from(keys.u16()?);
                Some(at(start)?.get(..len).ok_or_else(|| Malformed::new("JSON key out of range"))?)
            } else {
                None
            };
            let value_kind = entries.u8()?;
            let entry = entries.take(width)?;
            let node = if is_inline(value_kind, large) {
                self.value(value_kind, entry, depth + 1)?
            } else {
                self.value(value_kind, at(offset(&mut Cursor::new(entry))?)?, depth + 1)?
            };
            match name {
                Some(name) => members.push((name, node)),
                None => cells.push(node),
            }
        }
        Ok(if object { Node::Object(members) } else { Node::Array(cells) })
    }
}

fn is_inline(value_kind: u8, large: bool) -> bool {
    matches!(value_kind, kind::LITERAL | kind::INT16 | kind::UINT16)
        || large && matches!(value_kind, kind::INT32 | kind::UINT32)
}

fn kind_of(node: &Node<'_>) -> u8 {
    match node {
        Node::Object(_) => kind::LARGE_OBJECT,
        Node::Array(_) => kind::LARGE_ARRAY,
        Node::Scalar(kind, _) => *kind,
    }
}

/// Always in the large form: what reads it knows both.
fn encode(node: &Node<'_>, out: &mut Vec<u8>, depth: usize) -> Decoded<()> {
    const ENTRY: usize = 5;
    const KEY: usize = 6;
    let too_large = || Malformed::new("JSON document too large");
    let number = |number: usize| u32::try_from(number).map(u32::to_le_bytes).map_err(|_| too_large());
    if depth > DEPTH_MAX {
        return Err(Malformed::new("JSON document too deep"));
    }
    let (names, nodes): (Vec<&[u8]>, Vec<&Node<'_>>) = match node {
        Node::Scalar(_, bytes) => {
            out.extend_from_slice(bytes);
            return Ok(());
        }
        Node::Object(members) => members.iter().map(|(name, node)| (*name, node)).unzip(),
        Node::Array(cells) => (Vec::new(), cells.iter().collect()),
    };
    let start = out.len();
    out.extend_from_slice(&number(nodes.len())?);
    let size_at = out.len();
    out.extend_from_slice(&[0; 4]);
    let mut name_at = out.len() - start + names.len() * KEY + nodes.len() * ENTRY;
    for name in &names {
        out.extend_from_slice(&number(name_at)?);
        out.extend_from_slice(&u16::try_from(name.len()).map_err(|_| too_large())?.to_le_bytes());
        name_at += name.len();
    }
    let entries_at = out.len();
    out.resize(entries_at + nodes.len() * ENTRY, 0);
    names.iter().for_each(|name| out.extend_from_slice(name));
    for (index, node) in nodes.iter().enumerate() {
        let value_kind = kind_of(node);
        let entry = match node {
            Node::Scalar(_, bytes) if is_inline(value_kind, true) => {
                let mut entry = [0; 4];
                entry[..bytes.len()].copy_from_slice(bytes);
                entry
            }
            node => {
                let entry = number(out.len() - start)?;
                encode(node, out, depth + 1)?;
                entry
            }
        };
        let at = entries_at + index * ENTRY;
        out[at] = value_kind;
        out[at + 1..at + ENTRY].copy_from_slice(&entry);
    }
    let size = number(out.len() - start)?;
    out[size_at..size_at + 4].copy_from_slice(&size);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(document: &[u8]) -> String {
        String::from_utf8(super::super::json::to_text(document).unwrap().0.to_vec()).unwrap()
    }

    fn diff(operation: u8, path: &str, value: &[u8]) -> Vec<u8> {
        let mut out = vec![operation, u8::try_from(path.len()).unwrap()];
        out.extend(path.as_bytes());
        if operation != REMOVE {
            out.push(u8::try_from(value.len()).unwrap());
            out.extend(value);
        }
        out
    }

    /// `[1, [2], true]`, and objects built from it.
    const ARRAY: [u8; 24] = [2, 3, 0, 23, 0, 5, 1, 0, 2, 13, 0, 4, 1, 0, 1, 0, 7, 0, 5, 2, 0, 0, 0, 0];

    #[test]
    fn differences_are_applied_in_order() {
        assert_eq!(text(&ARRAY), "[1, [2], true]");
        assert_eq!(text(&apply(&ARRAY, &[]).unwrap()), "[1, [2], true]");
        let object = [1u8, 0, 0, 0, 0, 8, 0, 0, 0];
        let diffs = [
            diff(REPLACE, "$[0]", &[12, 2, b'h', b'i']),
            diff(INSERT, "$[1][0]", &[7, 0, 0, 1, 0]),
            diff(INSERT, "$[1][9]", &object),
            diff(INSERT, "$[1][2].bb", &[4, 1]),
            diff(INSERT, "$[1][2].\"a \\\"x\"", &[4, 2]),
            diff(INSERT, "$[1][2].z", &[5, 9, 0]),
            diff(REMOVE, "$[2]", &[]),
        ]
        .concat();
        let changed = apply(&ARRAY, &diffs).unwrap();
        assert_eq!(text(&changed), r#"["hi", [65536, 2, {"z": 9, "bb": true, "a \"x": false}]]"#);
        let diffs = [diff(REMOVE, "$[1][2].bb", &[]), diff(REPLACE, "$[1]", &[4, 0])].concat();
        assert_eq!(text(&apply(&changed, &diffs).unwrap()), r#"["hi", null]"#);
        assert_eq!(text(&apply(&changed, &diff(REPLACE, "$", &[4, 0])).unwrap()), "null");
    }

    #[test]
    fn what_cannot_be_applied_is_an_error() {
        for (operation, path) in [
            (REPLACE, "$[3]"),
            (REMOVE, "$[3]"),
            (REMOVE, "$"),
            (INSERT, "$.a"),
            (REPLACE, "$[0].a"),
            (REPLACE, "x"),
            (REPLACE, "$[x]"),
            (REPLACE, "$.\"a"),
            (REPLACE, "$["),
            (7, "$[0]"),
        ] {
            assert!(apply(&ARRAY, &diff(operation, path, &[4, 0])).is_err(), "{operation} {path}");
        }
        let good = diff(REPLACE, "$[0]", &[12, 2, b'h', b'i']);
        for cut in 1..good.len() {
            assert!(apply(&ARRAY, &good[..cut]).is_err());
        }
        for at in 0..ARRAY.len() {
            for flip in 1..=255u8 {
                let mut bad = ARRAY;
                bad[at] ^= flip;
                let _ = apply(&bad, &good);
            }
        }
    }
}
