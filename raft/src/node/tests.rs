//! Clusters in one process: messages go through a net that can be cut.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use dmnode_model::{NodeId, SourceId};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::codec;
use crate::rpc::{JoinReply, JoinRequest};
use crate::transport::{Transport, TransportError};
use crate::{
    Applied, Command, CommandKind, CommandReply, Expected, RaftConfig, RaftNode, RaftNodeError, RaftTiming,
    State,
};

#[derive(Clone, Default)]
struct Net {
    inner: Arc<Mutex<NetInner>>,
}

#[derive(Default)]
struct NetInner {
    nodes: BTreeMap<String, RaftNode>,
    /// Nodes that neither send nor receive.
    cut: BTreeSet<String>,
    /// Answers to these messages get lost.
    lose_answers: BTreeSet<&'static str>,
}

struct Port {
    net: Net,
    from: String,
}

#[async_trait]
impl Transport for Port {
    async fn call(
        &self,
        addr: &str,
        path: &'static str,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<Bytes, TransportError> {
        let (node, cut, lost) = {
            let net = self.net.inner.lock();
            let cut = net.cut.contains(addr) || net.cut.contains(&self.from);
            (net.nodes.get(addr).cloned(), cut, net.lose_answers.contains(path))
        };
        if cut {
            tokio::time::sleep(timeout).await;
            return Err(TransportError::NoAnswer("the net is cut".to_owned()));
        }
        let Some(node) = node else { return Err(TransportError::NotSent(format!("{addr}: nobody there"))) };
        let answer = tokio::time::timeout(timeout, node.handle_rpc(path, body.into())).await;
        match answer {
            Ok(Ok(_)) if lost => Err(TransportError::NoAnswer("the answer got lost".to_owned())),
            Ok(Ok(answer)) => Ok(answer.into()),
            Ok(Err(err)) => Err(TransportError::Rejected(err.to_string())),
            Err(_) => Err(TransportError::NoAnswer("timed out".to_owned())),
        }
    }
}

struct Cluster {
    net: Net,
    dir: TempDir,
    initial: BTreeMap<String, String>,
}

impl Cluster {
    fn new(names: &[&str]) -> Self {
        let initial = names.iter().map(|name| ((*name).to_owned(), addr(name))).collect();
        Self { net: Net::default(), dir: tempfile::tempdir().unwrap(), initial }
    }

    fn data_dir(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self, name: &str) -> RaftConfig {
        let mut config = RaftConfig::single(name, addr(name), self.data_dir(name));
        config.initial_cluster = self.initial.clone();
        config.source_lost_after = Duration::from_millis(1500);
        config.request_timeout = Duration::from_secs(10);
        config.timing = RaftTiming {
            heartbeat: Duration::from_millis(150),
            election_min: Duration::from_millis(600),
            election_max: Duration::from_millis(1000),
            ping: Duration::from_millis(150),
            snapshot_after: 50,
            keep_entries: 20,
        };
        config
    }

    async fn start(&self, name: &str) -> Result<RaftNode, RaftNodeError> {
        self.start_with(self.config(name)).await
    }

    async fn start_with(&self, config: RaftConfig) -> Result<RaftNode, RaftNodeError> {
        let at = config.addr.clone();
        let port = Port { net: self.net.clone(), from: at.clone() };
        let node = RaftNode::start_with(config, Arc::new(port)).await?;
        self.net.inner.lock().nodes.insert(at, node.clone());
        Ok(node)
    }

    async fn stop(&self, node: &RaftNode) {
        self.net.inner.lock().nodes.remove(&addr(node.name()));
        node.shutdown().await;
    }

    fn cut(&self, name: &str) {
        self.net.inner.lock().cut.insert(addr(name));
    }

    fn heal(&self) {
        let mut net = self.net.inner.lock();
        net.cut.clear();
        net.lose_answers.clear();
    }

