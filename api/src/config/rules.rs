//! Rules for every configuration, whether parsed from a file or made by a program.

use std::collections::HashMap;

use super::address;
use super::choices::Threading;
use super::error::ConfigError;
use super::settings::{Config, Member};
use super::source::{Fault, Source, Spot, quoted};
use crate::{BROADCAST, Pid};

impl Config {
    /// Makes a configuration of these servers, with defaults for all settings.
    ///
    /// # Errors
    /// [`ConfigError`] if there is no server, if a pid or an address is given twice, for the pid
    /// [`BROADCAST`](crate::BROADCAST), or if an address is not `host:port`. The error names the server by its place in
    /// the list and its pid.
    ///
    /// ```
    /// use cluster::Config;
    ///
    /// let config = Config::new([(100, "127.0.0.1:8001"), (200, "127.0.0.1:8002")])?;
    /// assert_eq!(config.cluster, "cluster");
    ///
    /// let error = Config::new([(7, "10.0.0.1:8001"), (7, "10.0.0.2:8001")]).unwrap_err();
    /// assert_eq!(error.entry(), Some("server 2 (pid 7)"));
    /// # Ok::<(), cluster::ConfigError>(())
    /// ```
    pub fn new(servers: impl IntoIterator<Item = (Pid, impl Into<String>)>) -> Result<Config, ConfigError> {
        let mut config = Config::defaults();
        config.servers.extend(servers.into_iter().map(|(pid, address)| Member::new(pid, address)));
        config.validate()?;
        Ok(config)
    }

    /// Checks all rules that a configuration must satisfy for a server to start.
    ///
    /// # Errors
    /// [`ConfigError`] for the first rule that is violated. The error names the setting and correct values.
    ///
    /// ```
    /// use cluster::Config;
    ///
    /// let config = Config::new([(100, "127.0.0.1:8001")])?.with_heartbeat_interval_ms(5_000);
    /// let error = config.validate().unwrap_err();
    /// assert_eq!(error.entry(), Some("peer_timeout_ms"));
    /// # Ok::<(), cluster::ConfigError>(())
    /// ```
    pub fn validate(&self) -> Result<(), ConfigError> {
        check(self, None).map_err(|fault| fault.in_program(NAME))
    }

    /// Returns the server `pid`, which must exist.
    ///
    /// # Errors
    /// [`ConfigError`] if there is no such server. The error lists the known pids, at most ten of them.
    ///
    /// ```
    /// let config = cluster::Config::new([(100, "127.0.0.1:8001"), (200, "127.0.0.1:8002")])?;
    /// assert_eq!(config.require(100)?.address, "127.0.0.1:8001");
    /// assert!(config.require(300).unwrap_err().cure().contains("100, 200"));
    /// # Ok::<(), cluster::ConfigError>(())
    /// ```
    pub fn require(&self, pid: Pid) -> Result<&Member, ConfigError> {
        self.servers.iter().find(|member| member.pid == pid).ok_or_else(|| no_such_pid(self, pid).in_program(NAME))
    }
}

/// Offsets of a configuration's parts in the text that it was read from.
#[derive(Debug)]
pub(super) struct Origins<'s> {
    pub source: &'s Source<'s>,
    /// Offset of the list of servers, or of its substitute in formats without a list.
    pub servers: usize,
    /// Offsets of pid and address of each server, in order.
    pub members: Vec<(usize, usize)>,
    /// Offsets of the settings in the text, by their native name.
    pub settings: Vec<(&'static str, usize)>,
}

/// Checks all rules. With origins, the first fault points into the text; without, it names the entry.
pub(super) fn check(config: &Config, origins: Option<&Origins<'_>>) -> Result<(), Fault> {
    let places = Places { config, origins };
    check_name(&config.cluster).map_err(|(cause, cure)| places.setting("cluster", cause, cure))?;
    check_servers(&places)?;
    check_settings(&places)
}

