//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use cluster_bench::case::Case;
use cluster_bench::compare;
use cluster_bench::contenders;
use cluster_bench::mesh::{self, Transport};
use cluster_bench::open_loop;
use cluster_bench::receive_strategies;
use cluster_bench::report;
use cluster_bench::runner::Place;
use cluster_bench::scaling;

/// Benchmarks of the cluster messaging engine.
#[derive(Debug, Parser)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measures all contenders in one run, interleaved, and prints tables with ratios.
    Compare(Compare),
    /// Holds ratios against committed bars, and fails when one is certainly below its bar.
    Ratios(Ratios),
    /// Sends at a fixed rate, and measures how late messages come.
    OpenLoop(OpenLoop),
    /// Heartbeats beside appends and a snapshot: what a replicated system does.
    RaftMix(RaftMix),
    /// Writes to groups of real consensus libraries, over each way for their nodes to reach each other.
    #[cfg(feature = "raft")]
    Raft(cluster_bench::raft::command::Arguments),
    /// Measures throughput by the number of servers and of event loops.
    Scaling(Scaling),
    /// Full mesh of many servers: exact delivery, and what it costs when idle.
    Mesh(Mesh),
    /// Measures everything for the report of a release, and writes it with charts.
    Report(Report),
    /// Measures ways of receiving, waiting and sending over io_uring, without any protocol.
    ReceiveStrategies(ReceiveStrategies),
    /// One server of a run in processes: what this program starts itself.
    #[command(hide = true)]
    Participant(Participant),
    /// Servers of a mesh: what this program starts itself.
    #[command(hide = true, name = mesh::MEMBER)]
    MeshMember {
        /// Servers to run and their messages, as JSON.
        job: String,
    },
    /// Nodes of a consensus library: what this program starts itself.
    #[cfg(feature = "raft")]
    #[command(hide = true, name = cluster_bench::raft::MEMBER)]
    RaftMember {
        /// Nodes to run, as JSON.
        job: String,
    },
    /// Load beside a mesh: what this program starts itself.
    #[command(hide = true, name = mesh::LOAD)]
    MeshLoad,
}

#[derive(Debug, Args)]
pub struct Participant {
    /// Index of the server.
    pub index: usize,

    /// Job of the server, as JSON.
    pub job: String,
}

#[derive(Debug, Args)]
pub struct Compare {
    /// Few messages and two rounds: shows that everything works, not how fast it is.
    #[arg(long)]
    quick: bool,

    /// Writes machine and rows to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Measures only these contenders.
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = contender)]
    only: Vec<String>,

    /// Measures only this case.
    #[arg(long)]
    case: Option<Case>,

    /// Measures only payloads of this many bytes, at least 8 [default: those of each case].
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(8..=1 << 26))]
    size: Option<u64>,

    /// A process for each server, instead of a thread.
    #[arg(long)]
    processes: bool,

    /// Rounds; within each, every contender runs once [default: 5, or 2 if quick].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: Option<u64>,

    /// Decides the order within the rounds [default: drawn, and printed].
    #[arg(long)]
    seed: Option<u64>,

    /// Appends a line of JSON with all ratios to ZeroMQ to this file.
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Ratios {
    /// Writes bars that follow from this run, instead of failing. On an idle machine only.
    #[arg(long)]
    pub update: bool,

    /// The committed bars.
    #[arg(long, value_name = "FILE", default_value = "ci/baselines/ratios.json")]
    pub bars: PathBuf,

    /// Rounds; within each, every contender runs once.
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u64).range(3..))]
    rounds: u64,

    /// Decides the order within the rounds [default: drawn, and printed].
    #[arg(long)]
    seed: Option<u64>,

    /// Appends a line of JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct OpenLoop {
    /// Messages each second.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,

    /// Bytes in a payload, at least 8.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(8..=1 << 26))]
    size: u64,

    /// Seconds in each round; the first tenth does not count.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=30))]
    seconds: u64,

    /// Rounds; within each, every contender runs once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,

    /// Decides the order within the rounds [default: drawn, and printed].
    #[arg(long)]
    seed: Option<u64>,

    /// Writes machine and percentile curves to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct RaftMix {
    /// Seconds for the idle half, and for the loaded half.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: u64,

    /// Writes machine and result to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Scaling {
    /// Few servers and two rounds: shows that everything works, not how fast it is.
    #[arg(long)]
    quick: bool,

    /// Rounds; within each, every point is measured once [default: 5, or 2 if quick].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: Option<u64>,

    /// Decides the order within the rounds [default: drawn, and printed].
    #[arg(long)]
    seed: Option<u64>,

    /// Writes machine and points to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Mesh {
    /// Servers, each connected with every other one.
    #[arg(long, value_parser = clap::value_parser!(u64).range(2..=1000))]
    servers: u64,

    /// Several processes, instead of one with all servers.
    #[arg(long)]
    processes: bool,

    /// Servers in each process.
    #[arg(long, value_name = "COUNT", default_value_t = 1, requires = "processes",
          value_parser = clap::value_parser!(u64).range(1..=1000))]
    per: u64,

    /// Transport between servers of one process; processes always use TCP between them.
    #[arg(long, required_unless_present = "raw")]
    net: Option<Net>,

    /// Bare TCP connections and epoll instead of servers: the floor of the idle phase.
    #[arg(long, conflicts_with = "net")]
    raw: bool,

    /// Messages that each server broadcasts.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    messages: u64,

    /// Seconds for which the idle mesh is measured.
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    idle_seconds: u64,

    /// Keeps every core busy with another process until everything has arrived.
    #[arg(long)]
    beside_load: bool,

    /// Fails if not everything has arrived so many seconds after the servers began to start.
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    limit_seconds: u64,

    /// Fails if the idle mesh uses more processor time than this, in percent of one core.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    limit_idle_percent: Option<f64>,

    /// Writes machine, options and outcome to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Net {
    Memory,
    Tcp,
}

