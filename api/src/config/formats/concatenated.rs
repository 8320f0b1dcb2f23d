//! Formats with one object for each server, one after another.

use std::net::Ipv6Addr;

use super::Draft;
use crate::config::address;
use crate::config::fields::{self, Fields};
use crate::config::json::Node;
use crate::config::source::{Fault, quoted};

pub(super) const PID_ADDR: [&str; 2] = ["Pid", "Addr"];
pub(super) const ID_IP_PORTS: [&str; 4] = ["ID", "IP", "Port1", "Port2"];

/// Loads `{"Pid": 1, "Addr": "127.0.0.1:10001"}`.
pub(super) fn load_pid_addr(node: &Node<'_>, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let fields = Fields::of(node, "a server", &PID_ADDR)?;
    let (pid, address) = (fields.need("Pid")?, fields.need("Addr")?);
    draft.member((pid.pid()?, pid.at()), (address.text()?, address.at()));
    Ok(())
}

/// Loads `{"ID": "0", "IP": "127.0.0.1", "Port1": "8081", "Port2": "8091"}`. The numbers may also be unquoted.
pub(super) fn load_id_ip_ports(node: &Node<'_>, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let fields = Fields::of(node, "a server", &ID_IP_PORTS)?;
    let (id, ip, port) = (fields.need("ID")?, fields.need("IP")?, fields.need("Port1")?);
    let pid = fields::pid(id.digits_or_text()?).map_err(|flaw| id.fault(flaw))?;
    let host = address::without_scheme(ip.text()?);
    if address::check(host).is_ok() {
        let cause = format!("\"IP\" is {}, which has a port", quoted(host));
        return Err(Fault::at(ip.at(), cause, "leave the port to \"Port1\""));
    }
    let host = match host.parse::<Ipv6Addr>() {
        Ok(_) => format!("[{host}]"),
        Err(_) => host.to_owned(),
    };
    address::check_host(&host).map_err(|flaw| ip.fault(flaw))?;
    let number = address::check_port(port.digits_or_text()?).map_err(|flaw| port.fault(flaw))?;
    if let Some(unused) = fields.find("Port2") {
        address::check_port(unused.digits_or_text()?).map_err(|flaw| unused.fault(flaw))?;
    }
    draft.member((pid, id.at()), (&format!("{host}:{number}"), ip.at()));
    Ok(())
}
