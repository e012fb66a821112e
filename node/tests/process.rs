//! The binary as a process: a node of one, the control tool against it, bad settings, the clean stop.

// Helpers outside of test functions fail the test in the same way.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn dmnode() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dmnode"));
    for name in
        ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "DM_MASTER_ADDR"]
    {
        command.env_remove(name);
    }
    command
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A node that ends with the test.
struct Node {
    child: Child,
    addr: String,
    log: PathBuf,
}

impl Node {
    fn start(dir: &Path, port: u16, more: &[&str]) -> Self {
        let addr = format!("127.0.0.1:{port}");
        let log = dir.join(format!("{port}.log"));
        let child = dmnode()
            .args(["start", "--addr", &addr, "--log-file"])
            .arg(&log)
            .args(["--data-dir"])
            .arg(dir.join(format!("data-{port}")))
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, addr, log }
    }

    fn ctl(&self, args: &[&str]) -> Output {
        dmnode().args(["ctl", "--master-addr", &self.addr]).args(args).output().unwrap()
    }

    fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.ctl(args);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|err| panic!("{err}: {output:?}\nlog:\n{}", self.log_text()))
    }

    fn wait(&mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the node does not end; log:\n{}", self.log_text());
    }

    fn stop(&mut self, signal: Signal) -> i32 {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
        self.wait()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_node_of_one_answers_and_stops_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut node = Node::start(dir.path(), port, &["--name", "n1"]);

    // The control tool waits for the node by itself.
    let members = node.json(&["list-member"]);
    let parts = members["members"].as_array().unwrap();
    assert_eq!(parts[0]["leader"]["name"], "n1", "{members:#}");
    assert_eq!(parts[1]["master"]["masters"][0]["alive"], true);
    assert_eq!(parts[1]["master"]["masters"][0]["peerURLs"][0], format!("http://127.0.0.1:{port}"));
    assert_eq!(parts[2]["worker"]["workers"][0]["stage"], "free");
    let only_leader = node.json(&["list-member", "-l"]);
    assert_eq!(only_leader["members"].as_array().unwrap().len(), 1);

    let empty = node.ctl(&["query-status"]);
    assert_eq!(empty.status.code(), Some(0));
    assert_eq!(
        String::from_utf8_lossy(&empty.stdout),
        "{\n    \"result\": true,\n    \"msg\": \"\",\n    \"tasks\": []\n}\n"
    );

    let unknown = node.ctl(&["pause-task", "nosuch"]);
    assert_eq!(unknown.status.code(), Some(1));
    let shown: Value = serde_json::from_slice(&unknown.stdout).unwrap();
    assert_eq!(shown["op"], "Pause");
    assert_eq!(shown["msg"], "task nosuch has no source or not exist, please check the task name and status");

    let config = node.json(&["config", "worker", "n1"]);
    assert!(config["cfg"].as_str().unwrap().contains("name = \"n1\""), "{config:#}");
    assert_eq!(node.json(&["get-config", "task", "x"])["msg"], "task not found");

    // Without a key nothing is encrypted, and the answer says what to do.
    let encrypt = node.ctl(&["encrypt", "secret"]);
    assert_eq!(encrypt.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&encrypt.stderr).contains("secret-key-path"));

    let diff = node.ctl(&["diff", "nosuch"]);
    assert_eq!(diff.status.code(), Some(1), "{diff:?}");

    assert_eq!(node.stop(Signal::SIGTERM), 0, "log:\n{}", node.log_text());

    // The same directory, the other signal, and the state is still there.
    let mut node = Node::start(dir.path(), port, &["--name", "n1"]);
    assert_eq!(node.json(&["list-member", "-m"])["members"][0]["master"]["masters"][0]["name"], "n1");
    assert_eq!(node.stop(Signal::SIGINT), 0, "log:\n{}", node.log_text());
}

