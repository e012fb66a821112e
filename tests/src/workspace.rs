//! Paths of the workspace, one directory per run, and free ports.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result, bail};

/// Ports handed out; below the range from which the system takes ports for outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// The top folder of the project.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned())
}

/// The directory the running test binary was built into, where its sibling binaries are.
fn build_dir() -> Result<PathBuf> {
    let test_binary = std::env::current_exe().context("this process has no executable")?;
    let build_dir =
        test_binary.parent().and_then(Path::parent).context("the test binary is in no build directory")?;
    Ok(build_dir.to_owned())
}

/// A binary of the workspace; it must have been built.
pub fn binary(name: &str) -> Result<PathBuf> {
    let path = build_dir()?.join(name);
    if !path.is_file() {
        bail!(
            "{} is not built; run `scripts/test`, or `cargo build --workspace --all-targets --features dmnode-actors/failpoints`",
            path.display()
        );
    }
    Ok(path)
}

/// Where templates of data directories are kept between runs.
pub fn cache_dir() -> Result<PathBuf> {
    let dir = build_dir()?.parent().context("the build directory has no parent")?.join("test-servers");
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// The directory of this run; directories of earlier runs whose process is gone are removed first.
pub fn run_dir() -> Result<&'static Path> {
    static RUN_DIR: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = RUN_DIR.get_or_init(|| make_run_dir().map_err(|err| format!("{err:#}")));
    made.as_deref().map_err(|err| anyhow::anyhow!("no run directory: {err}"))
}

fn make_run_dir() -> Result<PathBuf> {
    let runs = build_dir()?.parent().context("the build directory has no parent")?.join("test-runs");
    std::fs::create_dir_all(&runs)?;
    for entry in std::fs::read_dir(&runs)? {
        let entry = entry?;
        let is_alive = Path::new("/proc").join(entry.file_name()).is_dir();
        if !is_alive {
            // A run that failed keeps its directory until the next run starts.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let dir = runs.join(std::process::id().to_string());
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// A fresh directory under the run directory.
pub fn fresh_dir(name: &str) -> Result<PathBuf> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let dir = run_dir()?.join(format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// A port of 127.0.0.1 that nobody listens on; never handed out twice by one run.
pub fn free_port() -> Result<u16> {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let span = PORTS.end - PORTS.start;
    // Two runs at the same time start looking at different places.
    let next = NEXT.get_or_init(|| {
        AtomicU16::new(u16::try_from(std::process::id() * 97 % u32::from(span)).unwrap_or(0))
    });
    for _ in 0..span {
        let port = PORTS.start + next.fetch_add(1, Ordering::Relaxed) % span;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between {} and {}", PORTS.start, PORTS.end)
}
