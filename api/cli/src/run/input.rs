//! Parser of the typed lines.

use std::fmt;

use cluster::{BROADCAST, Pid, Recipients};

/// Parsed line: recipients and text.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub to: Recipients,
    pub text: &'a [u8],
}

/// Parses a line without its line break. `@200 text` and `@200,300 text` go to these servers, any other line to all.
pub fn parse(line: &[u8]) -> Result<Line<'_>, NotAPid> {
    let Some(rest) = line.strip_prefix(b"@") else {
        return Ok(Line { to: Recipients::One(BROADCAST), text: line });
    };
    let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    let (pids, text) = rest.split_at(end);
    let pids = pids.split(|byte| *byte == b',').map(pid).collect::<Result<Vec<Pid>, NotAPid>>()?;
    let to = match pids[..] {
        [pid] => Recipients::One(pid),
        _ => Recipients::Several(pids),
    };
    Ok(Line { to, text: text.get(1..).unwrap_or_default() })
}

fn pid(digits: &[u8]) -> Result<Pid, NotAPid> {
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    // The number of BROADCAST is not accepted as a pid: a line without `@` is sent to all.
    number.filter(|pid| *pid != BROADCAST).ok_or_else(|| NotAPid(String::from_utf8_lossy(digits).into_owned()))
}

/// Error of a line: the text after the `@` is not the pid of a server.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAPid(String);

impl fmt::Display for NotAPid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "not sent: \"{}\" is not the pid of a server; write `@200 text` or `@200,300 text`, \
             or put a space before the @ to send the line to all",
            self.0.escape_debug()
        )
    }
}

#[cfg(test)]
mod tests {
    use cluster::{BROADCAST, Recipients};

    use super::{Line, parse};

    #[test]
    fn lines_are_for_everybody_or_for_those_they_name() {
        let all = |text| Ok(Line { to: Recipients::One(BROADCAST), text });
        let one = |pid, text| Ok(Line { to: Recipients::One(pid), text });
        let some = |pids: &[u64], text| Ok(Line { to: Recipients::Several(pids.to_vec()), text });
        assert_eq!(parse(b"hello"), all(b"hello"));
        assert_eq!(parse(b""), all(b""));
        assert_eq!(parse(b" @200 hello"), all(b" @200 hello"));
        assert_eq!(parse(b"\xff@200"), all(b"\xff@200"));
        assert_eq!(parse(b"@200 hello  you "), one(200, b"hello  you "));
        assert_eq!(parse(b"@200\thello"), one(200, b"hello"));
        assert_eq!(parse(b"@200"), one(200, b""));
        assert_eq!(parse(b"@200,300 hello"), some(&[200, 300], b"hello"));
        assert_eq!(parse(b"@0 zero"), one(0, b"zero"));
    }

    #[test]
    fn what_is_not_a_pid_is_named() {
        for line in ["@", "@ hello", "@bob hello", "@200, 300", "@-1 x", "@18446744073709551615 x", "@1.5 x"] {
            let error = parse(line.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("is not the pid of a server"), "{line}: {error}");
        }
        assert!(parse(b"@bob hello").unwrap_err().to_string().contains("\"bob\""));
    }
}
