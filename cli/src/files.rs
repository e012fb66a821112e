//! Files on the host of `ctl`: task and source files, the TLS files they name, dmctl's own configuration.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

use crate::exit::CtlError;

/// No configuration file comes near this; a larger one is the wrong file.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads a text file of the user.
pub fn read_text(path: &Path) -> Result<String, CtlError> {
    let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let refused = |reason: String| CtlError::Refused(format!("read `{}`: {reason}", shown.display()));
    let size = std::fs::metadata(path).map_err(|err| refused(err.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(refused(format!("{size} bytes are too many for a configuration file")));
    }
    std::fs::read_to_string(path).map_err(|err| refused(err.to_string()))
}

/// Reads a task or source file and puts the content of the TLS files it names in place of their paths,
/// since the nodes cannot read this host's files. Returns the text and warnings.
pub fn read_config(path: &Path) -> Result<(String, Vec<String>), CtlError> {
    Ok(inline_tls_files(&read_text(path)?))
}

/// Replaces `ssl-ca: PATH` (`ssl-cert`, `ssl-key`) by `ssl-ca-base64: CONTENT`, keeping every line where it
/// is, so that line numbers in messages of the cluster are those of the user's file.
fn inline_tls_files(text: &str) -> (String, Vec<String>) {
    let mut warnings = Vec::new();
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        out.push_str(&inline_line(line, &mut warnings));
    }
    (out, warnings)
}

fn inline_line(line: &str, warnings: &mut Vec<String>) -> String {
    if line.trim_start().starts_with('#') {
        return line.to_owned();
    }
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, key, after)) = next_tls_key(rest) {
        if before.contains(" #") {
            break;
        }
        let blanks = after.len() - after.trim_start_matches(' ').len();
        let (value, length) = scalar(&after[blanks..]);
        out.push_str(before);
        match value.filter(|path| !path.is_empty()).map(|path| (std::fs::read(&path), path)) {
            Some((Ok(content), _)) => {
                out.push_str(&format!("{key}-base64: \"{}\"", BASE64.encode(content)));
            }
            Some((Err(err), path)) => {
                warnings
                    .push(format!("{key} `{path}` cannot be read here ({err}); the nodes will look for it"));
                out.push_str(&rest[before.len()..rest.len() - after.len() + blanks + length]);
            }
            None => out.push_str(&rest[before.len()..rest.len() - after.len() + blanks + length]),
        }
        rest = &after[blanks + length..];
    }
    out.push_str(rest);
    out
}

/// The text before the next TLS path key, the key, and the text after its colon.
fn next_tls_key(text: &str) -> Option<(&str, &str, &str)> {
    ["ssl-ca", "ssl-cert", "ssl-key"]
        .into_iter()
        .filter_map(|key| {
            text.match_indices(key)
                .find(|(at, _)| {
                    let before_ok = text[..*at]
                        .chars()
                        .next_back()
                        .is_none_or(|c| c == ' ' || c == '{' || c == ',' || c == '\t');
                    before_ok && text[at + key.len()..].starts_with(": ")
                })
                .map(|(at, _)| (at, key))
        })
        .min_by_key(|(at, _)| *at)
        .map(|(at, key)| (&text[..at], &text[at..at + key.len()], &text[at + key.len() + 1..]))
}

/// The YAML scalar at the start of `text` and its length in bytes.
fn scalar(text: &str) -> (Option<String>, usize) {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote) {
            return match inner.find(quote) {
                Some(end) => (Some(inner[..end].to_owned()), end + 2),
                None => (None, 0),
            };
        }
    }
    let end = text.find(['\n', '\r', ',', '}', '#']).unwrap_or(text.len());
    let value = text[..end].trim_end();
    (Some(value.to_owned()), value.len())
}

/// A task argument: a name, or a task file that stands for the name in it.
pub fn task_name(argument: &str) -> String {
    #[derive(Deserialize)]
    struct NameOnly {
        name: String,
    }
    let is_file = argument.ends_with(".yaml") || argument.ends_with(".yml");
    if !is_file {
        return argument.to_owned();
    }
    read_text(Path::new(argument))
        .ok()
        .and_then(|text| serde_saphyr::from_str::<NameOnly>(&text).ok())
        .map(|task| task.name)
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| argument.to_owned())
}

