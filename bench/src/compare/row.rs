//! One line of a result: a contender in one case with one size.

use std::fmt;

use clap::ValueEnum;
use serde::de::Error;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::runner::Sample;
use crate::statistics::{Ratio, Spread};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Case {
    /// A payload goes to another thread and comes back.
    RoundTrip,
    /// Payloads go to another thread, as fast as they can.
    OneWay,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoundTrip => "round trip",
            Self::OneWay => "one way",
        })
    }
}

/// The result of one contender.
#[derive(Debug, Clone)]
pub struct Row {
    /// What was measured.
    pub case: Case,
    /// Bytes in a payload.
    pub size: usize,
    /// Who.
    pub contender: String,
    /// From how many rounds the figures are.
    pub rounds: usize,
    /// Name, with its unit, and samples of each quantity. The first is what ratios are made of.
    pub figures: Vec<(&'static str, Spread)>,
}

impl Row {
    /// Sums up samples of one case, one for each round; there is at least one.
    pub fn of(case: Case, size: usize, contender: &str, samples: &[Sample]) -> Self {
        let figure = |(index, &name): (usize, &&'static str)| {
            (name, Spread::of(samples.iter().map(|sample| quantities(sample)[index]).collect()))
        };
        let figures = names(case).iter().enumerate().map(figure).collect();
        Self { case, size, contender: contender.to_owned(), rounds: samples.len(), figures }
    }

    /// This contender's figure as a multiple of the one of `against`, if that was measured in the same run.
    pub fn ratio(&self, against: &str, rows: &[Row]) -> Option<Ratio> {
        let other = rows.iter().find(|row| (row.case, row.size, &*row.contender) == (self.case, self.size, against))?;
        Some(Ratio::of(self.key(), other.key()))
    }

    /// The quantity that ratios are made of: the median latency, or the messages per second.
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
        map.end()
    }
}

impl<'de> Deserialize<'de> for Row {
    /// Takes the samples of the rounds; everything else follows from them.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Written {
            case: Case,
            size: usize,
            contender: String,
            rounds: usize,
            #[serde(flatten)]
            figures: Map<String, Value>,
        }
        let Written { case, size, contender, rounds, mut figures } = Written::deserialize(deserializer)?;
        let figure = |&name: &&'static str| {
            let samples = figures.remove(&format!("{name}_rounds")).unwrap_or_default();
            let samples: Vec<f64> =
                serde_json::from_value(samples).map_err(|error| format!("{name}_rounds: {error}"))?;
            if samples.is_empty() { Err(format!("{name}_rounds: no sample")) } else { Ok((name, Spread::of(samples))) }
        };
        let figures = names(case).iter().map(figure).collect::<Result<_, String>>();
        let figures = figures.map_err(|error| Error::custom(format!("{case}, {size} bytes, {contender}: {error}")))?;
        Ok(Self { case, size, contender, rounds, figures })
    }
}

fn names(case: Case) -> &'static [&'static str] {
    match case {
        Case::RoundTrip => &["p50_us", "p99_us", "p999_us"],
        Case::OneWay => &["messages_per_second", "bytes_per_second", "processor_ns_per_message"],
    }
}

fn quantities(sample: &Sample) -> Vec<f64> {
    match sample {
        Sample::RoundTrip(latencies) => vec![latencies.p50_us, latencies.p99_us, latencies.p999_us],
        Sample::OneWay(result) => vec![result.messages_per_second(), result.bytes_per_second(), result.processor_ns()],
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::{Load, Throughput};

    #[test]
    fn a_row_carries_median_and_spread() {
        let load = Load::new(64, 1001);
        let samples = [1, 2, 4].map(|seconds| {
            Sample::OneWay(Throughput {
                load,
                elapsed: Duration::from_secs(seconds),
                processor: Duration::from_micros(1001),
            })
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
    fn without_its_rounds_a_row_is_not_read() {
        let text = "{\"case\":\"one_way\",\"size\":64,\"contender\":\"someone\",\"rounds\":3}";
        let error = serde_json::from_str::<Row>(text).unwrap_err().to_string();
        assert!(error.contains("one way, 64 bytes, someone: messages_per_second_rounds"), "{error}");
    }
}
