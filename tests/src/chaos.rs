//! `dmnode-chaos` as processes: the fault proxy and the workload.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::process::{self, OwnedProcess, log_tail};
use crate::server::Server;
use crate::wait::wait_until;
use crate::workspace;

/// A running fault proxy in front of a server.
pub struct Proxy {
    /// Where clients connect, on 127.0.0.1.
    pub port: u16,
    control: String,
    process: OwnedProcess,
}

impl Proxy {
    /// Starts a proxy in front of `server`; its log goes to `dir`.
    pub async fn start(server: &Server, dir: &Path) -> Result<Self> {
        let port = workspace::free_port()?;
        let control = format!("127.0.0.1:{}", workspace::free_port()?);
        let mut command = process::command(workspace::binary("dmnode-chaos")?);
        command.args(["proxy", "--listen", &format!("127.0.0.1:{port}")]).args([
            "--upstream",
            &format!("127.0.0.1:{}", server.port),
            "--control",
            &control,
        ]);
        let process = OwnedProcess::start("proxy", command, &dir.join("proxy.log"))?;
        let mut proxy = Self { port, control, process };
        wait_until("the proxy takes commands", Duration::from_secs(10), async || {
            proxy.process.ensure_running()?;
            match TcpStream::connect(&proxy.control).await {
                Ok(_) => Ok(Ok(())),
                Err(err) => Ok(Err(err.to_string())),
            }
        })
        .await?;
        Ok(proxy)
    }

    /// Sends a command (see `dmnode-chaos control --help`) and returns the proxy's status.
    pub async fn command(&self, command: &str) -> Result<Value> {
        let mut stream = TcpStream::connect(&self.control).await.context("the proxy is gone")?;
        stream.write_all(format!("{command}\n").as_bytes()).await?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).await?;
        let answer: Value = serde_json::from_str(&answer)?;
        if let Some(error) = answer["error"].as_str() {
            bail!("the proxy refused `{command}`: {error}");
        }
        Ok(answer)
    }
}

/// Live writes that go on until they are stopped.
pub struct Workload {
    process: OwnedProcess,
    stop_file: PathBuf,
    log: PathBuf,
}

impl Workload {
    /// Starts writers on the mixed tables of `schema`.
    pub fn start(
        servers: &[&Server],
        schema: &str,
        seed: u64,
        connections: u32,
        pause: Duration,
    ) -> Result<Self> {
        let dir = workspace::fresh_dir("workload")?;
        let stop_file = dir.join("stop");
        let log = dir.join("log");
        let mut command = process::command(workspace::binary("dmnode-chaos")?);
        command.args(["workload", "--schema", schema, "--seed", &seed.to_string()]);
        command.args([
            "--connections",
            &connections.to_string(),
            "--pause-ms",
            &pause.as_millis().to_string(),
        ]);
        command.arg("--stop-file").arg(&stop_file);
        for server in servers {
            command.args(["--server", &server.chaos_address()]);
        }
        let process = OwnedProcess::start("workload", command, &log)?;
        Ok(Self { process, stop_file, log })
    }

    /// Fails when the writers have ended by themselves.
    pub fn ensure_running(&mut self) -> Result<()> {
        self.process.ensure_running()
    }

    /// Stops the writers and returns what they did, one report per server.
    pub async fn stop(mut self) -> Result<Vec<Value>> {
        self.process.ensure_running()?;
        std::fs::write(&self.stop_file, "")?;
        let status = self.process.wait(Duration::from_secs(60)).await?;
        let text = log_tail(&self.log, 1);
        if !status.success() {
            bail!("the workload failed: {text}");
        }
        let reports: Vec<Value> =
            serde_json::from_str(&text).with_context(|| format!("no report: {text}"))?;
        for report in &reports {
            if report["committed"].as_u64().unwrap_or(0) == 0 {
                bail!("the workload wrote nothing, so the test shows nothing: {report}");
            }
        }
        Ok(reports)
    }
}

/// Fills the mixed tables.
pub async fn seed_data(server: &Server, schema: &str, rows: u64, seed: u64) -> Result<()> {
    let output = tokio::process::Command::new(workspace::binary("dmnode-chaos")?)
        .args(["seed-data", "--server", &server.chaos_address(), "--schema", schema])
        .args(["--rows", &rows.to_string(), "--seed", &seed.to_string(), "--connections", "2"])
        .output()
        .await?;
    if !output.status.success() {
        bail!("seed-data failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Random DML and DDL that goes on until it is stopped.
pub struct Soak {
    process: OwnedProcess,
    stop_file: PathBuf,
    log: PathBuf,
}

impl Soak {
    /// Starts eight writers on `schema`; what they did is noted in `dir`. DDL begins when `dir` has a file `ddl`. Returns when the tables are there.
    pub async fn start(
        server: &Server,
        schema: &str,
        seed: u64,
        ddl_every: u32,
        pause: Duration,
        dir: &Path,
    ) -> Result<Self> {
        let name = server.flavor.name();
        let (stop_file, log) = (dir.join(format!("soak-{name}.stop")), dir.join(format!("soak-{name}.log")));
        let mut command = process::command(workspace::binary("dmnode-chaos")?);
        command
            .args(["soak", "--server", &server.chaos_address(), "--flavor", name, "--schema", schema])
            .args(["--seed", &seed.to_string(), "--ddl-every", &ddl_every.to_string()])
            .args(["--pause-ms", &pause.as_millis().to_string()])
            .arg("--stop-file")
            .arg(&stop_file)
            .arg("--log")
            .arg(dir.join(format!("soak-{name}.sql")));
        command.arg("--ddl-file").arg(dir.join("ddl"));
        for kind in std::env::var("DMNODE_SOAK_WITHOUT").unwrap_or_default().split_whitespace() {
            command.args(["--without", kind]);
        }
        let process = OwnedProcess::start("soak", command, &log)?;
        let mut soak = Self { process, stop_file, log };
        wait_until("the tables of the soak are there", Duration::from_secs(60), async || {
            soak.process.ensure_running()?;
            let tables = server.tables(schema).await?.len();
            Ok(if tables >= 20 { Ok(()) } else { Err(format!("{tables} tables")) })
        })
        .await?;
        Ok(soak)
    }

    /// Fails when the writers have ended by themselves.
    pub fn ensure_running(&mut self) -> Result<()> {
        self.process.ensure_running()
    }

    /// Stops the writers and returns what they did.
    pub async fn stop(mut self) -> Result<Value> {
        self.process.ensure_running()?;
        std::fs::write(&self.stop_file, "")?;
        let status = self.process.wait(Duration::from_secs(180)).await?;
        let text = log_tail(&self.log, 1);
        if !status.success() {
            bail!("the soak failed: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("no report: {text}"))
    }
}
