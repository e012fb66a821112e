//! `transfer-source`.

use std::time::{Duration, Instant};

use dmnode_model::api::TransferSourceRequest;
use dmnode_model::codes;
use dmnode_model::error::CodedError;
use dmnode_model::ids::SourceId;
use dmnode_model::status::PlainResponse;
use dmnode_raft::CommandKind;

use super::{CommandResult, Control, Reply, earlier_reply, refusal_text};

/// How long the new owner may take to show the source.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(250);

impl Control {
    /// Moves a source. Tasks need not be paused for it, as in DM: they stop at the old owner because of the
    /// new epoch, and go on exactly where they were at the new one, in whatever unit they are.
    pub async fn transfer_source(
        &self,
        request_id: &str,
        request: &TransferSourceRequest,
    ) -> CommandResult<PlainResponse> {
        let (state, index) = self.raft.read().await?;
        let refused = |index: u64, msg: String| Reply::new(index, PlainResponse { result: false, msg });
        let coded = |code: u32, text: String| CodedError::new(code, text).to_string();
        let source = SourceId::new(request.source.clone());
        let mut reply = earlier_reply(&state, request_id, "assign").cloned();
        if !state.sources.contains_key(&source) {
            let text = format!("source config with ID {source} not exists");
            return Ok(refused(index, coded(codes::SCHEDULER_SOURCE_CFG_NOT_EXIST, text)));
        }
        let Some((node, entry)) = state.node_by_name(&request.worker) else {
            let text = format!("dm-worker with name {} not exists", request.worker);
            return Ok(refused(index, coded(codes::SCHEDULER_WORKER_NOT_EXIST, text)));
        };
        let addr = entry.addr.clone();
        if reply.is_none() {
            if state.owner_of(&source).is_some_and(|(owner, _)| owner == node) {
                return Ok(Reply::new(index, PlainResponse { result: true, msg: String::new() }));
            }
            if request.worker != self.settings.name && !self.peers.is_alive(&addr).await {
                let text = format!(
                    "invalid stage transformation for dm-worker {}, from offline to bound",
                    request.worker
                );
                return Ok(refused(index, coded(codes::SCHEDULER_WORKER_INVALID_TRANS, text)));
            }
            let expected_epoch = state.assignments.get(&source).map(|assignment| assignment.epoch);
            let kind = CommandKind::Assign { source: source.clone(), node, expected_epoch, pinned: true };
            reply = Some(self.propose(request_id, "assign", kind).await?);
        }
        let Some(reply) = reply else { return Ok(refused(index, "the source was not moved".to_owned())) };
        if let Err(refusal) = &reply.outcome {
            return Ok(refused(reply.index, refusal_text(refusal)));
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = self.raft.local_state();
            let is_owner = state.owner_of(&source).is_some_and(|(owner, _)| owner == node);
            let sources = [source.clone()];
            if is_owner && matches!(self.statuses(&state, &sources).await.remove(&source), Some(Ok(_))) {
                return Ok(Reply::new(reply.index, PlainResponse { result: true, msg: String::new() }));
            }
            if Instant::now() >= deadline {
                let err =
                    CodedError::new(codes::MASTER_FAIL_TO_GET_EXPECT_RESULT, "fail to get expected result")
                        .remedy("the move is stored; `query-status` shows when the new node has begun");
                return Ok(refused(reply.index, err.to_string()));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
