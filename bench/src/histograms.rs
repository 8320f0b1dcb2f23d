//! Raw histograms as a log that HdrHistogram's tools read: a line for each, in version 2 of its format, compressed, in
//! base64.
//!
//! The figures of a report are a few points of these histograms; the file keeps them whole for later questions.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

/// Histogram of one contender, in nanoseconds.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Name of the measurement, without blanks or commas.
    pub tag: String,
    /// Durations of all exchanges, in nanoseconds.
    pub histogram: Histogram<u64>,
}

impl Recorded {
    /// Names a histogram; blanks and commas become hyphens.
    pub fn new(name: &str, histogram: Histogram<u64>) -> Self {
        Self { tag: name.replace([' ', ','], "-"), histogram }
    }
}

/// Writes all histograms into the file at `path`.
pub fn write(path: &Path, recorded: &[Recorded]) -> Result<(), Box<dyn Error>> {
    let (mut file, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("nanoseconds; all rounds together; the interval's maximum is in microseconds")
        .with_max_value_divisor(1e3)
        .begin_log_with(&mut file, &mut serializer)?;
    for Recorded { tag, histogram } in recorded {
        let tag = Tag::new(tag).ok_or_else(|| format!("{tag:?} is no tag"))?;
        log.write_histogram(histogram, Duration::ZERO, Duration::ZERO, Some(tag))
            .map_err(|error| format!("{}: {error:?}", path.display()))?;
    }
    fs::write(path, file).map_err(|error| format!("{}: {error}", path.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    #[test]
    fn what_is_written_is_read_again() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
        (1..=1000).for_each(|us| histogram.record(us * 1000).unwrap());
        let path = std::env::temp_dir().join(format!("cluster-histograms-{}", std::process::id()));
        write(&path, &[Recorded::new("round trip 64 someone", histogram.clone())]).unwrap();
        let text = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let mut entries = IntervalLogIterator::new(&text).filter_map(Result::ok);
        let Some(LogEntry::Interval(interval)) = entries.next() else { panic!("no interval") };
        assert_eq!(interval.tag().map(|tag| tag.as_str().to_owned()).as_deref(), Some("round-trip-64-someone"));
        let encoded = interval.encoded_histogram();
        assert!(encoded.starts_with("HISTFAAA"), "version 2, compressed: {encoded}");
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded).unwrap();
        let read: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
        assert_eq!(read, histogram);
    }
}
