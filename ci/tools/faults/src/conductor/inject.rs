//! Injects the faults of a plan when they are due, and ends them.

use std::collections::BTreeMap;
use std::fs;

use rustix::process::{Pid as ProcessId, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use super::servers::{Servers, pid};
use crate::clock::{MILLISECOND, SECOND, now};
use crate::failure::{Context, Failure};
use crate::journal::{Entry, Writer};
use crate::network::Network;
use crate::plan::{Fault, Injected, Kind};

/// Execution of a plan.
pub struct Injector<'j> {
    journal: &'j Writer,
    began: u64,
    /// Faults to come, the next one last.
    coming: Vec<Fault>,
    active: Vec<Active>,
    count: usize,
    /// Limits that a server had before they were lowered.
    limits: BTreeMap<usize, Rlimit>,
}

/// Fault that is active.
struct Active {
    fault: Fault,
    injected: Injected,
    /// Number of the fault in the journal.
    number: usize,
    /// Failed attempts to end the fault.
    failed: u32,
}

impl<'j> Injector<'j> {
    /// Returns the execution of a plan that begins at the time `began`.
    pub fn new(faults: &[Fault], began: u64, journal: &'j Writer) -> Injector<'j> {
        let mut coming = faults.to_vec();
        coming.sort_by_key(|fault| std::cmp::Reverse(fault.begin));
        Injector { journal, began, coming, active: Vec::new(), count: 0, limits: BTreeMap::new() }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn active(&self) -> usize {
        self.active.len()
    }

    /// Begins or ends at most one fault that is due, and returns a line about it. A failure is a hitch, unless it
    /// leaves a fault that does not end.
    pub fn turn(&mut self, time: u64, servers: &mut Servers<'_>, network: &Network) -> Result<Option<String>, Failure> {
        let elapsed = time.saturating_sub(self.began);
        if let Some(index) = self.active.iter().position(|active| active.fault.end <= elapsed) {
            return self.end(index, servers, network).map(Some);
        }
        if self.coming.last().is_some_and(|fault| fault.begin <= elapsed) {
            return self.coming.pop().map(|fault| self.begin(fault, servers, network)).transpose();
        }
        Ok(None)
    }

    /// Ends all active faults.
    pub fn end_all(&mut self, servers: &mut Servers<'_>, network: &Network) -> Result<(), Failure> {
        while !self.active.is_empty() {
            self.end(0, servers, network)?;
        }
        Ok(())
    }

    fn begin(&mut self, mut fault: Fault, servers: &mut Servers<'_>, network: &Network) -> Result<String, Failure> {
        let begin = now();
        if fault.kind.is_of_proxy() {
            (fault.node, fault.other) = servers.proxied_pair(fault.node, fault.other);
        }
        let other = fault.kind.is_of_pair().then(|| pid(fault.other));
        let injected = Injected {
            kind: fault.kind,
            pid: pid(fault.node),
            other,
            begin,
            in_force: begin,
            ends: u64::MAX,
            end: u64::MAX,
            amount: fault.amount,
        };
        // Written before the injection: a fault that is not in the journal did not happen.
        let number = self.journal.begin(injected)?;
        self.count += 1;
        if let Err(failure) = self.inject(&fault, servers, network) {
            self.journal.hitch(&failure)?;
            // The fault may be partly injected; as much of it as possible is undone.
            let _ = self.undo(&fault, servers, network);
            self.journal.write(&Entry::Over { fault: number, at: now() })?;
            return Ok(format!("{} not   {} {}", seconds(begin, self.began), fault.kind.name(), names(&injected)));
        }
        self.journal.write(&Entry::InForce { fault: number, at: now() })?;
        self.active.push(Active { fault, injected, number, failed: 0 });
        Ok(format!("{} begin {} {}", seconds(begin, self.began), fault.kind.name(), names(&injected)))
    }

    fn inject(&mut self, fault: &Fault, servers: &mut Servers<'_>, network: &Network) -> Result<(), Failure> {
        let Fault { node, other, amount, .. } = *fault;
        match fault.kind {
            Kind::Kill => servers.kill(node)?,
            Kind::Leave => servers.tell(node, "stop"),
            Kind::Stop => signal(servers, node, Signal::STOP)?,
            Kind::LinkDown => network.set_link(node, false)?,
            Kind::OneWay => network.set_cut(node, other, true)?,
            Kind::Reset => servers.reset(node, other, amount)?,
            Kind::Replay => servers.tell_proxies("replay", node, other, amount)?,
            Kind::Lie => servers.tell_proxies("lie", node, other, amount)?,
            Kind::Throttle => network.set_throttle(node, Some(amount))?,
            Kind::Slow => servers.tell(node, "pause"),
            Kind::Remove => servers.tell(node, &format!("remove {}", pid(other))),
            // A server that is just starting has no connections and no memory to keep yet.
            Kind::Descriptors | Kind::Memory if !servers.has_started(node) => {}
            Kind::Descriptors => {
                // Open descriptors stay open; no new one can be opened, because none below the limit is free.
                self.lower(servers, node, Resource::Nofile, FEW_DESCRIPTORS)?;
                for peer in (0..servers.pids().len()).filter(|peer| *peer != node) {
                    servers.reset(node, peer, amount)?;
                }
            }
            Kind::Memory => {
                // A process that is just ending uses no memory; `Servers::look` finds its end.
                if let Some(used) = servers.process(node).and_then(data_bytes) {
                    self.lower(servers, node, Resource::Data, used + (amount << 20))?;
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, index: usize, servers: &mut Servers<'_>, network: &Network) -> Result<String, Failure> {
        let mut active = self.active.remove(index);
        let Active { fault, injected, number, .. } = active;
        self.journal.write(&Entry::Ends { fault: number, at: now() })?;
        if let Err(failure) = self.undo(&fault, servers, network) {
            active.failed += 1;
            if active.failed > MOST_ATTEMPTS {
                return Err(Failure(format!("{} does not end: {failure}", fault.kind.name())));
            }
            self.journal.hitch(&failure)?;
            active.fault.end = now().saturating_sub(self.began) + RETRY;
            self.active.push(active);
            return Ok(format!("{} still {} {}", seconds(now(), self.began), fault.kind.name(), names(&injected)));
        }
        let at = now().max(injected.begin + fault.kind.least_time());
        self.journal.write(&Entry::Over { fault: number, at })?;
        Ok(format!("{} end   {} {}", seconds(now(), self.began), fault.kind.name(), names(&injected)))
    }

    fn undo(&mut self, fault: &Fault, servers: &mut Servers<'_>, network: &Network) -> Result<(), Failure> {
        let node = fault.node;
        match fault.kind {
            Kind::Kill => servers.start_again(node),
            Kind::Leave => servers.restart_left(node),
            Kind::Stop => signal(servers, node, Signal::CONT),
            Kind::LinkDown => network.set_link(node, true),
            Kind::OneWay => network.set_cut(node, fault.other, false),
            Kind::Reset | Kind::Replay | Kind::Lie => Ok(()),
            Kind::Throttle => network.set_throttle(node, None),
            Kind::Slow => {
                servers.tell(node, "resume");
                Ok(())
            }
            Kind::Remove => {
                servers.tell(node, &format!("add {}", pid(fault.other)));
                Ok(())
            }
            Kind::Descriptors => self.restore(servers, node, Resource::Nofile),
            Kind::Memory => self.restore(servers, node, Resource::Data),
        }
    }

    fn lower(&mut self, servers: &Servers<'_>, node: usize, resource: Resource, current: u64) -> Result<(), Failure> {
        let Some(process) = servers.process(node).and_then(process_id) else { return Ok(()) };
        // The hard limit, which servers inherit from this process, stays: not every root may raise it again.
        let lowered = Rlimit { current: Some(current), maximum: getrlimit(resource).maximum };
        let before = prlimit(Some(process), resource, lowered).context(|| format!("cannot lower {resource:?}"))?;
        self.limits.insert(node, before);
        Ok(())
    }

    fn restore(&mut self, servers: &Servers<'_>, node: usize, resource: Resource) -> Result<(), Failure> {
        let (Some(before), Some(process)) = (self.limits.remove(&node), servers.process(node).and_then(process_id))
        else {
            return Ok(());
        };
        // If the process has ended meanwhile, there is no limit to raise.
        match prlimit(Some(process), resource, before) {
            Err(error) if error != rustix::io::Errno::SRCH => {
                self.limits.insert(node, before);
                Err(Failure(format!("cannot raise {resource:?} again: {error}")))
            }
            _ => Ok(()),
        }
    }
}

fn signal(servers: &Servers<'_>, node: usize, signal: Signal) -> Result<(), Failure> {
    match servers.process(node).and_then(process_id).map(|process| kill_process(process, signal)) {
        Some(Err(error)) if error != rustix::io::Errno::SRCH => {
            Err(Failure(format!("cannot send {signal:?} to {}: {error}", pid(node))))
        }
        _ => Ok(()),
    }
}

fn process_id(process: u32) -> Option<ProcessId> {
    ProcessId::from_raw(i32::try_from(process).ok()?)
}

/// Returns the bytes that count against `RLIMIT_DATA`; `None` if the process has ended and was not waited for yet.
fn data_bytes(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmData:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib << 10)
}

fn names(fault: &Injected) -> String {
    match fault.other {
        Some(other) => format!("{} -> {other}", fault.pid),
        None => fault.pid.to_string(),
    }
}

fn seconds(time: u64, began: u64) -> String {
    format!("{:9.3} s ({time})", (time - began) as f64 / SECOND as f64)
}

const FEW_DESCRIPTORS: u64 = 3;
/// Time between two attempts to end a fault; `MOST_ATTEMPTS` limits their number.
const RETRY: u64 = 250 * MILLISECOND;
const MOST_ATTEMPTS: u32 = 40;
