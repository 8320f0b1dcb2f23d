//! The handshake: who is there, whom it looks for, and how far each stream has come.

use std::fmt;

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::frame::padded;
use super::lane::Lane;

/// Positions and windows above this are nonsense; so no sum of two of them overflows.
pub const LARGEST_POSITION: u64 = 1 << 62;

/// The bytes of an incarnation.
pub const INCARNATION_BYTES: usize = 16;
/// An incarnation on the wire: 128 random bits, drawn when a server starts. All zero stands for none.
pub type WireIncarnation = [u8; INCARNATION_BYTES];
/// The longest cluster name.
pub const MAX_CLUSTER_NAME_BYTES: usize = 64;
/// The most streams that one direction of a link may have.
pub const MAX_STREAMS: usize = 1024;

/// The fixed part of a `Hello` or `Welcome` payload; name, `sending` and `receiving` follow.
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

const _: () = assert!(size_of::<HelloHeader>() == 96);

/// A stream that the speaker sends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Sending {
    /// Its number.
    pub stream: U32,
    reserved: U32,
    /// The first position that is not acknowledged: where the speaker begins if the listener knows nothing of it.
    pub position: U64,
}

/// A stream that the speaker receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Receiving {
    /// Its number.
    pub stream: U32,
    reserved: U32,
    /// The position that the speaker expects next: where the listener goes on.
    pub position: U64,
}

const _: () = assert!(size_of::<Sending>() == 16 && size_of::<Receiving>() == 16);

/// The longest payload of a `Hello` or `Welcome` segment.
pub const MAX_HELLO_BYTES: usize =
    size_of::<HelloHeader>() + MAX_CLUSTER_NAME_BYTES + MAX_STREAMS * (size_of::<Sending>() + size_of::<Receiving>());

impl Sending {
    /// An entry for `stream`.
    pub fn new(stream: u32, position: u64) -> Sending {
        Sending { stream: stream.into(), reserved: 0.into(), position: position.into() }
    }
}

impl Receiving {
    /// An entry for `stream`.
    pub fn new(stream: u32, position: u64) -> Receiving {
        Receiving { stream: stream.into(), reserved: 0.into(), position: position.into() }
    }
}

/// What each side says of itself before anything else: `Hello` from the side that dialed, `Welcome` in answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The speaker's pid.
    pub from: u64,
    /// The pid that the speaker believes it is talking to.
    pub to: u64,
    /// The speaker's incarnation.
    pub incarnation: WireIncarnation,
    /// The listener's incarnation that `receiving` speaks of; all zero when the speaker has not met the listener.
    pub known_incarnation: WireIncarnation,
    /// The longest envelope that the speaker accepts, in bytes.
    pub max_envelope_bytes: u64,
    /// Bytes that the listener may send on each lane before it is told of more room.
    pub credit: [u64; Lane::COUNT],
    /// In an answer: a random number that the dialer has to repeat in its first segment.
    pub challenge: u64,
    /// After this much silence the speaker takes the listener to be gone, in milliseconds.
    pub peer_timeout_ms: u32,
    /// What the speaker can do beyond version 1, one bit each; what both can do may be used. Version 1 defines none.
    pub features: u16,
    /// The number of this greeting: how many the speaker's incarnation has made to the listener, in Hellos and Welcomes.
    pub greeting: u32,
    /// The cluster's name.
    pub cluster: String,
    /// The speaker's streams to the listener that are not new.
    pub sending: Vec<Sending>,
    /// The listener's streams that the speaker knows.
    pub receiving: Vec<Receiving>,
}

impl Hello {
    /// The payload of a `Hello` or `Welcome` segment.
    ///
    /// # Panics
    /// When the name is longer than [`MAX_CLUSTER_NAME_BYTES`] or there are more than [`MAX_STREAMS`] streams; both are
    /// bounded where they are made.
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

    /// Reads the payload of a `Hello` or `Welcome` segment. Allocates no more than the payload is long.
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

/// Why a payload is not a [`Hello`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HelloError {
    /// Shorter, or longer, than its own counts say.
    Truncated,
    /// The cluster name is too long or not UTF-8.
    Name,
    /// More streams than [`MAX_STREAMS`].
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

/// Reason why a server declines a connection. Its text says what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalReason {
    /// The two belong to different clusters.
    WrongCluster,
    /// The dialer looked for another pid than the one that listens here.
    WrongPid,
    /// The dialer's pid is not in the configuration of the server that listens here.
    UnknownPeer,
    /// The two speak different protocol versions.
    Version,
    /// A link to that pid is up and alive. Two processes use one pid: stop one of them, or give it another pid. If the
    /// other process has just died silently, this passes when its silence is noticed.
    AlreadyConnected,
    /// The server that listens here is dialing the dialer, and has the lower pid, so its connection is kept. Nothing is
    /// to be done.
    Tie,
    /// The greeting makes no sense, or contradicts what the two have exchanged before. Run the same release on both
    /// sides, and let nothing between them repeat old traffic, as a restored snapshot does. A restart makes the dialer
    /// begin anew.
    Malformed,
    /// The server that listens here is stopping. It is reached again when it is started.
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
                "our greeting contradicts what it knows of us: run the same release on both sides, and let nothing \
                 between them (a proxy, a restored snapshot) repeat old traffic; restarting this server makes the \
                 two begin anew"
            }
            RefusalReason::Stopping => "it is stopping: start it again",
        })
    }
}

/// A refusal: the payload of a `Refuse` segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: RefusalReason,
    /// The pid of the server that declines.
    pub from: u64,
}

impl Refusal {
    /// The payload of a `Refuse` segment.
    pub fn encode(&self) -> [u8; 16] {
        let code = REASONS.iter().position(|reason| *reason == self.reason).map_or(0, |index| index as u64 + 1);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&code.to_le_bytes());
        bytes[8..].copy_from_slice(&self.from.to_le_bytes());
        bytes
    }

    /// Reads the payload of a `Refuse` segment; `None` when it is not one.
    pub fn decode(payload: &[u8]) -> Option<Refusal> {
        let (code, from) = payload.split_first_chunk::<8>()?;
        let index = u64::from_le_bytes(*code).checked_sub(1)?;
        let reason = *REASONS.get(usize::try_from(index).ok()?)?;
        Some(Refusal { reason, from: u64::from_le_bytes(from.try_into().ok()?) })
    }
}
