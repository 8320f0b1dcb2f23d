//! All contenders: one file for each way of exchanging messages, and one line for each contender in [`ALL`].
//!
//! A contender moves messages between servers, over real loopback TCP unless its file says otherwise. It is called once
//! for each server, in a thread or in a process of its own. The [`Pinger`] or [`Participant`] that it is given decides
//! what to send and how often, and checks what arrives. Servers exchange their addresses at a [`Rendezvous`]. No thread
//! is bound to a core.

mod cluster;
#[cfg(feature = "tokio")]
mod cluster_tokio;
mod frame;
#[cfg(feature = "peers")]
mod iceoryx2;
mod memcpy;
mod memory;
#[cfg(feature = "peers")]
mod nng;
#[cfg(feature = "peers")]
mod rzmq;
mod spsc;
mod tcp_blocking;
mod tcp_framed;
mod tcp_spinning;
#[cfg(feature = "tokio")]
mod tokio_framed;
mod tokio_uring;
mod zmq;

use std::error::Error;

use crate::case::Case;
use crate::measure::{Checker, Pinger};
use crate::participant::Participant;
use crate::rendezvous::Rendezvous;

/// All contenders, one line for each. Contenders whose libraries would slow every build down need the features `tokio` or `peers`.
pub const ALL: &[Contender] = &[
    Contender::round_trip("cluster-inline-parked", cluster::ask_inline_parked, cluster::answer_inline_parked),
    Contender::round_trip("cluster-inline-default", cluster::ask_inline_default, cluster::answer_inline_default),
    Contender::round_trip("cluster-inline-spinning", cluster::ask_inline_spinning, cluster::answer_inline_spinning),
    Contender::round_trip("cluster-dedicated-parked", cluster::ask_dedicated_parked, cluster::answer_dedicated_parked),
    Contender::round_trip(
        "cluster-dedicated-default",
        cluster::ask_dedicated_default,
        cluster::answer_dedicated_default,
    ),
    Contender::round_trip(
        "cluster-dedicated-spinning",
        cluster::ask_dedicated_spinning,
        cluster::answer_dedicated_spinning,
    ),
    Contender::round_trip(
        "cluster-epoll-inline-parked",
        cluster::ask_epoll_inline_parked,
        cluster::answer_epoll_inline_parked,
    ),
    Contender::round_trip(
        "cluster-epoll-dedicated-default",
        cluster::ask_epoll_dedicated_default,
        cluster::answer_epoll_dedicated_default,
    ),
    Contender::traffic("cluster-epoll-dedicated-fast", ONE_WAY, cluster::epoll_dedicated_fast),
    Contender::traffic("cluster-epoll-dedicated-fast-header", ONE_WAY, cluster::epoll_dedicated_fast_header),
    Contender::traffic("cluster-dedicated-owned", TRAFFIC, cluster::dedicated_owned),
    Contender::traffic("cluster-dedicated-fast", TRAFFIC, cluster::dedicated_fast),
    Contender::traffic("cluster-dedicated-fast-header", ONE_WAY, cluster::dedicated_fast_header),
    Contender::new("cluster-memory-parked", &[Case::RoundTrip], Run::RoundTripWithin(memory::parked)),
    Contender::new("cluster-memory-spinning", &[Case::RoundTrip], Run::RoundTripWithin(memory::spinning)),
    Contender::new("cluster-memory-owned", ONE_WAY, Run::OneWayWithin(memory::owned)),
    Contender::new("cluster-memory-fast", ONE_WAY, Run::OneWayWithin(memory::fast)),
    Contender::traffic("cluster-inline-fast", ONE_WAY, cluster::inline_fast),
    Contender::traffic("cluster-inline-fast-header", ONE_WAY, cluster::inline_fast_header),
    Contender::round_trip("tcp-blocking", tcp_blocking::ask, tcp_blocking::answer),
    Contender::round_trip("tcp-spinning", tcp_spinning::ask, tcp_spinning::answer),
    Contender::round_trip("tokio-uring", tokio_uring::ask, tokio_uring::answer),
    Contender::round_trip("zmq", zmq::ask, zmq::answer),
    Contender::traffic("tcp-framed", FLOOR, tcp_framed::traffic),
    Contender::traffic("tokio-uring", ONE_WAY, tokio_uring::one_way),
    Contender::traffic("zmq", TRAFFIC, zmq::traffic),
    Contender::round_trip("zmq-plain", zmq::ask_plain, zmq::answer_plain),
    Contender::traffic("zmq-plain", TRAFFIC, zmq::traffic_plain),
    Contender::new("spsc-spinning", &[Case::RoundTrip], Run::RoundTripWithin(spsc::round_trip)),
    Contender::new("spsc-spinning", ONE_WAY, Run::OneWayWithin(spsc::one_way)),
    Contender::new("memcpy", ONE_WAY, Run::OneWayWithin(memcpy::one_way)),
    #[cfg(feature = "tokio")]
    Contender::round_trip("cluster-tokio", cluster_tokio::ask, cluster_tokio::answer),
    #[cfg(feature = "tokio")]
    Contender::traffic("cluster-tokio", ONE_WAY, cluster_tokio::one_way),
    #[cfg(feature = "tokio")]
    Contender::traffic("cluster-tokio-fast", ONE_WAY, cluster_tokio::one_way_fast),
    #[cfg(feature = "tokio")]
    Contender::round_trip("tokio-framed", tokio_framed::ask, tokio_framed::answer),
    #[cfg(feature = "tokio")]
    Contender::traffic("tokio-framed", ONE_WAY, tokio_framed::one_way),
    #[cfg(feature = "peers")]
    Contender::round_trip("rzmq-uring", rzmq::ask, rzmq::answer),
    #[cfg(feature = "peers")]
    Contender::traffic("rzmq-uring", ONE_WAY, rzmq::one_way),
    #[cfg(feature = "peers")]
    Contender::round_trip("nng", nng::ask, nng::answer),
    #[cfg(feature = "peers")]
    Contender::traffic("nng", ONE_WAY, nng::one_way),
    #[cfg(feature = "peers")]
    Contender::round_trip("iceoryx2-spinning", iceoryx2::ask, iceoryx2::answer),
    #[cfg(feature = "peers")]
    Contender::traffic("iceoryx2-spinning", ONE_WAY, iceoryx2::one_way),
];

