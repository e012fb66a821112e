//! One to three `dmnode` processes and everything a test or the world does to them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::files::{SourceFile, TaskFile};
use crate::process::{self, OwnedProcess, log_tail};
use crate::server::PASSWORD;
use crate::wait::wait_until;
use crate::workspace;

/// How long a cluster may take until it answers.
pub const READY_LIMIT: Duration = Duration::from_secs(30);
/// A `ctl` command never takes longer; it must answer before.
const CTL_LIMIT: Duration = Duration::from_secs(120);

/// What `dmnode ctl` did.
#[derive(Clone, Debug)]
pub struct CtlOutput {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl CtlOutput {
    /// The answer as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("no JSON: {self}"))
    }

    /// Fails unless the exit code is 0.
    pub fn success(self) -> Result<Self> {
        if self.code != 0 {
            bail!("dmnode ctl failed: {self}");
        }
        Ok(self)
    }

    /// Standard output and error together, for a look at messages.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl std::fmt::Display for CtlOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {}\nstdout: {}\nstderr: {}", self.code, self.stdout, self.stderr)
    }
}

/// One node.
pub struct Node {
    /// Its name: n1, n2, …
    pub name: String,
    /// HOST:PORT.
    pub addr: String,
    /// Its data directory.
    pub data_dir: PathBuf,
    process: Option<OwnedProcess>,
}

/// The nodes, and `dmnode ctl` against all of them.
pub struct Cluster {
    /// Everything of this cluster: logs, data directories, files of tasks.
    pub dir: PathBuf,
    /// The nodes, killed ones included.
    pub nodes: Vec<Node>,
    /// `--secret-key-path` of all nodes.
    key: Option<PathBuf>,
    finished: bool,
}

impl Cluster {
    /// Starts `count` nodes and waits until they have a leader.
    pub async fn start(name: &str, count: usize) -> Result<Self> {
        Self::start_with_key(name, count, None).await
    }

    /// The same with `--secret-key-path`.
    pub async fn start_with_key(name: &str, count: usize, key: Option<&Path>) -> Result<Self> {
        let dir = workspace::fresh_dir(name)?;
        std::fs::create_dir_all(dir.join("failpoints"))?;
        let mut nodes = Vec::new();
        for number in 1..=count {
            nodes.push(Node {
                name: format!("n{number}"),
                addr: format!("127.0.0.1:{}", workspace::free_port()?),
                data_dir: dir.join(format!("n{number}")),
                process: None,
            });
        }
        let mut cluster = Self { dir, nodes, key: key.map(Path::to_owned), finished: false };
        for index in 0..count {
            cluster.launch(index)?;
        }
        cluster.wait_ready().await?;
        Ok(cluster)
    }

    /// Starts a node that is not running, on the data it has.
    pub fn launch(&mut self, index: usize) -> Result<()> {
        let members: Vec<String> =
            self.nodes.iter().map(|node| format!("{}={}", node.name, node.addr)).collect();
        let failpoints = self.dir.join("failpoints");
        let log = self.log(index);
        let node = self.nodes.get_mut(index).context("no such node")?;
        let mut command = process::command(workspace::binary("dmnode")?);
        command
            .args([
                "start",
                "--name",
                &node.name,
                "--addr",
                &node.addr,
                "--initial-cluster",
                &members.join(","),
            ])
            .arg("--data-dir")
            .arg(&node.data_dir)
            .args(["--log-level", "info"])
            .args(self.key.iter().flat_map(|key| [OsStr::new("--secret-key-path"), key.as_os_str()]))
            .env("DMNODE_FAILPOINT_DIR", failpoints)
            .env("RUST_BACKTRACE", "0");
        node.process = Some(OwnedProcess::start(&node.name, command, &log)?);
        Ok(())
    }

    /// Waits until some node names a leader.
    pub async fn wait_ready(&self) -> Result<()> {
        wait_until("the cluster has a leader", READY_LIMIT, async || match self.leader().await {
            Ok(_) => Ok(Ok(())),
            Err(err) => Ok(Err(format!("{err:#}"))),
        })
        .await
    }

    /// The log of a node.
    pub fn log(&self, index: usize) -> PathBuf {
        self.dir.join(format!("n{}.log", index + 1))
    }

    /// Addresses of all nodes, separated by commas.
    pub fn addresses(&self) -> String {
        self.nodes.iter().map(|node| node.addr.as_str()).collect::<Vec<_>>().join(",")
    }

