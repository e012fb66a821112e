//! Requests already applied: remembered by count, so that every replica forgets the same ones.

use crate::command::CommandReply;
use crate::state::{AppliedRequest, AppliedRequests};

/// So many answers are remembered. A client repeats a request within seconds; this many commands take minutes.
pub(super) const REMEMBERED: usize = 4096;

impl AppliedRequests {
    pub(super) fn get(&self, id: &str) -> Option<&AppliedRequest> {
        self.by_id.get(id)
    }

    pub(super) fn remember(&mut self, index: u64, id: &str, digest: u32, reply: &CommandReply) {
        self.by_id.insert(id.to_owned(), AppliedRequest { digest, reply: reply.clone() });
        self.by_index.insert(index, id.to_owned());
        while self.by_index.len() > REMEMBERED {
            if let Some((_, oldest)) = self.by_index.pop_first() {
                self.by_id.remove(&oldest);
            }
        }
    }
}
