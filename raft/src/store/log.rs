//! The log and the vote.

use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};

use dmnode_storage::{LogRecord, LogStore};
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{ErrorSubject, ErrorVerb, LogId, LogState, OptionalSend, RaftLogReader, StorageIOError, Vote};
use tokio::sync::oneshot;

use crate::codec;
use crate::types::{Entry, StorageError, TypeConfig, log_id, position, vote, vote_record};

/// Replication sends at most so many bytes of entries at once: an append has to fit in a heartbeat.
const READ_BYTES: usize = 512 * 1024;

/// openraft's view of the log store.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    store: LogStore,
}

impl Log {
    pub fn new(store: LogStore) -> Self {
        Self { store }
    }

    /// Submits a write and waits until it is durable.
    async fn write(
        &self,
        submit: impl FnOnce(&LogStore, dmnode_storage::Done),
    ) -> Result<(), dmnode_storage::StorageError> {
        let (done, wait) = oneshot::channel();
        submit(
            &self.store,
            Box::new(move |result| {
                // openraft dropping the future means it is shutting down.
                let _ = done.send(result);
            }),
        );
        wait.await.unwrap_or_else(|_| {
            Err(dmnode_storage::StorageError::Stopped { reason: "the writer thread is gone".to_owned() })
        })
    }

    async fn read(&self, start: u64, end: u64, max_bytes: usize) -> Result<Vec<Entry>, StorageError> {
        let store = self.store.clone();
        let records = tokio::task::spawn_blocking(move || store.read(start..end, max_bytes))
            .await
            .map_err(|err| failure(ErrorSubject::Logs, ErrorVerb::Read, &err))?
            .map_err(|err| failure(ErrorSubject::Logs, ErrorVerb::Read, &err))?;
        let mut entries = Vec::with_capacity(records.len());
        for record in &records {
            let subject = ErrorSubject::LogIndex(record.position.index);
            entries
                .push(codec::decode(&record.bytes).map_err(|err| failure(subject, ErrorVerb::Read, &err))?);
        }
        Ok(entries)
    }
}

pub(crate) fn failure(
    subject: ErrorSubject<u64>,
    verb: ErrorVerb,
    err: &(impl std::error::Error + 'static),
) -> StorageError {
    StorageIOError::new(subject, verb, openraft::AnyError::new(err)).into()
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(index) => index.saturating_add(1),
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let (start, end) = bounds(&range);
        self.read(start, end, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        self.read(start, end, READ_BYTES).await
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let ends = self.store.ends();
        Ok(LogState {
            last_purged_log_id: ends.purged.as_ref().map(log_id),
            last_log_id: ends.last.as_ref().map(log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), StorageError> {
        let record = vote_record(vote);
        self.write(|store, done| store.save_vote(record, done))
            .await
            .map_err(|err| failure(ErrorSubject::Vote, ErrorVerb::Write, &err))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StorageError> {
        Ok(self.store.ends().vote.as_ref().map(vote))
    }

    async fn save_committed(&mut self, committed: Option<LogId<u64>>) -> Result<(), StorageError> {
        let position = committed.as_ref().map(position);
        self.write(|store, done| store.save_committed(position, done))
            .await
            .map_err(|err| failure(ErrorSubject::Store, ErrorVerb::Write, &err))
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<u64>>, StorageError> {
        Ok(self.store.ends().committed.as_ref().map(log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut records = Vec::new();
        for entry in entries {
            let bytes = codec::encode(&entry)
                .map_err(|err| failure(ErrorSubject::Log(entry.log_id), ErrorVerb::Write, &err))?;
            records.push(LogRecord { position: position(&entry.log_id), bytes });
        }
        // openraft 0.9 waits for the call-back anyhow; waiting here makes "readable when this returns" true as well.
        match self.write(|store, done| store.append(records, done)).await {
            Ok(()) => {
                callback.log_io_completed(Ok(()));
                Ok(())
            }
            Err(err) => {
                callback.log_io_completed(Err(std::io::Error::other(err.to_string())));
                Err(failure(ErrorSubject::Logs, ErrorVerb::Write, &err))
            }
        }
    }

    async fn truncate(&mut self, log_id: LogId<u64>) -> Result<(), StorageError> {
        self.write(|store, done| store.truncate(log_id.index, done))
            .await
            .map_err(|err| failure(ErrorSubject::Log(log_id), ErrorVerb::Delete, &err))
    }

    async fn purge(&mut self, log_id: LogId<u64>) -> Result<(), StorageError> {
        let position = position(&log_id);
        self.write(|store, done| store.purge(position, done))
            .await
            .map_err(|err| failure(ErrorSubject::Log(log_id), ErrorVerb::Delete, &err))
    }
}