/// One way of exchanging messages, and the cases that it suits.
#[derive(Debug, Clone, Copy)]
pub struct Contender {
    /// Name in tables and files.
    pub name: &'static str,
    /// Cases in which the contender takes part.
    pub cases: &'static [Case],
    /// Functions of the contender.
    pub run: Run,
}

/// Kind of exchange that a contender performs, with its functions.
#[derive(Debug, Clone, Copy)]
pub enum Run {
    /// Questions and answers between two servers.
    RoundTrip(RoundTrip),
    /// Messages among servers. The function is called once for each server. It sends [`Participant::load`] to all
    /// recipients, and passes arrivals to [`Participant::receipts`] until they are complete. It returns when none of
    /// its messages is under way any more.
    Traffic(fn(&mut Participant) -> Outcome),
    /// Questions and answers in one process, by a function that makes both ends.
    RoundTripWithin(fn(&mut Pinger) -> Outcome),
    /// Messages to another thread of this process, by a function that makes both ends.
    OneWayWithin(fn(&mut Checker) -> Outcome),
}

/// Functions for the two ends of questions and answers.
#[derive(Debug, Clone, Copy)]
pub struct RoundTrip {
    /// Server 0: while [`Pinger::ask`] fills a payload, sends it and passes the answer to [`Pinger::answered`].
    pub ask: fn(&mut Rendezvous, &mut Pinger) -> Outcome,
    /// Server 1: sends payloads back until the other end closes. The number is the size of a payload in bytes.
    pub answer: fn(&mut Rendezvous, usize) -> Outcome,
}

/// Result of a contender; an error if it could not do its task.
pub type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

impl Contender {
    /// Returns a contender for several cases.
    pub const fn new(name: &'static str, cases: &'static [Case], run: Run) -> Self {
        Self { name, cases, run }
    }

    const fn round_trip(
        name: &'static str,
        ask: fn(&mut Rendezvous, &mut Pinger) -> Outcome,
        answer: fn(&mut Rendezvous, usize) -> Outcome,
    ) -> Self {
        Self::new(name, &[Case::RoundTrip], Run::RoundTrip(RoundTrip { ask, answer }))
    }

    const fn traffic(name: &'static str, cases: &'static [Case], run: fn(&mut Participant) -> Outcome) -> Self {
        Self::new(name, cases, Run::Traffic(run))
    }

    /// Returns the contender with this name in a case.
    pub fn find(name: &str, case: Case) -> Option<&'static Self> {
        ALL.iter().find(|contender| contender.name == name && contender.cases.contains(&case))
    }

    /// Returns whether the contender's servers can be processes.
    pub fn has_processes(&self) -> bool {
        matches!(self.run, Run::RoundTrip(_) | Run::Traffic(_))
    }
}

const ONE_WAY: &[Case] = &[Case::OneWay];
const FLOOR: &[Case] = &[Case::OneWay, Case::Mixed, Case::Broadcast4, Case::Broadcast16, Case::AllToAll];
const TRAFFIC: &[Case] =
    &[Case::OneWay, Case::Mixed, Case::Broadcast4, Case::Broadcast16, Case::AllToAll, Case::SlowConsumer];
