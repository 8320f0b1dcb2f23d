//! Handshake: identities of both servers, and the positions of their streams (WIRE.md, section Handshake).

use std::fmt;

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::frame::padded;
use super::lane::Lane;

/// Largest valid position and credit, in bytes (WIRE.md, section Limits). The sum of two of them does not overflow.
pub const LARGEST_POSITION: u64 = 1 << 62;

/// Length of an incarnation in bytes (WIRE.md, section Limits).
pub const INCARNATION_BYTES: usize = 16;
/// Incarnation of a server, one of its runs: 128 random bits, drawn when it starts.
///
/// All zero stands for none (WIRE.md, section Handshake).
pub type WireIncarnation = [u8; INCARNATION_BYTES];
/// Longest cluster name, in bytes of UTF-8 (WIRE.md, section Limits).
pub const MAX_CLUSTER_NAME_BYTES: usize = 64;
/// Largest number of streams in one direction of a link (WIRE.md, section Limits).
pub const MAX_STREAMS: usize = 1024;

/// Fixed part of the payload of a `Hello` or `Welcome`. The name, `sending` and `receiving` follow.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct HelloHeader {
    from: U64,
    to: U64,
    incarnation: WireIncarnation,
    known_incarnation: WireIncarnation,
    max_envelope_bytes: U64,
    credit: [U64; Lane::COUNT],
    challenge: U64,
    peer_timeout_ms: U32,
    name_bytes: U16,
    sending: U16,
    receiving: U16,
    features: U16,
    greeting: U32,
}

// 96 with two lanes: see `lane.rs` for what a third one means.
const _: () = assert!(size_of::<HelloHeader>() == 80 + 8 * Lane::COUNT);

/// Stream on which the speaker sends, as an entry of a greeting (WIRE.md, section Handshake).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Sending {
    /// Stream number.
    pub stream: U32,
    reserved: U32,
    /// First unacknowledged position. The speaker begins there if the listener does not know the stream.
    pub position: U64,
}

/// Stream on which the speaker receives, as an entry of a greeting (WIRE.md, section Handshake).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Receiving {
    /// Stream number.
    pub stream: U32,
    reserved: U32,
    /// Next position that the speaker expects, at which the listener resumes (WIRE.md, section Resuming).
    pub position: U64,
}

const _: () = assert!(size_of::<Sending>() == 16 && size_of::<Receiving>() == 16);

/// Longest payload of a `Hello` or `Welcome` segment, in bytes (WIRE.md, section Limits).
pub const MAX_HELLO_BYTES: usize =
    size_of::<HelloHeader>() + MAX_CLUSTER_NAME_BYTES + MAX_STREAMS * (size_of::<Sending>() + size_of::<Receiving>());

impl Sending {
    /// Makes an entry for `stream` with its first unacknowledged position.
    pub fn new(stream: u32, position: u64) -> Sending {
        Sending { stream: stream.into(), reserved: 0.into(), position: position.into() }
    }
}

impl Receiving {
    /// Makes an entry for `stream` with the next expected position.
    pub fn new(stream: u32, position: u64) -> Receiving {
        Receiving { stream: stream.into(), reserved: 0.into(), position: position.into() }
    }
}

/// Greeting, the first payload in each direction (WIRE.md, section Handshake).
///
/// The dialer sends it in a `Hello`, the acceptor answers with its own in a `Welcome`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Pid of the speaker.
    pub from: u64,
    /// Pid that the speaker believes it is talking to.
    pub to: u64,
    /// Incarnation of the speaker.
    pub incarnation: WireIncarnation,
    /// Incarnation of the listener that `receiving` refers to. All zero if the speaker has not met the listener.
    pub known_incarnation: WireIncarnation,
    /// Longest payload of an envelope that the speaker accepts, in bytes.
    pub max_envelope_bytes: u64,
    /// Initial credit of the listener on each lane, in bytes (WIRE.md, section Streams).
    pub credit: [u64; Lane::COUNT],
    /// Challenge in a `Welcome`: a random number that the dialer must repeat in its first segment, a Confirm. 0 in a
    /// `Hello`.
    pub challenge: u64,
    /// Peer timeout in milliseconds: after this much silence the speaker considers the listener gone.
    pub peer_timeout_ms: u32,
    /// Features of the speaker beyond version 2, one bit each. Those that both sides set may be used. Version 2 defines
    /// none.
    pub features: u16,
    /// Number of this greeting: Hellos and Welcomes from the speaker's incarnation to the listener so far, this one
    /// included.
    pub greeting: u32,
    /// Name of the cluster.
    pub cluster: String,
    /// Streams from the speaker to the listener that are not new.
    pub sending: Vec<Sending>,
    /// Streams from the listener to the speaker that the speaker knows.
    pub receiving: Vec<Receiving>,
}

