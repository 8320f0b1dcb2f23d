//! One server sends to one other.
//!
//! ```text
//! cargo run -p cluster --example unicast
//! ```
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use cluster::{Config, Envelope, Server};

fn main() -> Result<(), Box<dyn Error>> {
    // The servers of a cluster know each other by number. Here both live in this process; each could as well be on a machine
    // of its own.
    let config = Config::new([(100, "127.0.0.1:18201"), (200, "127.0.0.1:18202")])?;
    let mut alice = cluster::start(100, &config)?;
    let mut bob = cluster::start(200, &config)?;

    // What is put into the outbox comes out of the inbox of the server that it is addressed to.
    alice.outbox().send(Envelope::to(200).body("are you there?"))?;
    let question = bob.inbox().recv_timeout(Duration::from_secs(20))?;
    println!("bob got {:?} from {}", question.msg, question.pid);

    // An envelope carries the sender's pid, so that it can be answered; here with the id of the question.
    //
    // What is sent to a server that is away waits for it. Had alice been killed meanwhile and started again, her next
    // run would get this. If it had asked something with the same id, it would take this for the answer. So the answer
    // is only for the run that has asked. Message ids help too: each run counts its own up from a random number.
    let answer = Envelope::to(question.pid).id(question.msg_id).body("I am");
    bob.outbox().send(answer.only_incarnation(question.incarnation()))?;
    let answer = alice.inbox().recv_timeout(Duration::from_secs(20))?;
    println!("alice got {:?} from {}", answer.msg, answer.pid);

    assert_eq!((answer.pid, answer.msg_id, &answer.msg[..]), (200, question.msg_id, &b"I am"[..]));
    alice.stop()?;
    bob.stop()?;
    Ok(())
}
