//! Files cut, flipped, zeroed or lost: opening gives either everything that was acknowledged, or a clear error and
//! a quarantine. Never a panic, never a forgotten vote.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::sync::mpsc::channel;

use dmnode_storage::{DataDir, LogEnds, LogPosition, LogRecord, SnapshotFile, StorageError, VoteRecord};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const ENTRIES: u64 = 120;
const PURGED: u64 = 40;

fn at(index: u64) -> LogPosition {
    LogPosition { term: 7, node: 1, index }
}

fn payload(index: u64) -> Vec<u8> {
    (0..200 + (index % 5) * 3000).map(|n| (n * 31 + index) as u8).collect()
}

fn wait(submit: impl FnOnce(dmnode_storage::Done)) {
    let (done, result) = channel();
    submit(Box::new(move |outcome| done.send(outcome).unwrap()));
    result.recv().unwrap().unwrap();
}

/// A directory in which a node has worked for a while.
fn fill(dir: &Path) {
    let data = DataDir::open(dir, "n1", false).unwrap();
    let store = data.open_store().unwrap();
    data.update_marker(|marker| marker.node_id = Some(1)).unwrap();
    for term in 1..=7 {
        wait(|done| store.log.save_vote(VoteRecord { term, node: 1, committed: false }, done));
    }
    for index in 1..=ENTRIES {
        wait(|done| store.log.append(vec![LogRecord { position: at(index), bytes: payload(index) }], done));
        if index == PURGED || index == 2 * PURGED {
            store.snapshots.save(&SnapshotFile { position: at(index), bytes: payload(index) }).unwrap();
        }
    }
    wait(|done| store.log.purge(at(PURGED), done));
    wait(|done| store.log.save_vote(VoteRecord { term: 7, node: 1, committed: true }, done));
    store.log.close();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Whole,
    Quarantined,
}

/// Opens and judges; anything but "all there" and "set aside" fails the test.
fn open(dir: &Path, what: &str) -> Outcome {
    let data = DataDir::open(dir, "n1", false).unwrap();
    match data.open_store() {
        Ok(store) => {
            let LogEnds { purged, last, vote, .. } = store.log.ends();
            assert_eq!(vote, Some(VoteRecord { term: 7, node: 1, committed: true }), "{what}");
            assert_eq!((purged, last), (Some(at(PURGED)), Some(at(ENTRIES))), "{what}");
            for record in store.log.read(PURGED + 1..ENTRIES + 1, usize::MAX).unwrap() {
                assert_eq!(record.bytes, payload(record.position.index), "{what}");
            }
            let snapshot = store.snapshot.unwrap();
            assert!(
                snapshot.position >= at(PURGED) && snapshot.bytes == payload(snapshot.position.index),
                "{what}"
            );
            store.log.close();
            Outcome::Whole
        }
        Err(StorageError::Quarantined { message }) => {
            assert!(message.contains("--replace") && message.contains("quarantine-"), "{what}: {message}");
            data.release();
            // It stays refused until an operator decides.
            let again = DataDir::open(dir, "n1", false).unwrap_err();
            assert!(matches!(again, StorageError::Quarantined { .. }), "{what}: {again}");
            let anew = DataDir::open(dir, "n1", true).unwrap();
            assert_eq!(anew.marker().node_id, None);
            anew.open_store().unwrap().log.close();
            Outcome::Quarantined
        }
        Err(other) => panic!("{what}: {other}"),
    }
}

fn judge(
    file: &str,
    cases: usize,
    mut damage: impl FnMut(&mut Vec<u8>, &mut StdRng) -> String,
) -> (usize, usize) {
    let original = tempfile::tempdir().unwrap();
    fill(original.path());
    let mut random = StdRng::seed_from_u64(20_261_122);
    let (mut whole, mut quarantined) = (0, 0);
    for _ in 0..cases {
        let dir = tempfile::tempdir().unwrap();
        copy(original.path(), dir.path());
        let path = dir.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        let what = damage(&mut bytes, &mut random);
        fs::write(&path, &bytes).unwrap();
        match open(dir.path(), &format!("{file}: {what}")) {
            Outcome::Whole => whole += 1,
            Outcome::Quarantined => quarantined += 1,
        }
    }
    println!("{file}: {whole} whole, {quarantined} set aside");
    (whole, quarantined)
}

/// The part of a file that holds anything.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1)
}

