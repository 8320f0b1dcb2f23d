//! Formats with a list of servers.

use super::Draft;
use crate::config::fields::{Field, Fields};
use crate::config::json::Node;
use crate::config::source::Fault;

/// Loads `{"Peers": [{"Id": 1, "Address": "localhost:8001"}], "InboxSize": 100}`, or an object with the key `Servers`
/// instead of `Peers`.
pub(super) fn load_peers(node: &Node<'_>, list: &'static str, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let fields = Fields::of(node, "the configuration", &[list, "InboxSize", "OutboxSize"])?;
    load_members(fields.need(list)?, ["Id", "Address"], draft)?;
    if let Some(size) = fields.find("InboxSize") {
        draft.inbox_envelopes(size)?;
    }
    if let Some(size) = fields.find("OutboxSize") {
        draft.outbox_envelopes(size)?;
    }
    Ok(())
}

/// Loads `{"object": {"total": 1, "Servers": [{"mypid": 1, "url": "127.0.0.1:10001"}]}}`.
pub(super) fn load_object(node: &Node<'_>, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let outer = Fields::of(node, "the configuration", &["object"])?;
    let inner = Fields::of(outer.need("object")?.node, "\"object\"", &["total", "Servers"])?;
    let servers = inner.need("Servers")?;
    load_members(servers, ["mypid", "url"], draft)?;
    let field = inner.need("total")?;
    let (total, found) = (field.whole()?, draft.config.servers.len());
    if total != found as u64 {
        let place = draft.origins.source.point(servers.at());
        let cause = format!("\"total\" is {total}, but \"Servers\" (at {place}) lists {found}");
        return Err(Fault::at(field.at(), cause, format!("write {found}, or complete the list")));
    }
    Ok(())
}

/// Loads a list of objects with these two keys, for pid and address.
pub(super) fn load_members(list: Field<'_, '_>, keys: [&'static str; 2], draft: &mut Draft<'_>) -> Result<(), Fault> {
    draft.origins.servers = list.at();
    for node in list.list()? {
        let fields = Fields::of(node, "a server", &keys)?;
        let (pid, address) = (fields.need(keys[0])?, fields.need(keys[1])?);
        draft.member((pid.pid()?, pid.at()), (address.text()?, address.at()));
    }
    Ok(())
}
