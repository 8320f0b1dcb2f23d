//! A server that sends to one other.
//!
//! ```text
//! cargo run -p cluster --example unicast
//! ```
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use cluster::{Config, Envelope, Server};

fn main() -> Result<(), Box<dyn Error>> {
    // The servers of a cluster know each other by number. Both servers here run in this process; each could run on its
    // own machine.
    let config = Config::new([(100, "127.0.0.1:18201"), (200, "127.0.0.1:18202")])?;
    let mut alice = cluster::start(100, &config)?;
    let mut bob = cluster::start(200, &config)?;

    // The recipient's inbox returns the envelopes that the outbox has taken.
    alice.outbox().send(Envelope::to(200).body("are you there?"))?;
    let question = bob.inbox().recv_timeout(Duration::from_secs(20))?;
    println!("bob got {:?} from {}", question.msg, question.pid);

    // An envelope carries the sender's pid, so that it can be answered; here with the message id of the question.
    //
    // Envelopes to an absent server wait for it. If alice had been killed and restarted in the meantime, her next
    // incarnation would receive this answer, and could mistake it for the answer to its own question with the same id.
    // The answer is therefore only for the incarnation that asked. Message ids help too: each run counts its ids up
    // from a random number.
    let answer = Envelope::to(question.pid).id(question.msg_id).body("I am");
    bob.outbox().send(answer.only_incarnation(question.incarnation()))?;
    let answer = alice.inbox().recv_timeout(Duration::from_secs(20))?;
    println!("alice got {:?} from {}", answer.msg, answer.pid);

    assert_eq!((answer.pid, answer.msg_id, &answer.msg[..]), (200, question.msg_id, &b"I am"[..]));
    alice.stop()?;
    bob.stop()?;
    Ok(())
}
