//! Simulated driver, which replaces io_uring under a shard.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::network::Network;
use crate::batch::Batch;
use crate::driver::{
    Completion, Driver, Entry, Listener, LocalAddr, Notifier, Reaped, ReceiveBuffer, SocketId, Wait, Way,
};
use crate::time::Time;

/// Access of one process to the simulated network.
pub(super) struct SimulatedDriver {
    network: Rc<RefCell<Network>>,
    process: usize,
    notifier: Arc<Notifier>,
}

impl SimulatedDriver {
    pub(super) fn new(network: Rc<RefCell<Network>>, process: usize) -> SimulatedDriver {
        SimulatedDriver { network, process, notifier: Arc::new(Notifier::for_thread()) }
    }
}

/// Wait that the loop asks for. The simulation does the waiting.
pub(super) struct SimulatedWait(pub(super) Wait);

impl Entry for SimulatedWait {
    fn waits(&self) -> bool {
        self.0 != Wait::No
    }

    fn enter(self) -> io::Result<()> {
        Ok(())
    }
}

impl Driver for SimulatedDriver {
    fn now(&self) -> Time {
        self.network.borrow().now()
    }

    fn notifier(&self) -> Arc<Notifier> {
        self.notifier.clone()
    }

    fn listen(&mut self, listener: Listener, _local: Option<LocalAddr>) -> io::Result<SocketId> {
        match listener {
            Listener::At(address) => self.network.borrow_mut().listen(self.process, address),
            Listener::Socket(_) => Err(io::Error::from(io::ErrorKind::Unsupported)),
        }
    }

    fn pause_accept(&mut self, listener: SocketId) {
        self.network.borrow_mut().pause_accept(self.process, listener);
    }

    fn resume_accept(&mut self, listener: SocketId) {
        self.network.borrow_mut().resume_accept(self.process, listener);
    }

    fn connect(&mut self, address: SocketAddr, _way: Way) -> io::Result<SocketId> {
        self.network.borrow_mut().connect(self.process, address)
    }

    fn receive(&mut self, socket: SocketId, buffer: ReceiveBuffer) {
        self.network.borrow_mut().receive(self.process, socket, buffer);
    }

    fn send(&mut self, socket: SocketId, batch: Box<Batch>, skip: usize) {
        self.network.borrow_mut().send(self.process, socket, batch, skip);
    }

    fn send_now(&mut self, socket: SocketId, batch: &Batch) -> io::Result<usize> {
        self.network.borrow_mut().send_now(self.process, socket, batch)
    }

    fn finish(&mut self, socket: SocketId) {
        self.network.borrow_mut().finish(self.process, socket);
    }

    fn close(&mut self, socket: SocketId) {
        self.network.borrow_mut().close(self.process, socket);
    }

    fn begin(&mut self, wait: Wait) -> Option<SimulatedWait> {
        Some(SimulatedWait(wait))
    }

    fn reap(&mut self, completions: &mut VecDeque<Completion>, now: Time) -> io::Result<Reaped> {
        let reaped = self.network.borrow_mut().reap(self.process, completions);
        Ok(Reaped { until: reaped.until.min(now), ..reaped })
    }

    type Entry = SimulatedWait;
}
