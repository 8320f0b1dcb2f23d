//! Resources that the servers need: descriptors, memory and threads.

use std::fs;
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Plan;
use crate::failure::Failure;

/// Buffer sizes of each pair of servers, in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    pub outbox_bytes: u64,
    pub inbox_bytes: u64,
}

/// Checks that descriptors and memory suffice, and returns the buffer sizes.
pub fn reserve(plan: &Plan) -> Result<Buffers, Failure> {
    descriptors(plan)?;
    let buffers = buffers(plan);
    let needed = memory(plan, &buffers);
    match available_memory() {
        Some(available) if needed > available => Err(Failure::Other(format!(
            "{} servers may need {} MiB of memory for what is on its way, and {} MiB are available; \
             use fewer --servers, or a smaller --size",
            plan.servers,
            needed >> 20,
            available >> 20
        ))),
        _ => Ok(buffers),
    }
}

/// Starts a thread of a server.
pub fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let thread = thread::Builder::new().name(name).stack_size(STACK_BYTES);
    thread.spawn(work).map(drop).map_err(|error| {
        Failure::Other(format!(
            "no thread for a server: {error}; use fewer --servers, or raise the limit of processes (ulimit -u)"
        ))
    })
}

/// Checks the limit of descriptors, and raises it if needed. Both ends of every connection are in this process. While
/// all servers connect, two servers that dial each other have two connections.
fn descriptors(plan: &Plan) -> Result<(), Failure> {
    let needed = 2 * (plan.servers * plan.servers) as u64 + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    // A process may raise its soft limit up to the hard limit.
    let raised = limit.maximum.is_none_or(|maximum| maximum >= needed)
        && setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).is_ok();
    if raised {
        return Ok(());
    }
    let most = limit.maximum.or(limit.current).unwrap_or_default();
    Err(Failure::Other(format!(
        "{} servers need up to {needed} open files while they connect, and this process may have {most}; \
         use at most --servers {}, or raise the limit (ulimit -n {needed}, as root)",
        plan.servers,
        (most.saturating_sub(OTHER_FILES) / 2).isqrt()
    )))
}

fn buffers(plan: &Plan) -> Buffers {
    let links = links(plan);
    // The size of a ring is a power of two.
    let share = 1 << (OUTBOXES_BYTES / links).max(1).ilog2();
    Buffers {
        outbox_bytes: share.clamp(64 << 10, 1 << 20),
        inbox_bytes: (INBOXES_BYTES / links).clamp(128 << 10, 4 << 20),
    }
}

/// Returns the most memory that messages in flight may take, in bytes.
fn memory(plan: &Plan, buffers: &Buffers) -> u64 {
    let size = plan.size as u64;
    let all = plan.messages.saturating_mul(size + FRAME_BYTES);
    // A buffer also takes a message that is larger than itself.
    let each = |buffer: u64| buffer.max(size + FRAME_BYTES).min(all);
    links(plan) * (each(buffers.outbox_bytes) + each(buffers.inbox_bytes))
}

fn links(plan: &Plan) -> u64 {
    (plan.servers * (plan.servers - 1)) as u64
}

fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

const OTHER_FILES: u64 = 128;
const OUTBOXES_BYTES: u64 = 256 << 20;
const INBOXES_BYTES: u64 = 512 << 20;
/// Bytes of a message in addition to its payload.
const FRAME_BYTES: u64 = 24;
/// Stack size of a thread. There are two threads for each server, and there may be hundreds of servers.
const STACK_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Buffers, buffers, memory};
    use crate::demo::Plan;

    fn plan(servers: usize, messages: u64, size: usize) -> Plan {
        Plan { servers, messages, size, driver: cluster::Driver::Auto, patience: Duration::ZERO }
    }

    #[test]
    fn many_servers_share_what_few_have_alone() {
        assert_eq!(buffers(&plan(2, 1, 8)), Buffers { outbox_bytes: 1 << 20, inbox_bytes: 4 << 20 });
        assert_eq!(buffers(&plan(1000, 1, 8)), Buffers { outbox_bytes: 64 << 10, inbox_bytes: 128 << 10 });
    }

    #[test]
    fn few_small_messages_take_little() {
        let few = plan(200, 10, 64);
        assert!(memory(&few, &buffers(&few)) < 100 << 20);
        let large = plan(2, 10, 64 << 20);
        assert!(memory(&large, &buffers(&large)) > 256 << 20);
    }
}
