//! The native format, the only one that can express all settings.

use std::fmt::Write as _;

use super::{Draft, listed};
use crate::config::choices::{Checksum, Connect, Driver, Neighbours, Threading};
use crate::config::fields::{Field, Fields};
use crate::config::json::{Node, Value};
use crate::config::settings::Config;
use crate::config::source::{Fault, quoted};
use crate::config::suggest;

impl Config {
    /// Formats the configuration in the native format, one server on a line. [`Config::parse`] turns the text back into
    /// an equal configuration, if this one is [valid](Config::validate).
    ///
    /// ```
    /// use cluster::Config;
    ///
    /// let config = Config::new([(100, "127.0.0.1:8001"), (200, "127.0.0.1:8002")])?
    ///     .with_inbox_bytes(1 << 20);
    /// assert_eq!(Config::parse(&config.to_json(), "again")?, config);
    /// # Ok::<(), cluster::ConfigError>(())
    /// ```
    pub fn to_json(&self) -> String {
        let servers: Vec<String> = (self.servers.iter())
            .map(|member| format!("    {{\"pid\": {}, \"address\": {}}}", member.pid, string(&member.address)))
            .collect();
        let threading = match self.threading {
            Threading::Shared => "\"shared\"".to_owned(),
            Threading::Dedicated { shards } => {
                format!("{{\"dedicated\": {{\"shards\": {shards}}}}}")
            }
            Threading::Inline => "\"inline\"".to_owned(),
            Threading::Reactor => "\"reactor\"".to_owned(),
        };
        let connect = match self.connect {
            Connect::OnDemand => "\"on_demand\"",
            Connect::Eager => "\"eager\"",
        };
        let checksum = match self.checksum {
            Checksum::Header => "\"header\"",
            Checksum::Payload => "\"payload\"",
        };
        let neighbours = match self.neighbours {
            Neighbours::Memory => "\"memory\"",
            Neighbours::Tcp => "\"tcp\"",
        };
        let driver = match self.driver {
            Driver::Auto => "\"auto\"",
            Driver::IoUring => "\"io_uring\"",
            Driver::Epoll => "\"epoll\"",
        };
        let idle = &self.idle;
        let idle =
            format!("{{\"spin_us\": {}, \"yield_us\": {}, \"park\": {}}}", idle.spin_us, idle.yield_us, idle.park);

        let mut json = String::from("{");
        let mut line = |key: &str, value: &dyn std::fmt::Display| {
            let comma = if json.len() > 1 { "," } else { "" };
            // Writing to a string does not fail.
            let _ = write!(json, "{comma}\n  \"{key}\": {value}");
        };
        line("cluster", &string(&self.cluster));
        line("servers", &format!("[\n{}\n  ]", servers.join(",\n")));
        line("inbox_bytes", &self.inbox_bytes);
        line("outbox_bytes", &self.outbox_bytes);
        line("socket_bytes", &self.socket_bytes);
        line("max_envelope_bytes", &self.max_envelope_bytes);
        match &self.first_message_id {
            Some(first) => line("first_message_id", first),
            None => line("first_message_id", &"\"random\""),
        }
        line("heartbeat_interval_ms", &self.heartbeat_interval_ms);
        line("peer_timeout_ms", &self.peer_timeout_ms);
        line("connect", &connect);
        line("checksum", &checksum);
        line("neighbours", &neighbours);
        line("raise_descriptor_limit", &self.raise_descriptor_limit);
        line("threading", &threading);
        line("driver", &driver);
        line("idle", &idle);
        json.push_str("\n}\n");
        json
    }
}

/// Loads a configuration in the native format. All keys but `servers` are optional.
pub(super) fn load(node: &Node<'_>, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let fields = Fields::of(node, "the configuration", &KEYS)?;
    listed::load_members(fields.need("servers")?, ["pid", "address"], draft)?;
    for key in KEYS {
        if let Some(field) = fields.find(key) {
            draft.origin(key, field.at());
            setting(field, draft)?;
        }
    }
    Ok(())
}

