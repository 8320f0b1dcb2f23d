//! Clients that count the leader's contacts with its followers, around those of any contender.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use openraft::error::{Fatal, InstallSnapshotError, RPCError, RaftError, ReplicationClosed, StreamingError};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, SnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{BasicNode, OptionalSend, RaftNetwork, RaftNetworkFactory, Snapshot, Vote};

use super::types::Types;
use crate::raft::protocol::{Contacts, Id};

/// Contacts of one node with all others. Clones share the counts.
#[derive(Clone, Default)]
pub struct Counts(Arc<Mutex<BTreeMap<Id, Contact>>>);

struct Contact {
    empty_appends: u64,
    longest_gap_ns: u64,
    last: Instant,
}

impl Counts {
    /// Returns the contacts since the last call.
    pub fn take(&self) -> Vec<Contacts> {
        let now = Instant::now();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let contacts = counts.iter_mut().map(|(&node, contact)| {
            contact.longest_gap_ns = contact.longest_gap_ns.max((now - contact.last).as_nanos() as u64);
            let Contact { empty_appends, longest_gap_ns, .. } = *contact;
            *contact = Contact { empty_appends: 0, longest_gap_ns: 0, last: now };
            Contacts { node, empty_appends, longest_gap_ns }
        });
        contacts.collect()
    }

    fn answered(&self, node: Id, is_empty: bool) {
        let now = Instant::now();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let contact = counts.entry(node).or_insert(Contact { empty_appends: 0, longest_gap_ns: 0, last: now });
        contact.empty_appends += u64::from(is_empty);
        contact.longest_gap_ns = contact.longest_gap_ns.max((now - contact.last).as_nanos() as u64);
        contact.last = now;
    }
}

/// Clients of a node, counted.
pub struct Counted<F> {
    /// Clients of the contender.
    pub inner: F,
    /// Counts of all clients.
    pub counts: Counts,
}

/// Client, counted.
pub struct CountedClient<N> {
    inner: N,
    target: Id,
    counts: Counts,
}

impl<F: RaftNetworkFactory<Types>> RaftNetworkFactory<Types> for Counted<F> {
    type Network = CountedClient<F::Network>;

    async fn new_client(&mut self, target: Id, node: &BasicNode) -> Self::Network {
        CountedClient { inner: self.inner.new_client(target, node).await, target, counts: self.counts.clone() }
    }
}

type Answer<T, E = openraft::error::Infallible> = Result<T, RPCError<u64, BasicNode, RaftError<u64, E>>>;

impl<N: RaftNetwork<Types>> RaftNetwork<Types> for CountedClient<N> {
    async fn append_entries(
        &mut self,
        call: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Answer<AppendEntriesResponse<u64>> {
        let is_empty = call.entries.is_empty();
        let answer = self.inner.append_entries(call, option).await;
        if answer.is_ok() {
            self.counts.answered(self.target, is_empty);
        }
        answer
    }

    async fn install_snapshot(
        &mut self,
        call: InstallSnapshotRequest<Types>,
        option: RPCOption,
    ) -> Answer<InstallSnapshotResponse<u64>, InstallSnapshotError> {
        self.inner.install_snapshot(call, option).await
    }

    async fn vote(&mut self, call: VoteRequest<u64>, option: RPCOption) -> Answer<VoteResponse<u64>> {
        self.inner.vote(call, option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote<u64>,
        snapshot: Snapshot<Types>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Types, Fatal<u64>>> {
        self.inner.full_snapshot(vote, snapshot, cancel, option).await
    }

    fn backoff(&self) -> Backoff {
        self.inner.backoff()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_appends_and_gaps_count_since_the_last_look() {
        let counts = Counts::default();
        counts.answered(2, true);
        counts.answered(2, false);
        counts.answered(3, true);
        let taken = counts.take();
        assert_eq!(
            taken.iter().map(|contact| (contact.node, contact.empty_appends)).collect::<Vec<_>>(),
            [(2, 1), (3, 1)]
        );
        let silent = counts.take();
        assert!(silent.iter().all(|contact| contact.empty_appends == 0 && contact.longest_gap_ns > 0), "{silent:?}");
    }
}