#[derive(Debug, Args)]
pub struct Report {
    /// The version; the report goes into a folder of that name.
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub release: String,

    /// Little of everything: shows that it works, not how fast it is.
    #[arg(long)]
    quick: bool,

    /// Measures nothing: takes the raw figures of the report in this folder, and draws them.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["quick", "rounds", "seed"])]
    pub from: Option<PathBuf>,

    /// Folder of all reports.
    #[arg(long, value_name = "FOLDER", default_value = "perf-reports")]
    pub reports: PathBuf,

    /// Rounds of the comparison; within each, every contender runs once [default: 9, or 2 if quick].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: Option<u64>,

    /// Decides the order within the rounds [default: drawn, and written down].
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Debug, Args)]
pub struct ReceiveStrategies {
    /// Rounds; within each, every plan runs once.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,

    /// Keeps both threads on one core and measures only parked plans: the system calls alone,
    /// without the cost of waking another core.
    #[arg(long)]
    one_core: bool,
}

impl Compare {
    /// Returns the options of the comparison.
    pub fn options(&self) -> compare::Options {
        let (rounds, budget_ms) = if self.quick { (2, 50) } else { (5, 700) };
        compare::Options {
            cases: self.case.map_or_else(|| Case::ALL.to_vec(), |case| vec![case]),
            sizes: self.size.map_or_else(Vec::new, |size| vec![size as usize]),
            only: self.only.clone(),
            rounds: self.rounds.unwrap_or(rounds) as usize,
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..)),
            budget: Duration::from_millis(budget_ms),
            place: if self.processes { Place::Processes } else { Place::Threads },
            counting: true,
        }
    }
}

impl Ratios {
    /// Returns the options of the measurement. The bars decide which cells are measured.
    pub fn options(&self) -> compare::Options {
        compare::Options {
            cases: Vec::new(),
            sizes: Vec::new(),
            only: Vec::new(),
            rounds: self.rounds as usize,
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..)),
            budget: Duration::from_millis(250),
            place: Place::Threads,
            counting: false,
        }
    }
}

impl OpenLoop {
    /// Returns the options of the open-loop run.
    pub fn options(&self) -> open_loop::Options {
        open_loop::Options {
            size: self.size as usize,
            rate: self.rate,
            count: (self.rate * self.seconds).max(2),
            rounds: self.rounds as usize,
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..)),
        }
    }
}

impl Scaling {
    /// Returns the options of the scaling run.
    pub fn options(&self) -> scaling::Options {
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..));
        let options = points(self.quick, seed);
        scaling::Options { rounds: self.rounds.map_or(options.rounds, |rounds| rounds as usize), ..options }
    }
}

impl Mesh {
    /// Returns the options of the mesh run.
    pub fn options(&self) -> mesh::Options {
        mesh::Options {
            servers: self.servers as usize,
            per_process: (if self.processes { self.per.min(self.servers) } else { self.servers }) as usize,
            transport: match self.net {
                None => Transport::Raw,
                Some(Net::Memory) => Transport::Memory,
                Some(Net::Tcp) => Transport::Tcp,
            },
            messages: self.messages,
            idle_seconds: self.idle_seconds,
            beside_load: self.beside_load,
            limit_seconds: self.limit_seconds,
            limit_idle_percent: self.limit_idle_percent,
        }
    }
}

