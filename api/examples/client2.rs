//! A server that receives and prints the ten messages of `client1`; `client1.rs` shows how to start both.
//!
//! Exits with 0 when all messages have arrived, and with 1 when none arrived for 20 seconds.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::env;
use std::error::Error;
use std::time::Duration;

use cluster::{Config, Server};

fn main() -> Result<(), Box<dyn Error>> {
    let (pid, file) = arguments()?;
    let config = Config::from_file(&file)?;
    let mut server = cluster::start(pid, &config)?;

    for count in 1..=10 {
        match server.inbox().recv_timeout(Duration::from_secs(20)) {
            Ok(envelope) => println!("#{} from {}: {:?}", envelope.msg_id, envelope.pid, envelope.msg),
            Err(error) => return Err(format!("message {count} of 10: {error}; is client1 running?").into()),
        }
    }
    server.stop()?;
    Ok(())
}

/// `-id PID [FILE]`
fn arguments() -> Result<(u64, String), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (flag, pid) = (arguments.next(), arguments.next());
    let (Some("-id" | "--id"), Some(pid)) = (flag.as_deref(), pid) else {
        return Err("usage: client2 -id PID [FILE]".into());
    };
    let file =
        arguments.next().unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/examples/cluster.json").to_owned());
    Ok((pid.parse().map_err(|_| format!("{pid} is not a pid"))?, file))
}
