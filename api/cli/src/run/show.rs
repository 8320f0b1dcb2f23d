//! Messages and events as lines for a terminal.

use std::fmt::Write as _;

use cluster::{Event, Pid};

/// Formats a message for printing: `[200 #7] text`.
pub fn message(pid: Pid, id: i64, text: &[u8]) -> String {
    format!("[{pid} #{id}] {}", printable(text))
}

/// Formats an event of a peer. Returns `None` for events that do not concern a user.
pub fn event(event: &Event) -> Option<String> {
    Some(match event {
        Event::Up { pid, .. } => format!("peer {pid} is up"),
        Event::Down { pid, reason } => format!("peer {pid} is down: {}", down(reason)),
        Event::Restarted { pid, .. } => {
            format!("peer {pid} has been restarted: what it had not acknowledged is sent to it again")
        }
        Event::Reset { pid } => format!(
            "peer {pid} and this server contradicted each other, and have begun anew: something may be lost or come twice"
        ),
        Event::Refused { pid, reason } => format!("peer {pid} refuses us: {reason}"),
        Event::AcceptFailed { error } => format!("peers cannot connect for now: {error}; trying again"),
        Event::AcceptResumed => "peers can connect again".to_owned(),
        Event::DialFailed { error } => format!("cannot connect to peers for now: {error}; trying again"),
        Event::DialResumed => "can connect to peers again".to_owned(),
        Event::Missed { count } => format!("{count} events were missed; what follows is how it is now"),
        Event::EngineFailed { message } => format!("this server has stopped: {message}"),
        Event::EpollFallback { reason } => format!("runs on epoll, not on io_uring: {reason}"),
        Event::CallbackPanicked { callback, count, message } => {
            format!("{callback} panicked ({count} times): {message}")
        }
        _ => return None,
    })
}

fn down(reason: &cluster::DownReason) -> String {
    use cluster::DownReason::{Closed, Removed, Silent, Stopped, Violation};
    match reason {
        Closed => "the connection has ended".to_owned(),
        Silent => "nothing is heard of it".to_owned(),
        Stopped => "it has stopped".to_owned(),
        Removed => "it has removed this server from its peers".to_owned(),
        Violation(what) => format!("it broke the protocol: {what}"),
        other => format!("{other:?}"),
    }
}

/// Returns the text on one line, with control characters and direction marks escaped, so that it cannot control the
/// terminal or change the look of later text.
fn printable(text: &[u8]) -> String {
    let mut line = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\t' => line.push('\t'),
                '\n' => line.push_str("\\n"),
                '\r' => line.push_str("\\r"),
                _ if character.is_control() || changes_direction(character) => {
                    // Writing to a string cannot fail.
                    let _ = match u8::try_from(character) {
                        Ok(byte) if byte.is_ascii() => write!(line, "\\x{byte:02x}"),
                        _ => write!(line, "\\u{{{:x}}}", u32::from(character)),
                    };
                }
                _ => line.push(character),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(line, "\\x{byte:02x}");
        }
    }
    line
}

/// Returns whether a character is a line separator, or a mark that changes the direction of text.
fn changes_direction(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::{message, printable};

    #[test]
    fn text_is_printed_as_it_is() {
        assert_eq!(message(200, 7, b"hello"), "[200 #7] hello");
        assert_eq!(message(0, -1, b""), "[0 #-1] ");
        assert_eq!(printable("Grüße, 世界 🚀 \\ \"'".as_bytes()), "Grüße, 世界 🚀 \\ \"'");
        assert_eq!(printable(b"a\tb"), "a\tb");
    }

    #[test]
    fn nothing_reaches_the_terminal_that_it_would_obey() {
        assert_eq!(printable(b"\x1b[2J\x07\x00\x7f"), "\\x1b[2J\\x07\\x00\\x7f");
        assert_eq!(printable(b"one\ntwo\r\n"), "one\\ntwo\\r\\n");
        assert_eq!(printable("\u{9b}2J \u{202e}abc \u{2028}".as_bytes()), "\\u{9b}2J \\u{202e}abc \\u{2028}");
        assert_eq!(printable(b"\xff\xfe ok \xc3"), "\\xff\\xfe ok \\xc3");
    }
}