    async fn three() -> (Self, Vec<RaftNode>) {
        let cluster = Self::new(&["n1", "n2", "n3"]);
        let mut nodes = Vec::new();
        for name in ["n3", "n1", "n2"] {
            nodes.push(cluster.start(name).await.unwrap());
        }
        for node in &nodes {
            node.wait_ready().await.unwrap();
        }
        nodes.sort_by_key(|node| node.id());
        eventually("three voters", || {
            nodes.iter().all(|node| node.members().iter().filter(|m| m.voter && m.alive).count() == 3)
        })
        .await;
        (cluster, nodes)
    }
}

fn addr(name: &str) -> String {
    format!("{name}:8261")
}

async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while !check() {
        assert!(Instant::now() < give_up, "it never came to: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn leader(nodes: &[RaftNode]) -> &RaftNode {
    nodes.iter().find(|node| node.is_leader()).unwrap()
}

fn put_source(name: &str) -> Command {
    Command::fresh(CommandKind::PutSource {
        source: name.into(),
        config: "config".to_owned(),
        expected: Expected::Absent,
    })
}

async fn write(node: &RaftNode, source: &str) -> CommandReply {
    let reply = node.propose(put_source(source)).await.unwrap();
    assert!(reply.outcome.is_ok(), "{reply:?}");
    reply
}

fn has(state: &State, source: &str) -> bool {
    state.sources.contains_key(&SourceId::new(source))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn a_single_node_is_a_cluster_of_one_and_keeps_its_state() {
    runtime().block_on(async {
        let cluster = Cluster::new(&[]);
        let node = cluster.start("alone").await.unwrap();
        node.wait_ready().await.unwrap();
        assert_eq!(node.id(), Some(NodeId(1)));
        let reply = write(&node, "a").await;
        let (state, index) = node.read().await.unwrap();
        assert!(has(&state, "a") && index >= reply.index);
        eventually("placed", || node.local_state().owner_of(&"a".into()).is_some()).await;
        // Across snapshots.
        for number in 0..120 {
            write(&node, &format!("s{number}")).await;
        }
        let before = node.cluster_id();
        let node = restart(&cluster, &node).await;
        assert_eq!(node.cluster_id(), before);
        let (state, _) = node.read().await.unwrap();
        assert!(has(&state, "a") && has(&state, "s119"));
        write(&node, "b").await;
    });
}

async fn restart(cluster: &Cluster, node: &RaftNode) -> RaftNode {
    cluster.stop(node).await;
    let node = cluster.start(node.name()).await.unwrap();
    node.wait_ready().await.unwrap();
    node
}

#[test]
fn three_nodes_elect_write_and_survive_the_leader() {
    runtime().block_on(async {
        let (cluster, nodes) = Cluster::three().await;
        let ids: Vec<_> = nodes.iter().map(|node| (node.id().unwrap().0, node.name())).collect();
        assert_eq!(ids, [(1, "n1"), (2, "n2"), (3, "n3")]);
        // Every node takes orders, and every node reads what was acknowledged.
        for (number, node) in nodes.iter().enumerate() {
            let name = format!("s{number}");
            let reply = write(node, &name).await;
            for reader in &nodes {
                let (state, index) = reader.read().await.unwrap();
                assert!(has(&state, &name) && index >= reply.index);
            }
        }
        eventually("placed", || leader(&nodes).local_state().assignments.len() == 3).await;
        let state = leader(&nodes).local_state();
        for id in 1..=3 {
            assert_eq!(state.sources_of(NodeId(id)).count(), 1, "{:?}", state.assignments);
        }

        let dead = leader(&nodes).clone();
        let dead_id = dead.id().unwrap();
        let killed = Instant::now();
        cluster.stop(&dead).await;
        let rest: Vec<RaftNode> = nodes.iter().filter(|node| node.id() != Some(dead_id)).cloned().collect();
        let follower = &rest[0];
        let reply = write(follower, "after").await;
        assert!(killed.elapsed() < Duration::from_secs(30), "{:?}", killed.elapsed());
        let (state, index) = rest[1].read().await.unwrap();
        assert!(has(&state, "after") && index >= reply.index);
        // Its source moves, under a higher epoch.
        eventually("moved", || rest[0].local_state().sources_of(dead_id).count() == 0).await;
        let now = rest[0].local_state();
        for (source, assignment) in &now.assignments {
            let before = state.assignments.get(source).map(|a| a.epoch);
            assert!(before.is_none_or(|before| before <= assignment.epoch));
        }
        // It comes back.
        let back = cluster.start(dead.name()).await.unwrap();
        back.wait_ready().await.unwrap();
        let (state, _) = back.read().await.unwrap();
        assert!(has(&state, "after"));
        assert_eq!(back.id(), Some(dead_id));
    });
}

#[test]
fn a_lagging_follower_gets_a_snapshot() {
    runtime().block_on(async {
        let (cluster, nodes) = Cluster::three().await;
        let lagging = nodes.iter().find(|node| !node.is_leader()).unwrap().clone();
        let writer = nodes.iter().find(|node| node.id() != lagging.id()).unwrap().clone();
        cluster.stop(&lagging).await;
        for number in 0..200 {
            write(&writer, &format!("s{number}")).await;
        }
        let raft = leader(&nodes).trigger_snapshot().unwrap().clone();
        let purged = || raft.metrics().borrow().purged.map_or(0, |id| id.index);
        let before = lagging.applied_index();
        eventually("the log was purged", || purged() > before).await;
        let back = cluster.start(lagging.name()).await.unwrap();
        back.wait_ready().await.unwrap();
        let (state, _) = back.read().await.unwrap();
        assert!(has(&state, "s199"));
        // The placing of the sources may still go on.
        eventually("the same state", || back.local_state() == leader(&nodes).local_state()).await;
        let snapshot = back.trigger_snapshot().unwrap().metrics().borrow().snapshot;
        assert!(snapshot.is_some());
        // The installed snapshot survives a restart.
        let back = restart(&cluster, &back).await;
        assert!(has(&back.read().await.unwrap().0, "s199"));
    });
}

#[test]
fn f25_a_known_node_on_an_empty_directory_is_refused_and_comes_back_with_replace() {
    runtime().block_on(async {
        let (cluster, nodes) = Cluster::three().await;
        write(&nodes[0], "before").await;
        let lost = nodes.iter().find(|node| !node.is_leader()).unwrap().clone();
        let name = lost.name().to_owned();
        cluster.stop(&lost).await;
        std::fs::remove_dir_all(cluster.data_dir(&name)).unwrap();

        for join in [false, true] {
            let mut config = cluster.config(&name);
            if join {
                config.initial_cluster.clear();
                config.join = cluster.initial.values().cloned().collect();
            }
            let node = cluster.start_with(config).await.unwrap();
            let RaftNodeError::Refused(text) = node.wait_ready().await.unwrap_err() else { panic!() };
            for part in [&name, "is known to cluster", "--replace", "--data-dir OLD-DIRECTORY", "not mounted"]
            {
                assert!(text.contains(part), "{part} is missing in: {text}");
            }
            cluster.stop(&node).await;
        }

        let mut config = cluster.config(&name);
        config.initial_cluster.clear();
        config.join = vec![addr(leader(&nodes).name())];
        config.replace = true;
        let node = cluster.start_with(config.clone()).await.unwrap();
        node.wait_ready().await.unwrap();
        assert_eq!(node.id(), Some(NodeId(4)));
        assert!(has(&node.read().await.unwrap().0, "before"));
        eventually("the old one left, the new one votes", || {
            let members = node.members();
            members.len() == 3 && members.iter().all(|m| m.voter && Some(m.id) != lost.id())
        })
        .await;
        // A unit file that keeps the flag does no harm.
        cluster.stop(&node).await;
        let node = cluster.start_with(config).await.unwrap();
        node.wait_ready().await.unwrap();
        assert_eq!(node.id(), Some(NodeId(4)));
        write(&node, "after").await;
    });
}

#[test]
fn a_replaced_node_whose_disk_turns_up_again_is_told_to_stop() {
    runtime().block_on(async {
        let (cluster, nodes) = Cluster::three().await;
        let lost = nodes.iter().find(|node| !node.is_leader()).unwrap().clone();
        let name = lost.name().to_owned();
        cluster.stop(&lost).await;
        let aside = cluster.dir.path().join("aside");
        std::fs::rename(cluster.data_dir(&name), &aside).unwrap();
        let mut config = cluster.config(&name);
        config.initial_cluster.clear();
        config.join = vec![addr(leader(&nodes).name())];
        config.replace = true;
        let new = cluster.start_with(config).await.unwrap();
        new.wait_ready().await.unwrap();
        cluster.stop(&new).await;
        let mut config = cluster.config(&name);
        config.data_dir = aside;
        let old = cluster.start_with(config).await.unwrap();
        let failure = tokio::time::timeout(Duration::from_secs(10), old.wait_failed()).await.unwrap();
        assert!(failure.to_string().contains("replaced or removed"), "{failure}");
        assert!(old.read().await.is_err());
    });
}

#[test]
fn a_directory_of_another_node_or_cluster_is_refused() {
    runtime().block_on(async {
        let cluster = Cluster::new(&[]);
        let node = cluster.start("one").await.unwrap();
        node.wait_ready().await.unwrap();
        cluster.stop(&node).await;
        let mut config = cluster.config("two");
        config.data_dir = cluster.data_dir("one");
        let text = cluster.start_with(config).await.err().unwrap().to_string();
        assert!(text.contains("belongs to node `one`"), "{text}");

        let other = cluster.start("two").await.unwrap();
        other.wait_ready().await.unwrap();
        let mut config = cluster.config("one");
        config.join = vec![addr("two")];
        let node = cluster.start_with(config).await.unwrap();
        let text = node.wait_ready().await.unwrap_err().to_string();
        assert!(text.contains("belongs to cluster"), "{text}");
    });
}

#[test]
fn a_minority_decides_nothing_and_says_that_it_is_unknown() {
    runtime().block_on(async {
        let (cluster, nodes) = Cluster::three().await;
        let old = leader(&nodes).clone();
        cluster.cut(old.name());
        let command = put_source("a");
        let began = Instant::now();
        let err = old.propose(command.clone()).await.unwrap_err();
        assert!(matches!(err, RaftNodeError::Unknown { .. }), "{err}");
        assert!(began.elapsed() < Duration::from_secs(30));
        assert!(old.read().await.is_err(), "a stale read");
        // The majority has gone on.
        let rest: Vec<RaftNode> = nodes.iter().filter(|node| node.id() != old.id()).cloned().collect();
        write(&rest[0], "b").await;
        cluster.heal();
        // Repeated under the same id it is applied once, and tells.
        let reply = rest[0].propose(command.clone()).await.unwrap();
        assert!(matches!(reply.outcome, Ok(Applied::Source { .. })), "{reply:?}");
        assert_eq!(rest[1].propose(command.clone()).await.unwrap(), reply);
        let (state, _) = old.read().await.unwrap();
        assert!(has(&state, "a") && has(&state, "b"));
    });
}

#[test]
fn a_command_whose_answer_is_lost_is_applied_once() {
    runtime().block_on(async {
        let (cluster, nodes) = Cluster::three().await;
        let follower = nodes.iter().find(|node| !node.is_leader()).unwrap();
        cluster.net.inner.lock().lose_answers.insert("propose");
        let net = cluster.net.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            net.inner.lock().lose_answers.clear();
        });
        // Created twice, the second time would be refused.
        write(follower, "a").await;
    });
}