fn points(quick: bool, seed: u64) -> scaling::Options {
    let (servers, rounds, budget_ms): (&[usize], _, _) =
        if quick { (&[2, 4, 16], 2, 20) } else { (&[2, 3, 4, 6, 8, 12, 16], 5, 400) };
    let budget = Duration::from_millis(budget_ms);
    let loops = scaling::loops_of_this_machine();
    scaling::Options { servers: servers.to_vec(), loops, rounds, seed, budget }
}

impl Report {
    /// Returns the options of the report's measurements.
    pub fn options(&self, command: String) -> report::Options {
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..));
        let (rounds, budget_ms, lateness_seconds, heartbeat_seconds) =
            if self.quick { (2, 50, 1, 3) } else { (9, 500, 3, 30) };
        report::Options {
            command,
            comparison: compare::Options {
                cases: Case::ALL.to_vec(),
                sizes: Vec::new(),
                only: Vec::new(),
                rounds: self.rounds.map_or(rounds, |rounds| rounds as usize),
                seed,
                budget: Duration::from_millis(budget_ms),
                place: Place::Threads,
                counting: true,
            },
            lateness: open_loop::Options {
                size: 64,
                rate: RATE,
                count: RATE * lateness_seconds,
                rounds: if self.quick { 2 } else { 5 },
                seed,
            },
            heartbeats: Duration::from_secs(heartbeat_seconds),
            scaling: points(self.quick, seed),
        }
    }
}

impl ReceiveStrategies {
    /// Returns the options of the probe.
    pub fn options(&self) -> receive_strategies::Options {
        receive_strategies::Options {
            rounds: self.rounds as usize,
            budget: Duration::from_millis(250),
            one_core: self.one_core,
        }
    }
}

/// Parses a version, which becomes the name of a folder.
fn version(text: &str) -> Result<String, String> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || ".-+".contains(letter);
    if text.starts_with(|letter: char| letter.is_ascii_digit()) && text.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("expected a version such as 0.1.0".to_owned())
    }
}

/// Parses a number of at least zero.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "expected a number such as 12.5".to_owned())
}

fn contender(name: &str) -> Result<String, String> {
    let mut known: Vec<&str> = contenders::ALL.iter().map(|contender| contender.name).collect();
    if known.contains(&name) {
        return Ok(name.to_owned());
    }
    known.sort_unstable();
    known.dedup();
    Err(format!("there are {}", known.join(", ")))
}

/// Messages per second in the report: the rate that the engine promises to hold.
const RATE: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn mesh(line: &str) -> Result<mesh::Options, clap::Error> {
        let arguments = Arguments::try_parse_from(["cluster-bench", "mesh"].into_iter().chain(line.split(' ')))?;
        let Command::Mesh(mesh) = arguments.command else { unreachable!("the subcommand is mesh") };
        Ok(mesh.options())
    }

    #[test]
    fn a_mesh_has_two_to_a_thousand_servers() {
        for servers in [2, 1000] {
            assert_eq!(mesh(&format!("--servers {servers} --net tcp")).unwrap().servers, servers);
        }
        for servers in [0, 1, 1001] {
            mesh(&format!("--servers {servers} --net tcp")).unwrap_err();
        }
        mesh("--net tcp").unwrap_err();
    }

    #[test]
    fn servers_of_a_mesh_share_processes_as_asked() {
        let per_process = |line| mesh(line).unwrap().per_process;
        assert_eq!(per_process("--servers 5 --net memory"), 5);
        assert_eq!(per_process("--servers 5 --net memory --processes"), 1);
        assert_eq!(per_process("--servers 5 --net memory --processes --per 2"), 2);
        assert_eq!(per_process("--servers 5 --net memory --processes --per 9"), 5);
        mesh("--servers 5 --net memory --per 2").unwrap_err();
        mesh("--servers 5 --net memory --processes --per 0").unwrap_err();
    }

    #[test]
    fn a_mesh_has_one_transport() {
        assert_eq!(mesh("--servers 3 --net memory").unwrap().transport, Transport::Memory);
        assert_eq!(mesh("--servers 3 --raw").unwrap().transport, Transport::Raw);
        mesh("--servers 3").unwrap_err();
        mesh("--servers 3 --raw --net tcp").unwrap_err();
    }

    #[test]
    fn an_idle_limit_is_a_number() {
        assert_eq!(mesh("--servers 3 --raw --limit-idle-percent 2.5").unwrap().limit_idle_percent, Some(2.5));
        mesh("--servers 3 --raw --limit-idle-percent=-1").unwrap_err();
        mesh("--servers 3 --raw --limit-idle-percent=NaN").unwrap_err();
    }
}
