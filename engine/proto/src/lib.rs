//! Delivery protocol of `cluster`, pure: no socket, no thread, no clock, and no unsafe code.
//!
//! Bytes go in and come out, and the caller says what time it is. `engine/WIRE.md` describes the bytes, and
//! `engine/ARCHITECTURE.md` shows where the crate stands. Most users want the crate `cluster`.
//!
//! | module | content |
//! | --- | --- |
//! | session | one connection with a peer: framing, handshake, refusals |
//! | link | the delivery to and from one peer, over its connections |
//! | stream | envelopes of one outbox to one peer: send queue, retransmit window, flow control |
//! | batch | segments that are sent at once |
//! | wire | headers and codecs |
//! | payload, callback, time | contents of messages, calls of application code, moments |
#![forbid(unsafe_code)]

pub mod batch;
pub mod callback;
pub mod link;
pub mod payload;
pub mod session;
pub mod stream;
#[cfg(any(test, feature = "simulation"))]
pub mod testing;
pub mod time;
pub mod wire;

use cluster_ring as ring;
