//! Fixed workloads between two servers that one thread drives, so that every run does the same work.

use std::error::Error;
use std::net::TcpListener;
use std::time::Duration;

use clap::ValueEnum;
use cluster::{Builder, Config, Engine, Envelope, Idle, Node, Server};

/// Workload of the two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// A payload goes and comes back, as owned envelopes.
    RoundTrip,
    /// Batches of 1000 payloads, encoded in place and read where they were received.
    BatchInPlace,
    /// The same as owned envelopes.
    BatchOwned,
    /// Envelopes of 64 KiB, owned, one after the other.
    Large,
}

impl Workload {
    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundTrip => "round-trip",
            Self::BatchInPlace => "batch-in-place",
            Self::BatchOwned => "batch-owned",
            Self::Large => "large",
        }
    }

    /// Returns a number of messages that is large enough to include rare work.
    pub fn messages(self) -> u64 {
        match self {
            Self::RoundTrip | Self::Large => 2_000,
            Self::BatchInPlace | Self::BatchOwned => 200_000,
        }
    }

    /// Returns whether the workload makes the same system calls in every run. The kernel decides how often 64 KiB pass
    /// in one piece.
    pub fn has_steady_calls(self) -> bool {
        self != Self::Large
    }

    /// Returns whether a server waits in the kernel for messages.
    pub fn waits(self) -> bool {
        self == Self::RoundTrip
    }

    /// Returns two servers with a link between them.
    pub fn connect(self, payload: Payload) -> Result<Pair, Box<dyn Error>> {
        let mut pair = Pair::new(self, payload)?;
        // The first messages make connections, and memory that is used again later.
        pair.run(10 * BATCH)?;
        Ok(pair)
    }
}

/// Length of the payloads, unless the workload fixes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Payload {
    /// 64 bytes.
    Short,
    /// 256 bytes: so many that nobody copies them without a call.
    Long,
}

impl Payload {
    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Long => "long",
        }
    }
}

/// Two servers on inline engines of their own, both driven by the calling thread.
pub struct Pair {
    workload: Workload,
    payload: Payload,
    near: Node,
    far: Node,
}

impl Pair {
    fn new(workload: Workload, payload: Payload) -> Result<Self, Box<dyn Error>> {
        let (near, far) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
        let config = Config::new([(NEAR, near.local_addr()?.to_string()), (FAR, far.local_addr()?.to_string())])?
            .with_peer_timeout_ms(2 * QUIET_MS)
            .with_heartbeat_interval_ms(QUIET_MS);
        let near = Builder::new(NEAR, &config).engine(&Engine::inline(PARK)?).listener(near).start()?;
        let far = Builder::new(FAR, &config).engine(&Engine::inline(PARK)?).listener(far).start()?;
        let mut pair = Self { workload, payload, near, far };
        pair.near.outbox().send(Envelope::to(FAR).body("hello"))?;
        while pair.far.inbox().try_recv().is_err() {
            pair.near.poll();
        }
        Ok(pair)
    }

    /// Exchanges `messages` messages, and checks those that arrive.
    pub fn run(&mut self, messages: u64) -> Result<(), Box<dyn Error>> {
        match self.payload {
            Payload::Short => self.run_with::<64>(messages),
            Payload::Long => self.run_with::<256>(messages),
        }
    }

    // The workloads are not inlined: the cost of a message must not depend on the caller.
    fn run_with<const BYTES: usize>(&mut self, messages: u64) -> Result<(), Box<dyn Error>> {
        match self.workload {
            Workload::RoundTrip => (0..messages).try_for_each(|number| self.round_trip::<BYTES>(number)),
            Workload::Large => (0..messages).try_for_each(|_| self.large()),
            Workload::BatchInPlace => (0..messages / BATCH).try_for_each(|_| self.batch_in_place::<BYTES>()),
            Workload::BatchOwned => (0..messages / BATCH).try_for_each(|_| self.batch_owned::<BYTES>()),
        }
    }

    #[inline(never)]
    fn round_trip<const BYTES: usize>(&mut self, number: u64) -> Result<(), Box<dyn Error>> {
        let mut payload = [7; BYTES];
        payload[..8].copy_from_slice(&number.to_le_bytes());
        self.near.outbox().send(Envelope::to(FAR).body(&payload[..]))?;
        self.near.poll();
        let question = self.far.inbox().recv_timeout(PATIENCE)?;
        self.far.outbox().send(Envelope::to(NEAR).id(question.msg_id).body(&question.msg[..]))?;
        self.far.poll();
        let answer = self.near.inbox().recv_timeout(PATIENCE)?;
        if answer.msg[..] == payload { Ok(()) } else { Err("another answer than what was asked".into()) }
    }

    #[inline(never)]
    fn large(&mut self) -> Result<(), Box<dyn Error>> {
        let payload = vec![7; 64 << 10];
        self.near.outbox().send(Envelope::to(FAR).body(payload))?;
        loop {
            self.near.poll();
            if let Ok(envelope) = self.far.inbox().try_recv() {
                return if envelope.msg.len() == 64 << 10 { Ok(()) } else { Err("another length".into()) };
            }
        }
    }

    #[inline(never)]
    fn batch_in_place<const BYTES: usize>(&mut self) -> Result<(), Box<dyn Error>> {
        for number in 0..BATCH {
            let claim = self.near.outbox().try_claim(FAR, BYTES)?;
            claim.write(|payload| payload[..8].copy_from_slice(&number.to_le_bytes()))?;
        }
        let (mut next, mut wrong) = (0, 0);
        while next < BATCH {
            self.near.poll();
            self.far.inbox().drain(|envelope| {
                wrong += u64::from(envelope.msg[..8] != next.to_le_bytes());
                next += 1;
            });
        }
        if wrong == 0 { Ok(()) } else { Err(format!("{wrong} messages out of order").into()) }
    }

    #[inline(never)]
    fn batch_owned<const BYTES: usize>(&mut self) -> Result<(), Box<dyn Error>> {
        for number in 0..BATCH {
            let mut payload = [7; BYTES];
            payload[..8].copy_from_slice(&number.to_le_bytes());
            self.near.outbox().try_send(Envelope::to(FAR).body(&payload[..]))?;
        }
        let mut next = 0_u64;
        while next < BATCH {
            self.near.poll();
            while let Ok(envelope) = self.far.inbox().try_recv() {
                if envelope.msg[..8] != next.to_le_bytes() {
                    return Err(format!("another message than number {next}").into());
                }
                next += 1;
            }
        }
        Ok(())
    }
}

const NEAR: u64 = 1;
const FAR: u64 = 2;
const BATCH: u64 = 1000;
/// Heartbeat interval that is longer than any workload, so that no heartbeat is sent meanwhile.
const QUIET_MS: u64 = 600_000;
const PATIENCE: Duration = Duration::from_secs(20);
const PARK: Idle = Idle { spin_us: 0, yield_us: 0, park: true };
