//! The node's own configuration, TOML.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fields::did_you_mean;
use super::{CONFIG_BYTES_MAX, Parsed};
use crate::codes;
use crate::error::CodedError;

/// Every key of the file.
const KEYS: &[&str] = &[
    "name",
    "data-dir",
    "addr",
    "advertise-addr",
    "initial-cluster",
    "join",
    "log-file",
    "log-level",
    "log-format",
    "secret-key-path",
    "source-lost-after",
];
/// Levels of `log-level`.
const LOG_LEVELS: &[&str] = &["trace", "debug", "info", "warn", "error"];
/// Bounds of `source-lost-after` in milliseconds.
const SOURCE_LOST_AFTER_MS: std::ops::RangeInclusive<u64> = 500..=600_000;

/// Form of log lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// What a node was given; missing values are the caller's to fill (flags, defaults).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct NodeConfig {
    /// Name in the cluster.
    pub name: Option<String>,
    /// Directory of its data, absolute or as found.
    pub data_dir: Option<PathBuf>,
    /// `host:port` to listen on.
    pub addr: Option<String>,
    /// `host:port` others reach it by.
    pub advertise_addr: Option<String>,
    /// First members, name and address.
    pub initial_cluster: Vec<(String, String)>,
    /// Addresses of a cluster to join.
    pub join: Vec<String>,
    /// Log file; standard error when missing.
    pub log_file: Option<PathBuf>,
    /// Log level.
    pub log_level: Option<String>,
    /// Log format.
    pub log_format: Option<LogFormat>,
    /// File with the key of passwords.
    pub secret_key_path: Option<PathBuf>,
    /// Silence after which a node's sources move.
    pub source_lost_after: Option<Duration>,
}

impl NodeConfig {
    /// Reads the file's text; relative paths are taken from `base_dir`.
    ///
    /// # Errors
    /// No TOML, unknown keys, bad values.
    pub fn from_toml(text: &str, base_dir: &Path) -> Result<Parsed<NodeConfig>, CodedError> {
        if text.len() > CONFIG_BYTES_MAX {
            return Err(CodedError::new(
                codes::CONFIG_TOO_LARGE,
                format!("the file has {} bytes, more than {CONFIG_BYTES_MAX}", text.len()),
            ));
        }
        let table = DeTable::parse(text).map_err(|err| {
            let place = place(text, err.span().map_or(0, |span| span.start));
            CodedError::new(codes::CONFIG_TOML_TRANSFORM, format!("not valid TOML: {}", err.message()))
                .at(place)
        })?;
        let mut config = NodeConfig::default();
        for (key, value) in table.get_ref() {
            let name: &str = key.get_ref();
            let value = Value { name, value, text };
            match name {
                "name" => config.name = Some(value.text()?),
                "data-dir" => config.data_dir = Some(base_dir.join(value.text()?)),
                "addr" => config.addr = Some(value.text()?),
                "advertise-addr" => config.advertise_addr = Some(value.text()?),
                "initial-cluster" => config.initial_cluster = value.members()?,
                "join" => config.join = value.addresses()?,
                "log-file" => config.log_file = Some(base_dir.join(value.text()?)),
                "log-level" => config.log_level = Some(value.one_of(LOG_LEVELS)?),
                "log-format" => {
                    config.log_format = Some(match value.one_of(&["text", "json"])?.as_str() {
                        "json" => LogFormat::Json,
                        _ => LogFormat::Text,
                    });
                }
                "secret-key-path" => config.secret_key_path = Some(base_dir.join(value.text()?)),
                "source-lost-after" => config.source_lost_after = Some(value.milliseconds()?),
                _ => {
                    let hint = did_you_mean(name, KEYS).map(|meant| format!("; did you mean `{meant}`?"));
                    let message = format!("unknown key `{name}`{}", hint.unwrap_or_default());
                    return Err(CodedError::new(codes::NODE_CONFIG_INVALID, message)
                        .at(place(text, key.span().start)));
                }
            }
        }
        Ok(Parsed { value: config, warnings: Vec::new() })
    }

    /// Parses `n1=host:port,n2=host:port`.
    ///
    /// # Errors
    /// An entry without name or address, a name given twice.
    pub fn parse_initial_cluster(text: &str) -> Result<Vec<(String, String)>, CodedError> {
        let bad = |message: String| CodedError::new(codes::NODE_CONFIG_INVALID, message);
        let mut members: Vec<(String, String)> = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (name, addr) = entry
                .split_once('=')
                .map(|(name, addr)| (name.trim(), addr.trim()))
                .filter(|(name, addr)| !name.is_empty() && !addr.is_empty())
                .ok_or_else(|| bad(format!("`initial-cluster`: `{entry}` is not name=host:port")))?;
            if members.iter().any(|(known, _)| known == name) {
                return Err(bad(format!("`initial-cluster`: `{name}` is given twice")));
            }
            members.push((name.to_owned(), addr.to_owned()));
        }
        Ok(members)
    }
}

/// A value with its key and the file's text.
struct Value<'a> {
    name: &'a str,
    value: &'a Spanned<DeValue<'a>>,
    text: &'a str,
}

