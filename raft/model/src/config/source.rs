//! source.yaml: an upstream server.

use std::time::Duration;

use serde::Serialize;

use super::fields::Fields;
use super::rules::{filter_traps, read_filter, reject_bad_filter};
use super::warnings::Warnings;
use super::{Endpoint, FilterRule, Parsed, passwords, yaml};
use crate::codes;
use crate::error::CodedError;
use crate::gtid::{Flavor, GtidSet};
use crate::ids::SourceId;
use crate::position::BinlogPosition;
use crate::secret::SecretKey;

/// Longest `source-id`: metadata tables keep it in a column of this width.
pub const SOURCE_ID_CHARS_MAX: usize = 32;
/// Key of the endpoint in the file.
const ENDPOINT: &str = "from";
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// Bounds of every time in `checker`: less is a busy loop, more is never.
const BACKOFF_LEAST: Duration = Duration::from_millis(10);
const BACKOFF_MOST: Duration = Duration::from_secs(24 * 3600);

/// A source.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SourceConfig {
    /// Its id.
    pub source_id: SourceId,
    /// Whether its tasks run.
    pub enable: bool,
    /// Read the stream by GTID.
    pub enable_gtid: bool,
    /// Family of the server; detected when missing.
    pub flavor: Option<Flavor>,
    /// Id under which the stream is read; 0 for one of our own choice.
    pub server_id: u32,
    /// How to reach it.
    pub from: Endpoint,
    /// Names in filters and of all its tasks are case-sensitive.
    pub case_sensitive: bool,
    /// Event filters of all its tasks.
    pub filters: Vec<FilterRule>,
    /// Copy the binlog to disk.
    pub enable_relay: bool,
    /// First file of the relay.
    pub relay_binlog_name: String,
    /// First GTID set of the relay.
    pub relay_binlog_gtid: String,
    /// Directory of the relay.
    pub relay_dir: String,
    /// Removal of old relay files.
    pub purge: PurgeConfig,
    /// Automatic resume.
    pub checker: CheckerConfig,
    masked_yaml: String,
}

/// `purge`: removal of old relay files.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PurgeConfig {
    /// How often, in seconds.
    pub interval_seconds: i64,
    /// Files older than this many hours go; 0 for never.
    pub expires_hours: i64,
    /// Files go when fewer GB are free; 0 for never.
    pub remain_space_gb: i64,
}

impl Default for PurgeConfig {
    fn default() -> Self {
        Self { interval_seconds: 3600, expires_hours: 0, remain_space_gb: 15 }
    }
}

/// `checker`: automatic resume after errors that pass.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct CheckerConfig {
    /// On or off. Off: a task that fails stays paused until somebody resumes it.
    pub check_enable: bool,
    /// Healthy time before the back-off begins anew (5 m).
    pub backoff_rollback: Option<Duration>,
    /// Longest back-off (1 m).
    pub backoff_max: Option<Duration>,
    /// First back-off (an attempt at once, then 1 s).
    pub backoff_min: Option<Duration>,
    /// Waits are shortened by chance, so that many tasks do not come back in one moment.
    pub backoff_jitter: bool,
    /// Growth of the back-off with each attempt (2).
    pub backoff_factor: Option<f64>,
}

impl Default for CheckerConfig {
    fn default() -> Self {
        Self {
            check_enable: true,
            backoff_rollback: None,
            backoff_max: None,
            backoff_min: None,
            backoff_jitter: true,
            backoff_factor: None,
        }
    }
}

impl SourceConfig {
    /// Reads source.yaml. With a key, encrypted passwords are decrypted.
    ///
    /// # Errors
    /// What DM refuses, with DM's codes; unknown keys with line and column.
    pub fn from_yaml(text: &str, key: Option<&SecretKey>) -> Result<Parsed<SourceConfig>, CodedError> {
        let mut warnings = Warnings::default();
        let config = decode(text, key, &mut warnings).map_err(|err| err.object("source.yaml"))?;
        config.verify().map_err(|err| err.object(format!("source {}", config.source_id)))?;
        Ok(Parsed { value: config, warnings: warnings.into_vec() })
    }

    /// The file as it was given, passwords as `******`.
    pub fn masked_yaml(&self) -> String {
        self.masked_yaml.clone()
    }

    /// The file with its passwords encrypted; those that already are stay as they are.
    ///
    /// # Errors
    /// No YAML.
    pub fn encrypt_passwords_in_yaml(text: &str, key: &SecretKey) -> Result<String, CodedError> {
        passwords::encrypt(text, ENDPOINT, key)
    }

