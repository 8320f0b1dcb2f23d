//! Logs as files. A log is written with plain writes: completed writes are in the kernel, and outlive the process.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::path::Path;

use super::{RECORD_BYTES, Record};
use crate::failure::{Context, Failure};

/// Log that one thread writes.
pub struct Log {
    file: File,
    pending: Vec<u8>,
}

impl Log {
    /// Creates a log. One process writes a log once: an existing file is an error.
    pub fn create(path: &Path) -> Result<Log, Failure> {
        let file = File::create_new(path).context(|| format!("cannot make the log {}", path.display()))?;
        Ok(Log { file, pending: Vec::new() })
    }

    /// Adds an entry to those that the next [`flush`](Log::flush) writes.
    pub fn add(&mut self, record: Record) {
        self.pending.extend_from_slice(&record.encode());
    }

    /// Writes the added entries, in one write.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.file.write_all(&self.pending)?;
            self.pending.clear();
        }
        Ok(())
    }

    /// Adds an entry and writes it at once.
    pub fn write(&mut self, record: Record) -> io::Result<()> {
        self.add(record);
        self.flush()
    }
}

/// Passes each entry of a log to `each`. A log that does not exist is empty: its process ended before it created the
/// log.
pub fn read(path: &Path, mut each: impl FnMut(Record)) -> Result<(), Failure> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure(format!("cannot read {}: {error}", path.display()))),
    };
    entries(&mut BufReader::with_capacity(1 << 20, file), path, &mut each)
}

/// Passes each entry since the last call to `each`.
pub fn tail(file: &mut File, path: &Path, mut each: impl FnMut(Record)) -> Result<(), Failure> {
    // Only whole entries are read: a write may be under way.
    use std::io::{Seek, SeekFrom};
    let at = file.stream_position()?;
    let whole = (file.metadata()?.len() - at) / RECORD_BYTES as u64 * RECORD_BYTES as u64;
    entries(&mut BufReader::with_capacity(1 << 16, (&mut *file).take(whole)), path, &mut each)?;
    file.seek(SeekFrom::Start(at + whole))?;
    Ok(())
}

fn entries(reader: &mut impl Read, path: &Path, each: &mut impl FnMut(Record)) -> Result<(), Failure> {
    let mut bytes = [0; RECORD_BYTES];
    loop {
        match reader.read_exact(&mut bytes) {
            Ok(()) => {}
            // The process was killed in the middle of a write.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(Failure(format!("cannot read {}: {error}", path.display()))),
        }
        let Some(record) = Record::decode(&bytes) else {
            return Err(Failure(format!("{} is not a log of this program", path.display())));
        };
        each(record);
    }
}
