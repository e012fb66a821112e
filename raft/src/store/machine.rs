//! The state machine as openraft sees it: the state lives in memory, snapshots in files; after a restart the newest
//! snapshot and the log after it rebuild the state.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use dmnode_storage::{SnapshotFile, SnapshotStore};
use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::{EntryPayload, ErrorSubject, ErrorVerb, LogId, OptionalSend, RaftSnapshotBuilder};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::log::failure;
use super::snapshot::{BadSnapshot, Contents};
use crate::command::{Applied, CommandReply};
use crate::state::State;
use crate::types::{Entry, SnapshotMeta, StorageError, StoredMembership, TypeConfig, position};

/// This node's replica, for readers.
#[derive(Clone, Debug)]
pub(crate) struct Replica {
    state: watch::Sender<Arc<State>>,
    applied: watch::Sender<u64>,
    voters: Arc<Mutex<BTreeSet<u64>>>,
}

impl Replica {
    pub fn new() -> Self {
        Self {
            state: watch::Sender::new(Arc::default()),
            applied: watch::Sender::new(0),
            voters: Arc::default(),
        }
    }

    /// Whether a node votes by the membership that is committed, as far as this node has come.
    pub fn votes(&self, id: u64) -> bool {
        self.voters.lock().contains(&id)
    }

    /// The state.
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.borrow())
    }

    /// Follows the state.
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.state.subscribe()
    }

    /// The index of the last applied entry; read it before the state for "at least up to here".
    pub fn applied(&self) -> u64 {
        *self.applied.borrow()
    }

    /// Waits until the entry at `index` is applied.
    pub async fn wait_applied(&self, index: u64) {
        let mut applied = self.applied.subscribe();
        // The sender lives in `self`, so it cannot be gone.
        let _ = applied.wait_for(|applied| *applied >= index).await;
    }

    fn publish(&self, state: &Arc<State>, membership: &StoredMembership, applied: Option<u64>) {
        // Before the state: who reads a state finds voters at least as new.
        *self.voters.lock() = membership.voter_ids().collect();
        self.state.send_if_modified(|current| {
            let changed = !Arc::ptr_eq(current, state);
            if changed {
                *current = Arc::clone(state);
            }
            changed
        });
        self.applied.send_replace(applied.unwrap_or(0));
    }
}

/// The state machine. Clones share it; a clone builds the snapshots.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    inner: Arc<Mutex<Inner>>,
    snapshots: SnapshotStore,
    replica: Replica,
}

#[derive(Debug)]
struct Inner {
    last_applied: Option<LogId<u64>>,
    membership: StoredMembership,
    state: Arc<State>,
    current: Option<SnapshotMeta>,
}

impl Machine {
    /// Starts from a snapshot, or empty.
    pub fn open(
        snapshots: SnapshotStore,
        snapshot: Option<&SnapshotFile>,
        replica: Replica,
    ) -> Result<Self, String> {
        let (contents, current) = match snapshot {
            Some(file) => {
                let contents = Contents::from_bytes(&file.bytes).map_err(|err| err.to_string())?;
                let meta = contents.meta();
                (contents, Some(meta))
            }
            None => (Contents::default(), None),
        };
        let Contents { last_applied, membership, state } = contents;
        let state = Arc::new(state);
        replica.publish(&state, &membership, last_applied.map(|id| id.index));
        let inner = Arc::new(Mutex::new(Inner { last_applied, membership, state, current }));
        Ok(Self { inner, snapshots, replica })
    }

    fn contents(&self) -> (Arc<State>, Option<LogId<u64>>, StoredMembership) {
        let inner = self.inner.lock();
        (Arc::clone(&inner.state), inner.last_applied, inner.membership.clone())
    }

    async fn save(&self, bytes: Vec<u8>, meta: &SnapshotMeta) -> Result<(), StorageError> {
        let file =
            SnapshotFile { position: meta.last_log_id.as_ref().map(position).unwrap_or_default(), bytes };
        let snapshots = self.snapshots.clone();
        let subject = || ErrorSubject::Snapshot(Some(meta.signature()));
        tokio::task::spawn_blocking(move || snapshots.save(&file))
            .await
            .map_err(|err| failure(subject(), ErrorVerb::Write, &err))?
            .map_err(|err| failure(subject(), ErrorVerb::Write, &err))
    }

