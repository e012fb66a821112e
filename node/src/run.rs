//! The life of a node's process.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use dmnode_actors::supervision::{NodeSupervisor, SupervisorOptions};
use dmnode_raft::{RaftConfig, RaftNode, RaftTiming};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::control::Control;
use crate::peers::Peers;
use crate::settings::{self, Settings, StartArgs};
use crate::{VERSION, logging, server, wiring};

/// The process ended because it was asked to.
const EXIT_STOPPED: u8 = 0;
/// The node could not start, or cannot go on.
const EXIT_FAILED: u8 = 1;
/// A flag or the configuration file is wrong.
const EXIT_USAGE: u8 = 2;

/// How long a command to the cluster is tried before its caller hears that there is no answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A clean stop takes at most so long in all; what is not idle by then is fenced and resumed elsewhere.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// What is left after a stop is dropped in this time.
const RUNTIME_SHUTDOWN: Duration = Duration::from_secs(1);

/// Runs `dmnode start` and returns the exit code.
pub fn start(args: &StartArgs) -> u8 {
    let settings = match Settings::load(args) {
        Ok(settings) => settings,
        Err(err) => {
            eprintln!("error: {err}");
            return EXIT_USAGE;
        }
    };
    if let Err(err) = logging::init(&settings) {
        eprintln!("error: {err}");
        return EXIT_USAGE;
    }
    tracing::info!(version = VERSION, name = settings.name, data_dir = %settings.data_dir.display(), "dmnode starts");
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(err) => return fail(&format!("start the runtime: {err}")),
    };
    let outcome = runtime.block_on(async move {
        // On the pool, not on this thread: `block_on` polls outside of the pool's scheduling.
        let node = tokio::spawn(node(settings));
        node.await.unwrap_or_else(|err| Err(format!("the node ended abnormally: {err}")))
    });
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN);
    match outcome {
        Ok(()) => {
            tracing::info!("dmnode stopped");
            EXIT_STOPPED
        }
        Err(reason) => fail(&reason),
    }
}

/// Tells the log and, when the log is a file, the person who started it.
fn fail(reason: &str) -> u8 {
    tracing::error!("{reason}");
    eprintln!("error: {reason}");
    EXIT_FAILED
}

async fn node(settings: Settings) -> Result<(), String> {
    let mut signals = Signals::new().map_err(|err| format!("install signal handlers: {err}"))?;
    // Before anything is opened: two nodes on one address must not both touch a data directory.
    let listener = listen(&settings.addr)?;
    let raft = RaftNode::start(raft_config(&settings)).await.map_err(|err| err.to_string())?;
    let control = Arc::new(Control::new(raft.clone(), settings.clone(), Peers::new()?));
    let server = server::serve(listener, Arc::clone(&control))
        .map_err(|err| format!("serve {}: {err}", settings.addr))?;
    let handle = server.handle();
    let mut server = tokio::spawn(server);
    tracing::info!(addr = settings.addr, advertise_addr = settings.advertise_addr, "listening");

    let outcome = tokio::select! {
        outcome = work(&control) => outcome,
        reason = signals.next() => {
            tracing::info!(signal = reason, "asked to stop");
            Ok(())
        }
        ended = &mut server => Err(match ended {
            Ok(Ok(())) => "the server ended by itself".to_owned(),
            Ok(Err(err)) => format!("the server ended: {err}"),
            Err(err) => format!("the server ended abnormally: {err}"),
        }),
    };
    let stop = async {
        if let Some(supervisor) = control.supervisor.get() {
            supervisor.shutdown().await;
        }
        raft.shutdown().await;
        handle.stop(true).await;
    };
    tokio::select! {
        stopped = tokio::time::timeout(STOP_TIMEOUT, stop) => {
            if stopped.is_err() {
                tracing::warn!("not everything became idle in time; it is fenced and will be resumed");
            }
        }
        reason = signals.next() => tracing::warn!(signal = reason, "asked to stop again; stopping at once"),
    }
    outcome
}

/// Takes part until the cluster has no use for this node any more.
async fn work(control: &Arc<Control>) -> Result<(), String> {
    let raft = &control.raft;
    let settings = &control.settings;
    tokio::select! {
        ready = raft.wait_ready() => ready.map_err(|err| err.to_string())?,
        failed = raft.wait_failed() => return Err(failed.to_string()),
    }
    let state = raft.local_state();
    tracing::info!(cluster = state.cluster_id, node = raft.id().map(|id| id.0), "member of the cluster");
    let options = SupervisorOptions {
        node_name: settings.name.clone(),
        cluster_id: state.cluster_id.clone(),
        ..SupervisorOptions::default()
    };
    let supervisor = NodeSupervisor::start(options);
    // Nobody else sets it.
    let _ = control.supervisor.set(supervisor.clone());
    let follow = wiring::follow(
        raft.clone(),
        supervisor,
        settings.secret_key.clone(),
        Arc::clone(&control.unreadable),
    );
    tokio::select! {
        () = control.settle_decisions() => Err("settled decisions are not dropped any more".to_owned()),
        () = follow => Err("the replicated state is not followed any more".to_owned()),
        failed = raft.wait_failed() => Err(failed.to_string()),
    }
}

fn raft_config(settings: &Settings) -> RaftConfig {
    RaftConfig {
        name: settings.name.clone(),
        addr: settings.advertise_addr.clone(),
        data_dir: settings.data_dir.clone(),
        initial_cluster: settings.initial_cluster.clone(),
        join: settings.join.clone(),
        replace: settings.replace,
        source_lost_after: settings.source_lost_after,
        request_timeout: REQUEST_TIMEOUT,
        timing: RaftTiming::default(),
    }
}

fn listen(addr: &str) -> Result<TcpListener, String> {
    let addresses =
        settings::resolve(addr).map_err(|err| format!("--addr `{addr}` cannot be resolved: {err}"))?;
    let listener = TcpListener::bind(addresses.as_slice()).map_err(|err| match err.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("--addr `{addr}` is in use by another process; stop that one, or give this node another --addr")
        }
        std::io::ErrorKind::AddrNotAvailable => {
            format!("--addr `{addr}` is no address of this host; listen on one of its own, and set --advertise-addr for others")
        }
        _ => format!("--addr `{addr}`: {err}"),
    })?;
    listener.set_nonblocking(true).map_err(|err| format!("--addr `{addr}`: {err}"))?;
    Ok(listener)
}

/// The signals that mean "stop".
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
