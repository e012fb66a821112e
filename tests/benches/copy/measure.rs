//! What a run took: time, processors, memory. All from `/proc`, for the servers and for the movers alike.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use dmnode_tests::server::Server;

/// How often a mover's memory and processor time is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(20);
/// A run takes no longer.
const RUN_LIMIT: Duration = Duration::from_secs(3600);
/// Unit of `/proc/<id>/stat`: a hundredth of a second on every Linux of today.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Seconds from start to end.
    pub(crate) wall: f64,
    /// Processor seconds of the mover.
    pub(crate) mover_cpu: f64,
    /// Processor seconds of source and target.
    pub(crate) server_cpu: f64,
    /// Most memory of the mover, in bytes; of several processes at the same time the sum.
    pub(crate) memory: u64,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.2} s, CPU of the mover {:.2} s, of the servers {:.2} s, {} MB",
            self.wall,
            self.mover_cpu,
            self.server_cpu,
            self.memory / 1_000_000
        )
    }
}

/// A measurement that has begun.
pub(crate) struct Clock<'a> {
    started: Instant,
    servers: [(&'a Server, f64); 2],
}

impl<'a> Clock<'a> {
    pub(crate) async fn start(source: &'a Server, target: &'a Server) -> Result<Self> {
        let servers = [(source, cpu(source.id().await)?), (target, cpu(target.id().await)?)];
        Ok(Self { started: Instant::now(), servers })
    }

    pub(crate) async fn stop(self, mover_cpu: f64, memory: u64) -> Result<Usage> {
        let wall = self.started.elapsed().as_secs_f64();
        let mut server_cpu = 0.0;
        for (server, before) in self.servers {
            server_cpu += cpu(server.id().await)? - before;
        }
        Ok(Usage { wall, mover_cpu, server_cpu, memory })
    }
}

/// Processor seconds of a living process.
pub(crate) fn cpu(id: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name in parentheses may hold anything; the fields after it are numbered from 3.
    let fields: Vec<&str> = stat.rsplit_once(')').context("no name in stat")?.1.split_whitespace().collect();
    let ticks = |number: usize| -> Result<f64> { Ok(fields.get(number - 3).context("short stat")?.parse()?) };
    Ok((ticks(14)? + ticks(15)?) / TICKS_PER_SECOND)
}

/// A line of `/proc/<id>/status` in bytes; nothing when the process is gone.
pub(crate) fn memory(id: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// Makes the next peak of a process's memory a new one (`man 5 proc`, clear_refs).
pub(crate) fn forget_peak(id: u32) -> Result<()> {
    std::fs::write(format!("/proc/{id}/clear_refs"), "5").context("cannot reset the peak of memory")
}

/// A program with its arguments; the next of a pipeline reads what this one writes.
pub(crate) struct Program {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
}

impl Program {
    pub(crate) fn new(program: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        Self { program: program.into(), arguments: arguments.iter().map(ToString::to_string).collect() }
    }
}

/// Runs a pipeline; processor seconds and peak memory of its programs together.
pub(crate) async fn pipeline(programs: &[Program], log: &Path) -> Result<(f64, u64)> {
    let mut running: Vec<(String, std::process::Child, f64)> = Vec::new();
    let mut input = Stdio::null();
    for (at, program) in programs.iter().enumerate() {
        let is_last = at + 1 == programs.len();
        let errors = std::fs::File::options().create(true).append(true).open(log)?;
        let mut child = std::process::Command::new(&program.program)
            .args(&program.arguments)
            .stdin(input)
            .stdout(if is_last { Stdio::from(errors.try_clone()?) } else { Stdio::piped() })
            .stderr(errors)
            .spawn()
            .with_context(|| {
                format!("cannot start {}; scripts/bench installs it", program.program.display())
            })?;
        input = child.stdout.take().map_or_else(Stdio::null, Stdio::from);
        running.push((program.program.display().to_string(), child, 0.0));
    }
    drop(input);
    let started = Instant::now();
    let mut peak = 0;
    loop {
        let mut is_over = true;
        let mut resident = 0;
        for (name, child, seconds) in &mut running {
            // A process that has ended and was not waited for still shows its processor time, so it is read first.
            *seconds = cpu(child.id()).unwrap_or(*seconds).max(*seconds);
            resident += memory(child.id(), "VmRSS").unwrap_or(0);
            match child.try_wait()? {
                None => is_over = false,
                Some(status) if !status.success() => {
                    let text = std::fs::read_to_string(log).unwrap_or_default();
                    bail!("{name} failed ({status}): {}", text.lines().last().unwrap_or_default())
                }
                Some(_) => {}
            }
        }
        peak = peak.max(resident);
        if is_over {
            return Ok((running.iter().map(|(_, _, seconds)| seconds).sum(), peak));
        }
        if started.elapsed() > RUN_LIMIT {
            running.iter_mut().for_each(|(_, child, _)| drop(child.kill()));
            bail!("not ended within {RUN_LIMIT:?}");
        }
        tokio::time::sleep(SAMPLE_INTERVAL).await;
    }
}
