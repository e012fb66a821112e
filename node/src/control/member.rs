//! `list-member`: every node is a master and a worker.

use std::time::Duration;

use dmnode_model::api::ListMemberRequest;
use dmnode_model::ids::NodeId;
use dmnode_model::status::{
    LeaderMember, ListMemberResponse, MasterMember, MasterMembers, Members, WorkerMember, WorkerMembers,
};
use dmnode_raft::State;
use futures_util::future::join_all;

use super::{CommandResult, Control, Reply};

/// How long the answer waits for the group to know its leader; then it is given as things are.
const SETTLE_LIMIT: Duration = Duration::from_secs(2);

impl Control {
    /// Lists leader, masters and workers.
    pub async fn list_member(&self, request: &ListMemberRequest) -> CommandResult<ListMemberResponse> {
        // A group that has just come to be knows its leader a moment before the leader has put its own entry into the
        // state, and a node may see both a moment later than the leader.
        let settled = async {
            loop {
                let read = self.raft.read().await?;
                if self.raft.leader().is_some_and(|(id, _)| read.0.nodes.contains_key(&id)) {
                    return Ok(read);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let (state, index) = match tokio::time::timeout(SETTLE_LIMIT, settled).await {
            Ok(read) => read,
            Err(_) => self.raft.read().await,
        }?;
        // Without a flag DM shows all three.
        let all = !request.leader && !request.master && !request.worker;
        let is_named =
            |name: &str| request.names.is_empty() || request.names.iter().any(|wanted| wanted == name);
        let nodes: Vec<(NodeId, String, String)> = state
            .nodes
            .iter()
            .filter(|(_, entry)| is_named(&entry.name))
            .map(|(id, entry)| (*id, entry.name.clone(), entry.addr.clone()))
            .collect();
        let mut members = Vec::new();
        if all || request.leader {
            members.push(Members::Leader(self.leader(&state)));
        }
        let alive = join_all(nodes.iter().map(|(_, name, addr)| self.is_alive(name, addr))).await;
        let mut found: Vec<_> = nodes.into_iter().zip(alive).collect();
        found.sort_by(|((_, a, _), _), ((_, b, _), _)| a.cmp(b));
        if all || request.master {
            // A node that is still catching up has no vote yet, so it is no master.
            let voters: Vec<_> = self
                .raft
                .members()
                .into_iter()
                .filter(|member| member.voter)
                .map(|member| member.id)
                .collect();
            let masters = found
                .iter()
                .filter(|((id, _, _), _)| voters.contains(id))
                .map(|((id, name, addr), alive)| MasterMember {
                    name: name.clone(),
                    member_id: id.0,
                    alive: *alive,
                    peer_urls: vec![format!("http://{addr}")],
                    client_urls: vec![format!("http://{addr}")],
                })
                .collect();
            members.push(Members::Master(MasterMembers { msg: String::new(), masters }));
        }
        if all || request.worker {
            let workers = found
                .iter()
                .map(|((id, name, addr), alive)| worker(&state, *id, name, addr, *alive))
                .collect();
            members.push(Members::Worker(WorkerMembers { msg: String::new(), workers }));
        }
        Ok(Reply::new(index, ListMemberResponse { result: true, msg: String::new(), members }))
    }

    fn leader(&self, state: &State) -> LeaderMember {
        let Some((id, addr)) = self.raft.leader() else {
            return LeaderMember { msg: "no leader at the moment".to_owned(), ..LeaderMember::default() };
        };
        let name = state.nodes.get(&id).map(|entry| entry.name.clone()).unwrap_or_default();
        LeaderMember { msg: String::new(), name, addr }
    }

    async fn is_alive(&self, name: &str, addr: &str) -> bool {
        name == self.settings.name || self.peers.is_alive(addr).await
    }
}

fn worker(state: &State, id: NodeId, name: &str, addr: &str, alive: bool) -> WorkerMember {
    let sources: Vec<&str> = state.sources_of(id).map(|(source, _)| source.as_str()).collect();
    let stage = match (alive, sources.is_empty()) {
        (false, _) => "offline",
        (true, true) => "free",
        (true, false) => "bound",
    };
    WorkerMember {
        name: name.to_owned(),
        addr: addr.to_owned(),
        stage: stage.to_owned(),
        source: sources.join(", "),
    }
}