    /// `dmnode ctl … -o json` against all nodes.
    pub async fn ctl(&self, arguments: &[&str]) -> Result<CtlOutput> {
        self.ctl_at(&self.addresses(), arguments, &[]).await
    }

    /// `dmnode ctl … -o json` against the given addresses, with variables in its environment.
    pub async fn ctl_at(
        &self,
        addresses: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<CtlOutput> {
        let mut command = tokio::process::Command::new(workspace::binary("dmnode")?);
        command
            .args(["ctl", "--master-addr", addresses, "-o", "json"])
            .args(arguments)
            .envs(environment.iter().copied())
            .current_dir(&self.dir)
            .kill_on_drop(true);
        let output = tokio::time::timeout(CTL_LIMIT, command.output()).await.with_context(|| {
            format!("dmnode ctl {} did not end within {CTL_LIMIT:?}", arguments.join(" "))
        })??;
        Ok(CtlOutput {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Writes a file into the cluster's directory and returns its path as text.
    pub fn write(&self, name: &str, text: &str) -> Result<String> {
        let path = self.dir.join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// `operate-source create`, whatever it answers.
    pub async fn try_create_source(&self, source: &SourceFile) -> Result<CtlOutput> {
        let file = self.write(&format!("source-{}.yaml", source.id), &source.yaml())?;
        self.ctl(&["operate-source", "create", &file]).await
    }

    /// `operate-source create`; must succeed.
    pub async fn create_source(&self, source: &SourceFile) -> Result<()> {
        self.try_create_source(source).await?.success()?;
        Ok(())
    }

    /// `start-task`, whatever it answers.
    pub async fn try_start_task(&self, task: &TaskFile) -> Result<CtlOutput> {
        let file = self.write(&format!("task-{}.yaml", task.name), &task.yaml())?;
        self.ctl(&["start-task", &file]).await
    }

    /// `start-task`; must succeed.
    pub async fn start_task(&self, task: &TaskFile) -> Result<()> {
        self.try_start_task(task).await?.success()?;
        Ok(())
    }

    /// `check-task`, whatever it answers.
    pub async fn check_task(&self, task: &TaskFile) -> Result<CtlOutput> {
        let file = self.write(&format!("task-{}.yaml", task.name), &task.yaml())?;
        self.ctl(&["check-task", &file]).await
    }

    /// The status of one subtask, as `query-status TASK` shows it.
    pub async fn subtask(&self, task: &str, source: &str) -> Result<Value> {
        let output = self.ctl(&["query-status", task]).await?;
        let answer = output.json()?;
        let sources = answer["sources"].as_array().with_context(|| format!("no sources in {output}"))?;
        sources
            .iter()
            .filter(|entry| entry["sourceStatus"]["source"] == source)
            .filter_map(|entry| entry["subTaskStatus"].as_array())
            .flatten()
            .find(|subtask| subtask["name"] == task)
            .cloned()
            .with_context(|| format!("no subtask {task} of {source} in {output}"))
    }

    /// Waits until a subtask shows a stage (and a unit, if given); an error on the way fails the wait at once, unless the
    /// error is what is waited for.
    pub async fn wait_stage(
        &self,
        task: &str,
        source: &str,
        stage: &str,
        unit: Option<&str>,
        limit: Duration,
    ) -> Result<Value> {
        wait_until(&format!("{task} of {source} is {stage} {}", unit.unwrap_or("")), limit, async || {
            let status = match self.subtask(task, source).await {
                Ok(status) => status,
                Err(err) => return Ok(Err(format!("{err:#}"))),
            };
            if status["stage"] == stage && unit.is_none_or(|unit| status["unit"] == unit) {
                return Ok(Ok(status));
            }
            let errors = &status["result"]["errors"];
            if stage != "Paused"
                && status["stage"] == "Paused"
                && errors.as_array().is_some_and(|errors| !errors.is_empty())
            {
                bail!("the subtask stopped with an error instead: {errors:#}");
            }
            Ok(Err(status.to_string()))
        })
        .await
    }

    /// The first error a paused subtask shows.
    pub async fn wait_error(&self, task: &str, source: &str, limit: Duration) -> Result<Value> {
        wait_until(&format!("{task} of {source} shows an error"), limit, async || {
            let status = self.subtask(task, source).await?;
            let error = status["result"]["errors"][0].clone();
            Ok(if error.is_null() { Err(status.to_string()) } else { Ok(error) })
        })
        .await
    }

    /// The node that owns a source.
    pub async fn owner(&self, source: &str) -> Result<usize> {
        let output = self.ctl(&["operate-source", "show", source]).await?;
        let answer = output.json()?;
        let worker =
            answer["sources"][0]["worker"].as_str().with_context(|| format!("no owner in {output}"))?;
        self.index_of(worker)
    }

    /// The node that leads.
    pub async fn leader(&self) -> Result<usize> {
        let output = self.ctl(&["list-member", "--leader"]).await?;
        let answer = output.json()?;
        let members = answer["members"].as_array().with_context(|| format!("no members in {output}"))?;
        let leader = members
            .iter()
            .find_map(|member| member["leader"]["name"].as_str())
            .filter(|name| !name.is_empty())
            .with_context(|| format!("no leader in {output}"))?;
        self.index_of(leader)
    }

    fn index_of(&self, name: &str) -> Result<usize> {
        self.nodes
            .iter()
            .position(|node| node.name == name)
            .with_context(|| format!("no node is called `{name}`"))
    }

    fn process(&mut self, index: usize) -> Result<&mut OwnedProcess> {
        self.nodes.get_mut(index).and_then(|node| node.process.as_mut()).context("the node is not running")
    }

    /// The process of a node, for memory readings.
    pub fn running(&self, index: usize) -> Result<&OwnedProcess> {
        self.nodes.get(index).and_then(|node| node.process.as_ref()).context("the node is not running")
    }

    /// Whether a node is running as far as the test knows.
    pub fn is_running(&self, index: usize) -> bool {
        self.running(index).is_ok()
    }

    /// kill -9.
    pub fn kill(&mut self, index: usize) -> Result<()> {
        self.process(index)?.kill()?;
        if let Some(node) = self.nodes.get_mut(index) {
            node.process = None;
        }
        Ok(())
    }

    /// SIGTERM, and waits for a clean end.
    pub async fn terminate(&mut self, index: usize) -> Result<std::process::ExitStatus> {
        let process = self.process(index)?;
        process.signal(Signal::SIGTERM)?;
        let status = process.wait(Duration::from_secs(20)).await?;
        if let Some(node) = self.nodes.get_mut(index) {
            node.process = None;
        }
        Ok(status)
    }

    /// SIGSTOP.
    pub fn freeze(&mut self, index: usize) -> Result<()> {
        self.process(index)?.signal(Signal::SIGSTOP)
    }

    /// SIGCONT.
    pub fn thaw(&mut self, index: usize) -> Result<()> {
        self.process(index)?.signal(Signal::SIGCONT)
    }

    /// Puts a failpoint into place: the next process that comes by acts on it, once.
    pub fn set_failpoint(&self, name: &str, action: &str) -> Result<()> {
        let unfinished = self.dir.join("failpoint.new");
        std::fs::write(&unfinished, action)?;
        std::fs::rename(unfinished, self.dir.join("failpoints").join(name))?;
        Ok(())
    }

    /// Waits until a failpoint was hit.
    pub async fn wait_failpoint(&self, name: &str, limit: Duration) -> Result<()> {
        let file = self.dir.join("failpoints").join(name);
        wait_until(&format!("failpoint {name} is hit"), limit, async || {
            Ok(if file.try_exists()? { Err("not yet".to_owned()) } else { Ok(()) })
        })
        .await
    }

    /// `diff TASK`; the exit code says whether they are equal.
    pub async fn diff(&self, task: &str) -> Result<CtlOutput> {
        self.ctl(&["diff", task]).await
    }

    /// Ends the test well: every node that should run still does, no log shows a panic nobody asked for or a password, and
    /// the directory is removed.
    pub async fn finish(mut self) -> Result<()> {
        for index in 0..self.nodes.len() {
            if self.is_running(index) {
                self.process(index)?.ensure_running()?;
                self.terminate(index).await?;
            }
            let log = std::fs::read_to_string(self.log(index)).unwrap_or_default();
            for (number, line) in log.lines().enumerate() {
                if line.contains(PASSWORD) {
                    bail!("{}: line {} of the log shows a password", self.nodes[index].name, number + 1);
                }
                if line.contains("panicked at") && !log.contains("failpoint hit") {
                    bail!("{} panicked: {line}", self.nodes[index].name);
                }
            }
        }
        self.finished = true;
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.process = None);
        if self.finished {
            let _ = std::fs::remove_dir_all(&self.dir);
            return;
        }
        eprintln!("the test did not finish well; its files are kept in {}", self.dir.display());
        for index in 0..self.nodes.len() {
            eprintln!("--- end of the log of n{}:\n{}", index + 1, log_tail(&self.log(index), 25));
        }
    }
}

/// Text of a whole log; empty when there is none.
pub fn read_log(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
