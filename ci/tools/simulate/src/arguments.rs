//! The command line.

use std::ops::Range;

use clap::Parser;

/// Plays the engine from seeds, in virtual time, over a network where much goes wrong, and sees whether every promise is kept.
#[derive(Parser, Debug)]
#[command(name = "simulate")]
pub struct Arguments {
    /// Seeds to play.
    #[arg(long, value_parser = range, default_value = "0..10000", value_name = "FROM..TO")]
    pub seeds: Range<u64>,
    /// Plays this seed alone.
    #[arg(long, conflicts_with = "seeds")]
    pub seed: Option<u64>,
    /// Prints each event.
    #[arg(long, requires = "seed")]
    pub trace: bool,
    /// Number of seeds at once; by default one for each core.
    #[arg(long)]
    pub threads: Option<usize>,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let parts = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    parts.filter(|range: &Range<u64>| !range.is_empty()).ok_or_else(|| "expected FROM..TO, as 0..10000".to_owned())
}