#[test]
fn a_flipped_bit_in_the_database_is_never_silent() {
    let (_, quarantined) = judge("raft/sled/db", 60, |bytes, random| {
        let at = random.random_range(0..used(bytes));
        let bit = random.random_range(0..8_u32);
        bytes[at] ^= 1_u8 << bit;
        format!("bit {bit} of byte {at} flipped")
    });
    assert!(quarantined > 0, "nothing was hit");
}

#[test]
fn a_cut_database_is_never_silent() {
    let (_, quarantined) = judge("raft/sled/db", 40, |bytes, random| {
        let cut = random.random_range(0..used(bytes));
        bytes.truncate(cut);
        format!("cut at {cut}")
    });
    assert!(quarantined > 0, "nothing was hit");
}

#[test]
fn a_zeroed_tail_is_never_silent() {
    let (_, quarantined) = judge("raft/sled/db", 40, |bytes, random| {
        let used = used(bytes);
        let from = random.random_range(0..used);
        bytes[from..].fill(0);
        format!("zero from {from} of {used}")
    });
    assert!(quarantined > 0, "nothing was hit");
}

#[test]
fn a_damaged_guard_is_never_silent() {
    judge("raft/guard", 30, |bytes, random| {
        let at = random.random_range(0..bytes.len());
        bytes[at] ^= 0x10;
        format!("byte {at} flipped")
    });
    let (whole, quarantined) = judge("raft/guard", 10, |bytes, random| {
        let cut = random.random_range(0..60);
        bytes.truncate(cut);
        format!("cut at {cut}")
    });
    assert_eq!((whole, quarantined), (0, 10));
}

#[test]
fn a_lost_part_is_never_silent() {
    let original = tempfile::tempdir().unwrap();
    fill(original.path());
    for lost in ["raft", "raft/sled", "raft/sled/db", "raft/guard", "raft/snapshots"] {
        let dir = tempfile::tempdir().unwrap();
        copy(original.path(), dir.path());
        let path = dir.path().join(lost);
        if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.unwrap();
        assert_eq!(open(dir.path(), lost), Outcome::Quarantined, "{lost}");
    }
    // An older copy of the database under the newer guard: a restored backup.
    let dir = tempfile::tempdir().unwrap();
    let early = tempfile::tempdir().unwrap();
    let data = DataDir::open(early.path(), "n1", false).unwrap();
    let store = data.open_store().unwrap();
    wait(|done| store.log.save_vote(VoteRecord { term: 3, node: 1, committed: false }, done));
    store.log.close();
    copy(original.path(), dir.path());
    fs::remove_dir_all(dir.path().join("raft/sled")).unwrap();
    copy(&early.path().join("raft/sled"), &dir.path().join("raft/sled"));
    assert_eq!(open(dir.path(), "an older database"), Outcome::Quarantined);
}

#[test]
fn the_snapshot_before_serves_when_the_newest_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    let mut files: Vec<_> =
        fs::read_dir(dir.path().join("raft/snapshots")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    fs::write(&files[1], b"nonsense").unwrap();
    assert_eq!(open(dir.path(), "the newest snapshot"), Outcome::Whole);
    fs::write(&files[0], b"nonsense").unwrap();
    assert_eq!(open(dir.path(), "both snapshots"), Outcome::Quarantined);
}

#[test]
fn a_damaged_or_lost_marker_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    let marker = dir.path().join("node.json");
    let text = fs::read_to_string(&marker).unwrap();
    fs::write(&marker, text.replace("\"node_id\": 1", "\"node_id\": 2")).unwrap();
    let err = DataDir::open(dir.path(), "n1", false).unwrap_err().to_string();
    assert!(err.contains("checksum"), "{err}");
    fs::write(&marker, &text[..text.len() / 2]).unwrap();
    assert!(DataDir::open(dir.path(), "n1", false).is_err());
    fs::remove_file(&marker).unwrap();
    let err = DataDir::open(dir.path(), "n1", false).unwrap_err().to_string();
    assert!(err.contains("no marker"), "{err}");
    fs::write(&marker, text).unwrap();
    let err = DataDir::open(dir.path(), "n2", false).unwrap_err().to_string();
    assert!(err.contains("belongs to node `n1`"), "{err}");
    let data = DataDir::open(dir.path(), "n1", false).unwrap();
    assert!(matches!(DataDir::open(dir.path(), "n1", false), Err(StorageError::Locked { .. })));
    drop(data);
}
