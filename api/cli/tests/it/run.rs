//! `cluster run`: servers in processes of their own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;

use crate::process::{Process, output, text};

/// A configuration file; deleted when dropped.
struct Cluster {
    file: PathBuf,
}

impl Cluster {
    /// Servers 100, 200 …, in the format of one of the older libraries.
    fn new(servers: u64) -> Cluster {
        Cluster::written(servers, |servers| {
            let entries: Vec<_> =
                servers.iter().map(|(pid, address)| format!(r#"{{"mypid": {pid}, "url": "{address}"}}"#)).collect();
            format!(r#"{{"object": {{"total": {}, "Servers": [{}]}}}}"#, entries.len(), entries.join(", "))
        })
    }

    /// Servers 100, 200 …, that wait for a silent peer for as long as a test may take.
    fn patient(servers: u64) -> Cluster {
        Cluster::written(servers, |servers| {
            let entries: Vec<_> =
                servers.iter().map(|(pid, address)| format!(r#"{{"pid": {pid}, "address": "{address}"}}"#)).collect();
            format!(r#"{{"servers": [{}], "peer_timeout_ms": 60000}}"#, entries.join(", "))
        })
    }

    /// On free ports of a loopback address that no other test uses, and no outgoing connection.
    fn written(servers: u64, write: impl FnOnce(&[(u64, SocketAddr)]) -> String) -> Cluster {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let [_, _, high, low] = process::id().to_be_bytes();
        let host = Ipv4Addr::new(127, 100 + number as u8, high, low.clamp(1, 254));
        let listeners: Vec<_> =
            (0..servers).map(|_| TcpListener::bind((host, 0)).expect("loopback has free ports")).collect();
        let addresses = listeners.iter().map(|listener| listener.local_addr().expect("it listens"));
        let text = write(&(1..).map(|index| index * 100).zip(addresses).collect::<Vec<_>>());
        let file = std::env::temp_dir().join(format!("cluster-cli-{}-{number}.json", process::id()));
        fs::write(&file, text).expect("there is room for temporary files");
        Cluster { file }
    }

    fn start(&self, pid: u64, more: &[&str]) -> Process {
        let pid = pid.to_string();
        let file = self.file.to_str().expect("a plain name");
        Process::start(&[&["run", "--pid", &pid, "--config", file], more].concat())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

/// The messages from one server that a process has printed.
fn from(lines: &[String], pid: u64) -> Vec<String> {
    let begin = format!("[{pid} #");
    lines
        .iter()
        .filter(|line| line.starts_with(&begin))
        .filter_map(|line| line.split_once("] ").map(|(_, text)| text.to_owned()))
        .collect()
}

#[track_caller]
fn stops(process: &mut Process) {
    let status = process.wait();
    assert_eq!(status.code(), Some(0), "{}", process.printed());
}

#[test]
fn lines_go_to_everybody_or_to_those_they_name() {
    let cluster = Cluster::new(3);
    let mut one = cluster.start(100, &[]);
    let two = cluster.start(200, &[]);
    let three = cluster.start(300, &[]);
    for peer in ["peer 200 is up", "peer 300 is up"] {
        one.wait_for_said(peer);
    }
    one.write("to all\n@200 to two\n@200,300 to both\n@bob who?\n@300 \x1b[2J\n\nend");
    one.end_input();
    two.wait_for("end", |lines| from(lines, 100).last().is_some_and(|line| line == "end"));
    three.wait_for("end", |lines| from(lines, 100).last().is_some_and(|line| line == "end"));
    assert_eq!(from(&two.lines(), 100), ["to all", "to two", "to both", "", "end"]);
    assert_eq!(from(&three.lines(), 100), ["to all", "to both", "\\x1b[2J", "", "end"]);
    assert!(two.lines().contains(&"[100 #1] to all".to_owned()), "{}", two.printed());

    // A line that was not sent is told, and counted.
    one.wait_for_said("not sent: \"bob\" is not the pid of a server");
    assert_eq!(one.wait().code(), Some(1), "{}", one.printed());
    two.wait_for_said("peer 100 is down: it has stopped");
    for mut process in [two, three] {
        process.end_input();
        stops(&mut process);
    }
}

#[test]
fn a_late_peer_gets_what_was_sent_before_and_one_greeting() {
    let cluster = Cluster::new(3);
    let mut one = cluster.start(100, &["--hello", "good morning"]);
    let mut two = cluster.start(200, &[]);
    two.wait_for("greeting", |lines| from(lines, 100) == ["good morning"]);
    let lines: Vec<String> = (1..=500).map(|number| format!("line {number}")).collect();
    one.write(lines.join("\n") + "\n");
    two.wait_for("last line", |lines| from(lines, 100).len() == 501);

    let mut three = cluster.start(300, &[]);
    three.wait_for("lines and greeting", |lines| from(lines, 100).len() >= 501);
    one.write("the end\n");
    three.wait_for("the end", |lines| from(lines, 100).last().is_some_and(|line| line == "the end"));
    let got = from(&three.lines(), 100);
    assert_eq!(got.iter().filter(|line| *line == "good morning").count(), 1, "{}", three.printed());
    let rest: Vec<String> = got.into_iter().filter(|line| line != "good morning").collect();
    assert_eq!(rest, [lines, vec!["the end".to_owned()]].concat());
    three.write("thanks\n");
    one.wait_for("answer", |lines| from(lines, 300) == ["thanks"]);
    two.wait_for("answer", |lines| from(lines, 300) == ["thanks"]);
    for process in [&mut one, &mut two, &mut three] {
        process.end_input();
        stops(process);
    }
}

#[test]
fn sigterm_and_sigint_stop_when_everything_has_arrived() {
    for signal in [Signal::TERM, Signal::INT] {
        let cluster = Cluster::patient(3);
        let mut one = cluster.start(100, &[]);
        let mut witness = cluster.start(200, &[]);
        let mut sleeper = cluster.start(300, &[]);
        for peer in ["peer 200 is up", "peer 300 is up"] {
            one.wait_for_said(peer);
        }
        // What the witness has seen was sent to the sleeper as well.
        sleeper.signal(Signal::STOP);
        let lines: Vec<String> = (1..=300).map(|number| format!("line {number}")).collect();
        one.write(lines.join("\n") + "\n");
        witness.wait_for("lines", |lines| from(lines, 100).len() == 300);
        one.signal(signal);
        sleeper.signal(Signal::CONT);
        stops(&mut one);
        sleeper.wait_for("lines", |lines| from(lines, 100).len() == 300);
        assert_eq!(from(&sleeper.lines(), 100), lines);
        for process in [&mut witness, &mut sleeper] {
            process.signal(signal);
            stops(process);
        }
    }
}

#[test]
fn a_short_input_arrives() {
    let cluster = Cluster::new(3);
    let mut listeners = [cluster.start(100, &[]), cluster.start(200, &[])];
    listeners[0].wait_for_said("peer 200 is up");
    let mut speaker = cluster.start(300, &[]);
    speaker.write("hello\n");
    speaker.end_input();
    for listener in &mut listeners {
        listener.wait_for("line", |lines| from(lines, 300) == ["hello"]);
        listener.end_input();
        stops(listener);
    }
    stops(&mut speaker);
}

#[test]
fn a_long_input_arrives() {
    let cluster = Cluster::new(2);
    let mut listener = cluster.start(100, &[]);
    let mut speaker = cluster.start(200, &[]);
    // More than is kept for a peer that is not there.
    let lines: Vec<String> = (0..40_000).map(|number| format!("{number:0100}")).collect();
    speaker.write(lines.join("\n"));
    speaker.end_input();
    listener.wait_for("last line", |got| got.len() == lines.len());
    assert_eq!(from(&listener.lines(), 200), lines);
    stops(&mut speaker);
    listener.end_input();
    stops(&mut listener);
}

#[test]
fn what_could_not_be_delivered_is_said() {
    let cluster = Cluster::new(2);
    let mut one = cluster.start(100, &[]);
    one.write("is anybody there?\n");
    one.end_input();
    assert_eq!(one.wait().code(), Some(1), "{}", one.printed());
    one.wait_for_said("error: stopped; not delivered: 1 message (17 bytes) to 200");
}

#[test]
fn a_wrong_configuration_exits_with_2() {
    let cluster = Cluster::new(2);
    let file = cluster.file.to_str().expect("a plain name");
    for arguments in
        [&["run", "--pid", "7", "--config", file][..], &["run", "--pid", "7", "--config", "/nowhere"], &["run"]]
    {
        let output = output(arguments);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    }
    let said = text(&output(&["run", "--pid", "7", "--config", file]).stderr);
    assert!(said.contains("pid 7"), "{said}");
}

#[test]
fn an_address_in_use_is_named() {
    let cluster = Cluster::new(2);
    let mut first = cluster.start(100, &["--hello", "hello"]);
    let second = cluster.start(200, &[]);
    second.wait_for("greeting", |lines| from(lines, 100) == ["hello"]);
    let mut again = cluster.start(100, &[]);
    assert_eq!(again.wait().code(), Some(1), "{}", again.printed());
    again.wait_for_said("error: 127.");
    first.end_input();
    stops(&mut first);
}