    fn verify(&self) -> Result<(), CodedError> {
        let id = self.source_id.as_str();
        if id.is_empty() {
            return Err(CodedError::new(
                codes::WORKER_NEED_SOURCE_ID,
                "dm-worker should bind a non-empty source ID which represents a MySQL/MariaDB instance or a replica group",
            ));
        }
        if id.chars().count() > SOURCE_ID_CHARS_MAX {
            return Err(CodedError::new(
                codes::WORKER_TOO_LONG_SOURCE_ID,
                format!("the length of source ID {id} is more than max allowed value {SOURCE_ID_CHARS_MAX}"),
            ));
        }
        let relay_file = BinlogPosition::new(self.relay_binlog_name.as_str(), 4);
        if !relay_file.is_empty() && relay_file.file_number().is_none() {
            return Err(CodedError::new(
                codes::WORKER_RELAY_BINLOG_NAME,
                format!("relay-binlog-name {} not valid", self.relay_binlog_name),
            ));
        }
        match self.flavor {
            Some(flavor) => {
                GtidSet::parse(flavor, &self.relay_binlog_gtid)?;
            }
            None => {
                let mysql = GtidSet::parse(Flavor::Mysql, &self.relay_binlog_gtid);
                mysql.or_else(|err| {
                    GtidSet::parse(Flavor::Mariadb, &self.relay_binlog_gtid).map_err(|_| err)
                })?;
            }
        }
        self.checker.verify()?;
        self.filters.iter().try_for_each(reject_bad_filter)
    }
}

fn decode(text: &str, key: Option<&SecretKey>, warnings: &mut Warnings) -> Result<SourceConfig, CodedError> {
    let root = yaml::parse(text)?;
    let mut fields = Fields::new(&root, "")?;
    for (name, why) in [
        ("auto-fix-gtid", "deprecated; GTID sets are never repaired by guessing"),
        ("charset", "values travel in their own character set"),
        ("meta-dir", "progress is kept in the target"),
        ("tracer", "deprecated"),
    ] {
        if fields.has(name) {
            warnings.never(name, why);
        }
    }
    let flavor = match fields.text("flavor")?.as_str() {
        "" => None,
        text => Some(text.parse()?),
    };
    let mut filters = Vec::new();
    for item in fields.list("filters")? {
        filters.push(read_filter(Fields::new(item, "filters")?, "")?);
    }
    for filter in &filters {
        filter_traps(filter, "filters", warnings);
    }
    let from = fields.map(ENDPOINT)?.unwrap_or_else(Fields::none);
    let config = SourceConfig {
        source_id: SourceId::new(fields.text("source-id")?),
        enable: fields.bool("enable", true)?,
        enable_gtid: fields.bool("enable-gtid", false)?,
        flavor,
        server_id: fields.int("server-id", 0)?,
        from: Endpoint::read(from, key, ENDPOINT, warnings)?,
        case_sensitive: fields.bool("case-sensitive", false)?,
        filters,
        enable_relay: fields.bool("enable-relay", false)?,
        relay_binlog_name: fields.text("relay-binlog-name")?,
        relay_binlog_gtid: fields.text("relay-binlog-gtid")?,
        relay_dir: fields.text("relay-dir")?,
        purge: read_purge(&mut fields, warnings)?,
        checker: read_checker(&mut fields, warnings)?,
        masked_yaml: passwords::mask(text, ENDPOINT)?,
    };
    fields.finish()?;
    if config.enable_relay {
        warnings.later("enable-relay", "the binlog is read from the source itself");
    }
    for (name, set) in [
        ("relay-binlog-name", !config.relay_binlog_name.is_empty()),
        ("relay-binlog-gtid", !config.relay_binlog_gtid.is_empty()),
        ("relay-dir", !config.relay_dir.is_empty()),
    ] {
        if set {
            warnings.later(name, "there is no relay yet");
        }
    }
    if !config.enable {
        warnings.later("enable: false", "the source's tasks run; use pause-task");
    }
    Ok(config)
}

fn read_purge(fields: &mut Fields<'_>, warnings: &mut Warnings) -> Result<PurgeConfig, CodedError> {
    let Some(mut purge) = fields.map("purge")? else { return Ok(PurgeConfig::default()) };
    let default = PurgeConfig::default();
    let config = PurgeConfig {
        interval_seconds: purge.int("interval", default.interval_seconds)?,
        expires_hours: purge.int("expires", default.expires_hours)?,
        remain_space_gb: purge.int("remain-space", default.remain_space_gb)?,
    };
    purge.finish()?;
    if config != default {
        warnings.later("purge", "there is no relay yet");
    }
    Ok(config)
}

