//! What a node is told: flags override the file, the file overrides the defaults.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use dmnode_model::config::{LogFormat, NodeConfig};
use dmnode_model::secret::SecretKey;

/// Address of a node that was told nothing.
pub const DEFAULT_ADDR: &str = "127.0.0.1:8261";
/// Data directory of a node that was told nothing.
pub const DEFAULT_DATA_DIR: &str = "dmnode-data";
/// A source moves when its node is silent for so long.
const DEFAULT_SOURCE_LOST_AFTER: Duration = Duration::from_secs(3);
/// A shorter silence than the heartbeats need would move sources all the time.
const SOURCE_LOST_AFTER_MIN: Duration = Duration::from_millis(500);
/// Names appear in file names and tables.
const NAME_BYTES_MAX: usize = 64;

/// `dmnode start`.
#[derive(Debug, Clone, Default, Args)]
pub struct StartArgs {
    /// Configuration file (TOML). Relative paths in it are taken from its directory.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Name of this node, unique in the cluster [default: the address].
    #[arg(long)]
    pub name: Option<String>,
    /// Directory for everything this node keeps [default: ./dmnode-data].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address to listen on, for clients and peers alike [default: 127.0.0.1:8261].
    #[arg(long, value_name = "HOST:PORT")]
    pub addr: Option<String>,
    /// Address at which others reach this node [default: the value of --addr].
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise_addr: Option<String>,
    /// The first nodes of a new cluster, this one included; the same on all of them.
    #[arg(long, value_name = "NAME=HOST:PORT,…")]
    pub initial_cluster: Option<String>,
    /// Join the cluster that one of these nodes belongs to.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub join: Vec<String>,
    /// This node lost its data directory: come back under the same name as a new member.
    #[arg(long)]
    pub replace: bool,
    /// Write the log to this file [default: standard error].
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Least level to log: trace, debug, info, warn or error [default: info].
    #[arg(long, short = 'L', value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// File with the key that encrypts passwords: 64 hexadecimal digits, the same on all nodes.
    #[arg(long, value_name = "FILE")]
    pub secret_key_path: Option<PathBuf>,
}

/// A setting that cannot be used, with the flag or file it comes from.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