    fn apply_one(inner: &mut Inner, entry: Entry) -> CommandReply {
        let index = entry.log_id.index;
        inner.last_applied = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => CommandReply { index, outcome: Ok(Applied::Done) },
            EntryPayload::Normal(command) => {
                let reply = Arc::make_mut(&mut inner.state).apply(index, &command);
                match &reply.outcome {
                    Ok(_) => tracing::debug!(index, %command, "applied"),
                    Err(refused) => tracing::debug!(index, %command, %refused, "refused"),
                }
                reply
            }
            EntryPayload::Membership(membership) => {
                inner.membership = StoredMembership::new(Some(entry.log_id), membership);
                CommandReply { index, outcome: Ok(Applied::Done) }
            }
        }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Machine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError> {
        let (state, last_applied, membership) = self.contents();
        let contents = Contents { last_applied, membership, state: State::clone(&state) };
        drop(state);
        let meta = contents.meta();
        let bytes = contents
            .to_bytes()
            .map_err(|err| failure(ErrorSubject::Snapshot(Some(meta.signature())), ErrorVerb::Write, &err))?;
        self.save(bytes.clone(), &meta).await?;
        self.inner.lock().current = Some(meta.clone());
        Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) })
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId<u64>>, StoredMembership), StorageError> {
        let (_, last_applied, membership) = self.contents();
        Ok((last_applied, membership))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<CommandReply>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut inner = self.inner.lock();
        let before = (inner.last_applied, inner.membership.clone(), Arc::clone(&inner.state));
        let mut replies = Vec::new();
        for entry in entries {
            let id = entry.log_id;
            // openraft would not notice the end of its worker: the node would go on and apply nothing.
            let reply = catch_unwind(AssertUnwindSafe(|| Self::apply_one(&mut inner, entry)));
            let Ok(reply) = reply else {
                // No snapshot may be made of half a change.
                (inner.last_applied, inner.membership, inner.state) = before;
                let err = BadSnapshot("the state machine panicked, see the log".to_owned());
                return Err(failure(ErrorSubject::Apply(id), ErrorVerb::Write, &err));
            };
            replies.push(reply);
        }
        self.replica.publish(&inner.state, &inner.membership, inner.last_applied.map(|id| id.index));
        Ok(replies)
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let bytes = snapshot.into_inner();
        let subject = || ErrorSubject::Snapshot(Some(meta.signature()));
        let contents =
            Contents::from_bytes(&bytes).map_err(|err| failure(subject(), ErrorVerb::Read, &err))?;
        if contents.last_applied != meta.last_log_id {
            let err = BadSnapshot("it does not end where its sender said".to_owned());
            return Err(failure(subject(), ErrorVerb::Read, &err));
        }
        self.save(bytes, meta).await?;
        let mut inner = self.inner.lock();
        inner.last_applied = contents.last_applied;
        inner.membership = contents.membership;
        inner.state = Arc::new(contents.state);
        inner.current = Some(meta.clone());
        self.replica.publish(&inner.state, &inner.membership, inner.last_applied.map(|id| id.index));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError> {
        let Some(meta) = self.inner.lock().current.clone() else { return Ok(None) };
        let snapshots = self.snapshots.clone();
        let subject = || ErrorSubject::Snapshot(Some(meta.signature()));
        let file = tokio::task::spawn_blocking(move || snapshots.newest())
            .await
            .map_err(|err| failure(subject(), ErrorVerb::Read, &err))?
            .map_err(|err| failure(subject(), ErrorVerb::Read, &err))?;
        let Some(file) = file else { return Ok(None) };
        // The file tells what it holds: after a damaged newest one it is the one before.
        let contents =
            Contents::from_bytes(&file.bytes).map_err(|err| failure(subject(), ErrorVerb::Read, &err))?;
        Ok(Some(Snapshot { meta: contents.meta(), snapshot: Box::new(Cursor::new(file.bytes)) }))
    }
}
