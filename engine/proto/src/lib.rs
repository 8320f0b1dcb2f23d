//! Delivery protocol of `cluster`, pure: no socket, no thread, no clock, and no unsafe code.
//!
//! Bytes go in and come out, and the caller says what time it is. `engine/WIRE.md` describes the bytes, and
//! `engine/ARCHITECTURE.md` shows where the crate stands. Most users want the crate `cluster`.
//!
//! | module | content |
//! | --- | --- |
//! | [`session`] | one connection with a peer: framing, handshake, refusals |
//! | [`link`] | the delivery to and from one peer, over its connections |
//! | [`stream`] | envelopes of one outbox to one peer: send queue, retransmit window, flow control |
//! | [`batch`] | segments that are sent at once |
//! | [`wire`] | headers and codecs |
//! | [`payload`], [`callback`], [`time`] | contents of messages, calls of application code, moments |
//!
//! A handshake of two servers, without a socket:
//!
//! ```
//! use cluster_proto::batch::{Batch, Piece};
//! use cluster_proto::link::{Local, OneLink, Want};
//! use cluster_proto::session::{SessionEvent, Session};
//! use cluster_proto::time::Time;
//! # use std::time::Duration;
//! # use zerocopy::IntoBytes;
//! #
//! # fn local(pid: u64) -> Local {
//! #     Local {
//! #         pid,
//! #         incarnation: [pid as u8; 16],
//! #         secret: 4,
//! #         cluster: "cluster".to_owned(),
//! #         window_bytes: 1 << 20,
//! #         max_envelope_bytes: 1 << 20,
//! #         socket_bytes: 0,
//! #         checksum_payload: true,
//! #         heartbeat_interval: Duration::from_millis(400),
//! #         peer_timeout: Duration::from_millis(1250),
//! #         eager: true,
//! #     }
//! # }
//!
//! /// Returns the bytes that a session sends.
//! fn transmit(session: &mut Session<()>) -> Vec<u8> {
//!     let mut batch = Batch::default();
//!     session.transmit_handshake(&mut batch);
//!     let pieces = batch.pieces().iter().map(|piece| match piece {
//!         Piece::Header(index) => batch.header(*index).as_bytes(),
//!         Piece::Owned(payload) => payload,
//!         Piece::Part(_) => unreachable!("a handshake has no envelopes"),
//!     });
//!     pieces.collect::<Vec<_>>().concat()
//! }
//!
//! // `local` makes the properties of a server, a `Local`, from its pid.
//! let mut links_of_100 = OneLink::new(local(100), 200);
//! let mut links_of_200 = OneLink::new(local(200), 100);
//! let now = Time::from_nanos(1_000_000_000);
//!
//! // Server 100 dials, server 200 accepts.
//! assert_eq!(links_of_100.link.wants(now, false), Want::Dial);
//! links_of_100.link.dials(now);
//! let mut dialer = Session::dialing(());
//! dialer.connected(&mut links_of_100, now);
//! let mut acceptor = Session::accepted(now);
//!
//! let hello = transmit(&mut dialer);
//! let event = acceptor.receive(&hello, &mut links_of_200, now);
//! assert!(matches!(event, Some(SessionEvent::Welcomed(()))));
//!
//! let welcome = transmit(&mut acceptor);
//! let event = dialer.receive(&welcome, &mut links_of_100, now);
//! assert!(matches!(event, Some(SessionEvent::Established(()))));
//!
//! let confirm = transmit(&mut dialer);
//! acceptor.rebase(); // the buffer no longer holds the Hello
//! let event = acceptor.receive(&confirm, &mut links_of_200, now);
//! assert!(matches!(event, Some(SessionEvent::Established(()))));
//! ```
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