/// Everything a node knows about itself, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of this node.
    pub name: String,
    /// Its directory, absolute.
    pub data_dir: PathBuf,
    /// Where it listens.
    pub addr: String,
    /// Where others reach it.
    pub advertise_addr: String,
    /// The first nodes of a new cluster.
    pub initial_cluster: BTreeMap<String, String>,
    /// Nodes of the cluster to join.
    pub join: Vec<String>,
    /// Come back as a new member.
    pub replace: bool,
    /// Where the log goes.
    pub log_file: Option<PathBuf>,
    /// Least level to log.
    pub log_level: String,
    /// Form of log lines.
    pub log_format: LogFormat,
    /// Where the key comes from.
    pub secret_key_path: Option<PathBuf>,
    /// The key.
    pub secret_key: Option<SecretKey>,
    /// Silence after which a node's sources move.
    pub source_lost_after: Duration,
    /// What the user should hear, once the log is open.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Puts flags, file and defaults together.
    pub fn load(args: &StartArgs) -> Result<Self, SettingsError> {
        let mut warnings = Vec::new();
        let file = match &args.config {
            Some(path) => read_file(path, &mut warnings)?,
            None => NodeConfig::default(),
        };
        let addr = args.addr.clone().or(file.addr).unwrap_or_else(|| DEFAULT_ADDR.to_owned());
        let addr = checked_address("--addr", &addr)?;
        let advertise_addr = args.advertise_addr.clone().or(file.advertise_addr);
        let advertise_is_given = advertise_addr.is_some();
        let advertise_addr = match advertise_addr {
            Some(text) => checked_address("--advertise-addr", &text)?,
            None => addr.clone(),
        };
        if is_unspecified(&advertise_addr) {
            let hint = if advertise_is_given {
                ""
            } else {
                "; set --advertise-addr to the address others reach this node at"
            };
            return Err(SettingsError(format!(
                "--advertise-addr `{advertise_addr}` is an address to listen on, not one that others can connect to{hint}"
            )));
        }
        let data_dir =
            args.data_dir.clone().or(file.data_dir).unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
        let data_dir = std::path::absolute(&data_dir)
            .map_err(|err| SettingsError(format!("--data-dir `{}`: {err}", data_dir.display())))?;
        let initial_cluster = match &args.initial_cluster {
            Some(text) => NodeConfig::parse_initial_cluster(text)
                .map_err(|err| SettingsError(format!("--initial-cluster `{text}`: {}", err.message)))?,
            None => file.initial_cluster,
        };
        let mut cluster = BTreeMap::new();
        for (name, member_addr) in initial_cluster {
            let checked = checked_address("--initial-cluster", &member_addr)?;
            if cluster.insert(name.clone(), checked).is_some() {
                return Err(SettingsError(format!("--initial-cluster names `{name}` twice")));
            }
        }
        let mut join = Vec::new();
        for text in if args.join.is_empty() { &file.join } else { &args.join } {
            join.push(checked_address("--join", text)?);
        }
        if !join.is_empty() && !cluster.is_empty() {
            return Err(SettingsError(
                "--join and --initial-cluster exclude each other: join an existing cluster, or found a new one".to_owned(),
            ));
        }
        let name = match args.name.clone().or(file.name) {
            Some(name) => name,
            None => default_name(&advertise_addr, &cluster)?,
        };
        check_name(&name)?;
        check_membership(&name, &advertise_addr, &cluster)?;
        let secret_key_path = args.secret_key_path.clone().or(file.secret_key_path);
        let secret_key = secret_key_path.as_deref().map(read_key).transpose()?;
        let log_level = args.log_level.clone().or(file.log_level).unwrap_or_else(|| "info".to_owned());
        let source_lost_after = file.source_lost_after.unwrap_or(DEFAULT_SOURCE_LOST_AFTER);
        if source_lost_after < SOURCE_LOST_AFTER_MIN {
            return Err(SettingsError(format!(
                "source-lost-after of {} ms is too short; at least {} ms",
                source_lost_after.as_millis(),
                SOURCE_LOST_AFTER_MIN.as_millis()
            )));
        }
        let log_file = args.log_file.clone().or(file.log_file);
        let settings = Self {
            name,
            data_dir,
            addr,
            advertise_addr,
            initial_cluster: cluster,
            join,
            replace: args.replace,
            log_file,
            log_level: check_level(log_level)?,
            log_format: file.log_format.unwrap_or_default(),
            secret_key_path,
            secret_key,
            source_lost_after,
            warnings,
        };
        Ok(settings.with_warnings())
    }

    fn with_warnings(mut self) -> Self {
        if !is_loopback(&self.addr) {
            self.warnings.push(format!(
                "listening on {} beyond this host: whoever reaches it can control the cluster; keep it behind a firewall",
                self.addr
            ));
        }
        if self.secret_key.is_none() {
            self.warnings.push(
                "no secret-key-path is set: passwords are kept in plain text in the data directory"
                    .to_owned(),
            );
        }
        let proxies = proxy_variables();
        if !proxies.is_empty() {
            self.warnings
                .push(format!("{} is set; it is ignored for addresses of the cluster", proxies.join(", ")));
        }
        self
    }

    /// The node's configuration as TOML, for `ctl config master|worker`. Shows no secret.
    pub fn to_toml(&self) -> String {
        let mut table = toml::Table::new();
        let mut set = |key: &str, value: String| table.insert(key.to_owned(), toml::Value::String(value));
        set("name", self.name.clone());
        set("data-dir", self.data_dir.display().to_string());
        set("addr", self.addr.clone());
        set("advertise-addr", self.advertise_addr.clone());
        let cluster: Vec<String> =
            self.initial_cluster.iter().map(|(name, addr)| format!("{name}={addr}")).collect();
        set("initial-cluster", cluster.join(","));
        set("join", self.join.join(","));
        set("log-file", self.log_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default());
        set("log-level", self.log_level.clone());
        set("log-format", if self.log_format == LogFormat::Json { "json" } else { "text" }.to_owned());
        set(
            "secret-key-path",
            self.secret_key_path.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        );
        let millis = i64::try_from(self.source_lost_after.as_millis()).unwrap_or(i64::MAX);
        table.insert("source-lost-after".to_owned(), toml::Value::Integer(millis));
        table.to_string()
    }
}

