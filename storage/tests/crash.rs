//! A child process writes log, vote and snapshots and is killed at random moments; what it acknowledged must be
//! there when it comes up again. One directory lives through all the kills.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use dmnode_storage::{DataDir, LogPosition, LogRecord, SnapshotFile, StorageError, Store, VoteRecord};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const DIR: &str = "DMNODE_CRASH_DIR";
const SEED: &str = "DMNODE_CRASH_SEED";
const KILLS: usize = 200;

/// What the child has acknowledged, or has begun and may have done.
#[derive(Debug, Default)]
struct Known {
    vote: u64,
    /// Entries that must be there: index and term.
    last: Option<(u64, u64)>,
    /// Entries from here on may have been removed by a truncation that was not acknowledged.
    may_lack_from: Option<u64>,
    purged: u64,
}

#[test]
fn nothing_acknowledged_is_lost_over_200_kills() {
    let seed = std::env::var(SEED).ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_122);
    println!("{SEED}={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut known = Known::default();
    let (mut writes, mut votes, mut truncations, mut snapshots) = (0, 0, 0, 0);
    for round in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(DIR, dir.path())
            .env(SEED, random.random::<u64>().to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = read_lines(child.stdout.take().unwrap());
        let began = Instant::now();
        // The first line says what was found at start.
        let found = loop {
            match lines.recv_timeout(Duration::from_secs(30)) {
                Ok(line) if line.starts_with("found ") => break line,
                Ok(line) => assert!(!line.starts_with("error"), "round {round}: {line}"),
                Err(err) => {
                    let output = child.wait_with_output().unwrap();
                    panic!("round {round}: {err}: {}", String::from_utf8_lossy(&output.stderr));
                }
            }
        };
        check(&known, &numbers(&found), round, &found);
        let kill_after = Duration::from_micros(random.random_range(0..90_000));
        let give_up = began.elapsed() + kill_after;
        let mut note = |line: &str| {
            let n = numbers(line);
            match line.split(' ').next() {
                Some("found") => {
                    // It was read from disk, so it is there to stay.
                    known.last = Some((n[1], n[2]));
                    known.may_lack_from = None;
                }
                Some("vote") => {
                    known.vote = n[0];
                    votes += 1;
                }
                Some("append") => {
                    known.last = Some((n[0], n[1]));
                    known.may_lack_from = None;
                    writes += 1;
                }
                Some("truncating") => known.may_lack_from = Some(n[0]),
                Some("truncated") => {
                    known.last = Some((n[0], n[1]));
                    known.may_lack_from = None;
                    truncations += 1;
                }
                Some("purged") => {
                    known.purged = n[0];
                    snapshots += 1;
                }
                Some("error") => panic!("round {round}: {line}"),
                _ => {}
            }
        };
        note(&found);
        while began.elapsed() < give_up {
            if let Ok(line) = lines.recv_timeout(give_up.saturating_sub(began.elapsed())) {
                note(&line);
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        while let Ok(line) = lines.recv_timeout(Duration::from_secs(5)) {
            note(&line);
        }
    }
    println!(
        "{writes} appends, {votes} votes, {truncations} truncations, {snapshots} snapshots acknowledged"
    );
    assert!(
        writes > KILLS && votes > 20 && truncations > 5 && snapshots > 5,
        "too little happened to prove anything"
    );
}

fn check(known: &Known, found: &[u64], round: usize, line: &str) {
    let [vote, last, _term, purged] = found else { panic!("{line}") };
    assert!(*vote >= known.vote, "round {round}: the vote went back from {} to {vote}", known.vote);
    assert!(*purged >= known.purged, "round {round}: purged went back");
    if let Some((index, _)) = known.last {
        let must = known.may_lack_from.map_or(index, |from| from.saturating_sub(1).min(index));
        assert!(*last >= must, "round {round}: entry {must} was acknowledged, the log ends at {last}");
    }
}

fn numbers(line: &str) -> Vec<u64> {
    line.split(' ').filter_map(|word| word.parse().ok()).collect()
}

fn read_lines(stdout: std::process::ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            // A line cut by the kill was not acknowledged; its missing end marker shows.
            let Ok(line) = line else { return };
            // libtest prints its own words in front of the first one.
            let Some(line) = line.strip_suffix(" .") else { continue };
            let line = line.rsplit("... ").next().unwrap_or(line).to_owned();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The child: runs only when the test above starts it.
#[test]
#[ignore = "is started by the other test"]
fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let seed = std::env::var(SEED).unwrap().parse().unwrap();
    if let Err(err) = work(Path::new(&dir), seed) {
        say(&format!("error {err}"));
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line} .").unwrap();
    out.flush().unwrap();
}

fn wait(submit: impl FnOnce(dmnode_storage::Done)) -> Result<(), StorageError> {
    let (done, result) = channel();
    submit(Box::new(move |outcome| done.send(outcome).unwrap()));
    result.recv().unwrap()
}

fn payload(position: LogPosition) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(position.index * 1000 + position.term);
    let length = if random.random_ratio(1, 20) { 60_000 } else { random.random_range(0..600) };
    (0..length).map(|_| random.random()).collect()
}

fn work(dir: &Path, seed: u64) -> Result<(), StorageError> {
    let data = DataDir::open(dir, "n1", false)?;
    let Store { log, snapshots, snapshot } = data.open_store()?;
    data.update_marker(|marker| marker.node_id = Some(1))?;
    let ends = log.ends();
    let last = ends.last.unwrap_or_default();
    let purged = ends.purged.unwrap_or_default();
    // Every entry is the one that was written.
    let records = log.read(purged.index + 1..last.index + 1, usize::MAX)?;
    assert_eq!(records.len() as u64, last.index - purged.index, "the log has gaps");
    for record in &records {
        assert_eq!(
            record.bytes,
            payload(record.position),
            "entry {} is not what was written",
            record.position
        );
    }
    if let Some(snapshot) = snapshot {
        assert!(snapshot.position >= purged);
        assert_eq!(snapshot.bytes, payload(snapshot.position));
    }
    let mut vote = ends.vote.unwrap_or_default();
    say(&format!("found {} {} {} {}", vote.term, last.index, last.term, purged.index));

    let mut random = StdRng::seed_from_u64(seed);
    let mut last = last;
    let mut first = purged.index;
    loop {
        match random.random_range(0..100) {
            0..8 => {
                vote = VoteRecord { term: vote.term + 1, node: random.random_range(1..4), committed: false };
                wait(|done| log.save_vote(vote, done))?;
                say(&format!("vote {}", vote.term));
            }
            8..11 if last.index > first + 5 => {
                let from = last.index - random.random_range(0..4);
                say(&format!("truncating {from}"));
                wait(|done| log.truncate(from, done))?;
                last = log.ends().last.unwrap();
                say(&format!("truncated {} {}", last.index, last.term));
            }
            11..14 if last.index > first + 30 => {
                let records = log.read(last.index - 10..last.index - 9, usize::MAX)?;
                let position = records[0].position;
                snapshots.save(&SnapshotFile { position, bytes: payload(position) })?;
                wait(|done| log.purge(position, done))?;
                first = position.index;
                say(&format!("purged {first}"));
            }
            14..17 => wait(|done| log.save_committed(Some(last), done))?,
            _ => {
                let count = random.random_range(1..5);
                let term = vote.term.max(last.term);
                let records: Vec<LogRecord> = (1..=count)
                    .map(|n| LogPosition { term, node: 1, index: last.index + n })
                    .map(|position| LogRecord { position, bytes: payload(position) })
                    .collect();
                last = records.last().unwrap().position;
                wait(|done| log.append(records, done))?;
                say(&format!("append {} {}", last.index, last.term));
            }
        }
    }
}
