//! Registry of the contenders: for each library, ways for its nodes to reach each other.

use super::member;
use super::openraft::{NoNetwork, OpenraftNodes, TokioTcp, Tonic, Zmq};
use super::protocol::{Job, Library};
use super::raft_rs::{self, ChannelsTokioTcp, ClusterInline, RaftRsNodes};

/// Way for the nodes of a group to reach each other.
#[derive(Debug, Clone, Copy)]
pub struct Contender {
    /// Library of consensus.
    pub library: Library,
    /// Name, unique among those of its library.
    pub name: &'static str,
    /// True if all nodes are in one process, because there is no network between them.
    pub is_one_process: bool,
    /// Runs a process of the group.
    pub serve: fn(&Job),
}

impl Contender {
    /// Returns the contender of a job.
    pub fn find(library: Library, name: &str) -> Option<&'static Self> {
        ALL.iter().find(|contender| (contender.library, contender.name) == (library, name))
    }
}

impl Library {
    /// Contender that all others of the library are compared with: what a careful user writes.
    pub fn yardstick(self) -> &'static str {
        match self {
            Self::Openraft => "tokio-tcp",
            Self::RaftRs => "channels-tokio-tcp",
        }
    }
}

/// All contenders.
pub const ALL: &[Contender] = &[
    openraft("tokio-tcp", member::serve::<OpenraftNodes<TokioTcp>>),
    openraft("tonic", member::serve::<OpenraftNodes<Tonic>>),
    openraft("zmq", member::serve::<OpenraftNodes<Zmq>>),
    Contender { is_one_process: true, ..openraft("none", member::serve::<OpenraftNodes<NoNetwork>>) },
    raft_rs("channels-tokio-tcp", member::serve::<RaftRsNodes<ChannelsTokioTcp>>),
    raft_rs("cluster-inline", member::serve::<RaftRsNodes<ClusterInline>>),
    raft_rs("zmq", member::serve::<RaftRsNodes<raft_rs::Zmq>>),
    Contender { is_one_process: true, ..raft_rs("none", member::serve::<RaftRsNodes<raft_rs::NoNetwork>>) },
];

const fn openraft(name: &'static str, serve: fn(&Job)) -> Contender {
    Contender { library: Library::Openraft, name, is_one_process: false, serve }
}

const fn raft_rs(name: &'static str, serve: fn(&Job)) -> Contender {
    Contender { library: Library::RaftRs, name, is_one_process: false, serve }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_every_library_has_its_yardstick() {
        let names: BTreeSet<_> = ALL.iter().map(|contender| (contender.library.to_string(), contender.name)).collect();
        assert_eq!(names.len(), ALL.len());
        for contender in ALL {
            assert!(Contender::find(contender.library, contender.library.yardstick()).is_some());
        }
    }
}
