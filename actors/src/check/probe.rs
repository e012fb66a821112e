//! A server that is about to become a source.

use dmnode_model::config::SourceConfig;
use dmnode_model::{CodedError, Flavor, Scope, codes};
use dmnode_mysql::ServerInfo;
use rand::Rng;

use super::connect;

/// Server ids chosen here begin above those that people give out by hand.
const OWN_SERVER_IDS: std::ops::Range<u32> = 1 << 29..1 << 31;

/// Connects to the source and answers its configuration with what was left out filled in: the flavour, and an id under
/// which to read the binlog.
///
/// # Errors
/// The server cannot be reached or refuses the account, is of another flavour than configured, writes no GTIDs although
/// `enable-gtid` is set, or has the configured `server-id` itself.
pub async fn probe_source(config: &SourceConfig) -> Result<SourceConfig, CodedError> {
    let mut connection = connect::open(&config.from, Scope::Upstream).await?;
    let info = connect::limited(ServerInfo::probe(&mut connection)).await;
    let info = info.map_err(|err| connect::failed(&err, Scope::Upstream))?;
    connection.close().await;
    judge(config, &info)
}

fn judge(config: &SourceConfig, info: &ServerInfo) -> Result<SourceConfig, CodedError> {
    let source = format!("source {}", config.source_id);
    if let Some(err) = flavor_differs(config, info) {
        return Err(err.object(source));
    }
    if config.enable_gtid && !info.has_gtids() {
        return Err(gtid_is_off(config, info).object(source));
    }
    if config.server_id != 0 && config.server_id == info.server_id {
        return Err(CodedError::new(
            codes::INVALID_SERVER_ID,
            format!("invalid server id {}: it is the id of the source itself", config.server_id),
        )
        .object(source));
    }
    let mut filled = config.clone();
    filled.flavor = Some(info.flavor);
    while filled.server_id == 0 || filled.server_id == info.server_id {
        filled.server_id = rand::rng().random_range(OWN_SERVER_IDS);
    }
    Ok(filled)
}

/// The server is not what the configuration says.
pub(super) fn flavor_differs(config: &SourceConfig, info: &ServerInfo) -> Option<CodedError> {
    let configured = config.flavor.filter(|flavor| *flavor != info.flavor)?;
    let name = |flavor| match flavor {
        Flavor::Mysql => "mysql",
        Flavor::Mariadb => "mariadb",
    };
    let message = format!(
        "flavor {} not supported by this server: it is {} ({})",
        name(configured),
        name(info.flavor),
        info.version_string
    );
    Some(CodedError::new(codes::NOT_SUPPORTED_FLAVOR, message).scope(Scope::Upstream))
}

/// `enable-gtid` on a server that writes none.
pub(super) fn gtid_is_off(config: &SourceConfig, info: &ServerInfo) -> CodedError {
    CodedError::new(
        codes::SOURCE_CHECK_GTID,
        format!("{}:{} has GTID_MODE = {} instead of ON", config.from.host, config.from.port, info.gtid_mode),
    )
    .scope(Scope::Upstream)
}
