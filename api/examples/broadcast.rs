//! A server that sends to all others, and to some of them.
//!
//! ```text
//! cargo run -p cluster --example broadcast
//! ```
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use cluster::{BROADCAST, Config, Envelope, Server};

fn main() -> Result<(), Box<dyn Error>> {
    let addresses = ["127.0.0.1:18211", "127.0.0.1:18212", "127.0.0.1:18213", "127.0.0.1:18214"];
    let config = Config::new([100, 200, 300, 400].into_iter().zip(addresses))?;
    let mut speaker = cluster::start(100, &config)?;
    let mut listeners = Vec::new();
    for pid in [200, 300, 400] {
        listeners.push(cluster::start(pid, &config)?);
    }

    speaker.outbox().send(Envelope::to(BROADCAST).body("for everybody"))?;
    speaker.outbox().send(Envelope::to([200, 400]).body("for two of you"))?;
    speaker.outbox().send(Envelope::to(BROADCAST).body("that is all"))?;

    for listener in &mut listeners {
        // Envelopes of one sender arrive in the order in which it sent them.
        loop {
            let envelope = listener.inbox().recv_timeout(Duration::from_secs(20))?;
            println!("{} got {:?}", listener.pid(), envelope.msg);
            if envelope.msg == "that is all" {
                break;
            }
        }
        listener.stop()?;
    }
    speaker.stop()?;
    Ok(())
}