#[test]
fn a_node_joins_a_running_cluster() {
    runtime().block_on(async {
        let cluster = Cluster::new(&[]);
        let first = cluster.start("first").await.unwrap();
        first.wait_ready().await.unwrap();
        write(&first, "a").await;
        let mut nodes = vec![first];
        for (name, id) in [("second", 2), ("third", 3)] {
            let mut config = cluster.config(name);
            config.join = vec![addr("first")];
            let node = cluster.start_with(config).await.unwrap();
            node.wait_ready().await.unwrap();
            assert_eq!(node.id(), Some(NodeId(id)));
            assert!(has(&node.read().await.unwrap().0, "a"));
            nodes.push(node);
        }
        eventually("three voters", || nodes[2].members().iter().filter(|m| m.voter).count() == 3).await;
        // One removed by an operator leaves the membership and learns of it.
        let remove = Command::fresh(CommandKind::RemoveNode { node: NodeId(2) });
        assert!(nodes[0].propose(remove).await.unwrap().outcome.is_ok());
        eventually("two members", || nodes[0].members().len() == 2).await;
        let failure = tokio::time::timeout(Duration::from_secs(10), nodes[1].wait_failed()).await.unwrap();
        assert!(failure.to_string().contains("replaced or removed"), "{failure}");
    });
}

