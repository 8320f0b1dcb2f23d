//! Counts of all messages of a mock cluster.

/// Counts of all messages of a mock cluster, by outcome: from [`Cluster::totals`](super::Cluster::totals).
///
/// A message to several servers counts once for each recipient. `sent + duplicated` is the sum of `delivered`, all
/// [`dropped`](Totals::dropped) messages, those `held`, and those in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Messages that left an outbox.
    pub sent: u64,
    /// Messages put into an inbox.
    pub delivered: u64,
    /// Messages dropped by chance.
    pub lost: u64,
    /// Messages dropped because sender and recipient were cut off.
    pub cut: u64,
    /// Messages dropped because the recipient did not run.
    pub not_running: u64,
    /// Messages dropped because the sender ended while they were held.
    pub sender_gone: u64,
    /// Messages dropped because they were for another incarnation of the recipient: see
    /// [`only_incarnation`](crate::Draft::only_incarnation).
    pub other_incarnation: u64,
    /// Messages that wait now until their recipient can be reached.
    pub held: u64,
    /// Messages that have waited, or still wait, until their recipient can be reached.
    pub held_ever: u64,
    /// Messages that were duplicated.
    pub duplicated: u64,
    /// Messages that were delayed so that later ones could overtake them.
    pub reordered: u64,
}

impl Totals {
    /// Total number of dropped messages.
    pub fn dropped(&self) -> u64 {
        self.lost + self.cut + self.not_running + self.sender_gone + self.other_incarnation
    }
}
