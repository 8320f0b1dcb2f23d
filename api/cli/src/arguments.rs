//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use cluster::Pid;

/// Servers that know each other by number exchange messages.
#[derive(Debug, Parser)]
#[command(name = "cluster", version, arg_required_else_help = true, after_help = FIRST_STEPS)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Demo(Demo),
    Run(Run),
    Check(Check),
    /// Look at this machine: does it have what the engine needs?
    ///
    /// Prints the kernel's version, what its io_uring can do, and the limits of this process, and what each means. Exits
    /// with 0 when a server can run here, with 1 when something is missing that it cannot do without.
    #[command(after_help = "Example:\n  cluster doctor")]
    Doctor,
}

/// Start servers in this process, let them exchange messages over TCP, and check every one.
///
/// Each server broadcasts its messages to all others, and checks of what arrives that it came once, in order, from the
/// right server and with the right bytes. Exits with 0 only if all of that holds, and with 1 otherwise.
#[derive(Debug, Args)]
#[command(after_help = DEMO_EXAMPLES)]
pub struct Demo {
    /// Number of servers.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..=1000))]
    pub servers: u16,
    /// Number of messages that each server broadcasts.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub messages: u32,
    /// Size of a message in bytes: at least 8, for the number in it; from 24 on it also carries the time it was sent.
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..=64 << 20))]
    pub size: u32,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub json: bool,
    /// Use this interface of the kernel: io_uring, epoll, or whichever is there, io_uring first.
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    pub driver: Driver,
    /// Give up when nothing has happened for this long, and say what is missing from whom.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    pub patience: u16,
}

/// Interface of the kernel, as on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Driver {
    Auto,
    IoUring,
    Epoll,
}

/// Run one server in the foreground: what you type is sent, what arrives is printed.
///
/// A line of standard input is broadcast to all peers. `@200 text` goes to server 200 alone, `@200,300 text` to these two.
/// A message that arrives is printed on standard output as `[200 #7] text`: its sender, its number and its text.
/// Peers that come and go are reported on standard error.
///
/// A message to a peer that is not there is kept until it is. End of input, Ctrl-C and SIGTERM stop the server, after
/// all messages have arrived at the peers that are there; a second signal stops it at once. At the end of a short
/// input, peers get two seconds from the start to connect. Exits with 0 when everything was delivered, with 1 when not,
/// with 2 when the configuration is wrong.
#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub struct Run {
    /// Pid of this server in the configuration.
    #[arg(long, value_name = "PID")]
    pub pid: Pid,
    /// Configuration; `cluster check --help` tells of its formats.
    #[arg(long, value_name = "FILE", default_value = "config.json")]
    pub config: PathBuf,
    /// Greet each peer with this message when it is first there.
    #[arg(long, value_name = "TEXT")]
    pub hello: Option<String>,
}

/// Read a configuration and print it in the native format, or say what is wrong with it.
///
/// Every format that `cluster run` reads is understood, and found by its shape. Exits with 0 when the configuration is
/// right, with 2 when it is not; the error then names file, line and column, cause and cure.
#[derive(Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub struct Check {
    /// Configuration to read.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Also see that this server is in it.
    #[arg(long, value_name = "PID")]
    pub pid: Option<Pid>,
}

const FIRST_STEPS: &str = "\
First steps:
  cluster doctor                            does this machine have what is needed?
  cluster demo                              five servers exchange and check 200000 messages
  cluster run --pid 1 --config config.json  be server 1; in other terminals, be the others";

const DEMO_EXAMPLES: &str = "\
Examples:
  cluster demo
  cluster demo --servers 3 --messages 1000000 --size 256
  cluster demo --driver epoll
  cluster demo --json | jq .messages_per_second";

const RUN_EXAMPLES: &str = r#"Example:
  $ cat config.json
  {"Peers": [{"Id": 100, "Address": "localhost:8001"}, {"Id": 200, "Address": "localhost:8002"}]}

  $ cluster run --pid 100                  $ cluster run --pid 200 --hello "good morning"
  peer 200 is up                           peer 100 is up
  [200 #1] good morning
  how are you?                             [100 #1] how are you?
                                           @100 well, thank you
  [200 #2] well, thank you"#;

const CHECK_EXAMPLES: &str = "\
Example:
  cluster check config.json --pid 100
  cluster check old-config.json > cluster.json";
