//! Strangers: they keep connections to a server open, and never greet.

use std::time::Duration;

use super::super::pipe::{Connection, End, Owner, Side};
use super::super::timetable::Happening;
use super::{Network, address_of};

/// Strangers of a flood. They are more than the descriptors of a process.
const STRANGERS: usize = 60;
/// Descriptors of a flooded process. They suffice for its links, and for all strangers that it admits.
pub(crate) const DESCRIPTORS: usize = 56;
/// Strangers that a flooded server admits at once.
pub(crate) const ADMITTED: usize = 24;

impl Network {
    /// Starts a flood of strangers on `machine` that dial a server.
    pub(crate) fn flood(&mut self, server: usize, machine: usize) {
        self.floods = true;
        for _ in 0..STRANGERS {
            self.after_delay(Happening::Floods { server, machine });
        }
    }

    /// Ends the flood: closes the connections of all strangers.
    pub(crate) fn end_flood(&mut self) {
        self.floods = false;
        for connection in 0..self.connections.len() {
            if matches!(self.connections[connection].ends[0].owner, Owner::Stranger { .. }) {
                self.abandon(Side { connection, end: 0 });
            }
        }
    }

    /// Dials a server as a stranger.
    pub(crate) fn stranger_dials(&mut self, server: usize, machine: usize) {
        if !self.floods {
            return;
        }
        let connection = self.connections.len();
        let ends = [End::new(machine, Owner::Stranger { server }), End::new(machine, Owner::Closed)];
        let address = address_of(server % self.machines(), server);
        self.connections.push(Connection { address, listener: None, ends });
        self.after_delay(Happening::DialReaches { connection, attempt: 0 });
    }

    /// Handles the answer to a stranger's dial. The stranger sends one byte, or nothing.
    pub(crate) fn stranger_answered(&mut self, connection: usize, reached: bool) {
        let side = Side { connection, end: 0 };
        if !reached {
            self.stranger_dials_again(side);
        } else if self.random.bool() {
            self.put_under_way(side.other(), Some(vec![0]));
        }
    }

    /// Plans the next dial of a stranger whose connection has ended.
    pub(crate) fn stranger_dials_again(&mut self, side: Side) {
        let end = self.end(side);
        if let Owner::Stranger { server } = end.owner {
            end.owner = Owner::Closed;
            let machine = end.machine;
            let at = self.now() + Duration::from_millis(50 + self.random.u64(..400));
            self.timetable.at(at, Happening::Floods { server, machine });
        }
    }
}