#[test]
fn a_node_with_a_damaged_store_says_so_and_comes_back_with_replace() {
    runtime().block_on(async {
        let (cluster, nodes) = Cluster::three().await;
        write(&nodes[0], "a").await;
        let hurt = nodes.iter().find(|node| !node.is_leader()).unwrap().clone();
        let name = hurt.name().to_owned();
        cluster.stop(&hurt).await;
        let db = cluster.data_dir(&name).join("raft/sled/db");
        let bytes = std::fs::read(&db).unwrap();
        std::fs::write(&db, &bytes[..600]).unwrap();
        for _ in 0..2 {
            let text = cluster.start(&name).await.err().unwrap().to_string();
            assert!(text.contains("cannot be trusted") && text.contains("--replace"), "{text}");
        }
        assert!(quarantines(&cluster.data_dir(&name)) == 1);
        let mut config = cluster.config(&name);
        config.initial_cluster.clear();
        config.join = vec![addr(leader(&nodes).name())];
        config.replace = true;
        let node = cluster.start_with(config).await.unwrap();
        node.wait_ready().await.unwrap();
        assert_eq!(node.id(), Some(NodeId(4)));
        assert!(has(&node.read().await.unwrap().0, "a"));
    });
}

fn quarantines(dir: &Path) -> usize {
    std::fs::read_dir(dir)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("quarantine-"))
        .count()
}

