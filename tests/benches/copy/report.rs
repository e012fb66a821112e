//! The findings as tables that read well on a terminal and in Markdown.

use std::fmt;

use dmnode_tests::server::Flavor;

use crate::data::DataSet;
use crate::measure::Usage;
use crate::movers::Mover;

/// One run.
pub(crate) struct Finding {
    pub(crate) flavor: Flavor,
    pub(crate) set: DataSet,
    pub(crate) mover: Mover,
    pub(crate) rows: u64,
    pub(crate) round: usize,
    pub(crate) usage: Usage,
    /// Source and target have the same rows.
    pub(crate) equal: bool,
}

/// All runs.
#[derive(Default)]
pub(crate) struct Report(Vec<Finding>);

impl Report {
    pub(crate) fn add(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    fn of(&self, flavor: Flavor, set: DataSet, mover: Mover) -> Vec<&Finding> {
        self.0.iter().filter(|one| one.flavor == flavor && one.set == set && one.mover == mover).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| source and target | data | mover | seconds | krows/s | dmnode is faster by | CPU of the mover, µs/row | CPU of all, µs/row | memory, MB | equal |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|---|")?;
        for flavor in [Flavor::Mysql, Flavor::Mariadb] {
            for &set in DataSet::ALL {
                let own = self.of(flavor, set, Mover::Dmnode);
                for &mover in Mover::ALL {
                    let runs = self.of(flavor, set, mover);
                    let Some(first) = runs.first() else { continue };
                    let rows = first.rows as f64;
                    let figure =
                        |of: fn(&Usage) -> f64| median(runs.iter().map(|run| of(&run.usage)).collect());
                    let (seconds, mover_cpu) = (figure(|usage| usage.wall), figure(|usage| usage.mover_cpu));
                    let all_cpu = figure(|usage| usage.mover_cpu + usage.server_cpu);
                    // A ratio is one of the same round: what else the machine did then hit both.
                    let ratios: Vec<f64> = runs
                        .iter()
                        .filter_map(|run| {
                            let same = own.iter().find(|one| one.round == run.round)?;
                            Some(run.usage.wall / same.usage.wall)
                        })
                        .collect();
                    let ratio =
                        if ratios.is_empty() { "–".to_owned() } else { format!("{:.2}×", median(ratios)) };
                    let memory = match figure(|usage| usage.memory as f64) {
                        0.0 => "–".to_owned(),
                        bytes => format!("{:.0}", bytes / 1e6),
                    };
                    writeln!(
                        f,
                        "| {} | {} | {} | {seconds:.2} | {:.0} | {ratio} | {:.2} | {:.2} | {memory} | {} |",
                        flavor.name(),
                        set.name(),
                        mover.name(),
                        rows / seconds / 1e3,
                        mover_cpu / rows * 1e6,
                        all_cpu / rows * 1e6,
                        if runs.iter().all(|run| run.equal) { "yes" } else { "no" },
                    )?;
                }
            }
        }
        let rounds = self.0.iter().map(|one| one.round).max().unwrap_or(0);
        write!(
            f,
            "\nMedians of {rounds} rounds. Equal: the servers' checksums of all tables are the same on both sides."
        )
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