impl Hello {
    /// Encodes the payload of a `Hello` or `Welcome` segment.
    ///
    /// # Panics
    /// Panics if the name is longer than [`MAX_CLUSTER_NAME_BYTES`] or a list has more than [`MAX_STREAMS`] streams.
    /// The code that sets them enforces both limits.
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.cluster.len() <= MAX_CLUSTER_NAME_BYTES);
        assert!(self.sending.len() <= MAX_STREAMS && self.receiving.len() <= MAX_STREAMS);
        let header = HelloHeader {
            from: self.from.into(),
            to: self.to.into(),
            incarnation: self.incarnation,
            known_incarnation: self.known_incarnation,
            max_envelope_bytes: self.max_envelope_bytes.into(),
            credit: self.credit.map(U64::new),
            challenge: self.challenge.into(),
            peer_timeout_ms: self.peer_timeout_ms.into(),
            name_bytes: (self.cluster.len() as u16).into(),
            sending: (self.sending.len() as u16).into(),
            receiving: (self.receiving.len() as u16).into(),
            features: self.features.into(),
            greeting: self.greeting.into(),
        };
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(self.cluster.as_bytes());
        bytes.resize(size_of::<HelloHeader>() + padded(self.cluster.len()), 0);
        bytes.extend_from_slice(self.sending.as_bytes());
        bytes.extend_from_slice(self.receiving.as_bytes());
        bytes
    }

    /// Decodes the payload of a `Hello` or `Welcome` segment. Allocates no more bytes than the payload has.
    ///
    /// # Errors
    /// Returns a [`HelloError`] if the payload is malformed.
    pub fn decode(payload: &[u8]) -> Result<Hello, HelloError> {
        let (header, rest) = HelloHeader::ref_from_prefix(payload).map_err(|_| HelloError::Truncated)?;
        let name_bytes = usize::from(header.name_bytes.get());
        let (sending, receiving) = (usize::from(header.sending.get()), usize::from(header.receiving.get()));
        if name_bytes > MAX_CLUSTER_NAME_BYTES {
            return Err(HelloError::Name);
        }
        if sending > MAX_STREAMS || receiving > MAX_STREAMS {
            return Err(HelloError::Streams(sending.max(receiving)));
        }
        if rest.len() < padded(name_bytes) {
            return Err(HelloError::Truncated);
        }
        let (name, rest) = rest.split_at(padded(name_bytes));
        let cluster = str::from_utf8(&name[..name_bytes]).map_err(|_| HelloError::Name)?;
        let (sending, rest) =
            <[Sending]>::ref_from_prefix_with_elems(rest, sending).map_err(|_| HelloError::Truncated)?;
        let receiving = <[Receiving]>::ref_from_bytes_with_elems(rest, receiving).map_err(|_| HelloError::Truncated)?;
        Ok(Hello {
            from: header.from.get(),
            to: header.to.get(),
            incarnation: header.incarnation,
            known_incarnation: header.known_incarnation,
            max_envelope_bytes: header.max_envelope_bytes.get(),
            credit: header.credit.map(U64::get),
            challenge: header.challenge.get(),
            peer_timeout_ms: header.peer_timeout_ms.get(),
            features: header.features.get(),
            greeting: header.greeting.get(),
            cluster: cluster.to_owned(),
            sending: sending.to_vec(),
            receiving: receiving.to_vec(),
        })
    }
}