#[test]
fn contradictory_settings_are_named() {
    runtime().block_on(async {
        let cluster = Cluster::new(&["n1", "n2"]);
        let mut config = cluster.config("n3");
        let text = cluster.start_with(config.clone()).await.err().unwrap().to_string();
        assert!(text.contains("does not name this node, `n3`"), "{text}");
        config.initial_cluster.clear();
        config.replace = true;
        let text = cluster.start_with(config).await.err().unwrap().to_string();
        assert!(text.contains("--join"), "{text}");
        let mut config = cluster.config("n1");
        config.addr = "elsewhere:1".to_owned();
        let text = cluster.start_with(config).await.err().unwrap().to_string();
        assert!(text.contains("elsewhere:1"), "{text}");
    });
}

#[test]
fn foreign_messages_get_an_error() {
    runtime().block_on(async {
        let cluster = Cluster::new(&[]);
        let node = cluster.start("alone").await.unwrap();
        node.wait_ready().await.unwrap();
        for path in ["append", "vote", "snapshot", "propose", "read", "ping", "join", "nonsense"] {
            for body in
                [&b""[..], b"\x01", b"\x02\x00", b"\x01\xff\xff\xff\xff\xff\xff\xff\xff", b"GET / HTTP/1.1"]
            {
                assert!(node.handle_rpc(path, Bytes::copy_from_slice(body)).await.is_err(), "{path}");
            }
        }
        write(&node, "a").await;
    });
}

async fn two() -> (Cluster, Vec<RaftNode>) {
    let cluster = Cluster::new(&["n1", "n2"]);
    let nodes = vec![cluster.start("n1").await.unwrap(), cluster.start("n2").await.unwrap()];
    eventually("two voters", || {
        nodes.iter().all(|node| node.members().iter().filter(|m| m.voter && m.alive).count() == 2)
    })
    .await;
    (cluster, nodes)
}

/// Removes a live node: the others go on, and it learns of it.
async fn remove(nodes: &[RaftNode], removed: &RaftNode) {
    let node = removed.id().unwrap();
    let reply = removed.propose(Command::fresh(CommandKind::RemoveNode { node })).await.unwrap();
    assert!(reply.outcome.is_ok(), "{reply:?}");
    let failure = tokio::time::timeout(Duration::from_secs(20), removed.wait_failed()).await.unwrap();
    assert!(failure.to_string().contains("replaced or removed"), "{failure}");
    let rest: Vec<&RaftNode> = nodes.iter().filter(|other| other.id() != removed.id()).collect();
    for other in &rest {
        write(other, &format!("after-{}-by-{}", removed.name(), other.name())).await;
        let voters = other.members().iter().filter(|m| m.voter).count();
        assert_eq!((voters, other.members().len()), (rest.len(), rest.len()));
        assert!(other.inner.lifecycle.failure().is_none());
    }
}

