//! Meeting point at which the servers of a run tell each other their addresses and wait for one another, in threads or
//! in processes.

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Place of one server at the rendezvous.
pub struct Rendezvous {
    index: usize,
    tell: Box<dyn FnMut(String) + Send>,
    hear: Receiver<Vec<String>>,
}

/// Error: another server has failed, so that not all servers will meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left;

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another server has failed")
    }
}

impl std::error::Error for Left {}

impl Rendezvous {
    /// Returns the place of server `index`. `tell` publishes its text; `hear` receives the texts of all servers.
    pub fn new(index: usize, tell: impl FnMut(String) + Send + 'static, hear: Receiver<Vec<String>>) -> Self {
        Self { index, tell: Box::new(tell), hear }
    }

    /// Number of this server.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Publishes a text, waits until all servers have published one, and returns all texts in the order of the servers.
    pub fn exchange(&mut self, own: String) -> Result<Vec<String>, Left> {
        (self.tell)(own);
        self.hear.recv().map_err(|_| Left)
    }

    /// Tells the others that this server is done; [`is_over`](Self::is_over) returns whether all are.
    pub fn arrive(&mut self) {
        (self.tell)(String::new());
    }

    /// Returns whether all servers have arrived.
    pub fn is_over(&mut self) -> Result<bool, Left> {
        match self.hear.try_recv() {
            Ok(_) => Ok(true),
            Err(TryRecvError::Empty) => Ok(false),
            Err(TryRecvError::Disconnected) => Err(Left),
        }
    }
}

/// Function that hands the texts of all servers to one server.
pub type Outlet = Box<dyn FnMut(&[String]) + Send>;

/// Distributor of texts: once each server has published one, hands all of them to every server.
pub struct Host {
    rounds: Mutex<Rounds>,
}

struct Rounds {
    told: Vec<VecDeque<String>>,
    outlets: Vec<Outlet>,
}

impl Host {
    /// Returns a host of as many servers as there are outlets.
    pub fn new(outlets: Vec<Outlet>) -> Arc<Self> {
        let told = outlets.iter().map(|_| VecDeque::new()).collect();
        Arc::new(Self { rounds: Mutex::new(Rounds { told, outlets }) })
    }

    /// Publishes a text of `server`.
    pub fn tell(&self, server: usize, what: String) {
        let mut rounds = self.lock();
        rounds.told[server].push_back(what);
        if rounds.told.iter().all(|told| !told.is_empty()) {
            let all: Vec<String> = rounds.told.iter_mut().filter_map(VecDeque::pop_front).collect();
            rounds.outlets.iter_mut().for_each(|outlet| outlet(&all));
        }
    }

    /// Ends the rendezvous after a failure: servers that wait get [`Left`].
    pub fn close(&self) {
        self.lock().outlets.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns an outlet to a server in this process, and the receiver by which that server hears.
pub fn outlet() -> (Outlet, Receiver<Vec<String>>) {
    let (give, hear): (Sender<Vec<String>>, _) = channel();
    // A failed send means that the server has left.
    (Box::new(move |all| drop(give.send(all.to_vec()))), hear)
}

/// Returns a host, and the places of `servers` servers in this process.
pub fn within(servers: usize) -> (Arc<Host>, Vec<Rendezvous>) {
    let (outlets, hears): (Vec<Outlet>, Vec<Receiver<Vec<String>>>) = (0..servers).map(|_| outlet()).unzip();
    let host = Host::new(outlets);
    let place = |(index, hear)| {
        let host = host.clone();
        Rendezvous::new(index, move |what| host.tell(index, what), hear)
    };
    (host.clone(), hears.into_iter().enumerate().map(place).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_hears_what_everyone_told() {
        let (_host, places) = within(3);
        let heard: Vec<Vec<String>> = std::thread::scope(|scope| {
            let places = places.into_iter().map(|mut place| {
                scope.spawn(move || {
                    let first = place.exchange(format!("first {}", place.index())).unwrap();
                    place.arrive();
                    while !place.is_over().unwrap() {
                        std::thread::yield_now();
                    }
                    first
                })
            });
            let places: Vec<_> = places.collect();
            places.into_iter().map(|place| place.join().unwrap()).collect()
        });
        assert!(heard.iter().all(|all| *all == ["first 0", "first 1", "first 2"]), "{heard:?}");
    }

    #[test]
    fn nobody_waits_for_one_that_failed() {
        let (host, mut places) = within(2);
        places[0].arrive();
        host.close();
        assert_eq!(places[0].is_over(), Err(Left));
        assert_eq!(places[1].exchange(String::new()), Err(Left));
    }
}