/// Reason why a payload is not a [`Hello`] (WIRE.md, section Handshake).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HelloError {
    /// The payload is shorter or longer than its counts say.
    Truncated,
    /// The cluster name is too long or not UTF-8.
    Name,
    /// The greeting has this many streams in one direction, more than [`MAX_STREAMS`].
    Streams(usize),
}

impl fmt::Display for HelloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HelloError::Truncated => write!(f, "the greeting is not as long as its counts say"),
            HelloError::Name => write!(f, "the cluster name is not UTF-8 of at most {MAX_CLUSTER_NAME_BYTES} bytes"),
            HelloError::Streams(found) => write!(f, "{found} streams, at most {MAX_STREAMS} are possible"),
        }
    }
}

impl std::error::Error for HelloError {}

/// Reason why a server refuses a connection (WIRE.md, section Refusals).
///
/// Its `Display` text says how to resolve it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalReason {
    /// The two servers belong to different clusters.
    WrongCluster,
    /// The dialer expected another pid than that of the acceptor.
    WrongPid,
    /// The dialer's pid is not in the acceptor's configuration.
    UnknownPeer,
    /// The two servers speak different protocol versions.
    Version,
    /// The acceptor has a live link to that pid. If two processes use one pid, stop one of them or give it another pid.
    /// If the other process has just died silently, this passes once its silence is noticed.
    AlreadyConnected,
    /// The acceptor is dialing the dialer at the same moment. It has the lower pid, so its connection is kept. No
    /// action is needed.
    Tie,
    /// The greeting is malformed. Run the same release on both sides, and let nothing between them change bytes.
    Malformed,
    /// The acceptor is stopping. Connections succeed again once it is started.
    Stopping,
}

const REASONS: [RefusalReason; 8] = [
    RefusalReason::WrongCluster,
    RefusalReason::WrongPid,
    RefusalReason::UnknownPeer,
    RefusalReason::Version,
    RefusalReason::AlreadyConnected,
    RefusalReason::Tie,
    RefusalReason::Malformed,
    RefusalReason::Stopping,
];

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RefusalReason::WrongCluster => {
                "it belongs to another cluster: compare the cluster names in both configurations"
            }
            RefusalReason::WrongPid => {
                "another pid listens at that address: compare the addresses in both configurations"
            }
            RefusalReason::UnknownPeer => "our pid is not in its configuration: add it there",
            RefusalReason::Version => "it speaks another protocol version: upgrade the older side",
            RefusalReason::AlreadyConnected => {
                "it has a live link to our pid: stop the other process that uses this pid, or give one of the two \
                 another; if that one has just died, this passes by itself"
            }
            RefusalReason::Tie => "it is dialing us at the same moment, and its connection is kept: wait for it",
            RefusalReason::Malformed => {
                "it cannot read our greeting: run the same release on both sides, and let nothing between them change \
                 bytes"
            }
            RefusalReason::Stopping => "it is stopping: start it again",
        })
    }
}

/// Refusal: the payload of a `Refuse` segment (WIRE.md, section Refusals).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Reason for the refusal.
    pub reason: RefusalReason,
    /// Pid of the server that refuses.
    pub from: u64,
}

impl Refusal {
    /// Encodes the payload of a `Refuse` segment.
    pub fn encode(&self) -> [u8; 16] {
        let code = REASONS.iter().position(|reason| *reason == self.reason).map_or(0, |index| index as u64 + 1);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&code.to_le_bytes());
        bytes[8..].copy_from_slice(&self.from.to_le_bytes());
        bytes
    }

    /// Decodes the payload of a `Refuse` segment. Returns `None` if it has not 16 bytes or the reason is unknown.
    pub fn decode(payload: &[u8]) -> Option<Refusal> {
        let (code, from) = payload.split_first_chunk::<8>()?;
        let index = u64::from_le_bytes(*code).checked_sub(1)?;
        let reason = *REASONS.get(usize::try_from(index).ok()?)?;
        Some(Refusal { reason, from: u64::from_le_bytes(from.try_into().ok()?) })
    }
}
