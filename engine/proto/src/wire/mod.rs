//! Wire format, version 2: segments, frames, the handshake.
//!
//! Pure code: it encodes values into bytes and decodes bytes into values, without sockets, threads or clocks.
//! `engine/WIRE.md` describes every byte; its sizes and offsets are asserted here at compile time.
//!
//! A **segment** is the unit that an event loop sends: a fixed header and a payload. The payload of a Data segment is a
//! sequence of **frames**, one for each envelope, exactly as the sending application encoded them into its ring.

mod control;
mod frame;
mod handshake;
mod lane;
mod segment;
#[cfg(test)]
mod tests;

pub use control::{
    GoodbyeReason, Grant, decode_challenge, decode_goodbye, decode_grants, decode_skip, encode_challenge,
    encode_goodbye, encode_grants, encode_skip,
};
pub use frame::{FRAME_HEADER_BYTES, Frame, FrameError, FrameHeader, Frames, frame_bytes, padded};
pub use handshake::{
    Hello, HelloError, INCARNATION_BYTES, LARGEST_POSITION, MAX_CLUSTER_NAME_BYTES, MAX_HELLO_BYTES, MAX_STREAMS,
    Receiving, Refusal, RefusalReason, Sending, WireIncarnation,
};
pub use lane::{Lane, lane_of, stream_id};
pub use segment::{
    ACK_NOW, CHECKSUMMED, FIRST, FRAGMENT, Kind, LAST, MAGIC, MAX_SEGMENT_PAYLOAD, NO_STREAM, SEGMENT_HEADER_BYTES,
    SegmentError, SegmentHeader, VERSION,
};
