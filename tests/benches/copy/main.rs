//! How fast a full copy is beside its peers, in one run, with the result verified equal. Run by `scripts/bench`.
//!
//! Every mover copies the same source into a fresh target of the same flavor, in turn, so that what else the machine does hits
//! all of them. Figures: wall time, CPU of the mover and of the servers, peak memory of the mover. Ratios are those of
//! movers in the same round; their median is what counts.

#![allow(clippy::print_stdout, reason = "a program that prints its findings")]

mod data;
mod measure;
mod movers;
mod report;

use anyhow::{Result, bail};
use clap::Parser;
use dmnode_tests::cluster::Cluster;
use dmnode_tests::files::SourceFile;
use dmnode_tests::server::{Flavor, Server};

use data::DataSet;
use movers::Mover;
use report::{Finding, Report};

/// What the data set and the movers are; everything has a default.
#[derive(Parser)]
#[command(
    name = "scripts/bench",
    about = "Full copy: dmnode beside mydumper+myloader, mysqldump and LOAD DATA"
)]
struct Arguments {
    /// Rows over all tables of a data set, about.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Rounds; every mover runs once in each.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Connections of each mover to source and target.
    #[arg(long, default_value_t = 4)]
    threads: u32,
    /// mysql or mariadb; both unless given.
    #[arg(long)]
    flavor: Option<String>,
    /// A data set; all unless given: tables, one-table, mixed, many.
    #[arg(long = "data")]
    data: Vec<String>,
    /// A mover; all unless given: dmnode, mydumper, mysqldump, load-data.
    #[arg(long = "mover")]
    movers: Vec<String>,
    /// `cargo bench` adds this one.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What all movers of a flavor share.
struct Stage {
    flavor: Flavor,
    source: Server,
    cluster: Cluster,
    threads: u32,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let _ = arguments.bench;
    let flavors: Vec<Flavor> = [Flavor::Mysql, Flavor::Mariadb]
        .into_iter()
        .filter(|flavor| arguments.flavor.as_deref().is_none_or(|only| only == flavor.name()))
        .collect();
    if flavors.is_empty() {
        bail!("--flavor is mysql or mariadb");
    }
    let sets = chosen("--data", &arguments.data, DataSet::ALL, |set| set.name())?;
    let movers = chosen("--mover", &arguments.movers, Mover::ALL, |mover| mover.name())?;
    let mut report = Report::default();
    for flavor in flavors {
        let stage = Stage::start(flavor, arguments.threads).await?;
        for &set in &sets {
            let rows = set.fill(&stage.source, arguments.rows).await?;
            println!("{}, {}: {rows} rows at the source", flavor.name(), set.name());
            for round in 1..=arguments.rounds.max(1) {
                for &mover in &movers {
                    if !mover.can(set) {
                        continue;
                    }
                    let (usage, differences) = match stage.run(mover, set, round).await {
                        Ok(done) => done,
                        // What a peer cannot copy is no reason to measure nothing.
                        Err(error) if mover != Mover::Dmnode => {
                            println!("  round {round}, {}: failed: {error:#}", mover.name());
                            continue;
                        }
                        Err(error) => {
                            let what = format!("{}, {}, round {round}", flavor.name(), set.name());
                            return Err(error.context(what));
                        }
                    };
                    println!("  round {round}, {}: {usage} {}", mover.name(), differences.join(", "));
                    let equal = differences.is_empty();
                    report.add(Finding { flavor, set, mover, rows, round, usage, equal });
                }
            }
            stage.source.execute(&[&format!("DROP DATABASE {}", data::SCHEMA)]).await?;
        }
        stage.cluster.finish().await?;
        stage.source.stop().await?;
    }
    println!("\n{report}");
    Ok(())
}

impl Stage {
    async fn start(flavor: Flavor, threads: u32) -> Result<Self> {
        let source = Server::start(flavor, &["--innodb-buffer-pool-size=1G", "--secure-file-priv="]).await?;
        let cluster = Cluster::start("bench", 1).await?;
        cluster.create_source(&SourceFile::new(flavor.name(), &source, flavor == Flavor::Mysql)).await?;
        Ok(Self { flavor, source, cluster, threads })
    }

    /// A fresh target, the mover, and whether all arrived. What dmnode alters ends the run; what a peer alters is reported.
    async fn run(&self, mover: Mover, set: DataSet, round: usize) -> Result<(measure::Usage, Vec<String>)> {
        let target = Server::start(
            self.flavor,
            &["--innodb-buffer-pool-size=1G", "--local-infile=1", "--secure-file-priv="],
        )
        .await?;
        let usage = mover.run(self, &target, set, round).await?;
        let differences = data::differences(&self.source, &target).await?;
        if mover == Mover::Dmnode && !differences.is_empty() {
            bail!("the copy differs: {}", differences.join(", "));
        }
        target.stop().await?;
        Ok((usage, differences))
    }
}

/// The items whose names are asked for; all when none is.
fn chosen<T: Copy>(option: &str, names: &[String], all: &[T], name: fn(T) -> &'static str) -> Result<Vec<T>> {
    for asked in names {
        if !all.iter().any(|item| name(*item) == asked) {
            let known: Vec<&str> = all.iter().map(|item| name(*item)).collect();
            bail!("{option} {asked}: not known; there are {}", known.join(", "));
        }
    }
    Ok(all
        .iter()
        .copied()
        .filter(|item| names.is_empty() || names.iter().any(|asked| name(*item) == asked))
        .collect())
}
