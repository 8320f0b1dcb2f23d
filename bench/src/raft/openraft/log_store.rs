//! Log in memory.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{Entry, LogId, LogState, OptionalSend, RaftLogReader, StorageError, Vote};

use super::types::Types;

/// Log of one node. Clones share it.
#[derive(Clone, Default)]
pub struct LogStore(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    /// Entries behind the purged ones, without gaps.
    entries: VecDeque<Entry<Types>>,
    purged: Option<LogId<u64>>,
    vote: Option<Vote<u64>>,
    committed: Option<LogId<u64>>,
}

impl LogStore {
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    /// Returns the position in `entries` of the entry `index`, which may be beyond the end.
    fn position(&self, index: u64) -> usize {
        let first = self.purged.map_or(0, |purged| purged.index + 1);
        usize::try_from(index.saturating_sub(first)).map_or(self.entries.len(), |at| at.min(self.entries.len()))
    }

    fn range(&self, range: &impl RangeBounds<u64>) -> std::ops::Range<usize> {
        let start = match range.start_bound() {
            Bound::Included(&index) => self.position(index),
            Bound::Excluded(&index) => self.position(index.saturating_add(1)),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&index) => self.position(index.saturating_add(1)),
            Bound::Excluded(&index) => self.position(index),
            Bound::Unbounded => self.entries.len(),
        };
        start..end.max(start)
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry<Types>>, StorageError<u64>> {
        let log = self.lock();
        Ok(log.entries.range(log.range(&range)).cloned().collect())
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError<u64>> {
        let log = self.lock();
        let last_log_id = log.entries.back().map(|entry| entry.log_id).or(log.purged);
        Ok(LogState { last_purged_log_id: log.purged, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), StorageError<u64>> {
        self.lock().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StorageError<u64>> {
        Ok(self.lock().vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId<u64>>) -> Result<(), StorageError<u64>> {
        self.lock().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<u64>>, StorageError<u64>> {
        Ok(self.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError<u64>>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.lock().entries.extend(entries);
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        let mut log = self.lock();
        let kept = log.position(log_id.index);
        log.entries.truncate(kept);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        let mut log = self.lock();
        let dropped = log.position(log_id.index + 1);
        log.entries.drain(..dropped);
        log.purged = Some(log_id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use openraft::{CommittedLeaderId, EntryPayload};

    use super::*;

    fn id(index: u64) -> LogId<u64> {
        LogId::new(CommittedLeaderId::new(1, 1), index)
    }

    fn indexes(store: &mut LogStore, range: impl RangeBounds<u64> + Clone + Debug + Send) -> Vec<u64> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let entries = runtime.block_on(store.try_get_log_entries(range)).unwrap();
        entries.iter().map(|entry| entry.log_id.index).collect()
    }

    #[test]
    fn entries_are_found_by_index_after_purge_and_truncate() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut store = LogStore::default();
        let entry = |index| Entry::<Types> { log_id: id(index), payload: EntryPayload::Blank };
        store.lock().entries.extend((0..10).map(entry));
        assert_eq!(indexes(&mut store, 3..5), [3, 4]);
        assert_eq!(indexes(&mut store, ..), (0..10).collect::<Vec<_>>());

        runtime.block_on(store.purge(id(3))).unwrap();
        runtime.block_on(store.truncate(id(8))).unwrap();
        assert_eq!(indexes(&mut store, ..), [4, 5, 6, 7]);
        assert_eq!(indexes(&mut store, 0..=5), [4, 5]);
        assert_eq!(indexes(&mut store, 9..), [0_u64; 0]);
        let state = runtime.block_on(store.get_log_state()).unwrap();
        assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(3)), Some(id(7))));

        runtime.block_on(store.purge(id(20))).unwrap();
        let state = runtime.block_on(store.get_log_state()).unwrap();
        assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(20)), Some(id(20))));
    }
}
