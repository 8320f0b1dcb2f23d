//! Room for one message, which is encoded in place.

use std::fmt;

use cluster_engine::{Lane, Pid};

use super::{Outbox, SendError};

/// Room for one message: see [`Outbox::claim`]. Dropping a claim sends nothing.
#[must_use = "a claim sends nothing until it is written"]
pub struct Claim<'a> {
    pub(super) outbox: &'a mut Outbox,
    pub(super) pid: Pid,
    pub(super) index: usize,
    pub(super) lane: Lane,
    pub(super) id: i64,
    pub(super) length: usize,
}

impl Claim<'_> {
    /// Lets `write` encode the message in place, and sends it.
    ///
    /// The buffer has the claimed length and is aligned to 8 bytes. It contains bytes of earlier messages to this
    /// recipient: `write` must overwrite all of it.
    ///
    /// # Errors
    /// `Stopped` or `UnknownPid` if the server was stopped, or the peer removed, since the claim. The envelope in the
    /// error contains the message that `write` wrote.
    #[inline(always)]
    pub fn write(self, write: impl FnOnce(&mut [u8])) -> Result<(), SendError> {
        let Claim { outbox, pid, index, lane, id, length } = self;
        // The claim found room, and no other outbox writes to this stream.
        match outbox.sender.push_with(index, lane, id, length, write) {
            Ok(()) => Ok(()),
            Err((error, message)) => Err(outbox.lost(pid, lane, id, error, message)),
        }
    }
}

impl fmt::Debug for Claim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claim")
    }
}