fn read_file(path: &Path, warnings: &mut Vec<String>) -> Result<NodeConfig, SettingsError> {
    let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let refused = |reason: String| SettingsError(format!("--config `{}`: {reason}", shown.display()));
    let text = std::fs::read_to_string(path).map_err(|err| refused(err.to_string()))?;
    let base = shown.parent().unwrap_or(Path::new("/"));
    let parsed = NodeConfig::from_toml(&text, base).map_err(|err| refused(err.full_message()))?;
    warnings.extend(parsed.warnings);
    Ok(parsed.value)
}

fn read_key(path: &Path) -> Result<SecretKey, SettingsError> {
    let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let refused =
        |reason: String| SettingsError(format!("--secret-key-path `{}`: {reason}", shown.display()));
    let text = std::fs::read_to_string(path).map_err(|err| refused(err.to_string()))?;
    SecretKey::from_hex(text.trim()).map_err(|err| refused(err.message))
}

fn checked_address(flag: &str, text: &str) -> Result<String, SettingsError> {
    let bare = text.trim().trim_start_matches("http://").trim_end_matches('/');
    let is_valid = bare.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) && !host.contains(['/', ' ', '@'])
    });
    if is_valid {
        Ok(bare.to_owned())
    } else {
        Err(SettingsError(format!("{flag} `{text}` is no HOST:PORT")))
    }
}

fn default_name(advertise_addr: &str, cluster: &BTreeMap<String, String>) -> Result<String, SettingsError> {
    if cluster.is_empty() {
        return Ok(advertise_addr.to_owned());
    }
    cluster.iter().find(|(_, addr)| *addr == advertise_addr).map(|(name, _)| name.clone()).ok_or_else(|| {
        SettingsError(format!("--initial-cluster does not name this node's address `{advertise_addr}`; set --name or --advertise-addr"))
    })
}

fn check_name(name: &str) -> Result<(), SettingsError> {
    let is_valid = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '[' | ']'));
    if is_valid {
        return Ok(());
    }
    Err(SettingsError(format!(
        "--name `{name}` is not usable: 1 to {NAME_BYTES_MAX} letters, digits or any of - _ . :"
    )))
}

fn check_membership(
    name: &str,
    advertise_addr: &str,
    cluster: &BTreeMap<String, String>,
) -> Result<(), SettingsError> {
    if cluster.is_empty() {
        return Ok(());
    }
    match cluster.get(name) {
        None => Err(SettingsError(format!("--initial-cluster does not name this node, `{name}`"))),
        Some(addr) if addr != advertise_addr => Err(SettingsError(format!(
            "--initial-cluster gives `{name}` the address {addr}, but it is advertised as {advertise_addr}"
        ))),
        Some(_) => Ok(()),
    }
}

fn check_level(level: String) -> Result<String, SettingsError> {
    let lower = level.to_ascii_lowercase();
    // DM's names are accepted; `fatal` means errors only.
    match lower.as_str() {
        "trace" | "debug" | "info" | "warn" | "error" => Ok(lower),
        "fatal" => Ok("error".to_owned()),
        "warning" => Ok("warn".to_owned()),
        _ => Err(SettingsError(format!("--log-level `{level}` is none of trace, debug, info, warn, error"))),
    }
}

