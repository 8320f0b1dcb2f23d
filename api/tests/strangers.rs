//! A flood of connections that never greet, while the process may open few files. In a process of its own, because the
//! limit of open files applies to all of it; the flood comes from another one.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cluster::{Config, Envelope, Neighbours, Node, Pid, Server};
use socket2::{Domain, Socket, Type};

const PATIENCE: Duration = Duration::from_secs(30);
/// Connections that the flood keeps open, or tries to.
const FLOOD: usize = 400;
/// The limit of open files of the flooded process.
const DESCRIPTORS: u64 = 256;
/// Environment of the flooding process: the address that it floods, and that it floods from.
const TARGET: &str = "CLUSTER_FLOOD_TARGET";
const SOURCE: &str = "CLUSTER_FLOOD_SOURCE";

/// The soft and the hard limit of open files.
fn limit() -> (u64, u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    (limit.rlim_cur, limit.rlim_max)
}

fn set_soft_limit(soft: u64) {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: limit().1 };
    // SAFETY: the kernel reads one rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}

/// Two servers that reach each other over TCP, and the address of the first.
fn config() -> (Config, SocketAddr) {
    let free = [1, 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = free.each_ref().map(|each| each.local_addr().unwrap());
    let members: Vec<(Pid, String)> = (1..).zip(addresses.map(|address| address.to_string())).collect();
    let config = Config::new(members)
        .unwrap()
        .with_cluster(format!("strangers-{}", std::process::id()))
        .with_neighbours(Neighbours::Tcp)
        .with_raise_descriptor_limit(false);
    (config, addresses[0])
}

/// A process that floods an address until this is dropped.
struct Flood(Child);

impl Flood {
    /// Starts it; returns when it has opened as many connections as it is to keep open.
    fn start(target: SocketAddr, source: &str) -> Flood {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "flood", "--ignored", "--nocapture", "--test-threads", "1"])
            .env(TARGET, target.to_string())
            .env(SOURCE, source)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = Vec::new();
        let mut out = child.stdout.take().unwrap();
        let mut byte = [0];
        while !said.ends_with(b"flooded\n") {
            assert_eq!(out.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&said));
            said.push(byte[0]);
        }
        Flood(child)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The flooding process. Every other connection sends the beginning of a header, the rest nothing; whichever is closed
/// is opened again.
#[test]
#[ignore = "run by the other tests, in a process of its own"]
fn flood() {
    let (Ok(target), Ok(source)) = (std::env::var(TARGET), std::env::var(SOURCE)) else { return };
    set_soft_limit(limit().1.min(4096));
    let (target, source): (SocketAddr, IpAddr) = (target.parse().unwrap(), source.parse().unwrap());
    let open = |number: usize| -> std::io::Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
        socket.connect_timeout(&target.into(), Duration::from_secs(1))?;
        let mut connection = TcpStream::from(socket);
        if number.is_multiple_of(2) {
            connection.write_all(&[0x43])?;
        }
        connection.set_nonblocking(true)?;
        Ok(connection)
    };
    let mut connections: Vec<Option<TcpStream>> = (0..FLOOD).map(|number| open(number).ok()).collect();
    let mut out = std::io::stdout();
    out.write_all(b"flooded\n").and_then(|()| out.flush()).unwrap();
    let orphaned = std::os::unix::process::parent_id();
    while std::os::unix::process::parent_id() == orphaned {
        for (number, connection) in connections.iter_mut().enumerate() {
            let is_open = connection.as_mut().is_some_and(|connection| {
                matches!(connection.read(&mut [0; 64]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
            });
            if !is_open {
                *connection = open(number).ok();
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn send_and_receive(from: &mut Node, to: &mut Node) -> Duration {
    let begin = Instant::now();
    let pid = to.pid();
    from.outbox().send(Envelope::to(pid).body("through the flood")).unwrap();
    assert_eq!(to.inbox().recv_timeout(PATIENCE).expect("an envelope, despite the flood").msg, "through the flood");
    begin.elapsed()
}

/// Regression: 400 connections that never greeted used up 256 descriptors, and no peer got in.
#[test]
fn a_peer_gets_in_while_a_flood_lasts() {
    let (config, target) = config();
    let mut one = cluster::start(1, &config).unwrap();
    let before = limit().0;
    set_soft_limit(DESCRIPTORS);
    let idle = open_descriptors();
    // The address of a configured peer: no limit for one source holds it back.
    let flood = Flood::start(target, "127.0.0.1");
    for _ in 0..5 {
        let mut two = cluster::start(2, &config).unwrap();
        let there = send_and_receive(&mut two, &mut one);
        let back = send_and_receive(&mut one, &mut two);
        assert!(there + back < PATIENCE / 3, "{there:?} there, {back:?} back");
        let open = open_descriptors();
        assert!(open <= idle + 128 + 16, "{open} descriptors, {idle} without the flood");
        two.stop().unwrap();
    }
    drop(flood);
    // Another address has few connections, so that the others find room at once.
    let flood = Flood::start(target, "127.0.0.2");
    let mut two = cluster::start(2, &config).unwrap();
    send_and_receive(&mut two, &mut one);
    let open = open_descriptors();
    assert!(open <= idle + 16 + 32, "{open} descriptors, {idle} without the flood");
    drop(flood);
    set_soft_limit(before);
}