/// Makes the fault of a request for a server that does not exist.
fn no_such_pid(config: &Config, pid: Pid) -> Fault {
    let shown: Vec<String> = config.servers.iter().take(SHOWN_PIDS).map(|member| member.pid.to_string()).collect();
    let more = match config.servers.len().saturating_sub(SHOWN_PIDS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let cure = match shown.is_empty() {
        true => "add the server: there is none yet".to_owned(),
        false => format!("use one of the known pids: {}{more}", shown.join(", ")),
    };
    Fault { spot: Spot::Entry(format!("pid {pid}")), cause: "no server has this pid".to_owned(), cure }
}

/// Checks that a text is a valid name of a cluster.
fn check_name(name: &str) -> Result<(), (String, String)> {
    if name.is_empty() || name.len() > MAX_NAME {
        let cause = format!("the cluster's name has {} bytes", name.len());
        return Err((cause, format!("choose a name of 1 to {MAX_NAME} bytes")));
    }
    // Escaping changes exactly the unprintable characters, and `\`, `"` and `'`. The letter before the name gives a
    // combining mark at its start a base character.
    let escaped = format!("a{name}").escape_debug().to_string();
    let plain = name.replace('\\', "\\\\").replace('"', "\\\"").replace('\'', "\\'");
    if name.contains(char::is_whitespace) || escaped != format!("a{plain}") {
        let cause = format!("the cluster's name {} holds a space or a character that cannot be printed", quoted(name));
        return Err((cause, "use letters, digits and signs".to_owned()));
    }
    Ok(())
}

fn check_servers(places: &Places<'_>) -> Result<(), Fault> {
    let servers = &places.config.servers;
    if servers.is_empty() {
        let spot = places.origins.map_or(Spot::Whole, |origins| Spot::At(origins.servers));
        return Err(Fault {
            spot,
            cause: "there are no servers".to_owned(),
            cure: "add at least one, with its pid and its address".to_owned(),
        });
    }
    let mut pids = HashMap::with_capacity(servers.len());
    let mut addresses = HashMap::with_capacity(servers.len());
    for (index, Member { pid, address }) in servers.iter().enumerate() {
        if *pid == BROADCAST {
            let cause = format!("pid {pid} is reserved: it means BROADCAST");
            return Err(places.pid(index, cause, PID_CURE));
        }
        if let Some(first) = pids.insert(*pid, index) {
            let cause = format!("pid {pid} is given twice (first {})", places.name_pid(first));
            return Err(places.pid(index, cause, "give each server a pid of its own"));
        }
        address::check(address).map_err(|flaw| places.address(index, flaw.cause, &flaw.cure))?;
        if let Some(first) = addresses.insert(address.to_ascii_lowercase(), index) {
            let cause = format!("address {} is given twice (first {})", quoted(address), places.name_address(first));
            return Err(places.address(index, cause, "give each server an address of its own"));
        }
    }
    Ok(())
}

fn check_settings(places: &Places<'_>) -> Result<(), Fault> {
    let config = places.config;
    let within = |name: &'static str, value: u64, least: u64, most: u64| match value {
        _ if value < least => {
            Err(places.setting(name, format!("{name} is {value}, less than {least}"), format!("use {least} or more")))
        }
        _ if value > most => {
            Err(places.setting(name, format!("{name} is {value}, more than {most}"), format!("use {most} or less")))
        }
        _ => Ok(()),
    };
    within("inbox_bytes", config.inbox_bytes, Config::MIN_INBOX_BYTES, Config::MAX_BUFFER_BYTES)?;
    within("outbox_bytes", config.outbox_bytes, Config::MIN_OUTBOX_BYTES, Config::MAX_BUFFER_BYTES)?;
    if config.socket_bytes != 0 {
        within("socket_bytes", config.socket_bytes, Config::MIN_SOCKET_BYTES, Config::MAX_SOCKET_BYTES)?;
    }
    within("max_envelope_bytes", config.max_envelope_bytes, 1, Config::MAX_ENVELOPE_BYTES)?;
    within("heartbeat_interval_ms", config.heartbeat_interval_ms, 1, HOUR_MS)?;
    within("peer_timeout_ms", config.peer_timeout_ms, 2, 24 * HOUR_MS)?;
    let least = 2 * config.heartbeat_interval_ms;
    if config.peer_timeout_ms < least {
        let (timeout, interval) = (config.peer_timeout_ms, config.heartbeat_interval_ms);
        let cause = format!("peer_timeout_ms is {timeout}, less than twice heartbeat_interval_ms ({interval})");
        let name = places.given(&["peer_timeout_ms", "heartbeat_interval_ms"]);
        return Err(places.setting(name, cause, format!("use a peer_timeout_ms of {least} or more")));
    }
    if let Threading::Dedicated { shards } = config.threading {
        within("threading.dedicated.shards", u64::try_from(shards).unwrap_or(u64::MAX), 1, MAX_SHARDS)?;
    }
    within("idle.spin_us", config.idle.spin_us, 0, MINUTE_US)?;
    within("idle.yield_us", config.idle.yield_us, 0, MINUTE_US)
}

