//! The crate from outside: servers on real sockets.
#![allow(clippy::print_stderr, reason = "a test that fails is replayed with the seed it printed")]

mod account;
mod asynchronous;
mod churn;
mod config;
mod conformance;
mod dead_loop;
mod delivery;
mod differing;
mod fallback;
mod hostile;
mod inline;
mod membership;
mod mock;
mod neighbours;
mod no_memory;
mod outcomes;
mod perishable;
mod pressure;
mod proxy;
mod reactor;
mod reconnect;
mod refusals;
mod start_stop;
mod stats;
mod support;
mod typed;
mod user_code;
