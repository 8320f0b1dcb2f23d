//! Load beside a mesh: a process that keeps every core busy.

use std::io;
use std::process;
use std::thread;

/// Runs a load process: spins with a thread for each core until its standard input ends.
pub fn spin() {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    for _ in 0..cores {
        thread::spawn(|| {
            loop {
                std::hint::spin_loop();
            }
        });
    }
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    process::exit(0);
}
