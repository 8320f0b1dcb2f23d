//! Logs the events of the peers, and the memory that this process uses.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cluster::{DownReason, Event, Events};

use super::{drop_reason, reason};
use crate::clock::{SECOND, now};
use crate::failure::{Context, Failure};
use crate::log::{Kind, Log, Record};

/// Listens while `listening` is true. Returns the log for the final entries.
pub fn listen(mut events: Events, mut log: Log, listening: &AtomicBool) -> Result<Log, Failure> {
    // Opened once: the process may be without free descriptors on purpose.
    let mut statistics = File::open("/proc/self/statm").context(|| "cannot look at the memory".to_owned())?;
    let mut memory_due = 0;
    loop {
        // Read before the events: the events of a stop are in the queue when `listening` turns false.
        let last = !listening.load(Ordering::Relaxed);
        while let Some(event) = events.try_next() {
            log.add(record(&event, now()));
        }
        if now() >= memory_due {
            memory_due = now() + SECOND / 2;
            log.add(Record::at(Kind::Memory, now()).with(resident(&mut statistics)?, 0));
        }
        log.flush()?;
        if last {
            return Ok(log);
        }
        if let Some(event) = events.next_timeout(A_WHILE) {
            log.write(record(&event, now()))?;
        }
    }
}

fn record(event: &Event, time: u64) -> Record {
    let halves = |incarnation: &[u8; 16]| {
        let half = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        (half(&incarnation[..8]), half(&incarnation[8..]))
    };
    match event {
        Event::Up { pid, incarnation } => {
            let (first, second) = halves(incarnation);
            Record::about(Kind::Up, *pid, time).with(first, second)
        }
        Event::Restarted { pid, incarnation } => {
            let (first, second) = halves(incarnation);
            Record::about(Kind::Restarted, *pid, time).with(first, second)
        }
        Event::Down { pid, reason: why } => Record::about(Kind::Down, *pid, time).with(reason(why), lost_bytes(why)),
        Event::Reset { pid } => Record::about(Kind::Reset, *pid, time),
        Event::Refused { pid, .. } => Record::about(Kind::Refused, *pid, time),
        Event::Dropped { pid, count, reason } => {
            Record::about(Kind::Dropped, *pid, time).with(*count, drop_reason(reason))
        }
        Event::Added { pid } => Record::about(Kind::AddedEvent, *pid, time),
        Event::Removed { pid } => Record::about(Kind::RemovedEvent, *pid, time),
        Event::Missed { count } => Record::at(Kind::Missed, time).with(*count, 0),
        // Accepts or dials that fail, or succeed again.
        _ => Record::at(Kind::Shortage, time),
    }
}

/// Returns the bytes that were lost with a segment without whole frames. Only the text of the reason has their number.
fn lost_bytes(reason: &DownReason) -> u64 {
    let DownReason::Violation(text) = reason else { return 0 };
    let before = text.split_once(" bytes of it are lost").map(|(before, _)| before);
    before.and_then(|before| before.rsplit(' ').next()).and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Returns the resident bytes of this process.
fn resident(statistics: &mut File) -> Result<u64, Failure> {
    let mut text = String::new();
    statistics.seek(SeekFrom::Start(0))?;
    statistics.read_to_string(&mut text)?;
    let pages: u64 = text.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    Ok(pages * rustix::param::page_size() as u64)
}

const A_WHILE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use cluster::DownReason;
    use cluster_engine::link::Violation;

    use super::lost_bytes;

    #[test]
    fn what_is_lost_is_read_from_the_text() {
        let lost = |violation: Violation| lost_bytes(&DownReason::Violation(violation.to_string()));
        assert_eq!(lost(Violation::Frames { lost: 4720 }), 4720);
        assert_eq!(lost(Violation::Unexpected), 0);
        assert_eq!(lost_bytes(&DownReason::Closed), 0);
    }
}
