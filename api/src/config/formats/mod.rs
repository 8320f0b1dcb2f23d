//! The formats of configuration files: detection, and conversion to a [`Config`].

mod concatenated;
mod handle;
mod listed;
mod native;

use super::fields::Field;
use super::json::{self, Node, Value};
use super::rules::{self, Origins};
use super::settings::{Config, Member};
use super::source::{Fault, Source, quoted};
use super::suggest;
use crate::Pid;

/// Loads a configuration of any format.
pub(super) fn load(source: &Source<'_>) -> Result<Config, Fault> {
    let nodes = json::read(source)?;
    let Some((first, rest)) = nodes.split_first() else {
        return Err(Fault::at(source.start(), "the file is empty", format!("write {EXAMPLE}")));
    };
    let shape = Shape::of(first)?;
    let mut draft = Draft {
        config: Config::defaults(),
        origins: Origins { source, servers: first.at, members: Vec::new(), settings: Vec::new() },
    };
    if let Some(second) = rest.first().filter(|_| !shape.is_concatenated()) {
        let cause = format!("a second object follows the configuration (keys {})", shape.keys());
        return Err(Fault::at(second.at, cause, "remove it: objects follow one another only where each is one server"));
    }
    match shape {
        Shape::Native => native::load(first, &mut draft)?,
        Shape::Peers => listed::load_peers(first, "Peers", &mut draft)?,
        Shape::Servers => listed::load_peers(first, "Servers", &mut draft)?,
        Shape::Object => listed::load_object(first, &mut draft)?,
        Shape::Handle => handle::load(first, &mut draft)?,
        Shape::PidAddr | Shape::IdIpPorts => {
            for node in &nodes {
                shape.check_same(node, first, source)?;
                match shape {
                    Shape::PidAddr => concatenated::load_pid_addr(node, &mut draft)?,
                    _ => concatenated::load_id_ip_ports(node, &mut draft)?,
                }
            }
        }
    }
    rules::check(&draft.config, Some(&draft.origins))?;
    Ok(draft.config)
}

/// Configuration under construction, with the offsets of its parts.
struct Draft<'s> {
    config: Config,
    origins: Origins<'s>,
}

impl Draft<'_> {
    fn member(&mut self, pid: (Pid, usize), address: (&str, usize)) {
        self.config.servers.push(Member::new(pid.0, address.0));
        self.origins.members.push((pid.1, address.1));
    }

    fn origin(&mut self, setting: &'static str, at: usize) {
        self.origins.settings.push((setting, at));
    }

    /// Sets the inbox size, given in envelopes.
    fn inbox_envelopes(&mut self, field: Field<'_, '_>) -> Result<(), Fault> {
        self.config.inbox_bytes = envelopes(field, Config::MIN_INBOX_BYTES)?.unwrap_or(self.config.inbox_bytes);
        Ok(())
    }

    /// Sets the outbox size, given in envelopes.
    fn outbox_envelopes(&mut self, field: Field<'_, '_>) -> Result<(), Fault> {
        self.config.outbox_bytes = envelopes(field, Config::MIN_OUTBOX_BYTES)?.unwrap_or(self.config.outbox_bytes);
        Ok(())
    }
}

/// Converts a size in envelopes to bytes, at least `least`. Returns `None` for 0, which selects the default.
fn envelopes(field: Field<'_, '_>, least: u64) -> Result<Option<u64>, Fault> {
    match field.whole()? {
        0 => Ok(None),
        count if count > Config::MAX_BUFFER_BYTES / Config::ENVELOPE_BYTES => {
            let cause = format!("{:?} is {count} envelopes, more than {} bytes", field.key, Config::MAX_BUFFER_BYTES);
            let most = Config::MAX_BUFFER_BYTES / Config::ENVELOPE_BYTES;
            Err(Fault::at(field.at(), cause, format!("use {most} or less, or 0 for the default")))
        }
        count => Ok(Some((count * Config::ENVELOPE_BYTES).max(least))),
    }
}

/// Format of a configuration, identified by its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Native,
    Peers,
    Servers,
    Object,
    Handle,
    PidAddr,
    IdIpPorts,
}

impl Shape {
    fn of(node: &Node<'_>) -> Result<Shape, Fault> {
        let Value::Object(entries) = &node.value else {
            let cause = format!("expected an object, found {}", node.value.kind());
            return Err(Fault::at(node.at, cause, format!("write {EXAMPLE}")));
        };
        if let Some(shape) = Shape::marked(node) {
            return Ok(shape);
        }
        if entries.iter().any(|entry| native::KEYS.contains(&&*entry.key)) {
            return Ok(Shape::Native);
        }
        let marks = || ALL.iter().flat_map(|shape| shape.marks().iter().copied());
        // The first keys are enough for a suggestion, and bound its cost.
        let meant = entries.iter().take(32).find_map(|entry| Some((entry, suggest::nearest(&entry.key, marks())?)));
        Err(match meant {
            Some((entry, mark)) => Fault::at(
                entry.at,
                format!("{} is not a key of any known format", quoted(&entry.key)),
                format!("did you mean {mark:?}?"),
            ),
            None => Fault::at(node.at, "no key of this object tells where the servers are", format!("write {EXAMPLE}")),
        })
    }

    /// Returns the format of the first key that identifies one.
    fn marked(node: &Node<'_>) -> Option<Shape> {
        let Value::Object(entries) = &node.value else {
            return None;
        };
        entries.iter().find_map(|entry| ALL.iter().find(|shape| shape.marks().contains(&&*entry.key)).copied())
    }

    fn is_concatenated(self) -> bool {
        matches!(self, Shape::PidAddr | Shape::IdIpPorts)
    }

    /// Checks that a later object has no key that identifies another format than the first object's.
    fn check_same(self, node: &Node<'_>, first: &Node<'_>, source: &Source<'_>) -> Result<(), Fault> {
        match Shape::marked(node) {
            Some(other) if other != self => {
                let place = source.point(first.at);
                let cause =
                    format!("this object has the keys {}, the first one (at {place}) {}", other.keys(), self.keys());
                Err(Fault::at(node.at, cause, "write all servers with the same keys"))
            }
            _ => Ok(()),
        }
    }

    fn keys(self) -> String {
        suggest::list(self.marks())
    }

    fn marks(self) -> &'static [&'static str] {
        match self {
            Shape::Native => &["servers"],
            Shape::Peers => &["Peers"],
            Shape::Servers => &["Servers"],
            Shape::Object => &["object"],
            Shape::Handle => &["peersPid", "peersHandle", "startAddress", "selfHandle"],
            Shape::PidAddr => &concatenated::PID_ADDR,
            Shape::IdIpPorts => &concatenated::ID_IP_PORTS,
        }
    }
}

const ALL: [Shape; 7] =
    [Shape::Native, Shape::Peers, Shape::Servers, Shape::Object, Shape::Handle, Shape::PidAddr, Shape::IdIpPorts];

const EXAMPLE: &str = r#"{"servers": [{"pid": 100, "address": "127.0.0.1:8001"}]}"#;
