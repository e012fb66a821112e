//! The Raft log, the vote and two marks, behind one writer thread.
//!
//! Writes are handed to the thread in order and acknowledged by call-back once they are durable in sled **and** in
//! the guard. Writes that wait together share one flush. The first write that fails stops the store for good:
//! after a failed fsync nobody knows what is on disk.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use parking_lot::{Mutex, RwLock};

use crate::durable;
use crate::engine::{Changes, Engine, MAX_VALUE};
use crate::error::StorageError;
use crate::guard::{Guard, Guarded};
use crate::record::{LogPosition, LogRecord, VoteRecord};

const LOG: u8 = b'l';
const VOTE: &[u8] = b"m vote";
const COMMITTED: &[u8] = b"m committed";
const PURGED: &[u8] = b"m purged";
/// Writes that may share one flush.
const GROUP: usize = 64;

/// Told when a write is durable, or failed.
pub type Done = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

/// What the log holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogEnds {
    /// Up to here the log is gone, a snapshot has it.
    pub purged: Option<LogPosition>,
    /// The last entry, or `purged` when there is none.
    pub last: Option<LogPosition>,
    /// The last vote.
    pub vote: Option<VoteRecord>,
    /// Known to be committed, at least.
    pub committed: Option<LogPosition>,
}

/// The log store. Clones share it.
#[derive(Clone, Debug)]
pub struct LogStore {
    shared: Arc<Shared>,
    jobs: Sender<Job>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    engine: RwLock<Option<Engine>>,
    ends: Mutex<LogEnds>,
}

enum Job {
    Append(Vec<LogRecord>, Done),
    Vote(VoteRecord, Done),
    Truncate(u64, Done),
    Purge(LogPosition, Done),
    Committed(Option<LogPosition>, Done),
    Close(Sender<()>),
}

