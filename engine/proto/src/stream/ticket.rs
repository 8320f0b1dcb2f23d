//! Tickets of envelopes: the sender follows an envelope with one, and withdraws it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Ticket of one droppable envelope, shared by its sender and the link.
///
/// The sender withdraws the envelope, or the link sends it: one of them is first, and both know which.
#[derive(Clone, Debug, Default)]
pub struct Ticket(Arc<AtomicU8>);

/// State of an envelope that has a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketState {
    /// The envelope waits to be sent.
    Queued,
    /// The envelope was handed to a connection. It may have arrived.
    Sent,
    /// The sender has withdrawn the envelope before it was sent. It will not be sent.
    Withdrawn,
    /// The link has dropped the envelope before it was sent, for another reason.
    Dropped,
}

const QUEUED: u8 = 0;
const SENT: u8 = 1;
const WITHDRAWN: u8 = 2;
const DROPPED: u8 = 3;

impl Ticket {
    /// Withdraws the envelope. Returns `true` if it was not sent and will not be.
    pub fn withdraw(&self) -> bool {
        self.leave_queue(WITHDRAWN) != SENT
    }

    /// State of the envelope.
    pub fn state(&self) -> TicketState {
        match self.0.load(Ordering::Acquire) {
            QUEUED => TicketState::Queued,
            SENT => TicketState::Sent,
            WITHDRAWN => TicketState::Withdrawn,
            _ => TicketState::Dropped,
        }
    }

    /// Records that the envelope is sent. Returns `false` if it must not be, because it was withdrawn.
    pub(super) fn send(&self) -> bool {
        self.leave_queue(SENT) != WITHDRAWN
    }

    /// Records that the link has dropped the envelope. Nothing changes if it was sent before.
    pub(super) fn drop_unsent(&self) {
        self.leave_queue(DROPPED);
    }

    /// Moves a queued envelope to `state`. Returns the state from then on.
    fn leave_queue(&self, state: u8) -> u8 {
        let moved = self.0.compare_exchange(QUEUED, state, Ordering::AcqRel, Ordering::Acquire);
        moved.map_or_else(|present| present, |_| state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sender_or_link_is_first() {
        let ticket = Ticket::default();
        assert_eq!(ticket.state(), TicketState::Queued);
        assert!(ticket.send() && !ticket.withdraw() && ticket.send(), "a retransmission");
        ticket.drop_unsent();
        assert_eq!(ticket.state(), TicketState::Sent);

        let ticket = Ticket::default();
        assert!(ticket.withdraw() && ticket.withdraw() && !ticket.send());
        ticket.drop_unsent();
        assert_eq!(ticket.state(), TicketState::Withdrawn);

        let ticket = Ticket::default();
        ticket.drop_unsent();
        assert_eq!(ticket.state(), TicketState::Dropped);
        assert!(ticket.withdraw());
    }
}
