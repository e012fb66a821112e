//! Fuzz target: what a source sends as a row becomes text for the target that reads back as the same values.

use dmnode_mysql::TextRow;

use super::columns::{CopyColumn, Literal};
use super::text::{LoadText, RowSize, push_long_values, push_values};

/// One column of each kind.
fn columns() -> Vec<CopyColumn> {
    let literals = [
        Literal::Ascii,
        Literal::Number,
        Literal::Binary,
        Literal::Bits,
        Literal::Text("utf8mb4".to_owned()),
        Literal::Text("gbk".to_owned()),
        Literal::Text("utf16".to_owned()),
    ];
    let column = |literal: Literal| CopyColumn {
        select: "`c`".to_owned(),
        name: "c".to_owned(),
        target: "`c`".to_owned(),
        set: None,
        member: literal == Literal::Number,
        vector: false,
        json: false,
        plain: false,
        literal,
    };
    literals.map(column).into()
}

/// Bytes between two bytes 0xfe are a value, 0xfd alone is NULL.
fn values(input: &[u8], count: usize) -> Vec<Option<Vec<u8>>> {
    let mut values: Vec<Option<Vec<u8>>> = input
        .split(|byte| *byte == 0xfe)
        .map(|part| (part != [0xfd]).then(|| part.to_vec()))
        .take(count)
        .collect();
    values.resize(count, None);
    values
}

/// One row as `LOAD DATA` reads it: fields between tabs, `\\N` is NULL, a backslash makes the next byte a usual one.
fn loaded(line: &[u8]) -> Vec<Option<Vec<u8>>> {
    let (mut fields, mut field, mut null) = (Vec::new(), Vec::new(), false);
    let mut bytes = line.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\t' | b'\n' => fields.push(if std::mem::take(&mut null) {
                field.clear();
                None
            } else {
                Some(std::mem::take(&mut field))
            }),
            b'\\' => match bytes.next() {
                Some(b'N') if field.is_empty() => null = true,
                Some(b't') => field.push(b'\t'),
                Some(b'n') => field.push(b'\n'),
                Some(other) => field.push(*other),
                None => panic!("an escape without anything behind it"),
            },
            other => field.push(*other),
        }
    }
    assert!(field.is_empty() && !null, "the row ends with a line end");
    fields
}

/// A list of literals in parentheses, as a server reads it whatever its `sql_mode`.
fn literals(text: &[u8]) -> Vec<Option<Vec<u8>>> {
    let text = std::str::from_utf8(text).expect("literals are ASCII");
    let mut rest = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).expect("parentheses");
    let mut values = Vec::new();
    loop {
        if let Some(named) = rest.strip_prefix('_') {
            rest = &named[named.find(' ').expect("a blank behind the character set") + 1..];
        }
        let end;
        if rest.starts_with("NULL") {
            values.push(None);
            end = 4;
        } else if let Some(digits) = rest.strip_prefix("x'") {
            let len = digits.find('\'').expect("the end of a literal");
            let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal");
            values.push(Some((0..len).step_by(2).map(byte).collect()));
            end = len + 3;
        } else if let Some(quoted) = rest.strip_prefix('\'') {
            let len = quoted.find('\'').expect("the end of a literal");
            assert!(!quoted[..len].contains('\\'), "a backslash may be an escape");
            values.push(Some(quoted.as_bytes()[..len].to_vec()));
            end = len + 2;
        } else {
            end = rest.find(',').unwrap_or(rest.len());
            assert!(end > 0 && rest[..end].bytes().all(|byte| byte.is_ascii_digit()), "a number: {rest}");
            values.push(Some(rest.as_bytes()[..end].to_vec()));
        }
        rest = &rest[end..];
        match rest.strip_prefix(',') {
            Some(further) => rest = further,
            None => break,
        }
    }
    assert!(rest.is_empty(), "more than a list: {rest}");
    values
}

#[test]
fn fuzz_text_rows() {
    let columns = columns();
    let seeds: [&[u8]; 4] = [
        b"-12.5\xfe3\xfe\x00\xff'\xfe\x01\xfetext 'x' \\ \xe5\x90\x8d\xfe\xd5\x5c\xfe\x00a",
        b"2026-01-01 00:00:00\xfe0\xfe\xfd\xfe\xfd\xfe\\N\xfeNULL\xfe",
        b"\xfd\xfe\xfd\xfe\xfd\xfe\xfd\xfe\xfd\xfe\xfd\xfe\xfd",
        b"1'); DROP TABLE t; --\xfe1,2\xfe\t\n\\\xfe\xfe\t\xfe\n\xfe\\",
    ];
    dmnode_fuzz::fuzz("text rows", &seeds, &["'", "\\", "\t", "\n", ",", ")", "NULL", "x'"], |input| {
        let values = values(input, columns.len());
        let row = TextRow::from(values.clone());
        let mut text = LoadText::new(&columns);
        for (index, value) in values.iter().enumerate() {
            text.begin_value(index);
            match value {
                None => text.null(),
                // In parts, as large values go.
                Some(value) => value.chunks(3).for_each(|part| text.part(index, part)),
            }
        }
        text.end_row();
        assert_eq!(loaded(&text.take()), values);

        let mut sql = Vec::new();
        let size = push_values(&row, &columns, false, &mut sql).expect("no types in JSON");
        assert_eq!(literals(&sql), values);
        let bytes = values.iter().flatten().map(Vec::len).sum::<usize>() as u64;
        let error_members = u64::from(values[1].as_deref() == Some(b"0"));
        assert_eq!(size, RowSize { bytes, error_members });
        assert!(push_long_values(&mut row.clone(), &columns, false, &mut Vec::new()).is_none());

        let numbers = (row.u64(0), row.i64(0), row.i128(0), row.f64(0).map(f64::to_bits));
        dmnode_fuzz::sign(&(
            values.iter().map(Option::is_some).collect::<Vec<_>>(),
            numbers,
            sql.len() > input.len(),
        ))
    });
}
