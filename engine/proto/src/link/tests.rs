//! Tests of the protocol of one peer: its table of transitions, two links over failing connections, hostile peers.

mod application;
mod credit;
mod greeting;
mod hostile;
mod memory;
mod network;
mod simulation;
mod table;
mod timing;
