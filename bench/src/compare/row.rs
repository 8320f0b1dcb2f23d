//! One line of a result: a contender in one case with one size.

use std::collections::BTreeMap;

use serde::de::Error;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::case::Case;
use crate::runner::{Counted, Sample};
use crate::statistics::{Ratio, Spread};

/// Result of one contender.
#[derive(Debug, Clone)]
pub struct Row {
    /// Measured case.
    pub case: Case,
    /// Bytes in a payload.
    pub size: usize,
    /// Name of the contender.
    pub contender: String,
    /// Number of rounds that the figures are from.
    pub rounds: usize,
    /// Quantities, each by its name with unit, and its samples. Ratios compare the first one.
    pub figures: Vec<(&'static str, Spread)>,
    /// Counts from a run of their own, per message unless the name says otherwise; see [`counts`].
    pub counts: BTreeMap<String, f64>,
}

impl Row {
    /// Sums up samples of one case, one for each round; there is at least one.
    pub fn of(case: Case, size: usize, contender: &str, samples: &[(Sample, Counted)]) -> Self {
        let figure = |(index, &name): (usize, &&'static str)| {
            (name, Spread::of(samples.iter().map(|sample| quantities(sample)[index]).collect()))
        };
        let figures = names(case).iter().enumerate().map(figure).collect();
        let (contender, counts) = (contender.to_owned(), BTreeMap::new());
        Self { case, size, contender, rounds: samples.len(), figures, counts }
    }

    /// Returns the samples of a quantity.
    pub fn figure(&self, name: &str) -> Option<&Spread> {
        self.figures.iter().find(|(figure, _)| *figure == name).map(|(_, spread)| spread)
    }

    /// Returns this contender's figure as a multiple of that of `against`, if both were measured in this run.
    pub fn ratio(&self, against: &str, rows: &[Row]) -> Option<Ratio> {
        let other = rows.iter().find(|row| (row.case, row.size, &*row.contender) == (self.case, self.size, against))?;
        Some(Ratio::of(self.key(), other.key()))
    }

    /// Quantity that ratios compare: the median latency, or the messages per second.
    pub fn key(&self) -> &Spread {
        &self.figures[0].1
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("case", &self.case)?;
        map.serialize_entry("size", &self.size)?;
        map.serialize_entry("contender", &self.contender)?;
        map.serialize_entry("rounds", &self.rounds)?;
        for (name, spread) in &self.figures {
            map.serialize_entry(name, &spread.median())?;
            map.serialize_entry(&format!("{name}_min"), &spread.min())?;
            map.serialize_entry(&format!("{name}_max"), &spread.max())?;
            map.serialize_entry(&format!("{name}_rounds"), spread.in_order())?;
        }
        if !self.counts.is_empty() {
            map.serialize_entry("counts", &self.counts)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Row {
    /// Reads the samples of the rounds; all other figures follow from them.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Written {
            case: Case,
            size: usize,
            contender: String,
            rounds: usize,
            #[serde(default)]
            counts: BTreeMap<String, f64>,
            #[serde(flatten)]
            figures: Map<String, Value>,
        }
        let Written { case, size, contender, rounds, counts, mut figures } = Written::deserialize(deserializer)?;
        let figure = |&name: &&'static str| {
            let samples = figures.remove(&format!("{name}_rounds")).unwrap_or_default();
            let samples: Vec<f64> =
                serde_json::from_value(samples).map_err(|error| format!("{name}_rounds: {error}"))?;
            if samples.is_empty() { Err(format!("{name}_rounds: no sample")) } else { Ok((name, Spread::of(samples))) }
        };
        let figures = names(case).iter().map(figure).collect::<Result<_, String>>();
        let figures = figures.map_err(|error| Error::custom(format!("{case}, {size} bytes, {contender}: {error}")))?;
        Ok(Self { case, size, contender, rounds, figures, counts })
    }
}

fn names(case: Case) -> &'static [&'static str] {
    match case {
        Case::RoundTrip => &["p50_us", "p99_us", "p999_us", PROCESSOR],
        _ => &["messages_per_second", "bytes_per_second", PROCESSOR],
    }
}

fn quantities((sample, counted): &(Sample, Counted)) -> Vec<f64> {
    match sample {
        Sample::RoundTrip(latencies, _) => {
            let processor = counted.usage.processor.as_nanos() as f64 / counted.messages as f64;
            vec![latencies.p50_us, latencies.p99_us, latencies.p999_us, processor]
        }
        Sample::Traffic(result) => vec![result.messages_per_second(), result.bytes_per_second(), result.processor_ns()],
    }
}

