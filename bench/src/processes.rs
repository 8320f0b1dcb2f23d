//! Servers as processes of their own. Each runs this program again: its arguments hold the job, its standard input the
//! addresses of the other servers. Its standard output carries its own address and its result, in lines of JSON.

use std::env;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{self, Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::case::Case;
use crate::contenders::{Contender, Run};
use crate::measure::{Arrivals, Traffic};
use crate::participant::{EngineCounts, Participant};
use crate::rendezvous::{self, Host, Left, Outlet, Rendezvous};
use crate::usage::{Meter, Usage};

/// Job of one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Name of the contender.
    pub contender: String,
    /// Measured case.
    pub case: Case,
    /// Part of this server in the case.
    pub work: Work,
    /// True if system calls and allocations are counted, which slows the run down.
    pub counting: bool,
}

/// Part of a server in a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Answering of questions.
    Answer {
        /// Bytes in a question.
        size: usize,
    },
    /// Participation in traffic.
    Traffic(Traffic),
}

impl Work {
    fn servers(self) -> usize {
        match self {
            Self::Answer { .. } => 2,
            Self::Traffic(traffic) => traffic.servers(),
        }
    }
}

/// Result of one server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Arrivals in each stream.
    pub arrivals: Vec<Arrivals>,
    /// Resources used by the server's process.
    pub usage: Usage,
    /// Counts of the engine, if the contender is one.
    pub engine: Option<EngineCounts>,
}

/// Line that a process writes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    /// Text for the other servers.
    ToAll(String),
    /// Result of a server that succeeded; the last line.
    Done(Report),
    /// Reason of a failure; the last line.
    Failed(String),
}

/// Processes that were started and that [`Children::end`] ends.
#[derive(Debug, Clone, Default)]
pub struct Children(Arc<Mutex<Vec<Child>>>);

impl Children {
    /// Ends the processes that still run.
    pub fn end(&self) {
        for mut child in self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // Killing a process that has ended already fails, which is harmless.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn start(&self, index: usize, job: &Job) -> Result<(Outlet, ChildStdout), Box<dyn Error>> {
        let mut child = Command::new(env::current_exe()?)
            .args([SUBCOMMAND, &index.to_string(), &serde_json::to_string(job)?])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(child);
        let (mut input, output) = pipes.ok_or("a process without pipes")?;
        let outlet = move |all: &[String]| {
            // The end of a process shows at its output.
            let _ =
                serde_json::to_writer(&mut input, all).map_err(io::Error::from).and_then(|()| input.write_all(b"\n"));
        };
        Ok((Box::new(outlet), output))
    }
}

/// Runs server 0 by `first` in this thread, and all others in processes, which `children` keeps. Returns the result of
/// `first`, and the report of each process.
pub fn run<T>(
    children: &Children,
    job: &Job,
    first: impl FnOnce(Rendezvous) -> Result<T, Box<dyn Error + Send + Sync>>,
) -> Result<(T, Vec<Report>), String> {
    let (own, hear) = rendezvous::outlet();
    let (mut outlets, mut outputs) = (vec![own], Vec::new());
    for index in 1..job.work.servers() {
        let (outlet, output) = children.start(index, job).map_err(|error| error.to_string())?;
        outlets.push(outlet);
        outputs.push(output);
    }
    let host = Host::new(outlets);
    let listeners: Vec<_> = (1..)
        .zip(outputs)
        .map(|(index, output)| {
            let host = host.clone();
            thread::spawn(move || {
                let report = listen(index, output, &host);
                if report.is_err() {
                    host.close();
                }
                report
            })
        })
        .collect();
    let place = Rendezvous::new(
        0,
        {
            let host = host.clone();
            move |what| host.tell(0, what)
        },
        hear,
    );
    let result = first(place).map_err(|error| error.to_string());
    if result.is_err() {
        host.close();
    }
    let reports = listeners.into_iter().map(|listener| listener.join().unwrap_or_else(|_| Err("a panic".to_owned())));
    let reports: Vec<Result<Report, String>> = reports.collect();
    let error = reports.iter().filter_map(|report| report.as_ref().err());
    // The error `Left` only follows from the failure of another server.
    if let Some(error) = result.as_ref().err().into_iter().chain(error).min_by_key(|error| **error == Left.to_string())
    {
        return Err(error.clone());
    }
    Ok((result?, reports.into_iter().collect::<Result<_, _>>()?))
}

