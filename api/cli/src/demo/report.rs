//! Report of the demonstration: numbers, tables, complaints.

use serde::Serialize;

use super::checker::Findings;
use super::latencies::Latencies;
use super::receiver::Tallies;
use super::{Plan, TIMED};

/// Output of `--json`.
#[derive(Debug, Serialize)]
struct Numbers {
    servers: usize,
    messages: u64,
    size: usize,
    expected: u64,
    delivered: u64,
    duplicates: u64,
    out_of_order: u64,
    corrupt: u64,
    seconds: f64,
    messages_per_second: f64,
    latency_us: Percentiles,
}

#[derive(Debug, Serialize)]
struct Percentiles {
    p50: Option<f64>,
    p99: Option<f64>,
    p999: Option<f64>,
}

/// Result of the demonstration.
#[derive(Debug)]
pub struct Report {
    plan: Plan,
    findings: Findings,
    seconds: f64,
    /// Latencies of messages sent one at a time.
    alone: Latencies,
    /// Latencies of messages sent all at once.
    loaded: Latencies,
}

impl Report {
    pub fn new(plan: &Plan, seconds: f64, tallies: &Tallies, alone: Latencies) -> Report {
        Report { plan: *plan, findings: tallies.findings(), seconds, alone, loaded: tallies.latencies() }
    }

    /// Returns whether each message arrived once, in order, from the right server, with the right bytes.
    pub fn holds(&self) -> bool {
        self.findings == Findings { delivered: self.plan.expected(), ..Findings::default() }
    }

    pub fn json(&self) -> String {
        let numbers = Numbers {
            servers: self.plan.servers,
            messages: self.plan.messages,
            size: self.plan.size,
            expected: self.plan.expected(),
            delivered: self.findings.delivered,
            duplicates: self.findings.duplicates,
            out_of_order: self.findings.out_of_order,
            corrupt: self.findings.corrupt,
            seconds: self.seconds,
            messages_per_second: self.rate(),
            latency_us: Percentiles {
                p50: self.loaded.percentile(50.0),
                p99: self.loaded.percentile(99.0),
                p999: self.loaded.percentile(99.9),
            },
        };
        serde_json::to_string(&numbers).expect("there are only numbers to write, and names for them")
    }

    pub fn table(&self) -> String {
        let Plan { servers, messages, size, .. } = self.plan;
        let Findings { delivered, duplicates, out_of_order, corrupt } = self.findings;
        let verdict = if self.holds() {
            "each once, in order, from the right server, with the right bytes"
        } else {
            "NOT AS IT SHOULD BE"
        };
        let untimed = if size < TIMED {
            format!("\nMessages of less than {} bytes do not carry the time they were sent.", TIMED)
        } else {
            String::new()
        };
        format!(
            "\
{servers} servers, each broadcast {messages} messages of {size} bytes to the {others} others, over TCP on 127.0.0.1

expected      {expected:>12}
delivered     {delivered:>12}   {verdict}
duplicates    {duplicates:>12}
out of order  {out_of_order:>12}
corrupt       {corrupt:>12}

time          {seconds:>12.3} s
throughput    {rate:>12.0} messages/s delivered, {megabytes:.1} MB/s of payload

latency (µs)  {p50:>11}{p99:>11}{p999:>11}{max:>11}
one at a time {alone}
all at once   {loaded}

One at a time: {count} messages from one server to one other, with a pause between them, so that every thread sleeps when a
message is sent. All at once: the messages above, sent as fast as they are taken; most of that time a message stands in
line behind others. Both from the sender's call to the receiver's.{untimed}",
            others = servers - 1,
            expected = self.plan.expected(),
            seconds = self.seconds,
            rate = self.rate(),
            megabytes = self.rate() * size as f64 / 1e6,
            count = self.plan.alone(),
            p50 = "p50",
            p99 = "p99",
            p999 = "p99.9",
            max = "max",
            alone = self.alone.columns(),
            loaded = self.loaded.columns(),
        )
    }

    /// Describes each fault in one line.
    pub fn complaints(&self, tallies: &Tallies) -> Vec<String> {
        let mut complaints = Vec::new();
        let Findings { delivered, duplicates, out_of_order, corrupt } = self.findings;
        let missing = self.plan.expected() - delivered;
        if missing > 0 {
            complaints.push(format!(
                "{missing} of {} messages are missing, and none came for {} s; is the machine overloaded? \
                 --patience waits longer",
                self.plan.expected(),
                self.plan.patience.as_secs()
            ));
        }
        for (what, count) in
            [("arrived twice", duplicates), ("arrived out of order", out_of_order), ("are corrupt", corrupt)]
        {
            if count > 0 {
                complaints.push(format!("{count} messages {what}; this is a bug of the engine, please report it"));
            }
        }
        let pairs = (0..self.plan.servers).flat_map(|to| (0..self.plan.servers).map(move |from| (to, from)));
        let short = pairs.filter(|(to, from)| to != from).map(|(to, from)| (to, from, tallies.delivered(to, from)));
        let mut short = short.filter(|(_, _, delivered)| *delivered < self.plan.messages);
        for (to, from, delivered) in short.by_ref().take(NAMED) {
            complaints.push(format!(
                "server {} has {delivered} of {} messages from server {}",
                self.plan.pid(to),
                self.plan.messages,
                self.plan.pid(from)
            ));
        }
        let more = short.count();
        if more > 0 {
            complaints.push(format!("and so on for {more} more pairs of servers"));
        }
        complaints
    }

    fn rate(&self) -> f64 {
        self.findings.delivered as f64 / self.seconds.max(1e-9)
    }
}

/// Most pairs of servers that are named when messages are missing.
const NAMED: usize = 20;
