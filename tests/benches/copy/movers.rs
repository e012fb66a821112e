//! The movers: dmnode and its peers, each with as many connections as asked for and otherwise as its manual proposes.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use dmnode_tests::files::TaskFile;
use dmnode_tests::server::Server;
use dmnode_tests::wait::wait_until;
use dmnode_tests::workspace;

use crate::Stage;
use crate::data::{DataSet, SCHEMA};
use crate::measure::{self, Clock, Program, Usage};

/// A copy takes no longer.
const COPY_LIMIT: Duration = Duration::from_secs(3600);

/// Who copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mover {
    /// One node, `task-mode: full`, from `start-task` until the unit is finished.
    Dmnode,
    /// mydumper into files, then myloader from them.
    Mydumper,
    /// mysqldump into the client program.
    Mysqldump,
    /// `LOAD DATA INFILE` by the target itself, from files that are there already: the source is not read. A limit, no peer.
    LoadData,
}

impl Mover {
    /// All of them, in the order of a round.
    pub(crate) const ALL: &[Self] = &[Self::Dmnode, Self::Mydumper, Self::Mysqldump, Self::LoadData];

    /// The name on the command line and in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dmnode => "dmnode",
            Self::Mydumper => "mydumper",
            Self::Mysqldump => "mysqldump",
            Self::LoadData => "load-data",
        }
    }

    /// Whether it can copy such tables. The files for LOAD DATA are cut by an integer key.
    pub(crate) fn can(self, set: DataSet) -> bool {
        self != Self::LoadData || set.is_sysbench()
    }

    /// Copies everything.
    pub(crate) async fn run(
        self,
        stage: &Stage,
        target: &Server,
        set: DataSet,
        round: usize,
    ) -> Result<Usage> {
        match self {
            Self::Dmnode => dmnode(stage, target, set, round).await,
            Self::Mydumper => mydumper(stage, target).await,
            Self::Mysqldump => mysqldump(stage, target).await,
            Self::LoadData => load_data(stage, target).await,
        }
    }
}

async fn dmnode(stage: &Stage, target: &Server, set: DataSet, round: usize) -> Result<Usage> {
    let name = format!("b_{}_{round}", set.name().replace('-', "_"));
    let source = stage.flavor.name();
    let mut task = TaskFile::new(&name, "full", target, source, SCHEMA);
    task.mydumper = format!("    threads: {}\n", stage.threads);
    task.loader = format!("    pool-size: {}\n", stage.threads);
    let node = stage.cluster.running(0)?.id();
    measure::forget_peak(node)?;
    let before = measure::cpu(node)?;
    let clock = Clock::start(&stage.source, target).await?;
    stage.cluster.start_task(&task).await?;
    wait_until("the copy is finished", COPY_LIMIT, async || {
        let status = stage.cluster.subtask(&name, source).await?;
        if status["stage"] == "Paused" {
            bail!("the copy has stopped: {status:#}");
        }
        Ok(if status["stage"] == "Finished" { Ok(()) } else { Err(status["stage"].to_string()) })
    })
    .await?;
    let peak = measure::memory(node, "VmHWM").context("the node is gone")?;
    let usage = clock.stop(measure::cpu(node)? - before, peak).await?;
    stage.cluster.ctl(&["stop-task", &name]).await?.success()?;
    Ok(usage)
}

async fn mydumper(stage: &Stage, target: &Server) -> Result<Usage> {
    let dir = workspace::fresh_dir("mydumper")?;
    let (files, log) = (dir.join("dump"), dir.join("log"));
    let files = files.to_str().context("path")?;
    let threads = stage.threads.to_string();
    let (from, to) = (stage.source.port.to_string(), target.port.to_string());
    let common = ["-h", "127.0.0.1", "-u", "root", "-t", &threads, "-v", "1"];
    let dump = Program::new(
        "mydumper",
        &[&common[..], &["-P", &from, "-B", SCHEMA, "-r", "250000", "-o", files]].concat(),
    );
    let load =
        Program::new("myloader", &[&common[..], &["-P", &to, "-q", "1000", "-e", "-d", files]].concat());
    let clock = Clock::start(&stage.source, target).await?;
    let (dump_cpu, dump_memory) = measure::pipeline(&[dump], &log).await?;
    let (load_cpu, load_memory) = measure::pipeline(&[load], &log).await?;
    let usage = clock.stop(dump_cpu + load_cpu, dump_memory.max(load_memory)).await?;
    std::fs::remove_dir_all(dir)?;
    Ok(usage)
}

async fn mysqldump(stage: &Stage, target: &Server) -> Result<Usage> {
    let dir = workspace::fresh_dir("mysqldump")?;
    let (from, to) = (format!("--port={}", stage.source.port), format!("--port={}", target.port));
    // MariaDB's programs speak to both; their dump of a MySQL server needs no privilege of a later MySQL.
    let dump = Program::new(
        "mariadb-dump",
        &["--host=127.0.0.1", &from, "--user=root", "--single-transaction", "--quick", "--databases", SCHEMA],
    );
    let load = Program::new("mariadb", &["--host=127.0.0.1", &to, "--user=root", "--max-allowed-packet=64M"]);
    let clock = Clock::start(&stage.source, target).await?;
    let (cpu, memory) = measure::pipeline(&[dump, load], &dir.join("log")).await?;
    clock.stop(cpu, memory).await
}

async fn load_data(stage: &Stage, target: &Server) -> Result<Usage> {
    let dir = workspace::fresh_dir("load-data")?;
    // The servers may run as other users.
    std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    let mut files = Vec::new();
    target.execute(&[&format!("CREATE DATABASE {SCHEMA}")]).await?;
    for table in stage.source.tables(SCHEMA).await? {
        let (_, create): (String, String) =
            stage.source.query_one(&format!("SHOW CREATE TABLE {SCHEMA}.{table}")).await?;
        target.execute(&[&create.replacen("CREATE TABLE ", &format!("CREATE TABLE {SCHEMA}."), 1)]).await?;
        let last: u64 = stage.source.query_one(&format!("SELECT MAX(id) FROM {SCHEMA}.{table}")).await?;
        let step = last.div_ceil(u64::from(stage.threads)).max(1);
        for part in 0..u64::from(stage.threads) {
            let file = dir.join(format!("{table}.{part}"));
            stage
                .source
                .execute(&[&format!(
                    "SELECT * INTO OUTFILE '{}' FROM {SCHEMA}.{table} WHERE id > {} AND id <= {} ORDER BY id",
                    file.display(),
                    part * step,
                    (part + 1) * step
                )])
                .await?;
            files.push(format!("LOAD DATA INFILE '{}' INTO TABLE {SCHEMA}.{table}", file.display()));
        }
    }
    // The parts of a table go to different connections, so that one table has all of them.
    let clock = Clock::start(&stage.source, target).await?;
    let threads = usize::try_from(stage.threads)?;
    let connections = (0..threads).map(|number| {
        let files: Vec<&str> = files.iter().skip(number).step_by(threads).map(String::as_str).collect();
        async move { target.execute(&files).await }
    });
    for done in futures_util::future::join_all(connections).await {
        done?;
    }
    let usage = clock.stop(0.0, 0).await?;
    std::fs::remove_dir_all(dir)?;
    Ok(usage)
}
