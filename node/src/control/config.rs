//! `config`, `get-config`: what is stored, passwords masked.

use dmnode_model::api::{ConfigKind, GetConfigRequest};
use dmnode_model::config::{SourceConfig, TaskConfig};
use dmnode_model::error::CodedError;
use dmnode_model::ids::{SourceId, TaskName};
use dmnode_model::status::GetConfigResponse;

use super::{CommandResult, Control, Reply};

impl Control {
    /// Shows a stored configuration.
    pub async fn get_config(&self, request: &GetConfigRequest) -> CommandResult<GetConfigResponse> {
        let (state, index) = self.raft.read().await?;
        let key = self.settings.secret_key.as_ref();
        let found = match request.kind {
            ConfigKind::Task => state
                .tasks
                .get(&TaskName::new(request.name.clone()))
                .map(|entry| {
                    TaskConfig::from_yaml(&entry.config, key).map(|parsed| parsed.value.masked_yaml())
                })
                .ok_or("task not found"),
            ConfigKind::Source => state
                .sources
                .get(&SourceId::new(request.name.clone()))
                .map(|entry| {
                    SourceConfig::from_yaml(&entry.config, key).map(|parsed| parsed.value.masked_yaml())
                })
                .ok_or("source not found"),
            ConfigKind::Master | ConfigKind::Worker => {
                let missing =
                    if request.kind == ConfigKind::Master { "master not found" } else { "worker not found" };
                match state.node_by_name(&request.name) {
                    None => Err(missing),
                    Some(_) if request.name == self.settings.name => Ok(Ok(self.settings.to_toml())),
                    Some((_, entry)) => {
                        Ok(self.peers.config(&entry.addr).await.map(|answer| answer.toml).map_err(unanswered))
                    }
                }
            }
            ConfigKind::TaskTemplate => Err("task not found"),
        };
        let body = match found {
            Ok(Ok(cfg)) => GetConfigResponse { result: true, msg: String::new(), cfg },
            Ok(Err(err)) => GetConfigResponse { result: false, msg: err.to_string(), cfg: String::new() },
            Err(missing) => GetConfigResponse { result: false, msg: missing.to_owned(), cfg: String::new() },
        };
        Ok(Reply::new(index, body))
    }
}

fn unanswered(reason: String) -> CodedError {
    CodedError::new(
        dmnode_model::codes::WORKER_NO_START,
        "no mysql source is being handled in the worker, or it does not answer",
    )
    .cause(reason)
}
