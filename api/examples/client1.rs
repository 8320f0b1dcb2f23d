//! A server that broadcasts ten messages; `client2` is the other side. Start both, in any order, in two terminals:
//!
//! ```text
//! cargo run -p cluster --example client1 -- -id 0
//! cargo run -p cluster --example client2 -- -id 1
//! ```
//!
//! Both read `cluster.json` beside this file, or the file that is named after the pid.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::env;
use std::error::Error;
use std::time::{Duration, Instant};

use cluster::{BROADCAST, Config, Envelope, Event, Server};

fn main() -> Result<(), Box<dyn Error>> {
    let (pid, file) = arguments()?;
    let config = Config::from_file(&file)?;
    let mut server = cluster::start(pid, &config)?;

    // Nobody needs to be there yet: what is sent is kept until it can be delivered.
    for number in 1..=10 {
        server.outbox().send(Envelope::to(BROADCAST).id(number).body("hello there"))?;
        println!("sent #{number}");
    }

    // The peer may take its time to start, but not for ever.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match server.events().next_timeout(deadline.saturating_duration_since(Instant::now())) {
            Some(Event::Up { pid, .. }) => break println!("{pid} is there"),
            Some(_) => {}
            None => return Err("nobody came within 20 s; start client2".into()),
        }
    }
    // Waits until everything is acknowledged, and says if something is not.
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