/// Locator of faults in a configuration, by position in the text or by name.
struct Places<'c> {
    config: &'c Config,
    origins: Option<&'c Origins<'c>>,
}

impl Places<'_> {
    fn pid(&self, index: usize, cause: String, cure: &str) -> Fault {
        let spot = self.spot(index, |(pid, _)| pid);
        Fault { spot, cause, cure: cure.to_owned() }
    }

    fn address(&self, index: usize, cause: String, cure: &str) -> Fault {
        let spot = self.spot(index, |(_, address)| address);
        Fault { spot, cause, cure: cure.to_owned() }
    }

    fn setting(&self, name: &'static str, cause: String, cure: String) -> Fault {
        let spot = self.setting_at(name).map_or_else(|| Spot::Entry(name.to_owned()), Spot::At);
        Fault { spot, cause, cure }
    }

    /// Returns the first of these settings that the text contains, or else the first one.
    fn given(&self, names: &[&'static str; 2]) -> &'static str {
        names.iter().find(|name| self.setting_at(name).is_some()).copied().unwrap_or(names[0])
    }

    fn setting_at(&self, name: &str) -> Option<usize> {
        self.origins?.settings.iter().find(|(known, _)| *known == name).map(|(_, at)| *at)
    }

    fn name_pid(&self, index: usize) -> String {
        self.name(index, |(pid, _)| pid)
    }

    fn name_address(&self, index: usize) -> String {
        self.name(index, |(_, address)| address)
    }

    fn name(&self, index: usize, part: fn((usize, usize)) -> usize) -> String {
        match (self.spot(index, part), self.origins) {
            (Spot::At(offset), Some(origins)) => format!("at {}", origins.source.point(offset)),
            _ => format!("as server {}", index + 1),
        }
    }

    fn spot(&self, index: usize, part: fn((usize, usize)) -> usize) -> Spot {
        match self.origins.and_then(|origins| origins.members.get(index)) {
            Some(&at) => Spot::At(part(at)),
            None => Spot::Entry(match self.config.servers.get(index) {
                Some(member) => format!("server {} (pid {})", index + 1, member.pid),
                None => format!("server {}", index + 1),
            }),
        }
    }
}

pub(super) const PID_CURE: &str = "use a number from 0 to 18446744073709551614";
/// Name of a configuration made by a program, in errors.
const NAME: &str = "configuration";
const MAX_NAME: usize = 64;
const MAX_SHARDS: u64 = 1024;
const SHOWN_PIDS: usize = 10;
const HOUR_MS: u64 = 3_600_000;
const MINUTE_US: u64 = 60_000_000;
