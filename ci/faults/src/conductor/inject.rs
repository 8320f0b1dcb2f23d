//! Injects the faults of a plan when their time has come, and ends them.

use std::collections::BTreeMap;
use std::fs;

use rustix::process::{Pid as ProcessId, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use super::servers::{Servers, pid};
use crate::clock::{MILLISECOND, SECOND, now};
use crate::failure::{Context, Failure};
use crate::network::Network;
use crate::plan::{Fault, Injected, Kind};

/// A plan under way.
pub struct Injector {
    began: u64,
    /// What is to come, the next last.
    coming: Vec<Fault>,
    active: Vec<(Fault, Injected)>,
    injected: Vec<Injected>,
    /// The limits that a server had before they were lowered.
    limits: BTreeMap<usize, Rlimit>,
}

impl Injector {
    /// A plan that begins at this time.
    pub fn new(faults: &[Fault], began: u64) -> Injector {
        let mut coming = faults.to_vec();
        coming.sort_by_key(|fault| std::cmp::Reverse(fault.begin));
        Injector { began, coming, active: Vec::new(), injected: Vec::new(), limits: BTreeMap::new() }
    }

    pub fn count(&self) -> usize {
        self.injected.len() + self.active.len()
    }

    pub fn active(&self) -> usize {
        self.active.len()
    }

    /// Everything that was injected and has ended.
    pub fn into_injected(self) -> Vec<Injected> {
        self.injected
    }

    /// Does at most one thing that is due, and says which.
    pub fn turn(&mut self, time: u64, servers: &mut Servers<'_>, network: &Network) -> Result<Option<String>, Failure> {
        let elapsed = time.saturating_sub(self.began);
        if let Some(index) = self.active.iter().position(|(fault, _)| fault.end <= elapsed) {
            return self.end(index, servers, network).map(Some);
        }
        if self.coming.last().is_some_and(|fault| fault.begin <= elapsed) {
            return self.coming.pop().map(|fault| self.begin(fault, servers, network)).transpose();
        }
        Ok(None)
    }

    /// Ends everything that lasts.
    pub fn end_all(&mut self, servers: &mut Servers<'_>, network: &Network) -> Result<(), Failure> {
        while !self.active.is_empty() {
            self.end(0, servers, network)?;
        }
        Ok(())
    }

    fn begin(&mut self, fault: Fault, servers: &mut Servers<'_>, network: &Network) -> Result<String, Failure> {
        let begin = now();
        let Fault { node, other, amount, .. } = fault;
        match fault.kind {
            Kind::Kill => servers.kill(node)?,
            Kind::Leave => servers.tell(node, "stop"),
            Kind::Stop => signal(servers, node, Signal::STOP)?,
            Kind::LinkDown => network.set_link(node, false)?,
            Kind::OneWay => network.set_cut(node, other, true)?,
            Kind::Reset => servers.reset(node, other, amount)?,
            Kind::Throttle => network.set_throttle(node, Some(amount))?,
            Kind::Slow => servers.tell(node, "pause"),
            Kind::Descriptors => {
                // Descriptors that are open stay so; with none below the limit, no new one can be had.
                self.lower(servers, node, Resource::Nofile, FEW_DESCRIPTORS)?;
                for peer in (0..servers.pids().len()).filter(|peer| *peer != node) {
                    servers.reset(node, peer, amount)?;
                }
            }
            Kind::Memory => {
                // A process that is just dying uses none; what became of it, `Servers::look` finds out.
                if let Some(used) = servers.process(node).map(data_bytes).transpose()?.flatten() {
                    self.lower(servers, node, Resource::Data, used + (amount << 20))?;
                }
            }
        }
        let other = fault.kind.is_of_pair().then(|| pid(other));
        let injected = Injected { kind: fault.kind, pid: pid(node), other, begin, end: begin, amount };
        self.active.push((fault, injected));
        Ok(format!("{} begin {} {}", seconds(begin, self.began), fault.kind.name(), names(&injected)))
    }

    fn end(&mut self, index: usize, servers: &mut Servers<'_>, network: &Network) -> Result<String, Failure> {
        let (fault, mut injected) = self.active.remove(index);
        let node = fault.node;
        match fault.kind {
            Kind::Kill => servers.spawn(node)?,
            Kind::Leave => servers.restart_left(node)?,
            Kind::Stop => signal(servers, node, Signal::CONT)?,
            Kind::LinkDown => network.set_link(node, true)?,
            Kind::OneWay => network.set_cut(node, fault.other, false)?,
            Kind::Reset => {}
            Kind::Throttle => network.set_throttle(node, None)?,
            Kind::Slow => servers.tell(node, "resume"),
            Kind::Descriptors => self.restore(servers, node, Resource::Nofile)?,
            Kind::Memory => self.restore(servers, node, Resource::Data)?,
        }
        injected.end = now();
        if fault.kind == Kind::Reset {
            // The proxy waits for its random byte.
            injected.end = injected.begin + RESET_TIME;
        }
        self.injected.push(injected);
        Ok(format!("{} end   {} {}", seconds(now(), self.began), fault.kind.name(), names(&injected)))
    }

    fn lower(&mut self, servers: &Servers<'_>, node: usize, resource: Resource, current: u64) -> Result<(), Failure> {
        let Some(process) = servers.process(node).and_then(process_id) else { return Ok(()) };
        // The hard limit, which servers inherit from here, stays: not every root may raise it again.
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
        prlimit(Some(process), resource, before).context(|| format!("cannot raise {resource:?} again"))?;
        Ok(())
    }
}

fn signal(servers: &Servers<'_>, node: usize, signal: Signal) -> Result<(), Failure> {
    match servers.process(node).and_then(process_id) {
        Some(process) => kill_process(process, signal).context(|| format!("cannot send {signal:?} to {}", pid(node))),
        None => Ok(()),
    }
}

fn process_id(process: u32) -> Option<ProcessId> {
    ProcessId::from_raw(i32::try_from(process).ok()?)
}

/// What counts against `RLIMIT_DATA`; `None` when the process has ended and only waits to be noticed.
fn data_bytes(process: u32) -> Result<Option<u64>, Failure> {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(&path).context(|| format!("cannot read {path}"))?;
    let Some(line) = text.lines().find_map(|line| line.strip_prefix("VmData:")) else { return Ok(None) };
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().context(|| format!("what is VmData in {path}?"))?;
    Ok(Some(kib << 10))
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
const RESET_TIME: u64 = 120 * MILLISECOND;
