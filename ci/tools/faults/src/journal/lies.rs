//! Lies that the proxies have told. Each is written before it is sent.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use cluster::Pid;
use serde::{Deserialize, Serialize};

use crate::clock::now;
use crate::failure::{Context, Failure};
use crate::plan::Lie;

/// Lie that was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldLie {
    pub at: u64,
    /// Server in whose name the lie was told. `to` is the server that received it.
    pub from: Pid,
    pub to: Pid,
    pub lie: Lie,
    /// Bytes of frames that are not read if the segment arrives. `lost` has the messages in them.
    pub lost_bytes: u64,
    pub lost: Vec<Lost>,
    /// Time at which the connection of the lie had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<u64>,
}

/// Message behind a broken frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lost {
    /// Pid of the sender.
    pub pid: Pid,
    pub run: u32,
    /// Code of the stream.
    pub stream: u8,
    pub sequence: u64,
}

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Told(ToldLie),
    /// The connection has ended on which a lie was told at `told`.
    Ended {
        told: u64,
        at: u64,
    },
}

/// Writer of one proxy's file.
pub struct LieWriter(File);

impl LieWriter {
    /// Opens the file to append to it: an earlier proxy of this server may have written to it.
    pub fn open(path: &Path) -> Result<LieWriter, Failure> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(LieWriter(file.context(|| format!("cannot open {}", path.display()))?))
    }

    pub fn told(&mut self, lie: ToldLie) -> Result<(), Failure> {
        self.write(&Line::Told(lie))
    }

    /// Writes that the connection has ended on which a lie was told at the time `told`.
    pub fn ended(&mut self, told: u64) -> Result<(), Failure> {
        self.write(&Line::Ended { told, at: now() })
    }

    fn write(&mut self, line: &Line) -> Result<(), Failure> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.0.write_all(&bytes).context(|| "cannot write down a lie".to_owned())
    }
}

/// Returns the lies that the proxy of a server has told, in order.
pub fn read(folder: &Path, pid: Pid) -> Result<Vec<ToldLie>, Failure> {
    let path = lies_path(folder, pid);
    match fs::read(&path) {
        Ok(text) => from_lines(&text).context(|| path.display().to_string()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Failure(format!("cannot read {}: {error}", path.display()))),
    }
}

fn from_lines(text: &[u8]) -> Result<Vec<ToldLie>, Failure> {
    let mut lies: Vec<ToldLie> = Vec::new();
    // A proxy may have been killed in the middle of a line.
    for line in text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
        match serde_json::from_slice(line)? {
            Line::Told(lie) => lies.push(lie),
            Line::Ended { told, at } => {
                for lie in lies.iter_mut().filter(|lie| lie.at == told) {
                    lie.ended = Some(at);
                }
            }
        }
    }
    Ok(lies)
}

/// Returns the path of the lies that a server's proxy has told.
pub fn lies_path(folder: &Path, pid: Pid) -> PathBuf {
    folder.join(format!("{pid}.lies"))
}

#[cfg(test)]
mod tests {
    use super::{Lie, Line, Lost, ToldLie, from_lines};

    #[test]
    fn lies_come_back_with_the_end_of_their_connection() {
        let lost = vec![Lost { pid: 1, run: 2, stream: 3, sequence: 4 }];
        let lie = ToldLie { at: 7, from: 1, to: 2, lie: Lie::Frame, lost_bytes: 56, lost, ended: None };
        let other = ToldLie { at: 8, lost: Vec::new(), ..lie.clone() };
        let lines = [Line::Told(lie.clone()), Line::Told(other.clone()), Line::Ended { told: 7, at: 9 }];
        let mut text = lines.map(|line| serde_json::to_string(&line).unwrap()).join("\n");
        text.push_str("\n{\"told\":");
        assert_eq!(from_lines(text.as_bytes()).unwrap(), [ToldLie { ended: Some(9), ..lie }, other]);
    }
}