impl Value<'_> {
    fn bad(&self, message: impl std::fmt::Display) -> CodedError {
        CodedError::new(codes::NODE_CONFIG_INVALID, format!("`{}`: {message}", self.name))
            .at(place(self.text, self.value.span().start))
    }

    fn text(&self) -> Result<String, CodedError> {
        match self.value.get_ref().as_str() {
            Some("") => Err(self.bad("is empty")),
            Some(text) => Ok(text.to_owned()),
            None => Err(self.bad(format_args!("is {}, expected a text", self.value.get_ref().type_str()))),
        }
    }

    fn one_of(&self, words: &[&str]) -> Result<String, CodedError> {
        let text = self.text()?.to_lowercase();
        if words.contains(&text.as_str()) {
            return Ok(text);
        }
        Err(self.bad(format_args!("is `{text}`, expected one of {}", words.join(", "))))
    }

    /// A list of texts, or one text with commas.
    fn addresses(&self) -> Result<Vec<String>, CodedError> {
        let split = |text: &str| -> Vec<String> {
            text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
        };
        let Some(items) = self.value.get_ref().as_array() else { return Ok(split(&self.text()?)) };
        items
            .iter()
            .map(|item| item.get_ref().as_str().map(str::to_owned).ok_or_else(|| self.bad("expected texts")))
            .collect()
    }

    /// `n1=host:port,n2=…`, or a list of such texts, or a table of names and addresses.
    fn members(&self) -> Result<Vec<(String, String)>, CodedError> {
        let text = match self.value.get_ref().as_table() {
            None => self.addresses()?.join(","),
            Some(table) => {
                let mut entries = Vec::new();
                for (name, addr) in table {
                    let addr = addr.get_ref().as_str().ok_or_else(|| self.bad("expected addresses"))?;
                    entries.push(format!("{}={addr}", name.get_ref()));
                }
                entries.join(",")
            }
        };
        NodeConfig::parse_initial_cluster(&text)
            .map_err(|err| err.at(place(self.text, self.value.span().start)))
    }

    /// A number of milliseconds, or a duration such as `3s`.
    fn milliseconds(&self) -> Result<Duration, CodedError> {
        let duration = match self.value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => {
                number.as_str().replace('_', "").parse().ok().map(Duration::from_millis)
            }
            DeValue::String(text) => super::fields::parse_duration(text),
            _ => None,
        };
        duration
            .filter(|duration| {
                u64::try_from(duration.as_millis()).is_ok_and(|ms| SOURCE_LOST_AFTER_MS.contains(&ms))
            })
            .ok_or_else(|| {
                let (low, high) = (SOURCE_LOST_AFTER_MS.start(), SOURCE_LOST_AFTER_MS.end());
                self.bad(format_args!("expected milliseconds between {low} and {high}"))
            })
    }
}

/// Line and column of a byte.
fn place(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<NodeConfig, CodedError> {
        NodeConfig::from_toml(text, Path::new("/etc/dmnode")).map(|parsed| parsed.value)
    }

    #[test]
    fn paths_are_taken_from_the_files_folder() {
        let config = parse(
            "name = 'n1'\ndata-dir = 'data'\naddr = '127.0.0.1:8261'\nadvertise-addr = 'h:8261'\n\
             initial-cluster = 'n1=h1:1, n2=h2:2'\njoin = ['a:1', 'b:2']\nlog-file = '/var/log/x'\n\
             log-level = 'INFO'\nlog-format = 'json'\nsecret-key-path = 'key'\nsource-lost-after = 3_000\n",
        )
        .unwrap();
        assert_eq!(config.data_dir.as_deref(), Some(Path::new("/etc/dmnode/data")));
        assert_eq!(config.log_file.as_deref(), Some(Path::new("/var/log/x")));
        assert_eq!(config.secret_key_path.as_deref(), Some(Path::new("/etc/dmnode/key")));
        assert_eq!(config.initial_cluster[1], ("n2".to_owned(), "h2:2".to_owned()));
        assert_eq!(config.join, ["a:1", "b:2"]);
        assert_eq!(config.log_format, Some(LogFormat::Json));
        assert_eq!(config.log_level.as_deref(), Some("info"));
        assert_eq!(config.source_lost_after, Some(Duration::from_secs(3)));
        assert_eq!(parse("").unwrap(), NodeConfig::default());
        assert_eq!(
            parse("source-lost-after = '5s'").unwrap().source_lost_after,
            Some(Duration::from_secs(5))
        );
        let table = parse("[initial-cluster]\nn1 = 'h:1'\n").unwrap().initial_cluster;
        assert_eq!(table, [("n1".to_owned(), "h:1".to_owned())]);
    }

    #[test]
    fn refusals_have_line_and_column() {
        for (text, code, part) in [
            (
                "name = 'a'\ndata_dir = 'x'",
                codes::NODE_CONFIG_INVALID,
                "line 2, column 1: unknown key `data_dir`; did you mean `data-dir`?",
            ),
            ("name = 1", codes::NODE_CONFIG_INVALID, "expected a text"),
            ("name = ''", codes::NODE_CONFIG_INVALID, "is empty"),
            ("log-level = 'loud'", codes::NODE_CONFIG_INVALID, "line 1, column 13"),
            ("source-lost-after = 1", codes::NODE_CONFIG_INVALID, "between"),
            ("initial-cluster = 'n1'", codes::NODE_CONFIG_INVALID, "name=host:port"),
            ("initial-cluster = 'a=b,a=c'", codes::NODE_CONFIG_INVALID, "twice"),
            ("name = 'a'\nname = 'b'", codes::CONFIG_TOML_TRANSFORM, "line 2"),
            ("name", codes::CONFIG_TOML_TRANSFORM, "not valid TOML"),
        ] {
            let err = parse(text).unwrap_err();
            assert_eq!(err.code, code, "{text}");
            assert!(err.to_string().contains(part), "{text}: {err}");
        }
    }
}