fn setting(field: Field<'_, '_>, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let config = &mut draft.config;
    match field.key {
        "cluster" => config.cluster = field.text()?.to_owned(),
        "inbox_bytes" => config.inbox_bytes = field.whole()?,
        "outbox_bytes" => config.outbox_bytes = field.whole()?,
        "socket_bytes" => config.socket_bytes = field.whole()?,
        "max_envelope_bytes" => config.max_envelope_bytes = field.whole()?,
        "first_message_id" => {
            config.first_message_id = match &field.node.value {
                Value::Text(_) => choice(field, &[("random", None)])?,
                _ => Some(field.signed()?),
            }
        }
        "heartbeat_interval_ms" => config.heartbeat_interval_ms = field.whole()?,
        "peer_timeout_ms" => config.peer_timeout_ms = field.whole()?,
        "connect" => config.connect = choice(field, &[("on_demand", Connect::OnDemand), ("eager", Connect::Eager)])?,
        "checksum" => config.checksum = choice(field, &[("header", Checksum::Header), ("payload", Checksum::Payload)])?,
        "neighbours" => {
            config.neighbours = choice(field, &[("memory", Neighbours::Memory), ("tcp", Neighbours::Tcp)])?;
        }
        "raise_descriptor_limit" => config.raise_descriptor_limit = field.flag()?,
        "threading" => return threading(field, draft),
        "driver" => {
            let choices = [("auto", Driver::Auto), ("io_uring", Driver::IoUring), ("epoll", Driver::Epoll)];
            config.driver = choice(field, &choices)?;
        }
        "idle" => return idle(field, draft),
        _ => {}
    }
    Ok(())
}

/// Loads `"shared"`, `"inline"`, `"reactor"` or `{"dedicated": {"shards": 2}}`.
fn threading(field: Field<'_, '_>, draft: &mut Draft<'_>) -> Result<(), Fault> {
    draft.config.threading = match &field.node.value {
        Value::Object(_) => {
            let outer = Fields::of(field.node, "\"threading\"", &["dedicated"])?;
            let inner = Fields::of(outer.need("dedicated")?.node, "\"dedicated\"", &["shards"])?;
            let shards = inner.need("shards")?;
            draft.origin("threading.dedicated.shards", shards.at());
            Threading::Dedicated { shards: usize::try_from(shards.whole()?).unwrap_or(usize::MAX) }
        }
        Value::Text(text) if text == "dedicated" => {
            let cause = "\"dedicated\" does not say how many threads";
            return Err(Fault::at(field.at(), cause, r#"write {"dedicated": {"shards": 2}}"#));
        }
        _ => {
            let choices =
                [("shared", Threading::Shared), ("inline", Threading::Inline), ("reactor", Threading::Reactor)];
            choice(field, &choices)?
        }
    };
    Ok(())
}

fn idle(field: Field<'_, '_>, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let fields = Fields::of(field.node, "\"idle\"", &["spin_us", "yield_us", "park"])?;
    if let Some(spin) = fields.find("spin_us") {
        draft.origin("idle.spin_us", spin.at());
        draft.config.idle.spin_us = spin.whole()?;
    }
    if let Some(spell) = fields.find("yield_us") {
        draft.origin("idle.yield_us", spell.at());
        draft.config.idle.yield_us = spell.whole()?;
    }
    if let Some(park) = fields.find("park") {
        draft.config.idle.park = park.flag()?;
    }
    Ok(())
}

/// Returns the value that a word selects.
fn choice<T: Copy>(field: Field<'_, '_>, choices: &[(&'static str, T)]) -> Result<T, Fault> {
    let word = field.text()?;
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == word) {
        return Ok(*value);
    }
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let cure = match suggest::nearest(word, names.iter().copied()) {
        Some(name) => format!("did you mean {name:?}?"),
        None => format!("use one of {}", suggest::list(&names)),
    };
    Err(Fault::at(field.at(), format!("{} is not a value of {:?}", quoted(word), field.key), cure))
}

/// Formats a text as a JSON string.
fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

pub(super) const KEYS: [&str; 16] = [
    "cluster",
    "servers",
    "inbox_bytes",
    "outbox_bytes",
    "socket_bytes",
    "max_envelope_bytes",
    "first_message_id",
    "heartbeat_interval_ms",
    "peer_timeout_ms",
    "connect",
    "checksum",
    "neighbours",
    "raise_descriptor_limit",
    "threading",
    "driver",
    "idle",
];