fn host_of(addr: &str) -> &str {
    addr.rsplit_once(':').map_or(addr, |(host, _)| host).trim_start_matches('[').trim_end_matches(']')
}

fn is_unspecified(addr: &str) -> bool {
    host_of(addr).parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

fn is_loopback(addr: &str) -> bool {
    host_of(addr) == "localhost" || host_of(addr).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The socket addresses behind a checked address.
pub fn resolve(addr: &str) -> std::io::Result<Vec<SocketAddr>> {
    Ok(addr.to_socket_addrs()?.collect())
}

fn proxy_variables() -> Vec<&'static str> {
    ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
        .into_iter()
        .filter(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(args: &StartArgs) -> Result<Settings, String> {
        Settings::load(args).map_err(|err| err.to_string())
    }

    #[test]
    fn no_arguments_are_a_cluster_of_one() {
        let settings = load(&StartArgs::default()).unwrap();
        assert_eq!((settings.addr.as_str(), settings.advertise_addr.as_str()), (DEFAULT_ADDR, DEFAULT_ADDR));
        assert!(settings.data_dir.is_absolute() && settings.data_dir.ends_with(DEFAULT_DATA_DIR));
        assert!(settings.initial_cluster.is_empty() && settings.join.is_empty());
        assert_eq!(settings.source_lost_after, Duration::from_secs(3));
    }

    #[test]
    fn a_bad_flag_is_named() {
        let cases: Vec<(StartArgs, &str)> = vec![
            (StartArgs { addr: Some("nonsense".to_owned()), ..StartArgs::default() }, "--addr `nonsense`"),
            (StartArgs { addr: Some("0.0.0.0:8261".to_owned()), ..StartArgs::default() }, "--advertise-addr"),
            (StartArgs { join: vec!["x".to_owned()], ..StartArgs::default() }, "--join `x`"),
            (StartArgs { log_level: Some("loud".to_owned()), ..StartArgs::default() }, "--log-level `loud`"),
            (StartArgs { name: Some("a b".to_owned()), ..StartArgs::default() }, "--name `a b`"),
            (
                StartArgs { config: Some("/no/such.toml".into()), ..StartArgs::default() },
                "--config `/no/such.toml`",
            ),
            (
                StartArgs { secret_key_path: Some("/no/key".into()), ..StartArgs::default() },
                "--secret-key-path `/no/key`",
            ),
        ];
        for (args, part) in cases {
            let err = load(&args).unwrap_err();
            assert!(err.contains(part), "{part} in {err}");
        }
    }

    #[test]
    fn warnings_tell_of_open_doors() {
        let args = StartArgs {
            addr: Some("0.0.0.0:1".to_owned()),
            advertise_addr: Some("10.0.0.1:1".to_owned()),
            ..StartArgs::default()
        };
        let settings = load(&args).unwrap();
        assert!(
            settings.warnings.iter().any(|text| text.contains("beyond this host")),
            "{:?}",
            settings.warnings
        );
    }

    #[test]
    fn membership_is_checked() {
        let cluster: BTreeMap<String, String> = [("n1".to_owned(), "a:1".to_owned())].into();
        assert!(check_membership("n1", "a:1", &cluster).is_ok());
        assert!(check_membership("n2", "a:1", &cluster).is_err());
        assert!(check_membership("n1", "b:1", &cluster).is_err());
        assert_eq!(default_name("a:1", &cluster).unwrap(), "n1");
        assert!(default_name("z:1", &cluster).is_err());
    }

    #[test]
    fn the_shown_configuration_has_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, format!(" {}\n", "ab".repeat(32))).unwrap();
        let settings = load(&StartArgs { secret_key_path: Some(path), ..StartArgs::default() }).unwrap();
        let shown = settings.to_toml();
        assert!(shown.contains("secret-key-path") && !shown.contains("abab"), "{shown}");
        assert!(!format!("{settings:?}").contains("abab"));
    }
}
