//! YAML as a tree that knows where everything stands.
//!
//! Configuration errors must point at a line and column, and passwords are replaced in the user's own text, so
//! values keep their place in it. Reading is bounded: size, depth and the number of nodes that aliases make.

use std::collections::HashMap;
use std::sync::Arc;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span};

use super::CONFIG_BYTES_MAX;
use crate::codes;
use crate::error::CodedError;

const DEPTH_MAX: usize = 32;
/// Nodes including the copies that aliases stand for.
const NODES_MAX: usize = 200_000;

/// A value and its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// From 1.
    pub(super) line: usize,
    /// From 1, in characters.
    pub(super) column: usize,
    /// Bytes of a scalar in the text, quotes included.
    pub(super) bytes: std::ops::Range<usize>,
    /// Nodes in it, itself included.
    size: usize,
}

/// Key and value of a map.
type Entry = (Arc<Node>, Arc<Node>);

#[derive(Debug)]
pub(super) enum Kind {
    /// Nothing, `~` or `null`.
    Null,
    Scalar {
        text: String,
        /// Not quoted and not a block: may be a number or a truth value.
        plain: bool,
    },
    List(Vec<Arc<Node>>),
    Map(Vec<Entry>),
}

impl Node {
    /// `line 3, column 5`.
    pub(super) fn place(&self) -> String {
        format!("line {}, column {}", self.line, self.column)
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            Kind::Null | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// What it is, for messages.
    pub(super) fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "nothing",
            Kind::Scalar { plain: true, .. } => "a plain value",
            Kind::Scalar { plain: false, .. } => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }
}

/// A refusal with a place in the file.
pub(super) fn refuse(place: impl std::fmt::Display, message: impl Into<String>) -> CodedError {
    CodedError::new(codes::CONFIG_YAML_TRANSFORM, message).at(place)
}

/// Reads one document.
pub(super) fn parse(text: &str) -> Result<Arc<Node>, CodedError> {
    if text.len() > CONFIG_BYTES_MAX {
        return Err(CodedError::new(
            codes::CONFIG_TOO_LARGE,
            format!("the file has {} bytes, more than {CONFIG_BYTES_MAX}", text.len()),
        ));
    }
    // A byte order mark is not part of the text; offsets stay those of the whole text.
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut builder = Builder {
        parser: Parser::new_from_str_with_options(text, options),
        anchors: HashMap::new(),
        nodes: 0,
    };
    let mut root = None;
    loop {
        let (event, span) = builder.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            Event::StreamEnd => break,
            event if root.is_none() => root = Some(builder.node(event, span, 0)?),
            _ => return Err(refuse(place(&span), "the file has more than one YAML document")),
        }
    }
    root.ok_or_else(|| refuse("line 1, column 1", "the file is empty"))
}

fn place(span: &Span) -> String {
    format!("line {}, column {}", span.start.line(), span.start.col() + 1)
}

struct Builder<'a> {
    parser: Parser<'a, serde_saphyr::granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, Arc<Node>>,
    nodes: usize,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), CodedError> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(err)) => {
                let marker = err.marker();
                let place = format!("line {}, column {}", marker.line(), marker.col() + 1);
                Err(refuse(place, format!("not valid YAML: {}", err.info())))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Arc<Node>, CodedError> {
        if depth > DEPTH_MAX {
            return Err(refuse(place(&span), format!("nested more than {DEPTH_MAX} levels deep")));
        }
        let mut size = 1;
        let (kind, anchor) = match event {
            Event::Alias(id) => {
                // An alias inside its own anchor is not known yet, which makes cycles impossible.
                let node =
                    self.anchors.get(&id).cloned().ok_or_else(|| {
                        refuse(place(&span), "the alias refers to something that contains it")
                    })?;
                self.count(node.size, &span)?;
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let kind = if null { Kind::Null } else { Kind::Scalar { text: text.into_owned(), plain } };
                (kind, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                }
                size += items.iter().map(|item| item.size).sum::<usize>();
                (Kind::List(items), anchor)
            }
            Event::MappingStart(_, anchor, _) => {
                let mut entries: Vec<Entry> = Vec::new();
                loop {
                    match self.next()? {
                        (Event::MappingEnd, _) => break,
                        (event, span) => {
                            let key = self.node(event, span, depth + 1)?;
                            let (event, span) = self.next()?;
                            let value = self.node(event, span, depth + 1)?;
                            entries.push((key, value));
                        }
                    }
                }
                size += entries.iter().map(|(key, value)| key.size + value.size).sum::<usize>();
                (Kind::Map(check_keys(entries)?), anchor)
            }
            other => return Err(refuse(place(&span), format!("unexpected YAML: {other:?}"))),
        };
        self.count(1, &span)?;
        let bytes = span.start.byte_offset().unwrap_or(0)..span.end.byte_offset().unwrap_or(0);
        let node =
            Arc::new(Node { kind, line: span.start.line(), column: span.start.col() + 1, bytes, size });
        if anchor != 0 {
            self.anchors.insert(anchor, Arc::clone(&node));
        }
        Ok(node)
    }

    fn count(&mut self, size: usize, span: &Span) -> Result<(), CodedError> {
        self.nodes = self.nodes.saturating_add(size);
        if self.nodes > NODES_MAX {
            return Err(refuse(place(span), format!("more than {NODES_MAX} values")));
        }
        Ok(())
    }
}

