//! A TCP proxy that cuts its connections after random numbers of bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

/// Accepts connections and passes them on. Ends when dropped.
pub struct Proxy {
    address: String,
    shared: Arc<Shared>,
}

struct Shared {
    target: String,
    cuts: AtomicUsize,
    patient: AtomicBool,
    held: AtomicBool,
    ended: AtomicBool,
}

impl Proxy {
    pub fn to(target: &str, seed: u64) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            cuts: AtomicUsize::new(0),
            patient: AtomicBool::new(false),
            held: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let accepting = shared.clone();
        thread::spawn(move || {
            let mut rng = Rng::with_seed(seed);
            while let Ok((client, _)) = listener.accept() {
                if accepting.ended.load(Ordering::Relaxed) {
                    return;
                }
                accepting.pass(client, &mut rng);
            }
        });
        Proxy { address, shared }
    }

    /// Where to connect.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many connections were cut.
    pub fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::Relaxed)
    }

    /// From now on, connections are left alone.
    pub fn cut_nothing(&self) {
        self.shared.patient.store(true, Ordering::Relaxed);
    }

    /// Keeps all bytes back, and the connections open, as a network does that has fallen apart.
    pub fn hold(&self, held: bool) {
        self.shared.held.store(held, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.address);
    }
}

impl Shared {
    fn pass(self: &Arc<Shared>, client: TcpStream, rng: &mut Rng) {
        let Ok(server) = TcpStream::connect(&self.target) else { return };
        // In the handshake, soon after it, or later.
        let budget = match rng.u64(..8) {
            0 => rng.u64(..400),
            1 => rng.u64(..5_000),
            _ => rng.u64(20_000..420_000),
        };
        let budget = Arc::new(AtomicI64::new(budget as i64));
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let (shared, budget, part) = (self.clone(), budget.clone(), rng.usize(1..=60_000));
            thread::spawn(move || shared.pump(from, to, &budget, part));
        }
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, budget: &AtomicI64, part: usize) {
        let mut buffer = vec![0; part];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            while self.held.load(Ordering::Relaxed) && !self.ended.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(1));
            }
            let left = budget.fetch_sub(read as i64, Ordering::Relaxed);
            let cut = left <= read as i64 && !self.patient.load(Ordering::Relaxed);
            let passed = if cut { left.max(0) as usize } else { read };
            if to.write_all(&buffer[..passed]).is_err() {
                break;
            }
            if cut {
                self.cuts.fetch_add(1, Ordering::Relaxed);
                break;
            }
        }
        for end in [&from, &to] {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}
