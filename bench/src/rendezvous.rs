//! Where the servers of a run tell each other their addresses, and wait for one another; in threads or in processes.

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One server's place.
pub struct Rendezvous {
    index: usize,
    tell: Box<dyn FnMut(String) + Send>,
    hear: Receiver<Vec<String>>,
}

/// Another server has failed, so that not all will meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left;

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another server has failed")
    }
}

impl std::error::Error for Left {}

impl Rendezvous {
    /// The place of server `index`, which tells by `tell` and hears what all have told by `hear`.
    pub fn new(index: usize, tell: impl FnMut(String) + Send + 'static, hear: Receiver<Vec<String>>) -> Self {
        Self { index, tell: Box::new(tell), hear }
    }

    /// Which server this is.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Tells the others something, and answers what everyone has told, in order; waits for the last of them.
    pub fn exchange(&mut self, own: String) -> Result<Vec<String>, Left> {
        (self.tell)(own);
        self.hear.recv().map_err(|_| Left)
    }

    /// Tells the others that this server is done; [`is_over`](Self::is_over) says when all are.
    pub fn arrive(&mut self) {
        (self.tell)(String::new());
    }

    /// Whether all have arrived.
    pub fn is_over(&mut self) -> Result<bool, Left> {
        match self.hear.try_recv() {
            Ok(_) => Ok(true),
            Err(TryRecvError::Empty) => Ok(false),
            Err(TryRecvError::Disconnected) => Err(Left),
        }
    }
}

/// A way to a server: takes what all have told.
pub type Outlet = Box<dyn FnMut(&[String]) + Send>;

/// Hands what servers tell to all of them, as soon as each has told something.
pub struct Host {
    rounds: Mutex<Rounds>,
}

struct Rounds {
    told: Vec<VecDeque<String>>,
    outlets: Vec<Outlet>,
}

impl Host {
    /// A host of as many servers as there are outlets.
    pub fn new(outlets: Vec<Outlet>) -> Arc<Self> {
        let told = outlets.iter().map(|_| VecDeque::new()).collect();
        Arc::new(Self { rounds: Mutex::new(Rounds { told, outlets }) })
    }

    /// A server tells something.
    pub fn tell(&self, server: usize, what: String) {
        let mut rounds = self.lock();
        rounds.told[server].push_back(what);
        if rounds.told.iter().all(|told| !told.is_empty()) {
            let all: Vec<String> = rounds.told.iter_mut().filter_map(VecDeque::pop_front).collect();
            rounds.outlets.iter_mut().for_each(|outlet| outlet(&all));
        }
    }

    /// Not all will meet: those who wait are told so.
    pub fn close(&self) {
        self.lock().outlets.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A way to a server in this process, and what it hears by it.
pub fn outlet() -> (Outlet, Receiver<Vec<String>>) {
    let (give, hear): (Sender<Vec<String>>, _) = channel();
    // Who has left hears nothing.
    (Box::new(move |all| drop(give.send(all.to_vec()))), hear)
}

/// A host and the places of so many servers in this process.
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
