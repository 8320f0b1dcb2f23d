//! Counts the engine's instructions, system calls, allocations and copies, and compares them with committed baselines.
//!
//! These figures are equal on a busy machine and on an idle one: even a small growth is a change of the code.

mod baseline;
mod history;
mod instructions;
mod structure;
mod valgrind;
mod workloads;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use baseline::Baseline;
use history::Entry;
use structure::allocations::CountingAllocator;
use structure::system_calls::run_in_turns;
use workloads::{Payload, Workload};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Counts of the engine's costs that do not depend on noise.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Counts, and fails if anything has grown above its baseline.
    Check(Check),
    /// Counts, and writes the baselines; the difference is for the commit to show.
    Update(Selection),
    /// Runs one workload and says nothing: what `check` runs under strace.
    Workload {
        /// Name of the workload.
        workload: Workload,
        /// Number of messages.
        #[arg(long)]
        messages: u64,
        /// Marks what strace writes after each so many.
        #[arg(long)]
        turns: Option<u64>,
        /// Length of the payloads.
        #[arg(long, default_value = "short")]
        payload: Payload,
    },
}

#[derive(Debug, clap::Args)]
struct Check {
    #[command(flatten)]
    selection: Selection,

    /// Appends a line of JSON for each layer to this file.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Selection {
    /// Only this layer.
    #[arg(value_enum)]
    layer: Option<Layer>,

    /// Folder of the baselines.
    #[arg(long, default_value = "ci/baselines")]
    baselines: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Layer {
    // The first layer: the benchmarks of the other one rebuild this program while it runs.
    /// System calls, allocations and copies of fixed workloads.
    Structure,
    /// Instructions of the pure code, and of whole messages, by valgrind.
    Instructions,
}

impl Layer {
    fn count(self) -> Result<Baseline, Box<dyn Error>> {
        match self {
            Self::Instructions => instructions::count(),
            Self::Structure => structure::count(),
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Instructions => "instructions.json",
            Self::Structure => "structure.json",
        }
    }

    fn selected(selection: &Selection) -> Vec<Self> {
        selection.layer.map_or_else(|| Self::value_variants().to_vec(), |layer| vec![layer])
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    match Arguments::parse().command {
        Command::Check(Check { selection, history }) => {
            let mut passed = true;
            for layer in Layer::selected(&selection) {
                let baseline = Baseline::read(&selection.baselines.join(layer.file()))?;
                let now = layer.count()?;
                let comparison = baseline.compare(&now);
                write!(io::stdout(), "{comparison}")?;
                passed &= comparison.passed();
                if let Some(path) = &history {
                    history::append(path, &Entry::of(&now, comparison.passed()))?;
                }
            }
            Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Update(selection) => {
            for layer in Layer::selected(&selection) {
                let path = selection.baselines.join(layer.file());
                layer.count()?.write(&path)?;
                writeln!(io::stdout(), "wrote {}; see `git diff {}`", path.display(), path.display())?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Workload { workload, messages, turns, payload } => {
            let mut pair = workload.connect(payload)?;
            match turns {
                Some(turn) => run_in_turns(&mut pair, messages, turn)?,
                None => pair.run(messages)?,
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}
