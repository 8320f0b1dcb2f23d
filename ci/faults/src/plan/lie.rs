//! Lies that a proxy tells in the place of a server.

use serde::{Deserialize, Serialize};

/// A change to one segment, or a segment that nobody has sent. Header and checksum are valid, and a correct server
/// notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lie {
    /// An acknowledgement above what was sent.
    AckAboveSent,
    /// An acknowledgement of the middle of a frame.
    AckInsideFrame,
    /// Data at another position than the next.
    Position,
    /// A gap to a position far above what was written.
    Skip,
    /// A kind of segment that does not exist, or has no place in a session.
    SegmentKind,
    /// A flag that does not exist.
    SegmentFlag,
    /// Another version.
    Version,
    /// A length that is too large, or not a multiple of 8.
    Length,
    /// A frame that overruns its segment, or has flags. What stands from there on in its segment is lost.
    Frame,
    /// A fragment that has no place where it is.
    Fragment,
    /// The first fragment of a frame that says another length.
    FragmentLength,
    /// A Goodbye that nobody has said.
    Goodbye,
    /// A greeting: the speaker has sent more than the listener has ever received.
    SendingAhead,
    /// A greeting: the speaker has received more than the listener has ever sent.
    ReceivingAhead,
    /// A greeting: the speaker has met another incarnation of the listener.
    KnownIncarnation,
    /// A Welcome with another challenge.
    Challenge,
    /// A Confirm of another challenge.
    Confirm,
}

impl Lie {
    /// Every lie.
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

    /// Returns whether it is told while two servers greet each other: that takes a new connection.
    pub fn is_of_handshake(self) -> bool {
        self.is_of_greeting() || matches!(self, Lie::Challenge | Lie::Confirm)
    }

    /// Returns whether it is about what a greeting says of streams. Where such a lie changes nothing that the listener
    /// goes by, it costs no connection.
    pub fn is_of_greeting(self) -> bool {
        matches!(self, Lie::SendingAhead | Lie::ReceivingAhead | Lie::KnownIncarnation)
    }

    /// Returns whether two servers that were lied to may find that they contradict each other about their streams, and
    /// begin anew.
    pub fn may_reset(self) -> bool {
        self.is_of_greeting() || self == Lie::Skip
    }
}