/// Keys are texts and unique; `<<` takes over what is not given.
fn check_keys(entries: Vec<Entry>) -> Result<Vec<Entry>, CodedError> {
    let mut own: Vec<Entry> = Vec::with_capacity(entries.len());
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut merged = Vec::new();
    for (key, value) in entries {
        let text = key
            .text()
            .map(str::to_owned)
            .ok_or_else(|| refuse(key.place(), format!("a key is {}, not a name", key.describe())))?;
        if text == "<<" && matches!(key.kind, Kind::Scalar { plain: true, .. }) {
            merged.push((key, value));
            continue;
        }
        if let Some(line) = seen.insert(text.clone(), key.line) {
            return Err(refuse(key.place(), format!("key `{text}` is given twice, first in line {line}")));
        }
        own.push((key, value));
    }
    for (key, value) in merged {
        let sources: Vec<&Arc<Node>> = match &value.kind {
            Kind::Map(_) => vec![&value],
            Kind::List(items) => items.iter().collect(),
            Kind::Null | Kind::Scalar { .. } => Vec::new(),
        };
        let not_a_map = || refuse(key.place(), "`<<` takes a map or a list of maps");
        if sources.is_empty() {
            return Err(not_a_map());
        }
        for source in sources {
            let Kind::Map(entries) = &source.kind else { return Err(not_a_map()) };
            for (key, value) in entries {
                let name = key.text().unwrap_or_default();
                if !seen.contains_key(name) {
                    seen.insert(name.to_owned(), key.line);
                    own.push((Arc::clone(key), Arc::clone(value)));
                }
            }
        }
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(node: &Node) -> Vec<(String, String)> {
        let Kind::Map(entries) = &node.kind else { panic!("a map") };
        entries
            .iter()
            .map(|(key, value)| (key.text().unwrap().to_owned(), value.text().unwrap_or("-").to_owned()))
            .collect()
    }

    #[test]
    fn values_know_their_place() {
        let text = "a: 1\nlist:\n  - x: 'y z'\n";
        let root = parse(text).unwrap();
        let Kind::Map(entries) = &root.kind else { panic!("a map") };
        let Kind::List(items) = &entries[1].1.kind else { panic!("a list") };
        let Kind::Map(inner) = &items[0].kind else { panic!("a map") };
        let (key, value) = &inner[0];
        assert_eq!((key.line, key.column), (3, 5));
        assert_eq!(&text[value.bytes.clone()], "'y z'");
        assert_eq!(value.text(), Some("y z"));
    }

    #[test]
    fn merge_keys_take_over_what_is_missing() {
        let root = parse("base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\n").unwrap();
        let Kind::Map(entries) = &root.kind else { panic!("a map") };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(map(&entries[1].1), [pair("y", "3"), pair("x", "1")]);
    }

    #[test]
    fn refusals_have_line_and_column() {
        for (text, place, part) in [
            ("a: 1\nb: 2\n a: 3", "line 3", "not valid YAML"),
            ("a: 1\nb: 2\na: 3", "line 3, column 1", "`a` is given twice, first in line 1"),
            ("a: {b: 1, b: 2}", "line 1, column 11", "given twice"),
            ("", "line 1", "empty"),
            ("a: 1\n---\nb: 2", "line 3", "more than one"),
            ("? [a]\n: 1", "line 1", "a key is a list"),
            ("a: &x [*x]", "line 1", ""),
            ("<<: 1", "line 1", "takes a map"),
        ] {
            let err = parse(text).unwrap_err();
            assert_eq!(err.code, 20003);
            assert!(err.location.as_deref().unwrap_or_default().starts_with(place), "{text:?}: {err}");
            assert!(err.message.contains(part), "{text:?}: {err}");
        }
    }

    #[test]
    fn size_depth_and_aliases_are_bounded() {
        assert_eq!(parse(&"#".repeat(CONFIG_BYTES_MAX + 1)).unwrap_err().code, codes::CONFIG_TOO_LARGE);
        assert!(parse(&"[".repeat(200)).is_err());
        assert!(
            parse(&format!("{}{}", "[".repeat(100), "]".repeat(100))).unwrap_err().message.contains("deep")
        );
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let previous = format!("*a{}, ", level - 1).repeat(10);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", previous.trim_end_matches(", ")));
        }
        assert!(parse(&bomb).unwrap_err().message.contains("values"));
    }

    proptest! {
        #[test]
        fn foreign_text_never_panics(text in "[a-c:\\-\\[\\]{}&*<>|'\"#!%@` \n\t,?~]{0,60}") {
            let _ = parse(&text);
        }
    }
}
