//! Faults of a simulation, and their times.

use std::time::Duration;

use super::pipe::Side;
use super::timetable::Happening;
use super::trace::Action;
use super::world::World;
use crate::testing::one_in;

impl World {
    /// Causes one fault, and plans the next one.
    pub(super) fn fault(&mut self) {
        if self.calm {
            return;
        }
        let pause = Duration::from_millis(self.random.u64(1..=self.plan.fault_pause_ms * 2));
        self.after(pause, Happening::Fault);
        let server = self.random.usize(..self.plan.servers);
        let machine = self.random.usize(..self.plan.machines);
        match self.random.u64(..20) {
            0..5 => self.cut_a_connection(),
            5..8 => self.hold_a_connection(),
            8..10 => self.cut_a_path(machine),
            10..12 => self.pause(machine),
            12 | 13 => self.crash_and_restart(machine),
            14 | 15 => {
                let patience = Duration::from_millis(self.random.u64(..1000));
                self.stop(server, patience);
            }
            16 => {
                let peer = self.random.usize(..self.plan.servers);
                if peer != server {
                    self.remove_peer(server, peer);
                }
            }
            _ => {
                let quota = self.random.u64(1..=8);
                if let Some(running) = &mut self.servers[server] {
                    running.change_outboxes(&mut self.random, quota);
                }
            }
        }
    }

    fn some_connection(&mut self) -> Option<usize> {
        let open = self.network.borrow().open_connections();
        self.random.choice(open)
    }

    fn cut_a_connection(&mut self) {
        if let Some(connection) = self.some_connection() {
            self.record(&Action::CutConnection { connection });
            self.network.borrow_mut().cut(connection);
        }
    }

    /// Silences a connection for a while, in one direction or both.
    fn hold_a_connection(&mut self) {
        let Some(connection) = self.some_connection() else { return };
        let pause = Duration::from_millis(self.random.u64(..3500));
        let (end, both) = (self.random.usize(..2), self.random.bool());
        self.record(&Action::StallConnection { connection, towards: end, pause, both });
        let mut network = self.network.borrow_mut();
        let until = network.now() + pause;
        let side = Side { connection, end };
        network.hold(side, until);
        if both {
            network.hold(side.other(), until);
        }
    }

    /// Silences the path between two machines for a while, in one direction or both.
    fn cut_a_path(&mut self, from: usize) {
        let to = self.random.usize(..self.plan.machines);
        if from == to {
            return;
        }
        let (pause, both) = (Duration::from_millis(self.random.u64(..4000)), self.random.bool());
        self.record(&Action::CutPath { from, to, pause, both });
        let mut network = self.network.borrow_mut();
        let until = network.now() + pause;
        network.cut_path(from, to, until);
        if both {
            network.cut_path(to, from, until);
        }
    }

    /// Pauses the process of a machine. Its clock seems to jump then.
    fn pause(&mut self, machine: usize) {
        let pause = match self.random.u64(..3) {
            0 => Duration::from_millis(self.random.u64(..50)),
            1 => Duration::from_millis(self.random.u64(..500)),
            _ => Duration::from_millis(self.random.u64(..4000)),
        };
        let until = self.network.borrow().now() + pause;
        let places = self.loops_of(machine);
        for event_loop in self.loops[places].iter_mut().flatten() {
            event_loop.paused_until = event_loop.paused_until.max(until);
        }
        self.record(&Action::Pause { machine, pause });
    }

    fn crash_and_restart(&mut self, machine: usize) {
        let silently = one_in(&mut self.random, 3);
        self.crash(machine, silently);
        let pause = Duration::from_millis(self.random.u64(..2500));
        for server in (0..self.plan.servers).filter(|server| self.machine_of(*server) == machine) {
            self.after(pause, Happening::Starts { server, life: self.lives[server] });
        }
    }
}
