//! iceoryx2: publish and subscribe through shared memory, as its documentation sets it up for speed. Payloads are
//! loaned from the publisher's memory, the subscriber spins, and a full queue makes the publisher wait instead of
//! discarding.
//!
//! This contender uses no network: it shows the cost that remains when both ends are on one machine and each has a
//! core. It also works between processes.

use std::hint::spin_loop;
use std::time::{SystemTime, UNIX_EPOCH};

use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::port::update_connections::UpdateConnections as _;
use iceoryx2::prelude::*;

use super::Outcome;
use crate::measure::Pinger;
use crate::participant::Participant;
use crate::rendezvous::Rendezvous;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Asks in a round trip.
pub fn ask(rendezvous: &mut Rendezvous, pinger: &mut Pinger) -> Outcome {
    let near = End::open(rendezvous, pinger.size())?;
    let mut payload = vec![0; pinger.size()];
    while pinger.ask(&mut payload) {
        near.send(&payload)?;
        near.receive(|payload| pinger.answered(payload))??;
    }
    near.send(&[0])?;
    Ok(rendezvous.exchange(String::new()).map(drop)?)
}

/// Answers in a round trip.
pub fn answer(rendezvous: &mut Rendezvous, size: usize) -> Outcome {
    let far = End::open(rendezvous, size)?;
    while far.receive(|payload| if payload.len() == size { far.send(payload).map(|()| true) } else { Ok(false) })?? {}
    Ok(rendezvous.exchange(String::new()).map(drop)?)
}

/// Sends as server 0, or receives as server 1.
pub fn one_way(participant: &mut Participant) -> Outcome {
    let load = participant.load();
    let end = End::open(participant.rendezvous(), load.size)?;
    if participant.index() == 0 {
        let mut payload = vec![0; load.size];
        for sequence in 0..load.count {
            load.stamp(sequence, &mut payload);
            end.send(&payload)?;
        }
    } else {
        let checker = participant.checker()?;
        while !checker.is_complete() {
            end.receive(|payload| checker.take(payload))??;
        }
    }
    // Queued payloads are lost when their publisher is dropped.
    Ok(participant.meet(String::new()).map(drop)?)
}

/// One of two ends, with a service in each direction.
struct End {
    publisher: Publisher<ipc::Service, [u8], ()>,
    subscriber: Subscriber<ipc::Service, [u8], ()>,
}

impl End {
    fn open(rendezvous: &mut Rendezvous, size: usize) -> Result<End, Failure> {
        set_log_level(LogLevel::Fatal);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let names = rendezvous.exchange(format!("{}-{now}-{}", std::process::id(), rendezvous.index()))?;
        let node = NodeBuilder::new().signal_handling_mode(SignalHandlingMode::Disabled).create::<ipc::Service>()?;
        let queue = (QUEUE_BYTES / size).clamp(4, 1024);
        let service = |name: &str| -> Result<_, Failure> {
            let builder = node.service_builder(&name.try_into()?).publish_subscribe::<[u8]>();
            let builder = builder.enable_safe_overflow(false).subscriber_max_buffer_size(queue);
            Ok(builder.max_publishers(1).max_subscribers(1).open_or_create()?)
        };
        let (to, from) = (service(&names[rendezvous.index()])?, service(&names[1 - rendezvous.index()])?);
        let subscriber = from.subscriber_builder().create()?;
        let publisher = to
            .publisher_builder()
            .initial_max_slice_len(size)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()?;
        // A payload published before the other end has subscribed reaches nobody. A payload without room in a queue
        // that is not yet connected is dropped, whatever the strategy.
        rendezvous.exchange(String::new())?;
        publisher.update_connections()?;
        subscriber.update_connections()?;
        rendezvous.exchange(String::new())?;
        Ok(End { publisher, subscriber })
    }

    fn send(&self, payload: &[u8]) -> Result<(), Failure> {
        match self.publisher.loan_slice_uninit(payload.len())?.write_from_slice(payload).send()? {
            0 => Err("a payload was delivered to nobody".into()),
            _ => Ok(()),
        }
    }

    /// Waits for the next payload, and passes it to `take`.
    fn receive<T>(&self, take: impl FnOnce(&[u8]) -> T) -> Result<T, Failure> {
        loop {
            match self.subscriber.receive()? {
                Some(sample) => return Ok(take(&sample)),
                None => spin_loop(),
            }
        }
    }
}

const QUEUE_BYTES: usize = 4 << 20;