#[test]
fn of_two_nodes_the_follower_can_be_removed() {
    runtime().block_on(async {
        let (_cluster, nodes) = two().await;
        let follower = nodes.iter().find(|node| !node.is_leader()).unwrap();
        remove(&nodes, follower).await;
    });
}

#[test]
fn of_two_nodes_the_leader_can_be_removed() {
    runtime().block_on(async {
        let (_cluster, nodes) = two().await;
        remove(&nodes, leader(&nodes)).await;
    });
}

#[test]
fn of_three_nodes_the_leader_can_be_removed() {
    runtime().block_on(async {
        let (_cluster, nodes) = Cluster::three().await;
        remove(&nodes, leader(&nodes)).await;
    });
}

async fn ask_to_join(at: &RaftNode, name: &str, replace: bool) -> JoinReply {
    let (name, incarnation) = (name.to_owned(), "another".to_owned());
    let request = JoinRequest { addr: addr(&name), name, incarnation, replace };
    let answer = at.handle_rpc("join", codec::encode(&request).unwrap().into()).await.unwrap();
    codec::decode(&answer).unwrap()
}

#[test]
fn a_node_at_work_is_not_replaced() {
    runtime().block_on(async {
        let (_cluster, nodes) = two().await;
        for name in ["n1", "n2"] {
            let JoinReply::NotReady(text) = ask_to_join(&nodes[0], name, true).await else { panic!() };
            assert!(text.contains("stop it") && text.contains("--name"), "{text}");
        }
        let (state, _) = nodes[0].read().await.unwrap();
        assert_eq!(state.nodes.keys().map(|id| id.0).collect::<Vec<_>>(), [1, 2]);
    });
}

#[test]
fn f25_without_a_majority_names_the_reason_and_the_commands() {
    runtime().block_on(async {
        let (cluster, nodes) = two().await;
        cluster.stop(&nodes[1]).await;
        eventually("silent", || nodes[0].live_nodes().len() == 1).await;
        for replace in [false, true] {
            let JoinReply::NotReady(text) = ask_to_join(&nodes[0], "n2", replace).await else { panic!() };
            for part in [
                "1 of 2 voting nodes are up (n1), 2 are needed",
                "--addr n2:8261 --data-dir OLD-DIRECTORY",
                "none can be spared",
                "--initial-cluster n1=n1:8261,n2=n2:8261",
            ] {
                assert!(text.contains(part), "{part} is missing in: {text}");
            }
        }
        // The old directory brings all back.
        let back = cluster.start("n2").await.unwrap();
        back.wait_ready().await.unwrap();
        write(&back, "a").await;
    });
}

#[test]
fn a_node_whose_raft_panics_ends_and_says_so() {
    runtime().block_on(async {
        let cluster = Cluster::new(&[]);
        let node = cluster.start("alone").await.unwrap();
        node.wait_ready().await.unwrap();
        node.trigger_snapshot().unwrap().external_request(|_| panic!("on purpose"));
        let failure = tokio::time::timeout(Duration::from_secs(5), node.wait_failed()).await.unwrap();
        assert!(matches!(failure, RaftNodeError::Stopped(_)), "{failure:?}");
        assert!(failure.to_string().contains("Raft panicked"), "{failure}");
        assert!(node.propose(put_source("a")).await.is_err());
        tokio::time::timeout(Duration::from_secs(5), node.shutdown()).await.unwrap();
        // The directory is released, and in order.
        let node = cluster.start("alone").await.unwrap();
        node.wait_ready().await.unwrap();
        // A task of ours likewise.
        node.inner.spawn("trying", async { panic!("on purpose") });
        let failure = tokio::time::timeout(Duration::from_secs(5), node.wait_failed()).await.unwrap();
        assert!(failure.to_string().contains("trying panicked: on purpose"), "{failure}");
    });
}
