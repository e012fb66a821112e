//! Strict reading of the fields of a YAML map: every key that nobody asked for is refused, with the key that was
//! probably meant.

use std::sync::Arc;
use std::time::Duration;

use super::yaml::{Kind, Node, refuse};
use crate::error::CodedError;

/// The fields of one map. A missing or empty map has none.
pub(super) struct Fields<'a> {
    /// Where it stands, such as `target-database.security`; empty for the whole file.
    path: String,
    entries: Vec<(&'a str, &'a Node, &'a Node)>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(node: &'a Node, path: impl Into<String>) -> Result<Self, CodedError> {
        let path = path.into();
        let entries = match &node.kind {
            Kind::Null => Vec::new(),
            Kind::Map(entries) => entries
                .iter()
                .map(|(key, value)| (key.text().unwrap_or_default(), key.as_ref(), value.as_ref()))
                .collect(),
            Kind::Scalar { .. } | Kind::List(_) => {
                let what = if path.is_empty() { "the file".to_owned() } else { format!("`{path}`") };
                return Err(refuse(node.place(), format!("{what} is {}, expected a map", node.describe())));
            }
        };
        Ok(Self { path, entries, known: Vec::new() })
    }

    /// No fields.
    pub(super) fn none() -> Self {
        Self { path: String::new(), entries: Vec::new(), known: Vec::new() }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn wrong(&self, key: &str, node: &Node, expected: &str) -> CodedError {
        refuse(node.place(), format!("`{}` is {}, expected {expected}", self.path_of(key), node.describe()))
    }

    /// Whether the key is there, be its value empty or not. Makes the key known.
    pub(super) fn has(&mut self, key: &'static str) -> bool {
        self.known.push(key);
        self.entries.iter().any(|(name, _, _)| *name == key)
    }

    /// The value, unless missing or empty. Makes the key known.
    pub(super) fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        let (_, _, value) = self.entries.iter().find(|(name, _, _)| *name == key)?;
        (!value.is_null()).then_some(*value)
    }

    pub(super) fn opt_text(&mut self, key: &'static str) -> Result<Option<String>, CodedError> {
        match self.node(key) {
            None => Ok(None),
            Some(node) => match node.text() {
                // Numbers and truth values are taken as they are written.
                Some(text) => Ok(Some(text.to_owned())),
                None => Err(self.wrong(key, node, "a text")),
            },
        }
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<String, CodedError> {
        Ok(self.opt_text(key)?.unwrap_or_default())
    }

    pub(super) fn opt_bool(&mut self, key: &'static str) -> Result<Option<bool>, CodedError> {
        let Some(node) = self.node(key) else { return Ok(None) };
        let value = match &node.kind {
            // YAML 1.1 spellings, as DM reads them.
            Kind::Scalar { text, plain: true } => match text.as_str() {
                "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
                    Some(true)
                }
                "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
                    Some(false)
                }
                _ => None,
            },
            _ => None,
        };
        value.map(Some).ok_or_else(|| self.wrong(key, node, "true or false"))
    }

    pub(super) fn bool(&mut self, key: &'static str, default: bool) -> Result<bool, CodedError> {
        Ok(self.opt_bool(key)?.unwrap_or(default))
    }

    pub(super) fn opt_int<T: TryFrom<i128>>(&mut self, key: &'static str) -> Result<Option<T>, CodedError> {
        let Some(node) = self.node(key) else { return Ok(None) };
        let number = match &node.kind {
            Kind::Scalar { text, plain: true } => parse_int(text),
            _ => None,
        };
        let number = number.ok_or_else(|| self.wrong(key, node, "an integer"))?;
        let in_range = T::try_from(number).map(Some);
        in_range
            .map_err(|_| refuse(node.place(), format!("`{}`: {number} is out of range", self.path_of(key))))
    }

    pub(super) fn int<T: TryFrom<i128>>(&mut self, key: &'static str, default: T) -> Result<T, CodedError> {
        Ok(self.opt_int(key)?.unwrap_or(default))
    }

    /// A duration as Go writes it: `1m30s`, `500ms`.
    pub(super) fn duration(&mut self, key: &'static str) -> Result<Option<Duration>, CodedError> {
        let Some(text) = self.opt_text(key)? else { return Ok(None) };
        match self.node(key) {
            Some(node) => parse_duration(&text)
                .map(Some)
                .ok_or_else(|| self.wrong(key, node, "a duration such as `1m30s`")),
            None => Ok(None),
        }
    }

    pub(super) fn list(&mut self, key: &'static str) -> Result<&'a [Arc<Node>], CodedError> {
        match self.node(key) {
            None => Ok(&[]),
            Some(node) => match &node.kind {
                Kind::List(items) => Ok(items),
                _ => Err(self.wrong(key, node, "a list")),
            },
        }
    }

    pub(super) fn texts(&mut self, key: &'static str) -> Result<Vec<String>, CodedError> {
        let items = self.list(key)?;
        let text = |item: &Arc<Node>| match item.text() {
            Some(text) => Ok(text.to_owned()),
            None if item.is_null() => Ok(String::new()),
            None => Err(self.wrong(key, item, "a list of texts")),
        };
        items.iter().map(text).collect()
    }

    /// The fields of an inner map, if there is one.
    pub(super) fn map(&mut self, key: &'static str) -> Result<Option<Fields<'a>>, CodedError> {
        let path = self.path_of(key);
        self.node(key).map(|node| Fields::new(node, path)).transpose()
    }

    /// Every entry of an inner map as (name, key, fields), in the file's order; an empty entry has no fields.
    pub(super) fn named(
        &mut self,
        key: &'static str,
    ) -> Result<Vec<(&'a str, &'a Node, Fields<'a>)>, CodedError> {
        let Some(inner) = self.map(key)? else { return Ok(Vec::new()) };
        inner
            .entries
            .iter()
            .map(|(name, key, value)| Ok((*name, *key, Fields::new(value, inner.path_of(name))?)))
            .collect()
    }

    /// Where the map `key` stands, if present.
    pub(super) fn place(&self, key: &str) -> Option<String> {
        self.entries.iter().find(|(name, _, _)| *name == key).map(|(_, key, _)| key.place())
    }

    /// All keys and scalar values, for free-form maps.
    pub(super) fn into_texts(self) -> Result<Vec<(String, String)>, CodedError> {
        let text = |(name, _, value): &(&str, &Node, &Node)| match value.text() {
            Some(text) => Ok(((*name).to_owned(), text.to_owned())),
            None if value.is_null() => Ok(((*name).to_owned(), String::new())),
            None => Err(self.wrong(name, value, "a text")),
        };
        self.entries.iter().map(text).collect()
    }

    /// Refuses the first key nobody asked for.
    pub(super) fn finish(self) -> Result<(), CodedError> {
        for (name, key, _) in &self.entries {
            if !self.known.contains(name) {
                return Err(refuse(key.place(), self.unknown(name)));
            }
        }
        Ok(())
    }

    fn unknown(&self, name: &str) -> String {
        let place = if self.path.is_empty() { String::new() } else { format!(" in `{}`", self.path) };
        match did_you_mean(name, &self.known) {
            Some(meant) => format!("unknown key `{name}`{place}; did you mean `{meant}`?"),
            None => format!("unknown key `{name}`{place}"),
        }
    }
}

/// The known name nearest to a misspelt one.
pub(super) fn did_you_mean<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    const SIMILARITY_MIN: f64 = 0.75;
    // Underscores for dashes and capitals are the commonest slips.
    let normal = |text: &str| text.to_lowercase().replace('_', "-");
    let wanted = normal(name);
    known
        .iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(&wanted, &normal(candidate)), *candidate))
        .filter(|(similarity, candidate)| {
            // In short names one letter is much.
            let one_letter =
                wanted.len() >= 2 && strsim::damerau_levenshtein(&wanted, &normal(candidate)) <= 1;
            *similarity >= SIMILARITY_MIN || one_letter
        })
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// An integer as YAML 1.1 writes it: decimal, `0x`, `0o` or leading `0` for octal, `0b`, underscores.
fn parse_int(text: &str) -> Option<i128> {
    let text = text.replace('_', "");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        Some("0o" | "0O") => (8, &digits[2..]),
        Some("0b" | "0B") => (2, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || digits.len() > 40 || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let number = i128::from_str_radix(digits, radix).ok()?;
    Some(if negative { -number } else { number })
}

/// A duration as Go writes it; negative ones have no meaning here.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let factor = match &rest[..end] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number * factor;
        rest = &rest[end..];
    }
    Duration::try_from_secs_f64(seconds).ok()
}

