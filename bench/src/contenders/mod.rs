//! Everything that takes part in a comparison: one file for each way of exchanging messages, and
//! one line for each contender in [`ALL`].
//!
//! A contender moves messages between two threads of this process over real loopback TCP. It makes
//! its own connection and its second thread; what to send, how often, and whether the right thing
//! came back is decided by the [`Pinger`] or the [`Checker`] that it is given. No thread is bound
//! to a core.

mod cluster;
mod frame;
mod memcpy;
#[cfg(feature = "peers")]
mod rzmq;
mod spsc;
mod tcp_blocking;
mod tcp_framed;
mod tcp_spinning;
#[cfg(feature = "peers")]
mod tokio_framed;
mod tokio_uring;
mod zmq;

use std::error::Error;

use crate::measure::{Checker, Pinger};

/// All contenders. Adding one is a line here. Those whose libraries would slow every build down are behind the feature
/// `peers`.
pub const ALL: &[Contender] = &[
    Contender::round_trip("cluster-inline-parked", cluster::inline_parked),
    Contender::round_trip("cluster-inline-spinning", cluster::inline_spinning),
    Contender::round_trip("cluster-dedicated-parked", cluster::dedicated_parked),
    Contender::round_trip("cluster-dedicated-spinning", cluster::dedicated_spinning),
    Contender::one_way("cluster-dedicated-owned", cluster::dedicated_owned),
    Contender::one_way("cluster-dedicated-fast", cluster::dedicated_fast),
    Contender::one_way("cluster-dedicated-fast-header", cluster::dedicated_fast_header),
    Contender::round_trip("cluster-memory-parked", cluster::memory_parked),
    Contender::round_trip("cluster-memory-spinning", cluster::memory_spinning),
    Contender::one_way("cluster-memory-owned", cluster::memory_owned),
    Contender::one_way("cluster-memory-fast", cluster::memory_fast),
    Contender::one_way("cluster-inline-fast", cluster::inline_fast),
    Contender::one_way("cluster-inline-fast-header", cluster::inline_fast_header),
    Contender::round_trip("tcp-blocking", tcp_blocking::round_trip),
    Contender::round_trip("tcp-spinning", tcp_spinning::round_trip),
    Contender::round_trip("tokio-uring", tokio_uring::round_trip),
    Contender::round_trip("zmq", zmq::round_trip),
    Contender::one_way("tcp-framed", tcp_framed::one_way),
    Contender::one_way("tokio-uring", tokio_uring::one_way),
    Contender::one_way("zmq", zmq::one_way),
    Contender::round_trip("zmq-plain", zmq::round_trip_plain),
    Contender::one_way("zmq-plain", zmq::one_way_plain),
    Contender::round_trip("spsc-spinning", spsc::round_trip),
    Contender::one_way("spsc-spinning", spsc::one_way),
    Contender::one_way("memcpy", memcpy::one_way),
    #[cfg(feature = "peers")]
    Contender::round_trip("tokio-framed", tokio_framed::round_trip),
    #[cfg(feature = "peers")]
    Contender::one_way("tokio-framed", tokio_framed::one_way),
    #[cfg(feature = "peers")]
    Contender::round_trip("rzmq-uring", rzmq::round_trip),
    #[cfg(feature = "peers")]
    Contender::one_way("rzmq-uring", rzmq::one_way),
];

/// One way of exchanging messages, in one case.
#[derive(Debug, Clone, Copy)]
pub struct Contender {
    /// Its name in tables and files.
    pub name: &'static str,
    /// What it does.
    pub run: Run,
}

/// What a contender does, and the function that does it.
#[derive(Debug, Clone, Copy)]
pub enum Run {
    /// Sends payloads to a second thread and gets each of them back: while [`Pinger::ask`] fills a
    /// payload, exchange it and give what came back to [`Pinger::answered`].
    RoundTrip(fn(&mut Pinger) -> Outcome),
    /// Sends payloads from a second thread, those of [`Checker::load`], and gives each that
    /// arrives to [`Checker::take`] until it [`is complete`](Checker::is_complete). Then a
    /// confirmation goes back, so that nothing is under way when the function returns.
    OneWay(fn(&mut Checker) -> Outcome),
}

/// `Err` when the contender could not do what it should.
pub type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

impl Contender {
    /// A contender for round trips.
    pub const fn round_trip(name: &'static str, run: fn(&mut Pinger) -> Outcome) -> Self {
        Self { name, run: Run::RoundTrip(run) }
    }

    /// A contender for one-way throughput.
    pub const fn one_way(name: &'static str, run: fn(&mut Checker) -> Outcome) -> Self {
        Self { name, run: Run::OneWay(run) }
    }
}
