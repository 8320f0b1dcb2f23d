//! What has become of all messages, counted.

/// What has become of all messages of a mock cluster: from [`Cluster::totals`](super::Cluster::totals).
///
/// A message to several servers is as many messages. `sent + duplicated` is the sum of `delivered`, all that was
/// [`dropped`](Totals::dropped), what is `held`, and what is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Left an outbox.
    pub sent: u64,
    /// Put into an inbox.
    pub delivered: u64,
    /// Dropped by chance.
    pub lost: u64,
    /// Dropped because sender and recipient were cut off.
    pub cut: u64,
    /// Dropped because the recipient did not run.
    pub not_running: u64,
    /// Dropped because the sender ended while they were held.
    pub sender_gone: u64,
    /// Dropped because they were for another incarnation of the recipient: see
    /// [`only_incarnation`](crate::Draft::only_incarnation).
    pub other_incarnation: u64,
    /// Waiting now until their recipient can be reached.
    pub held: u64,
    /// Have waited, or still wait, until their recipient can be reached.
    pub held_ever: u64,
    /// Were doubled.
    pub duplicated: u64,
    /// Were held back so that others could overtake them.
    pub reordered: u64,
}

impl Totals {
    /// All that is gone.
    pub fn dropped(&self) -> u64 {
        self.lost + self.cut + self.not_running + self.sender_gone + self.other_incarnation
    }
}