/// Returns the counts of a run by name, per message that arrived.
pub fn counts(counted: &Counted) -> BTreeMap<String, f64> {
    let messages = counted.messages.max(1) as f64;
    let each = |count: u64| count as f64 / messages;
    let usage = &counted.usage;
    let mut counts = BTreeMap::new();
    let mut keep = |name: &str, count: Option<f64>| {
        if let Some(count) = count.filter(|count| count.is_finite()) {
            counts.insert(name.to_owned(), count);
        }
    };
    keep(SYSTEM_CALLS, usage.system_calls.map(each));
    keep(ALLOCATIONS, usage.allocations.map(each));
    keep(WAITS, Some(each(usage.switches)));
    if let Some(engine) = counted.engine {
        keep(LOOP_WAKE_UPS, Some(each(engine.wake_ups)));
        keep(SEGMENTS_PER_SEND, Some(engine.segments as f64 / engine.sends as f64));
        keep(MESSAGES_PER_SEGMENT, Some(engine.messages as f64 / engine.segments as f64));
    }
    counts
}

/// Processor time of all servers per message, in nanoseconds.
pub const PROCESSOR: &str = "processor_ns_per_message";
/// System calls of all servers per message.
pub const SYSTEM_CALLS: &str = "system_calls";
/// Allocations of all servers per message.
pub const ALLOCATIONS: &str = "allocations";
/// Waits per message, in which a thread gave up its core.
pub const WAITS: &str = "waits";
/// Wake-ups of the engine's event loops per message.
pub const LOOP_WAKE_UPS: &str = "loop_wake_ups";
/// Segments that the engine handed to the kernel at once, on average.
pub const SEGMENTS_PER_SEND: &str = "segments_per_send";
/// Messages in a segment of the engine, on average.
pub const MESSAGES_PER_SEGMENT: &str = "messages_per_segment";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::Throughput;
    use crate::participant::EngineCounts;
    use crate::usage::Usage;

    #[test]
    fn a_row_carries_median_and_spread() {
        let counted = Counted { messages: 1001, usage: Usage::default(), engine: None };
        let samples = [1, 2, 4].map(|seconds| {
            let elapsed = Duration::from_secs(seconds);
            let processor = Duration::from_micros(1001);
            (Sample::Traffic(Throughput { messages: 1001, bytes: 64_064, elapsed, processor }), counted)
        });
        let row = Row::of(Case::OneWay, 64, "someone", &samples);
        assert_eq!(row.key().median(), 500.0);
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            "{\"case\":\"one_way\",\"size\":64,\"contender\":\"someone\",\"rounds\":3,\
             \"messages_per_second\":500.0,\"messages_per_second_min\":250.0,\
             \"messages_per_second_max\":1000.0,\"messages_per_second_rounds\":[1000.0,500.0,250.0],\
             \"bytes_per_second\":32000.0,\"bytes_per_second_min\":16000.0,\
             \"bytes_per_second_max\":64000.0,\"bytes_per_second_rounds\":[64000.0,32000.0,16000.0],\
             \"processor_ns_per_message\":1000.0,\"processor_ns_per_message_min\":1000.0,\
             \"processor_ns_per_message_max\":1000.0,\"processor_ns_per_message_rounds\":[1000.0,1000.0,1000.0]}"
        );
        let read: Row = serde_json::from_value(serde_json::to_value(&row).unwrap()).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), serde_json::to_string(&row).unwrap());
    }

    #[test]
    fn counts_are_for_each_message_and_absent_where_nobody_counted() {
        let engine = EngineCounts { messages: 100, segments: 20, sends: 5, wake_ups: 2 };
        let usage = Usage { switches: 50, system_calls: Some(10), allocations: None, ..Usage::default() };
        let mut counted = Counted { messages: 100, usage, engine: Some(engine) };
        let names = counts(&counted);
        let shown: Vec<(&str, f64)> = names.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        let expected = [
            (LOOP_WAKE_UPS, 0.02),
            (MESSAGES_PER_SEGMENT, 5.0),
            (SEGMENTS_PER_SEND, 4.0),
            (SYSTEM_CALLS, 0.1),
            (WAITS, 0.5),
        ];
        assert_eq!(shown, expected);
        counted.engine = Some(EngineCounts::default());
        assert!(!counts(&counted).contains_key(SEGMENTS_PER_SEND), "nothing by nothing is no figure");
    }

    #[test]
    fn without_its_rounds_a_row_is_not_read() {
        let text = "{\"case\":\"one_way\",\"size\":64,\"contender\":\"someone\",\"rounds\":3}";
        let error = serde_json::from_str::<Row>(text).unwrap_err().to_string();
        assert!(error.contains("one way, 64 bytes, someone: messages_per_second_rounds"), "{error}");
    }
}
