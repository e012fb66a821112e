//! The log: to standard error or a file, as text or JSON.

use std::fs::OpenOptions;
use std::sync::Mutex;

use dmnode_model::config::LogFormat;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::settings::Settings;

/// Opens the log of this process. The error says which file cannot be written.
pub fn init(settings: &Settings) -> Result<(), String> {
    let (writer, is_file) = match &settings.log_file {
        Some(path) => {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .map_err(|err| format!("--log-file `{}`: {err}", path.display()))?;
            (BoxMakeWriter::new(Mutex::new(file)), true)
        }
        None => (BoxMakeWriter::new(std::io::stderr), false),
    };
    let use_colors = !is_file && std::io::IsTerminal::is_terminal(&std::io::stderr());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(&settings.log_level))
        .with_writer(writer)
        .with_ansi(use_colors);
    let installed = match settings.log_format {
        LogFormat::Json => builder.json().try_init(),
        LogFormat::Text => builder.try_init(),
    };
    installed.map_err(|err| format!("the log cannot be opened: {err}"))
}

/// Our own crates at the level asked for, the libraries only when something is wrong, unless all is wanted.
fn filter(level: &str) -> EnvFilter {
    let libraries = if level == "trace" || level == "debug" { "info" } else { "warn" };
    let ours = [
        "dmnode",
        "dmnode_cli",
        "dmnode_actors",
        "dmnode_raft",
        "dmnode_storage",
        "dmnode_mysql",
        "dmnode_schema",
        "dmnode_model",
    ];
    let mut directives = vec![libraries.to_owned()];
    // It reports every failed message to a node that is down, several a second; our own side reports the outage once.
    directives.extend(["openraft=error", "openraft::replication=off"].map(str::to_owned));
    directives.extend(ours.iter().map(|name| format!("{name}={level}")));
    EnvFilter::new(directives.join(","))
}
