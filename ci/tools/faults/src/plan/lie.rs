//! Lies that a proxy tells in the place of a server.

use serde::{Deserialize, Serialize};

/// Change to one segment, or a segment that no server has sent. Header and checksum are valid, and a correct server
/// notices the lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lie {
    /// Acknowledgement above the sent position.
    AckAboveSent,
    /// Acknowledgement of a position inside a frame.
    AckInsideFrame,
    /// Data at another position than the next.
    Position,
    /// Skip to a position far above the written one.
    Skip,
    /// Kind of segment that does not exist, or has no place in a session.
    SegmentKind,
    /// Flag that does not exist.
    SegmentFlag,
    /// Another version.
    Version,
    /// Length that is too large, or not a multiple of 8.
    Length,
    /// Frame that overruns its segment, or has flags. The rest of its segment from there on is lost.
    Frame,
    /// Fragment out of place.
    Fragment,
    /// First fragment of a frame with another length in its header.
    FragmentLength,
    /// Goodbye that the server has not sent.
    Goodbye,
    /// Greeting by which its sender has sent more than the receiver has ever received.
    SendingAhead,
    /// Greeting by which its sender has received more than the receiver has ever sent.
    ReceivingAhead,
    /// Greeting by which its sender has met another incarnation of the receiver.
    KnownIncarnation,
    /// Welcome with another challenge.
    Challenge,
    /// Confirm of another challenge.
    Confirm,
}

impl Lie {
    /// All lies.
    pub const ALL: [Lie; 17] = [
        Lie::AckAboveSent,
        Lie::AckInsideFrame,
        Lie::Position,
        Lie::Skip,
        Lie::SegmentKind,
        Lie::SegmentFlag,
        Lie::Version,
        Lie::Length,
        Lie::Frame,
        Lie::Fragment,
        Lie::FragmentLength,
        Lie::Goodbye,
        Lie::SendingAhead,
        Lie::ReceivingAhead,
        Lie::KnownIncarnation,
        Lie::Challenge,
        Lie::Confirm,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Lie::AckAboveSent => "acknowledgement above what was sent",
            Lie::AckInsideFrame => "acknowledgement inside a frame",
            Lie::Position => "data at a wrong position",
            Lie::Skip => "a gap nobody made",
            Lie::SegmentKind => "a wrong kind of segment",
            Lie::SegmentFlag => "an unknown flag",
            Lie::Version => "another version",
            Lie::Length => "a wrong length",
            Lie::Frame => "a frame that overruns its segment",
            Lie::Fragment => "a fragment out of place",
            Lie::FragmentLength => "a fragment of another length",
            Lie::Goodbye => "a goodbye nobody said",
            Lie::SendingAhead => "a greeting that has sent too much",
            Lie::ReceivingAhead => "a greeting that has received too much",
            Lie::KnownIncarnation => "a greeting to another incarnation",
            Lie::Challenge => "another challenge",
            Lie::Confirm => "another challenge confirmed",
        }
    }

    /// Returns whether the lie is told while two servers greet each other, which takes a new connection.
    pub fn is_of_handshake(self) -> bool {
        self.is_of_greeting() || matches!(self, Lie::Challenge | Lie::Confirm)
    }

    /// Returns whether the lie is about the streams in a greeting. Such a lie ends no connection if it changes nothing
    /// that the receiver relies on.
    pub fn is_of_greeting(self) -> bool {
        matches!(self, Lie::SendingAhead | Lie::ReceivingAhead | Lie::KnownIncarnation)
    }

    /// Returns whether two servers that were lied to may contradict each other about their streams, and reset them.
    pub fn may_reset(self) -> bool {
        self.is_of_greeting() || self == Lie::Skip
    }
}
