//! State machine in memory: the shared content, and what openraft wants to know of it.

use std::io::Cursor;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, BasicNode, Entry, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta,
    StorageError, StorageIOError, StoredMembership,
};

use super::types::Types;
use crate::raft::content::Content;

/// State machine of one node. Clones share it.
#[derive(Clone)]
pub struct StateMachine(Arc<Mutex<State>>);

struct State {
    content: Content,
    applied: Option<LogId<u64>>,
    membership: StoredMembership<u64, BasicNode>,
    snapshot: Option<Kept>,
}

/// Last snapshot. Its bytes are shared with the content that it was read into.
#[derive(Clone)]
struct Kept {
    meta: SnapshotMeta<u64, BasicNode>,
    bytes: Arc<Vec<u8>>,
}

impl Kept {
    fn to_send(&self) -> Snapshot<Types> {
        Snapshot { meta: self.meta.clone(), snapshot: Box::new(Cursor::new(self.bytes.to_vec())) }
    }
}

impl StateMachine {
    /// Makes a state machine with a content that no entry of the log has made.
    pub fn new(content: Content) -> Self {
        let membership = StoredMembership::default();
        Self(Arc::new(Mutex::new(State { content, applied: None, membership, snapshot: None })))
    }

    /// Passes the content to `look`.
    pub fn look<T>(&self, look: impl FnOnce(&Content) -> T) -> T {
        look(&self.lock().content)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotBuilder = Self;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<u64>>, StoredMembership<u64, BasicNode>), StorageError<u64>> {
        let state = self.lock();
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, StorageError<u64>>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut state = self.lock();
        let apply = |entry: Entry<Types>| {
            state.applied = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(write) => state.content.apply(&write),
                EntryPayload::Membership(membership) => {
                    state.membership = StoredMembership::new(Some(entry.log_id), membership);
                }
            }
        };
        Ok(entries.into_iter().map(apply).collect())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError<u64>> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, BasicNode>,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError<u64>> {
        let bytes = Arc::new(snapshot.into_inner());
        let Some(content) = Content::of_snapshot(&bytes) else {
            let error = AnyError::error("the bytes received are no snapshot");
            return Err(StorageIOError::read_snapshot(Some(meta.signature()), error).into());
        };
        let mut state = self.lock();
        state.content = content;
        state.applied = meta.last_log_id;
        state.membership = meta.last_membership.clone();
        state.snapshot = Some(Kept { meta: meta.clone(), bytes });
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError<u64>> {
        // Copied outside of the lock: a large snapshot takes a while.
        let kept = self.lock().snapshot.clone();
        Ok(kept.map(|kept| kept.to_send()))
    }
}

impl RaftSnapshotBuilder<Types> for StateMachine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError<u64>> {
        // Entries are applied meanwhile; values are shared, not copied.
        let (content, last_log_id, last_membership) = {
            let state = self.lock();
            (state.content.clone(), state.applied, state.membership.clone())
        };
        let snapshot_id = last_log_id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        let meta = SnapshotMeta { last_log_id, last_membership, snapshot_id };
        let kept = Kept { meta, bytes: Arc::new(content.snapshot()) };
        self.lock().snapshot = Some(kept.clone());
        Ok(kept.to_send())
    }
}
