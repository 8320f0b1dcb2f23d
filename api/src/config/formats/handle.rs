//! Format with one host and a range of ports: a peer listens on port `startAddress` + pid.

use super::Draft;
use crate::Pid;
use crate::config::address;
use crate::config::fields::{self, Field, Fields};
use crate::config::json::{Node, Value};
use crate::config::source::{Fault, quoted};

/// Loads a configuration of this form:
///
/// `{"peersPid": "1,2", "peersHandle": "tcp://127.0.0.1:", "startAddress": 5000, "startMsgId": 1000, "bufSize": 5000}`
///
/// `selfHandle` names the address that a server binds. It is accepted and ignored: a server binds its own address.
pub(super) fn load(node: &Node<'_>, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let fields = Fields::of(node, "the configuration", &KEYS)?;
    let (pids, handle, start) = (fields.need("peersPid")?, fields.need("peersHandle")?, fields.need("startAddress")?);
    let host = host(handle)?;
    let base = start.whole()?;
    draft.origins.servers = pids.at();
    for (pid, at) in list(pids)? {
        let port = port(base, pid).ok_or_else(|| {
            let (sum, place) = (u128::from(base) + u128::from(pid), draft.origins.source.point(start.at()));
            let cause =
                format!("pid {pid} and \"startAddress\" {base} (at {place}) make port {sum}: ports are 1 to 65535");
            Fault::at(at, cause, "choose a smaller pid, or a \"startAddress\" that leaves room for it")
        })?;
        draft.member((pid, at), (&format!("{host}:{port}"), at));
    }
    if let Some(field) = fields.find("selfHandle") {
        field.text()?;
    }
    if let Some(field) = fields.find("startMsgId") {
        draft.config.first_message_id = Some(field.signed()?);
    }
    if let Some(size) = fields.find("bufSize") {
        draft.inbox_envelopes(size)?;
        draft.outbox_envelopes(size)?;
    }
    Ok(())
}

/// Returns the host of `tcp://127.0.0.1:`, with or without the scheme and the colon.
fn host<'n>(handle: Field<'n, '_>) -> Result<&'n str, Fault> {
    let text = address::without_scheme(handle.text()?);
    let host = text.strip_suffix(':').unwrap_or(text);
    if address::check(host).is_ok() {
        let cause = format!("{:?} is {}, which has a port", handle.key, quoted(text));
        return Err(Fault::at(
            handle.at(),
            cause,
            "end it after the host: a peer's port is \"startAddress\" + its pid",
        ));
    }
    address::check_host(host).map_err(|flaw| handle.fault(flaw))?;
    Ok(host)
}

/// Parses the pids of `"1,2"`, each with its offset in the text.
fn list(field: Field<'_, '_>) -> Result<Vec<(Pid, usize)>, Fault> {
    let text = field.text()?;
    let exact = matches!(field.node.value, Value::Text(std::borrow::Cow::Borrowed(_)));
    let mut pids = Vec::new();
    let mut offset = 0;
    if text.trim().is_empty() {
        return Ok(pids);
    }
    for part in text.split(',') {
        let digits = part.trim();
        let lead = part.len() - part.trim_start().len();
        // The 1 is the opening quote. If the string contains escapes, the offset inside it is unknown.
        let at = if exact { field.at() + 1 + offset + lead } else { field.at() };
        offset += part.len() + 1;
        if digits.is_empty() {
            return Err(Fault::at(
                at,
                "a pid is missing beside this comma",
                "write pids with one comma between two of them: \"1,2\"",
            ));
        }
        let pid = fields::pid(digits).map_err(|flaw| Fault::at(at, flaw.cause, flaw.cure))?;
        pids.push((pid, at));
    }
    Ok(pids)
}

fn port(base: u64, pid: Pid) -> Option<u16> {
    let port = u16::try_from(base.checked_add(pid)?).ok()?;
    (port > 0).then_some(port)
}

const KEYS: [&str; 6] = ["peersPid", "peersHandle", "startAddress", "startMsgId", "bufSize", "selfHandle"];