fn listen(index: usize, output: ChildStdout, host: &Host) -> Result<Report, String> {
    for line in BufReader::new(output).lines() {
        let line = line.map_err(|error| error.to_string())?;
        match serde_json::from_str(&line).map_err(|error| format!("a process said {line:?}: {error}"))? {
            Said::ToAll(what) => host.tell(index, what),
            Said::Done(report) => return Ok(report),
            Said::Failed(reason) => return Err(reason),
        }
    }
    Err(Left.to_string())
}

/// Runs server `index` of the job in a process that [`run`] has started.
pub fn serve(index: usize, job: &str) -> Result<(), Box<dyn Error>> {
    let job: Job = serde_json::from_str(job)?;
    let contender = Contender::find(&job.contender, job.case).ok_or("there is no such contender")?;
    thread::spawn(|| {
        thread::sleep(LIMIT);
        process::exit(1);
    });
    let (give, hear) = channel();
    thread::spawn(move || {
        for line in io::stdin().lines() {
            let Some(all) = line.ok().and_then(|line| serde_json::from_str(&line).ok()) else { break };
            let _ = give.send(all);
        }
        // The parent has closed the pipe: its result is no longer needed.
        process::exit(1);
    });
    let rendezvous = Rendezvous::new(index, |what| say(&Said::ToAll(what)), hear);
    match part(contender, &job, rendezvous) {
        Ok(report) => say(&Said::Done(report)),
        Err(error) => say(&Said::Failed(error.to_string())),
    }
    Ok(())
}

fn part(contender: &Contender, job: &Job, mut rendezvous: Rendezvous) -> Result<Report, Box<dyn Error + Send + Sync>> {
    let meter = Meter::begin(job.counting);
    match (contender.run, job.work) {
        (Run::RoundTrip(ends), Work::Answer { size }) => {
            (ends.answer)(&mut rendezvous, size)?;
            Ok(Report { usage: meter.end(), ..Report::default() })
        }
        (Run::Traffic(run), Work::Traffic(traffic)) => {
            let mut participant = Participant::alone(rendezvous, traffic);
            run(&mut participant)?;
            Ok(Report { arrivals: participant.arrivals()?, usage: meter.end(), engine: participant.engine() })
        }
        _ => Err("this is not what it does".into()),
    }
}

fn say(what: &Said) {
    let mut line = serde_json::to_string(what).expect("all of it can be written as JSON");
    line.push('\n');
    // If the parent has ended, standard input ends too.
    let _ = io::stdout().lock().write_all(line.as_bytes());
}

/// Subcommand of this program that calls [`serve`].
pub const SUBCOMMAND: &str = "participant";
const LIMIT: Duration = Duration::from_secs(90);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_says_is_read_as_it_is_written() {
        let arrivals = vec![Arrivals { messages: 3, bytes: 24, first_ns: 1, last_ns: 9 }];
        let report = Report { arrivals, engine: Some(EngineCounts::default()), ..Report::default() };
        for said in [Said::ToAll("127.0.0.1:1".to_owned()), Said::Done(report), Said::Failed("so".to_owned())] {
            let line = serde_json::to_string(&said).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Said>(&line).unwrap(), said);
        }
    }

    #[test]
    fn a_job_fits_into_an_argument() {
        let work = Work::Traffic(Case::Broadcast16.traffic(64, 1000).unwrap());
        let job = Job { contender: "zmq".to_owned(), case: Case::Broadcast16, work, counting: false };
        let argument = serde_json::to_string(&job).unwrap();
        assert_eq!(serde_json::from_str::<Job>(&argument).unwrap(), job);
    }
}
