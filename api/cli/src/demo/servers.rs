//! Start of the servers, and the wait for their connections.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::time::{Duration, Instant, SystemTime};

use cluster::{Builder, Config, Connect, Event, Events, Handle, Inbox, Neighbours, Outbox, Pid, Split};

use super::Plan;
use super::progress::Progress;
use super::resources::Buffers;
use crate::failure::Failure;

/// Running server.
pub struct Started {
    pub pid: Pid,
    pub inbox: Inbox,
    pub outbox: Outbox,
    pub events: Events,
    pub handle: Handle,
}

/// Starts all servers, each on a free port.
pub fn start(plan: &Plan, buffers: &Buffers) -> Result<Vec<Started>, Failure> {
    let mut listeners = Vec::new();
    let mut members = Vec::new();
    for index in 0..plan.servers {
        let (listener, address) = listen().map_err(|error| {
            Failure::Other(format!("cannot listen on 127.0.0.1: {error}; is the loopback interface up?"))
        })?;
        listeners.push(listener);
        members.push((plan.pid(index), address));
    }
    let links = (plan.servers * (plan.servers - 1)) as u64;
    let heartbeat = (links * 1000 / HEARTBEATS_PER_SECOND).max(250);
    // The demonstration is of the network, so the servers must not use memory links.
    let config = Config::new(members)?
        .with_neighbours(Neighbours::Tcp)
        .with_driver(plan.driver)
        .with_cluster(name())
        .with_connect(Connect::Eager)
        .with_heartbeat_interval_ms(heartbeat)
        .with_peer_timeout_ms(heartbeat * 5)
        .with_outbox_bytes(buffers.outbox_bytes)
        .with_inbox_bytes(buffers.inbox_bytes);
    let mut started = Vec::new();
    for (index, listener) in listeners.into_iter().enumerate() {
        let pid = plan.pid(index);
        let Split { inbox, outbox, events, handle } = Builder::new(pid, &config).listener(listener).start()?.split();
        started.push(Started { pid, inbox, outbox, events, handle });
    }
    Ok(started)
}

/// Waits until each server is connected to every other.
pub fn connect(plan: &Plan, started: &mut [Started], progress: &mut Progress) -> Result<(), Failure> {
    let links = (plan.servers * (plan.servers - 1)) as u64;
    let mut connected = 0;
    for Started { pid, events, .. } in started {
        let mut up = HashSet::new();
        let mut trouble = None;
        let mut since = Instant::now();
        while up.len() < plan.servers - 1 {
            match events.next_timeout(GLANCE) {
                Some(Event::Up { pid, .. }) => {
                    since = Instant::now();
                    connected += u64::from(up.insert(pid));
                }
                Some(Event::Restarted { .. } | Event::EpollFallback { .. }) | None => {}
                Some(other) => trouble = Some(other),
            }
            progress.show("connections", connected, links);
            if since.elapsed() > plan.patience {
                let missing: Vec<Pid> = (0..plan.servers)
                    .map(|index| plan.pid(index))
                    .filter(|peer| peer != pid && !up.contains(peer))
                    .collect();
                let seen = trouble.map(|event| format!(", the last trouble was {event:?}")).unwrap_or_default();
                return Err(Failure::Other(format!(
                    "server {pid} is not connected to {} of its peers after {} s: {missing:?}{seen}; \
                     is the machine overloaded? --patience waits longer",
                    missing.len(),
                    plan.patience.as_secs()
                )));
            }
        }
    }
    Ok(())
}

fn listen() -> io::Result<(TcpListener, String)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?.to_string();
    Ok((listener, address))
}

/// Returns a unique cluster name, so that other clusters on this machine do not interfere.
fn name() -> String {
    let time = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    format!("demo-{}-{}", process::id(), time.as_nanos())
}

const GLANCE: Duration = Duration::from_millis(100);
/// Heartbeats per second of all links together. Each link sends them in both directions.
const HEARTBEATS_PER_SECOND: u64 = 10_000;
