//! `dmnode-chaos`: faults and load for tests and the demo.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use dmnode_chaos::proxy::ProxyState;
use dmnode_chaos::seed_data::SeedDataOptions;
use dmnode_chaos::server::ServerAddress;
use dmnode_chaos::soak::{Flavor, SoakOptions};
use dmnode_chaos::workload::WorkloadOptions;
use dmnode_chaos::{control, proxy, seed_data, soak, workload};
use tokio::net::TcpListener;

#[derive(Parser)]
#[command(name = "dmnode-chaos", version, about = "Faults and load for tests of dmnode and its demo")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A TCP proxy in front of a MySQL server that loses COMMIT answers, holds, cuts, refuses and slows.
    Proxy {
        /// Where clients connect, HOST:PORT.
        #[arg(long)]
        listen: String,
        /// The server behind, HOST:PORT.
        #[arg(long)]
        upstream: String,
        /// Where commands are taken, HOST:PORT.
        #[arg(long)]
        control: String,
    },
    /// Sends one command to a running proxy: pass, drop-commit [N] [TEXT], hold, cut, refuse, delay MS, status.
    Control {
        /// The proxy's control address, HOST:PORT.
        #[arg(long)]
        control: String,
        /// The command and its arguments.
        #[arg(required = true)]
        words: Vec<String>,
    },
    /// Live writes into the mixed tables of one or more servers.
    Workload {
        /// A server, USER[:PASSWORD]@HOST:PORT; may be repeated.
        #[arg(long = "server", required = true)]
        servers: Vec<ServerAddress>,
        /// The schema of the tables; created if missing.
        #[arg(long, default_value = "shop")]
        schema: String,
        /// Writers per server.
        #[arg(long, default_value_t = 4)]
        connections: u32,
        /// Seed of everything random.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Stop after so many seconds.
        #[arg(long)]
        seconds: Option<u64>,
        /// Stop when this file exists.
        #[arg(long)]
        stop_file: Option<PathBuf>,
        /// Pause between two transactions of a writer, in milliseconds.
        #[arg(long, default_value_t = 0)]
        pause_ms: u64,
    },
    /// Random DML and DDL on twenty tables of every type, from many connections.
    Soak {
        /// The server, USER[:PASSWORD]@HOST:PORT.
        #[arg(long)]
        server: ServerAddress,
        /// mysql or mariadb.
        #[arg(long)]
        flavor: Flavor,
        /// The schema; made anew unless it is there.
        #[arg(long, default_value = "soak")]
        schema: String,
        /// Writers.
        #[arg(long, default_value_t = 8)]
        connections: u32,
        /// Seed of everything random.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Stop after so many seconds.
        #[arg(long)]
        seconds: Option<u64>,
        /// Stop when this file exists.
        #[arg(long)]
        stop_file: Option<PathBuf>,
        /// Pause between two transactions of a writer, in milliseconds.
        #[arg(long, default_value_t = 0)]
        pause_ms: u64,
        /// One of so many things a writer does is DDL.
        #[arg(long, default_value_t = 30)]
        ddl_every: u32,
        /// No DDL before this file exists.
        #[arg(long)]
        ddl_file: Option<PathBuf>,
        /// A file in which every statement that succeeded is noted.
        #[arg(long)]
        log: Option<PathBuf>,
        /// A kind of statement to leave out; may be repeated.
        #[arg(long = "without")]
        without: Vec<String>,
    },
    /// Fills the mixed tables with many rows.
    SeedData {
        /// The server, USER[:PASSWORD]@HOST:PORT.
        #[arg(long)]
        server: ServerAddress,
        /// The schema of the tables; created if missing.
        #[arg(long, default_value = "shop")]
        schema: String,
        /// Rows over all tables, about.
        #[arg(long, default_value_t = 300_000)]
        rows: u64,
        /// Seed of the random values.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Connections used.
        #[arg(long, default_value_t = 4)]
        connections: u64,
        /// Words in the long text of a document; makes rows wider.
        #[arg(long, default_value_t = 12)]
        body_words: usize,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("Error: {err:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(log_filter()).init();
    match Arguments::parse().command {
        Command::Proxy { listen, upstream, control } => run_proxy(&listen, upstream, &control).await,
        Command::Control { control, words } => {
            let answer = control::send(&control, &words.join(" ")).await?;
            println!("{answer}");
            if answer.contains("\"error\"") {
                bail!("the proxy refused the command");
            }
            Ok(())
        }
        Command::Workload { servers, schema, connections, seed, seconds, stop_file, pause_ms } => {
            if seconds.is_none() && stop_file.is_none() {
                bail!("the workload needs an end: --seconds or --stop-file");
            }
            let reports = workload::run(WorkloadOptions {
                servers,
                schema,
                connections,
                seed,
                duration: seconds.map(Duration::from_secs),
                stop_file,
                pause: Duration::from_millis(pause_ms),
            })
            .await?;
            println!("{}", serde_json::to_string(&reports)?);
            Ok(())
        }
        Command::Soak {
            server,
            flavor,
            schema,
            connections,
            seed,
            seconds,
            stop_file,
            pause_ms,
            ddl_every,
            ddl_file,
            log,
            without,
        } => {
            if seconds.is_none() && stop_file.is_none() {
                bail!("the soak needs an end: --seconds or --stop-file");
            }
            let report = soak::run(SoakOptions {
                server,
                flavor,
                schema,
                connections,
                seed,
                duration: seconds.map(Duration::from_secs),
                stop_file,
                pause: Duration::from_millis(pause_ms),
                ddl_every,
                ddl_file,
                log,
                without,
            })
            .await?;
            println!("{}", serde_json::to_string(&report)?);
            Ok(())
        }
        Command::SeedData { server, schema, rows, seed, connections, body_words } => {
            let options = SeedDataOptions { server, schema, rows, seed, connections, body_words };
            println!("{}", serde_json::to_string(&seed_data::run(options).await?)?);
            Ok(())
        }
    }
}

fn log_filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"))
}

async fn run_proxy(listen: &str, upstream: String, control: &str) -> Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let control_listener =
        TcpListener::bind(control).await.with_context(|| format!("cannot listen on {control}"))?;
    let state = Arc::new(ProxyState::default());
    tracing::info!(listen, upstream, control, "proxy is up");
    tokio::try_join!(
        proxy::serve(listener, upstream, Arc::clone(&state)),
        control::serve(control_listener, state),
    )?;
    Ok(())
}
