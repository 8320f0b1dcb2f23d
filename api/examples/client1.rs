//! A server that broadcasts ten messages to `client2`. Start both, in any order, in two terminals:
//!
//! ```text
//! cargo run -p cluster --example client1 -- -id 0
//! cargo run -p cluster --example client2 -- -id 1
//! ```
//!
//! Both read `cluster.json` beside this file, or the file named after the pid on the command line.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::env;
use std::error::Error;
use std::time::{Duration, Instant};

use cluster::{BROADCAST, Config, Envelope, Event, Server};

fn main() -> Result<(), Box<dyn Error>> {
    let (pid, file) = arguments()?;
    let config = Config::from_file(&file)?;
    let mut server = cluster::start(pid, &config)?;

    // The peer need not run yet: the outbox keeps envelopes until they can be delivered.
    for number in 1..=10 {
        server.outbox().send(Envelope::to(BROADCAST).id(number).body("hello there"))?;
        println!("sent #{number}");
    }

    // The peer gets 20 seconds to start.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match server.events().next_timeout(deadline.saturating_duration_since(Instant::now())) {
            Some(Event::Up { pid, .. }) => break println!("{pid} is there"),
            Some(_) => {}
            None => return Err("nobody came within 20 s; start client2".into()),
        }
    }
    // The stop waits for all acknowledgements, and returns an error if some are missing.
    server.stop()?;
    println!("all delivered");
    Ok(())
}

/// `-id PID [FILE]`
fn arguments() -> Result<(u64, String), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (flag, pid) = (arguments.next(), arguments.next());
    let (Some("-id" | "--id"), Some(pid)) = (flag.as_deref(), pid) else {
        return Err("usage: client1 -id PID [FILE]".into());
    };
    let file =
        arguments.next().unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/examples/cluster.json").to_owned());
    Ok((pid.parse().map_err(|_| format!("{pid} is not a pid"))?, file))
}
