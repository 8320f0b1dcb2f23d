//! The benchmarks of the cluster messaging engine: against ZeroMQ, against tokio-uring, and against
//! the kernel's own TCP, which is the floor under all of them.
//!
//! - [`case`] is what is measured; [`contenders`] is the registry, and one file for each way of exchanging messages.
//! - [`measure`] decides what is sent, checks what arrives, and keeps the figures.
//! - [`runner`] runs one contender once: a server for each [`participant`], which find each other at a [`rendezvous`], in threads or
//!   in [`processes`]; [`compare`] runs all of them, interleaved.
//! - [`usage`] says what a run used: processor, system calls, waits, and by [`allocations`] memory.
//! - [`ratios`] holds a short comparison against committed bars; [`history`] keeps what came out.
//! - [`open_loop`] sends at a fixed rate; [`raft_mix`] is what a replicated system does.
//! - [`mesh`] runs hundreds of servers that all talk to each other, and then leaves them idle.
//! - [`scaling`] is how throughput grows with servers and with event loops.
//! - [`documents`] are the files that all of this is kept in; [`report`] is the report of a release, drawn from them; [`histograms`] are kept
//!   as they were recorded.
//! - [`noise`] says what else ran meanwhile.
//! - [`receive_strategies`] is a probe that chose the design of the engine's driver.
//!
//! Everything runs over real loopback TCP, without binding threads to cores.

pub mod allocations;
pub mod case;
pub mod compare;
pub mod contenders;
pub mod documents;
pub mod histograms;
pub mod history;
pub mod machine;
pub mod measure;
pub mod mesh;
pub mod noise;
pub mod open_loop;
pub mod participant;
pub mod processes;
pub mod raft_mix;
pub mod ratios;
pub mod receive_strategies;
pub mod rendezvous;
pub mod report;
pub mod runner;
pub mod scaling;
pub mod statistics;
pub mod table;
pub mod usage;

mod loopback;