/// A size with a unit, binary multiples: `64MB`, `500m`, `1.5GiB`; a plain number counts `plain` bytes each.
pub(super) fn parse_size(text: &str, plain: u64) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    let unit = text[end..].trim_start().to_ascii_lowercase();
    let factor =
        match unit.strip_suffix('b').map_or(unit.as_str(), |unit| unit.strip_suffix('i').unwrap_or(unit)) {
            "" if unit.is_empty() => plain,
            "" => 1,
            "k" => 1 << 10,
            "m" => 1 << 20,
            "g" => 1 << 30,
            "t" => 1 << 40,
            "p" => 1 << 50,
            _ => return None,
        };
    let bytes = number * factor as f64;
    // Beyond 2^53 a double is no longer exact, and no such size makes sense.
    (bytes.is_finite() && bytes < 9.0e15).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    #[test]
    fn unknown_keys_are_refused_with_a_suggestion() {
        let root = parse("worker-count: 1\nworkr_count: 2\n").unwrap();
        let mut fields = Fields::new(&root, "syncers.global").unwrap();
        assert_eq!(fields.int::<u32>("worker-count", 0).unwrap(), 1);
        let err = fields.finish().unwrap_err();
        assert_eq!(err.location.as_deref(), Some("line 2, column 1"));
        assert_eq!(
            err.message,
            "unknown key `workr_count` in `syncers.global`; did you mean `worker-count`?"
        );
        let root = parse("zzz: 1").unwrap();
        assert_eq!(Fields::new(&root, "").unwrap().finish().unwrap_err().message, "unknown key `zzz`");
    }

    #[test]
    fn values_are_typed_as_dm_reads_them() {
        let root = parse("a: yes\nb: 0x10\nc: 010\nd: '5'\ne: 1_000\nf: 5\ng: ~\nh: -1\ni: text\n").unwrap();
        let mut fields = Fields::new(&root, "").unwrap();
        assert!(fields.bool("a", false).unwrap());
        assert_eq!(fields.int::<u32>("b", 0).unwrap(), 16);
        assert_eq!(fields.int::<u32>("c", 0).unwrap(), 8);
        assert!(fields.int::<u32>("d", 0).unwrap_err().message.contains("expected an integer"));
        assert_eq!(fields.int::<u32>("e", 0).unwrap(), 1000);
        assert_eq!(fields.text("f").unwrap(), "5");
        assert_eq!(fields.int::<u32>("g", 7).unwrap(), 7);
        assert!(fields.int::<u32>("h", 0).unwrap_err().message.contains("out of range"));
        assert!(fields.bool("i", false).unwrap_err().to_string().contains("line 9, column 4"));
        assert!(fields.has("g") && !fields.has("z"));
    }

    #[test]
    fn durations_and_sizes() {
        for (text, expected) in [
            ("1m30s", Some(90.0)),
            ("500ms", Some(0.5)),
            ("1.5h", Some(5400.0)),
            ("0", Some(0.0)),
            ("0s", Some(0.0)),
        ] {
            assert_eq!(parse_duration(text).map(|d| d.as_secs_f64()), expected, "{text}");
        }
        for bad in ["", "5", "-1s", "s", "1x", "1.2.3s", "99999999999999999999h"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
        for (text, expected) in
            [("64", 64 << 20), ("64MB", 64 << 20), ("1.5 GiB", 3 << 29), ("10b", 10), ("7k", 7168)]
        {
            assert_eq!(parse_size(text, 1 << 20), Some(expected), "{text}");
        }
        for bad in ["", "x", "-1", "5x", "5ii", "1e9", "9999999p"] {
            assert_eq!(parse_size(bad, 1), None, "{bad}");
        }
    }
}
