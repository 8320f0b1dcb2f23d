//! Benchmarks of the cluster messaging engine: against ZeroMQ, against tokio-uring, and against the kernel's own TCP,
//! which is the floor under all of them.
//!
//! - [`case`] lists the measured cases; [`contenders`] is the registry, with one file for each way of exchanging
//!   messages.
//! - [`measure`] decides what is sent, checks what arrives, and keeps the figures.
//! - [`runner`] runs one contender once. It starts a server for each [`participant`], in threads or in [`processes`];
//!   the servers find each other at a [`rendezvous`]. [`compare`] runs all contenders, interleaved.
//! - [`usage`] reports what a run used: processor time, system calls, waits, and memory (by [`allocations`]).
//! - [`ratios`] holds a short comparison against committed bars; [`history`] keeps the results.
//! - [`open_loop`] sends at a fixed rate; [`raft_mix`] imitates a replicated system.
//! - `raft`, with the feature of that name, is the network of real consensus libraries.
//! - [`mesh`] runs hundreds of servers that all talk to each other, and then leaves them idle. Its processes are
//!   started by [`child`], and observed by [`proc`].
//! - [`scaling`] measures how throughput grows with servers and with event loops.
//! - [`documents`] are the files that keep all results; [`report`] draws the report of a release from them;
//!   [`histograms`] are kept as they were recorded.
//! - [`noise`] measures what else ran on the machine meanwhile.
//! - [`receive_strategies`] is a probe that chose the design of the engine's driver.
//!
//! All benchmarks run over real loopback TCP, without binding threads to cores.

pub mod allocations;
pub mod case;
pub mod child;
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
pub mod proc;
pub mod processes;
#[cfg(feature = "raft")]
pub mod raft;
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