fn read_checker(fields: &mut Fields<'_>, warnings: &mut Warnings) -> Result<CheckerConfig, CodedError> {
    let Some(mut checker) = fields.map("checker")? else { return Ok(CheckerConfig::default()) };
    let default = CheckerConfig::default();
    let factor = match checker.opt_text("backoff-factor")? {
        None => None,
        Some(text) => {
            Some(text.trim().parse::<f64>().ok().filter(|factor| factor.is_finite()).ok_or_else(|| {
                CodedError::new(
                    codes::BACKOFF_ARGS_NOT_VALID,
                    format!("backoff argument backoff-factor value {text} not valid"),
                )
                .object("checker.backoff-factor")
            })?)
        }
    };
    let config = CheckerConfig {
        check_enable: checker.bool("check-enable", default.check_enable)?,
        backoff_rollback: checker.duration("backoff-rollback")?,
        backoff_max: checker.duration("backoff-max")?,
        backoff_min: checker.duration("backoff-min")?,
        backoff_jitter: checker.bool("backoff-jitter", default.backoff_jitter)?,
        backoff_factor: factor,
    };
    if checker.has("check-interval") {
        warnings.never("checker.check-interval", "a failure is noticed at once");
    }
    checker.finish()?;
    Ok(config)
}

impl CheckerConfig {
    /// DM's rule on the bounds, and what makes no sense as an argument of the back-off.
    fn verify(&self) -> Result<(), CodedError> {
        let not_valid = |name: &str, value: String| {
            Err(CodedError::new(
                codes::BACKOFF_ARGS_NOT_VALID,
                format!("backoff argument {name} value {value} not valid"),
            )
            .object(format!("checker.{name}")))
        };
        if let Some(factor) = self.backoff_factor.filter(|factor| !(1.0..=100.0).contains(factor)) {
            return not_valid("backoff-factor", factor.to_string());
        }
        for (name, value) in [("backoff-min", self.backoff_min), ("backoff-rollback", self.backoff_rollback)]
        {
            if let Some(value) = value.filter(|value| *value < BACKOFF_LEAST || *value > BACKOFF_MOST) {
                return not_valid(name, format!("{value:?}"));
            }
        }
        let min = self.backoff_min.unwrap_or(BACKOFF_MIN);
        match self.backoff_max {
            Some(max) if max < min.max(BACKOFF_MIN) => Err(CodedError::new(
                codes::CONFIG_CHECKER_MAX_TOO_SMALL,
                format!(
                    "`backoff-max` value {max:?} is less than `backoff-min` value {:?}",
                    min.max(BACKOFF_MIN)
                ),
            )),
            Some(max) if max > BACKOFF_MOST => not_valid("backoff-max", format!("{max:?}")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Parsed<SourceConfig>, CodedError> {
        SourceConfig::from_yaml(text, None)
    }

    #[test]
    fn dms_sample_is_read() {
        let parsed = parse(
            "source-id: mysql-replica-01\nenable-gtid: true\nenable-relay: false\n\
             from: {host: 127.0.0.1, port: 3306, user: root, password: \"s3cret\", session: {SQL_MODE: ''}}\n",
        )
        .unwrap();
        let source = parsed.value;
        assert_eq!(parsed.warnings, [""; 0]);
        assert_eq!(source.source_id.as_str(), "mysql-replica-01");
        assert!(source.enable && source.enable_gtid && !source.enable_relay && !source.case_sensitive);
        assert_eq!((source.from.host.as_str(), source.from.port), ("127.0.0.1", 3306));
        assert_eq!(source.from.password.expose(), "s3cret");
        assert_eq!(source.from.session.get("sql_mode").map(String::as_str), Some(""));
        assert!(!format!("{source:?}").contains("s3cret"));
        assert!(!serde_json::to_string(&source).unwrap().contains("s3cret"));
        assert!(source.masked_yaml().contains("password: '******'"));
    }

    #[test]
    fn every_field_is_known() {
        let parsed = parse(
            "source-id: a\nenable: false\nenable-gtid: false\nauto-fix-gtid: true\nflavor: mariadb\nserver-id: 7\n\
             charset: x\nmeta-dir: x\ntracer: {enable: true}\nenable-relay: true\nrelay-binlog-name: bin.000001\n\
             relay-binlog-gtid: 0-1-5\nrelay-dir: ./r\ncase-sensitive: true\n\
             filters: [{schema-pattern: a, table-pattern: b, events: [insert], sql-pattern: ['^x'], action: Ignore}]\n\
             from:\n  host: h\n  port: 1\n  user: u\n  password: ''\n  max-allowed-packet: 5\n  session: {}\n\
             \x20 security: {ssl-ca: a, ssl-cert: b, ssl-key: c, cert-allowed-cn: [d], ssl-ca-bytes: [97],\n\
             \x20   ssl-cert-bytes: [98], ssl-key-bytes: [99], ssl-ca-base64: eA==, ssl-cert-base64: eA==, ssl-key-base64: eA==}\n\
             purge: {interval: 1, expires: 2, remain-space: 3}\n\
             checker: {check-enable: false, backoff-rollback: 1m, backoff-max: 2m, check-interval: 1s, backoff-min: 1s,\n\
             \x20 backoff-jitter: true, backoff-factor: 2}\n",
        )
        .unwrap();
        let source = parsed.value;
        assert_eq!(source.flavor, Some(Flavor::Mariadb));
        let security = source.from.security.unwrap();
        assert_eq!(security.ssl_ca_bytes.as_deref(), Some(&b"a"[..]));
        assert_eq!(security.ssl_key_bytes.unwrap().expose(), "c");
        for name in [
            "auto-fix-gtid",
            "charset",
            "enable-relay",
            "relay-dir",
            "purge",
            "checker.check-interval",
            "enable",
        ] {
            let quoted = format!("`{name}");
            assert!(
                parsed.warnings.iter().any(|one| one.starts_with(&quoted)),
                "{name}: {:?}",
                parsed.warnings
            );
        }
    }

    #[test]
    fn dms_rules_have_dms_codes() {
        let long = "x".repeat(33);
        for (text, code) in [
            ("source-id: ''", 40005),
            ("enable: true", 40005),
            (&format!("source-id: {long}"), 40006),
            ("source-id: a\nflavor: oracle", 11010),
            ("source-id: a\nrelay-binlog-name: bin", 40007),
            ("source-id: a\nflavor: mysql\nrelay-binlog-gtid: 0-1-5", 11059),
            ("source-id: a\nrelay-binlog-gtid: x", 11059),
            ("source-id: a\nchecker: {backoff-max: 500ms}", 20043),
            ("source-id: a\nchecker: {backoff-max: 5s, backoff-min: 6s}", 20043),
            ("source-id: a\nchecker: {backoff-factor: 0.5}", 11103),
            ("source-id: a\nchecker: {backoff-factor: x}", 11103),
            ("source-id: a\nchecker: {backoff-min: 1us}", 11103),
            ("source-id: a\nchecker: {backoff-max: 1000h}", 11103),
            ("source-id: a\nfilters: [{schema-pattern: a, action: ignore}]", 20037),
            ("source-id: a\nsource_id: b", 20003),
            ("source-id: a\nsource-id: b", 20003),
            ("source-id: a\nfrom: {port: 99999}", 20003),
            ("source-id: a\nserver-id: -1", 20003),
            ("[]", 20003),
        ] {
            assert_eq!(parse(text).unwrap_err().code, code, "{text}");
        }
        let err = parse("source-id: a\nfrom:\n  hots: x\n").unwrap_err().to_string();
        assert!(err.contains("line 3, column 3") && err.contains("did you mean `host`?"), "{err}");
    }

    #[test]
    fn the_checker_is_as_it_was_given() {
        let checker = |text: &str| {
            parse(&format!("source-id: a\nchecker: {{{text}}}"))
                .map(|parsed| (parsed.value.checker, parsed.warnings))
        };
        assert_eq!(checker("").unwrap(), (CheckerConfig::default(), Vec::new()));
        let (config, warnings) = checker(
            "check-enable: false, backoff-rollback: 1m, backoff-max: 2m, backoff-min: 3s, backoff-jitter: false, backoff-factor: 1.5",
        )
        .unwrap();
        assert_eq!(warnings, [""; 0], "all of it counts");
        assert!(!config.check_enable && !config.backoff_jitter);
        let seconds = |time: Option<Duration>| time.unwrap().as_secs();
        assert_eq!(
            (seconds(config.backoff_rollback), seconds(config.backoff_max), seconds(config.backoff_min)),
            (60, 120, 3)
        );
        assert_eq!(config.backoff_factor, Some(1.5));
    }

    #[test]
    fn encrypted_passwords_are_decrypted_or_taken_as_they_are() {
        let key = SecretKey::from_bytes([3; 32]);
        let text = "source-id: a\nfrom: {password: s3cret}\n";
        let stored = SourceConfig::encrypt_passwords_in_yaml(text, &key).unwrap();
        assert!(!stored.contains("s3cret"));
        for text in [text, &stored] {
            let source = SourceConfig::from_yaml(text, Some(&key)).unwrap().value;
            assert_eq!(source.from.password.expose(), "s3cret");
        }
    }
}