#[test]
fn passwords_are_encrypted_with_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, "0f".repeat(32)).unwrap();
    let node = Node::start(dir.path(), free_port(), &["--secret-key-path", key.to_str().unwrap()]);
    let cipher = node.ctl(&["encrypt", "pa55"]);
    assert_eq!(cipher.status.code(), Some(0), "{cipher:?}");
    let cipher = String::from_utf8(cipher.stdout).unwrap().trim().to_owned();
    assert!(!cipher.contains("pa55"));
    let plain = node.ctl(&["decrypt", &cipher]);
    assert_eq!(String::from_utf8_lossy(&plain.stdout), "pa55\n");
    let as_json = node.json(&["encrypt", "pa55", "-o", "json"]);
    assert_eq!(as_json["result"], true);
}

#[test]
fn a_bad_setting_is_named_and_ends_with_two() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("node.toml");
    std::fs::write(&config, "nmae = \"n1\"\n").unwrap();
    let cases: Vec<(Vec<&str>, &str)> = vec![
        (vec!["start", "--addr", "nonsense"], "--addr `nonsense`"),
        (vec!["start", "--no-such-flag"], "--no-such-flag"),
        (vec!["start", "--config", config.to_str().unwrap()], "nmae"),
        (vec!["start", "--config", "/no/such/file.toml"], "/no/such/file.toml"),
        (
            vec!["start", "--join", "a:1", "--initial-cluster", "n1=127.0.0.1:8261"],
            "--join and --initial-cluster",
        ),
        (vec!["start", "--log-file", "/no/such/dir/x.log"], "/no/such/dir/x.log"),
        (vec!["start", "stray"], "stray"),
    ];
    for (args, part) in cases {
        let output = dmnode().args(&args).current_dir(dir.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(part), "{args:?}: {part} in {text}");
    }
    assert!(!dir.path().join("dmnode-data").exists(), "a refused start leaves nothing behind");
}

#[test]
fn a_port_in_use_is_said_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut node = Node::start(dir.path(), taken.local_addr().unwrap().port(), &[]);
    assert_eq!(node.wait(), 1);
    let mut text = String::new();
    node.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("is in use by another process"), "{text}");
}

#[test]
fn a_directory_of_another_node_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut node = Node::start(dir.path(), port, &["--name", "n1"]);
    node.json(&["list-member"]);
    // The directory is locked while its node runs.
    let data = dir.path().join(format!("data-{port}"));
    let other = dmnode()
        .args(["start", "--name", "n1", "--addr", &format!("127.0.0.1:{}", free_port()), "--data-dir"])
        .arg(&data)
        .output()
        .unwrap();
    assert_eq!(other.status.code(), Some(1), "{}", String::from_utf8_lossy(&other.stderr));
    assert_eq!(node.stop(Signal::SIGTERM), 0);
    let other = dmnode()
        .args(["start", "--name", "n2", "--addr", &format!("127.0.0.1:{}", free_port()), "--data-dir"])
        .arg(&data)
        .output()
        .unwrap();
    assert_eq!(other.status.code(), Some(1));
    let text = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(text.contains("n1") && text.contains("n2"), "{text}");
}

#[test]
fn the_control_tool_says_when_nobody_answers() {
    let output = dmnode()
        .args([
            "ctl",
            "--master-addr",
            &format!("127.0.0.1:{}", free_port()),
            "--rpc-timeout",
            "1s",
            "list-member",
        ])
        .env("https_proxy", "http://127.0.0.1:1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("no node answered") && text.contains("https_proxy is set and ignored"), "{text}");
}

#[test]
fn proxies_do_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), free_port(), &[]);
    let output = dmnode()
        .args(["ctl", "list-member"])
        .env("DM_MASTER_ADDR", &node.addr)
        .env("http_proxy", "http://127.0.0.1:1")
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn help_and_version() {
    let help = dmnode().arg("ctl").output().unwrap();
    let text = String::from_utf8_lossy(&help.stdout).into_owned() + &String::from_utf8_lossy(&help.stderr);
    assert!(text.contains("start-task") && text.contains("Exit codes"), "{text}");
    assert_eq!(help.status.code(), Some(0));
    let version = dmnode().arg("--version").output().unwrap();
    assert!(String::from_utf8_lossy(&version.stdout).contains(env!("CARGO_PKG_VERSION")));
    let usage = dmnode().args(["ctl", "start-task"]).output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
}
