//! Three real processes over HTTP, killed with SIGKILL one after the other while commands go in: whatever was
//! acknowledged is on every node in the end.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, Command as Process, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use dmnode_model::SourceId;
use dmnode_raft::{Command, CommandKind, Expected, RaftConfig, RaftNode};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

const NODE: &str = "DMNODE_TEST_NODE";
const CLUSTER: &str = "DMNODE_TEST_CLUSTER";
const DIR: &str = "DMNODE_TEST_DIR";
const ROUNDS: usize = 9;

struct Node {
    name: String,
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Node {
    fn start(name: &str, cluster: &str, dir: &Path) -> Self {
        let mut child = Process::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(NODE, name)
            .env(CLUSTER, cluster)
            .env(DIR, dir.join(name))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // A line cut by a kill lacks its end mark; libtest prints its own words in front of the first one.
                if let Some(line) = line.strip_suffix(" .") {
                    let line = line.rsplit("... ").next().unwrap_or(line).to_owned();
                    let _ = sender.send(line);
                }
            }
        });
        Self { name: name.to_owned(), child, stdin, lines }
    }

    fn wait_for(&self, word: &str) -> String {
        loop {
            match self.lines.recv_timeout(Duration::from_secs(40)) {
                Ok(line) if line.starts_with(word) => return line,
                Ok(line) => assert!(!line.starts_with("error"), "{}: {line}", self.name),
                Err(err) => panic!("{}: no `{word}`: {err}", self.name),
            }
        }
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.stdin, "{line}").unwrap();
        self.stdin.flush().unwrap();
        self.wait_for("answer")
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn acknowledged_commands_survive_kills_of_real_processes() {
    let dir = tempfile::tempdir().unwrap();
    let ports: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let cluster = ports
        .iter()
        .zip(1..)
        .map(|(port, n)| format!("n{n}={}", port.local_addr().unwrap()))
        .collect::<Vec<_>>()
        .join(",");
    drop(ports);
    let mut nodes: Vec<Node> =
        ["n1", "n2", "n3"].iter().map(|name| Node::start(name, &cluster, dir.path())).collect();
    for node in &nodes {
        node.wait_for("ready");
    }
    let mut acknowledged = BTreeSet::new();
    let mut slowest = Duration::ZERO;
    let mut random = StdRng::seed_from_u64(20_261_122);
    for round in 0..ROUNDS {
        for number in 0..10 {
            let name = format!("s{round}-{number}");
            let at = random.random_range(0..3);
            let answer = nodes[at].ask(&format!("put {name}"));
            assert!(answer.starts_with("answer ok"), "{name}: {answer}");
            acknowledged.insert(name);
        }
        // Every third time the leader, else anybody.
        let leader = nodes[0].ask("leader");
        let leader = nodes.iter().position(|node| leader.ends_with(&node.name)).unwrap();
        let victim = if round % 3 == 0 { leader } else { random.random_range(0..3) };
        let name = nodes[victim].name.clone();
        let other = (victim + 1) % 3;
        // A command in flight while it dies.
        writeln!(nodes[victim].stdin, "put flight{round}").unwrap();
        std::thread::sleep(Duration::from_millis(random.random_range(0..20)));
        nodes[victim].kill();
        let killed = Instant::now();
        let source = format!("k{round}");
        let answer = nodes[other].ask(&format!("put {source}"));
        assert!(answer.starts_with("answer ok"), "{source}: {answer}");
        slowest = slowest.max(killed.elapsed());
        acknowledged.insert(source);
        nodes[victim] = Node::start(&name, &cluster, dir.path());
        nodes[victim].wait_for("ready");
    }
    println!("slowest command after a kill: {slowest:?}");
    assert!(slowest < Duration::from_secs(30), "{slowest:?}");
    for node in &mut nodes {
        let list = node.ask("list");
        let there: BTreeSet<&str> = list.split(' ').skip(1).collect();
        let lost: Vec<_> = acknowledged.iter().filter(|name| !there.contains(name.as_str())).collect();
        assert!(lost.is_empty(), "{} has lost {lost:?}", node.name);
    }
}

#[test]
#[ignore = "is started by the other test"]
fn child() {
    let (Ok(name), Ok(cluster), Ok(dir)) = (std::env::var(NODE), std::env::var(CLUSTER), std::env::var(DIR))
    else {
        return;
    };
    let initial: BTreeMap<String, String> = cluster
        .split(',')
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, addr)| (name.to_owned(), addr.to_owned()))
        .collect();
    let mut config = RaftConfig::single(&name, &initial[&name], dir);
    config.initial_cluster = initial;
    config.request_timeout = Duration::from_secs(20);
    tokio::runtime::Runtime::new().unwrap().block_on(serve(config));
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line} .").unwrap();
    out.flush().unwrap();
}

async fn serve(config: RaftConfig) {
    let listener = tokio::net::TcpListener::bind(&config.addr).await.unwrap();
    let node = match RaftNode::start(config).await {
        Ok(node) => node,
        Err(err) => return say(&format!("error {err}")),
    };
    tokio::spawn(accept(listener, node.clone()));
    if let Err(err) = node.wait_ready().await {
        return say(&format!("error {err}"));
    }
    say("ready");
    let mut lines = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match line.split_once(' ') {
            Some(("put", source)) => {
                let command = Command::fresh(CommandKind::PutSource {
                    source: SourceId::new(source),
                    config: "x".repeat(2000),
                    expected: Expected::Absent,
                });
                match node.propose(command).await {
                    Ok(reply) if reply.outcome.is_ok() => say(&format!("answer ok {}", reply.index)),
                    Ok(reply) => say(&format!("answer refused {:?}", reply.outcome)),
                    Err(err) => say(&format!("answer failed {err}")),
                }
            }
            _ if line == "list" => match node.read().await {
                Ok((state, _)) => {
                    let names: Vec<&str> = state.sources.keys().map(SourceId::as_str).collect();
                    say(&format!("answer {}", names.join(" ")));
                }
                Err(err) => say(&format!("answer failed {err}")),
            },
            _ => {
                let leader = node.members().into_iter().find(|member| member.leader);
                say(&format!("answer {}", leader.map(|member| member.name).unwrap_or_default()));
            }
        }
    }
}

/// As much HTTP as the test needs.
async fn accept(listener: tokio::net::TcpListener, node: RaftNode) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let node = node.clone();
        tokio::spawn(async move {
            let mut stream = tokio::io::BufReader::new(stream);
            loop {
                let (mut path, mut length) = (String::new(), 0_usize);
                loop {
                    let mut line = String::new();
                    if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                        return;
                    }
                    let line = line.trim_end().to_ascii_lowercase();
                    if line.is_empty() {
                        break;
                    }
                    if let Some(rest) = line.strip_prefix("post /raft/") {
                        path = rest.split(' ').next().unwrap_or_default().to_owned();
                    }
                    if let Some(rest) = line.strip_prefix("content-length:") {
                        length = rest.trim().parse().unwrap();
                    }
                }
                let mut body = vec![0; length];
                if stream.read_exact(&mut body).await.is_err() {
                    return;
                }
                let (status, answer) = match node.handle_rpc(&path, body.into()).await {
                    Ok(answer) => ("200 OK", answer),
                    Err(err) => ("503 Service Unavailable", err.to_string().into_bytes()),
                };
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", answer.len());
                if stream.write_all(head.as_bytes()).await.is_err()
                    || stream.write_all(&answer).await.is_err()
                {
                    return;
                }
            }
        });
    }
}