impl LogStore {
    /// Opens or creates the store in `dir`. With `must_exist`, a store that knows nothing is a lost one.
    pub fn open(dir: &Path, must_exist: bool) -> Result<Self, StorageError> {
        let sled_path = dir.join("sled");
        let guard_path = dir.join("guard");
        let had_sled = sled_path.join("db").exists();
        let guard = match Guard::open(&guard_path)? {
            Some(guard) => {
                if must_exist && !had_sled {
                    return Err(StorageError::damaged(dir, "the log is gone (no file sled/db)"));
                }
                guard
            }
            None if had_sled || must_exist => {
                return Err(StorageError::damaged(
                    dir,
                    "the guard file is gone, so nobody can tell whether the log still holds all it held",
                ));
            }
            None => {
                durable::create_dir(dir)?;
                Guard::create(&guard_path)?
            }
        };
        let promised = guard.current();
        let (engine, ends) = Engine::open(&sled_path, move |engine| {
            let ends = check(engine)?;
            compare(&ends, &promised, engine.path())?;
            Ok(ends)
        })?;
        let shared = Arc::new(Shared {
            path: dir.to_owned(),
            engine: RwLock::new(Some(engine)),
            ends: Mutex::new(ends),
        });
        let (jobs, queue) = channel();
        let writer = Writer { shared: Arc::clone(&shared), guard, failed: None };
        thread::Builder::new()
            .name("raft-log".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(|err| StorageError::io("start the writer thread of", dir, err))?;
        Ok(Self { shared, jobs })
    }

    /// What the log holds now.
    pub fn ends(&self) -> LogEnds {
        *self.shared.ends.lock()
    }

    /// Reads entries in order, at most `max_bytes` of them but at least one.
    pub fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<LogRecord>, StorageError> {
        let mut records = Vec::new();
        if range.start >= range.end {
            return Ok(records);
        }
        let engine = self.shared.engine.read();
        let Some(engine) = engine.as_ref() else {
            return Err(StorageError::Stopped { reason: "it was closed".to_owned() });
        };
        let mut bytes = 0;
        engine.for_each(&log_key(range.start), &log_key(range.end), |key, value| {
            let record = decode_record(&self.shared.path, key, &value)?;
            bytes += record.bytes.len();
            if !records.is_empty() && bytes > max_bytes {
                return Ok(false);
            }
            records.push(record);
            Ok(bytes < max_bytes)
        })?;
        Ok(records)
    }

    /// Appends entries.
    pub fn append(&self, records: Vec<LogRecord>, done: Done) {
        self.submit(Job::Append(records, done));
    }

    /// Saves the vote.
    pub fn save_vote(&self, vote: VoteRecord, done: Done) {
        self.submit(Job::Vote(vote, done));
    }

    /// Removes the entries from `index` on.
    pub fn truncate(&self, index: u64, done: Done) {
        self.submit(Job::Truncate(index, done));
    }

    /// Removes the entries up to `position`, which a snapshot covers.
    pub fn purge(&self, position: LogPosition, done: Done) {
        self.submit(Job::Purge(position, done));
    }

    /// Remembers how far the log is committed. Cheap: not flushed on its own.
    pub fn save_committed(&self, position: Option<LogPosition>, done: Done) {
        self.submit(Job::Committed(position, done));
    }

    /// Closes the store and waits for it; later calls fail.
    pub fn close(&self) {
        let (closed, wait) = channel();
        if self.jobs.send(Job::Close(closed)).is_ok() {
            // An error means the writer is gone, and with it the store.
            let _ = wait.recv();
        }
    }

    fn submit(&self, job: Job) {
        if let Err(refused) = self.jobs.send(job)
            && let Some(done) = refused.0.into_done()
        {
            done(Err(StorageError::Stopped { reason: "it was closed".to_owned() }));
        }
    }
}

impl Job {
    fn into_done(self) -> Option<Done> {
        match self {
            Self::Append(_, done)
            | Self::Vote(_, done)
            | Self::Truncate(_, done)
            | Self::Purge(_, done)
            | Self::Committed(_, done) => Some(done),
            Self::Close(_) => None,
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    guard: Guard,
    failed: Option<String>,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Job>) {
        let mut closed = None;
        while let Ok(first) = queue.recv() {
            let mut waiting: Vec<Done> = Vec::new();
            let mut dirty = false;
            let mut next = Some(first);
            while let Some(job) = next.take() {
                if let Job::Close(sender) = job {
                    closed = Some(sender);
                    break;
                }
                self.take(job, &mut waiting, &mut dirty);
                if waiting.len() < GROUP {
                    next = queue.try_recv().ok();
                }
            }
            self.finish(&mut waiting, &mut dirty);
            if closed.is_some() {
                break;
            }
        }
        let engine = self.shared.engine.write().take();
        if let Some(engine) = engine {
            engine.close();
        }
        if let Some(sender) = closed {
            // Nobody waiting is fine.
            let _ = sender.send(());
        }
    }

    /// Applies one write; its acknowledgement waits for the flush.
    fn take(&mut self, job: Job, waiting: &mut Vec<Done>, dirty: &mut bool) {
        if matches!(job, Job::Truncate(..)) {
            // The guard must promise less before the log holds less, and more only after it holds more: what was
            // written before the truncation is settled first.
            self.finish(waiting, dirty);
        }
        let flush = !matches!(job, Job::Committed(..));
        let result = match &self.failed {
            Some(reason) => Err(StorageError::Stopped { reason: reason.clone() }),
            None => self.apply(&job),
        };
        let Some(done) = job.into_done() else { return };
        match result {
            Ok(()) if flush => {
                *dirty = true;
                waiting.push(done);
            }
            Ok(()) => done(Ok(())),
            Err(err) => {
                self.fail(&err);
                done(Err(err));
            }
        }
    }

    fn finish(&mut self, waiting: &mut Vec<Done>, dirty: &mut bool) {
        if std::mem::take(dirty) && self.failed.is_none() {
            let ends = *self.shared.ends.lock();
            let flushed = self
                .with_engine(|engine| engine.flush())
                .and_then(|()| self.guard.write(Guarded { vote: ends.vote, last: ends.last }));
            if let Err(err) = flushed {
                self.fail(&err);
            }
        }
        for done in waiting.drain(..) {
            done(match &self.failed {
                None => Ok(()),
                Some(reason) => Err(StorageError::Stopped { reason: reason.clone() }),
            });
        }
    }

    fn fail(&mut self, err: &StorageError) {
        if self.failed.is_none() {
            tracing::error!(error = %err, "writing the Raft log failed; this node stops taking part");
            self.failed = Some(err.to_string());
        }
    }

    fn with_engine<T>(
        &self,
        call: impl FnOnce(&Engine) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        match self.shared.engine.read().as_ref() {
            Some(engine) => call(engine),
            None => Err(StorageError::Stopped { reason: "it was closed".to_owned() }),
        }
    }

    fn apply(&mut self, job: &Job) -> Result<(), StorageError> {
        let before = *self.shared.ends.lock();
        let mut after = before;
        let mut changes = Changes::default();
        match job {
            Job::Append(records, _) => {
                for record in records {
                    // A snapshot covers it already.
                    if before.purged.is_some_and(|purged| record.position <= purged) {
                        continue;
                    }
                    if let Some(last) = after.last
                        && (record.position.index != last.index + 1 || record.position < last)
                    {
                        let what = format!("the entry at {} after {last}", record.position);
                        return Err(StorageError::OutOfOrder { what });
                    }
                    if record.bytes.len() > MAX_VALUE - LogPosition::SIZE {
                        let what = format!("an entry of {} bytes", record.bytes.len());
                        return Err(StorageError::OutOfOrder { what });
                    }
                    changes.put(&log_key(record.position.index), &encode_record(record));
                    after.last = Some(record.position);
                }
            }
            Job::Vote(vote, _) => {
                if before.vote.is_some_and(|earlier| earlier > *vote) {
                    let what = format!("the vote {vote} after {}", before.vote.unwrap_or_default());
                    return Err(StorageError::OutOfOrder { what });
                }
                changes.put(VOTE, &vote.to_bytes());
                after.vote = Some(*vote);
            }
            Job::Truncate(index, _) => {
                let Some(last) = before.last else { return Ok(()) };
                if *index > last.index || before.purged.is_some_and(|purged| *index <= purged.index) {
                    if *index > last.index {
                        return Ok(());
                    }
                    return Err(StorageError::OutOfOrder {
                        what: format!("a truncation to {index}, below a snapshot"),
                    });
                }
                after.last = self.position_before(*index, before.purged)?;
                self.guard.write(Guarded { vote: before.vote, last: after.last })?;
                self.with_engine(|engine| {
                    engine.remove_range(&mut changes, &log_key(*index), &log_key_end())
                })?;
            }
            Job::Purge(position, _) => {
                if before.purged.is_some_and(|purged| purged >= *position) {
                    return Ok(());
                }
                changes.put(PURGED, &position.to_bytes());
                after.purged = Some(*position);
                after.last = after.last.max(Some(*position));
                self.with_engine(|engine| {
                    engine.remove_range(&mut changes, &log_key(0), &log_key(position.index.saturating_add(1)))
                })?;
            }
            Job::Committed(position, _) => {
                changes.put(COMMITTED, &position.map(|p| p.to_bytes().to_vec()).unwrap_or_default());
                after.committed = *position;
            }
            Job::Close(_) => return Ok(()),
        }
        self.with_engine(|engine| engine.apply(changes))?;
        *self.shared.ends.lock() = after;
        Ok(())
    }

    fn position_before(
        &self,
        index: u64,
        purged: Option<LogPosition>,
    ) -> Result<Option<LogPosition>, StorageError> {
        let Some(previous) = index.checked_sub(1) else { return Ok(None) };
        if let Some(purged) = purged.filter(|purged| purged.index == previous) {
            return Ok(Some(purged));
        }
        let key = log_key(previous);
        match self.with_engine(|engine| engine.get(&key))? {
            Some(value) => Ok(Some(decode_record(&self.shared.path, &key, &value)?.position)),
            None => Ok(None),
        }
    }
}

/// Reads everything once: all frames whole, no gap, marks in order.
fn check(engine: &Engine) -> Result<LogEnds, StorageError> {
    let path = engine.path();
    let position = |name: &'static [u8]| -> Result<Option<LogPosition>, StorageError> {
        match engine.get(name)? {
            Some(bytes) if bytes.is_empty() => Ok(None),
            Some(bytes) => match LogPosition::from_bytes(&bytes) {
                Some(position) => Ok(Some(position)),
                None => Err(StorageError::damaged(path, "a mark has the wrong length")),
            },
            None => Ok(None),
        }
    };
    let vote = match engine.get(VOTE)? {
        Some(bytes) => Some(
            VoteRecord::from_bytes(&bytes)
                .ok_or_else(|| StorageError::damaged(path, "the vote has the wrong length"))?,
        ),
        None => None,
    };
    let purged = position(PURGED)?;
    let mut last = purged;
    engine.for_each(&log_key(0), &log_key_end(), |key, value| {
        let position = decode_record(path, key, &value)?.position;
        if let Some(before) = last
            && (position.index != before.index + 1 || position < before)
        {
            return Err(StorageError::damaged(path, format!("the log jumps from {before} to {position}")));
        }
        last = Some(position);
        Ok(true)
    })?;
    // `committed` is not flushed on its own, and a truncated log may end before it.
    let committed = position(COMMITTED)?.min(last);
    tracing::debug!(?last, ?vote, "opened the Raft log");
    Ok(LogEnds { purged, last, vote, committed })
}

/// The store must not know less than was acknowledged.
fn compare(ends: &LogEnds, promised: &Guarded, path: &Path) -> Result<(), StorageError> {
    if ends.vote < promised.vote {
        let reason = format!(
            "it opened without the vote this node gave ({}; it holds {})",
            promised.vote.unwrap_or_default(),
            ends.vote.map_or_else(|| "none".to_owned(), |vote| vote.to_string()),
        );
        return Err(StorageError::damaged(path, reason));
    }
    if ends.last < promised.last {
        let reason = format!(
            "it opened shorter than it was: this node acknowledged {}, the log ends at {}",
            promised.last.unwrap_or_default(),
            ends.last.map_or_else(|| "nothing".to_owned(), |last| last.to_string()),
        );
        return Err(StorageError::damaged(path, reason));
    }
    Ok(())
}

fn log_key(index: u64) -> [u8; 9] {
    let mut key = [LOG; 9];
    let (_, number) = key.split_at_mut(1);
    number.copy_from_slice(&index.to_be_bytes());
    key
}

fn log_key_end() -> [u8; 1] {
    [LOG + 1]
}

fn encode_record(record: &LogRecord) -> Vec<u8> {
    let mut bytes = record.position.to_bytes().to_vec();
    bytes.extend_from_slice(&record.bytes);
    bytes
}

fn decode_record(path: &Path, key: &[u8], value: &[u8]) -> Result<LogRecord, StorageError> {
    let decoded = value.split_at_checked(LogPosition::SIZE).and_then(|(position, bytes)| {
        let position = LogPosition::from_bytes(position)?;
        (key == log_key(position.index)).then(|| LogRecord { position, bytes: bytes.to_vec() })
    });
    decoded.ok_or_else(|| StorageError::damaged(path, "a log entry stands under the wrong index"))
}