/// A source argument: an id, or a source file that stands for the id in it.
pub fn source_id(argument: &str) -> Result<String, CtlError> {
    #[derive(Deserialize)]
    struct IdOnly {
        #[serde(rename = "source-id")]
        source_id: String,
    }
    let path = Path::new(argument);
    if !path.is_file() {
        return Ok(argument.to_owned());
    }
    let text = read_text(path)?;
    serde_saphyr::from_str::<IdOnly>(&text)
        .map(|source| source.source_id)
        .map_err(|err| CtlError::Refused(format!("`{argument}` is no source file: {err}")))
}

/// What dmctl's own configuration file can set.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CtlConfig {
    /// Addresses of nodes.
    pub master_addr: Vec<String>,
    /// Longest wait for an answer.
    pub rpc_timeout: Option<Duration>,
}

/// Reads dmctl's configuration file.
pub fn read_ctl_config(path: &Path) -> Result<CtlConfig, CtlError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    struct Raw {
        master_addr: Option<String>,
        rpc_timeout: Option<String>,
        ssl_ca: Option<String>,
        ssl_cert: Option<String>,
        ssl_key: Option<String>,
    }
    let usage = |text: String| CtlError::Usage(format!("--config `{}`: {text}", path.display()));
    let text = read_text(path).map_err(|err| CtlError::Usage(err.to_string()))?;
    let raw: Raw = toml::from_str(&text).map_err(|err| usage(err.to_string()))?;
    if [&raw.ssl_ca, &raw.ssl_cert, &raw.ssl_key]
        .into_iter()
        .any(|value| value.as_ref().is_some_and(|path| !path.is_empty()))
    {
        return Err(usage(
            "ssl-ca, ssl-cert and ssl-key are set, but nodes of this version do not speak TLS; remove them"
                .to_owned(),
        ));
    }
    let rpc_timeout = raw
        .rpc_timeout
        .filter(|text| !text.is_empty())
        .map(|text| {
            humantime::parse_duration(&text).map_err(|err| usage(format!("rpc-timeout `{text}`: {err}")))
        })
        .transpose()?;
    let master_addr = raw.master_addr.unwrap_or_default();
    let master_addr =
        master_addr.split(',').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect();
    Ok(CtlConfig { master_addr, rpc_timeout })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_files_travel_with_the_text_on_the_same_lines() {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, "CA").unwrap();
        let ca = ca.display();
        let text = format!(
            "name: t # ssl-ca: x\ntarget-database:\n  security:\n    ssl-ca: {ca} # the ca\n    ssl-cert: \"/no/such\"\n    cert-allowed-cn: [a]\nfrom: {{security: {{ssl-key: '{ca}', ssl-ca: {ca}}}}}\n"
        );
        let (out, warnings) = inline_tls_files(&text);
        let expected = "name: t # ssl-ca: x\ntarget-database:\n  security:\n    ssl-ca-base64: \"Q0E=\" # the ca\n    ssl-cert: \"/no/such\"\n    cert-allowed-cn: [a]\nfrom: {security: {ssl-key-base64: \"Q0E=\", ssl-ca-base64: \"Q0E=\"}}\n";
        assert_eq!(out, expected);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("/no/such"));
    }

    #[test]
    fn texts_without_tls_do_not_change() {
        let text = "a: b\n# ssl-ca: /etc/hostname\n  ssl-ca:\n  ssl-ca: \"\"\nssl-cax: y\n";
        let (out, warnings) = inline_tls_files(text);
        assert_eq!(out, text);
        assert!(warnings.is_empty());
    }

    #[test]
    fn a_task_file_stands_for_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let good = dir.path().join("t.yaml");
        std::fs::write(&good, "name: my-task\ntask-mode: all\ntarget-database: {host: h}\n").unwrap();
        assert_eq!(task_name(&good.display().to_string()), "my-task");
        let bad = dir.path().join("bad.yaml");
        std::fs::write(&bad, "- 1\n").unwrap();
        assert_eq!(task_name(&bad.display().to_string()), bad.display().to_string());
        assert_eq!(task_name("absent.yaml"), "absent.yaml");
        assert_eq!(task_name("plain"), "plain");
    }

    #[test]
    fn dmctl_configuration_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dmctl.toml");
        std::fs::write(&path, "master-addr = \"a:1, b:2\"\nrpc-timeout = \"30s\"\n").unwrap();
        let config = read_ctl_config(&path).unwrap();
        assert_eq!(config.master_addr, ["a:1", "b:2"]);
        assert_eq!(config.rpc_timeout, Some(Duration::from_secs(30)));
        std::fs::write(&path, "master-adr = \"a:1\"\n").unwrap();
        assert_eq!(read_ctl_config(&path).unwrap_err().exit(), crate::exit::Exit::Usage);
    }
}
