//! State of the machine while a server does not come up: the owners of sockets, and the work of the kernel.

use std::fmt::Write as _;
use std::fs;

use crate::network::Network;

/// Returns a text with what may hold a server up: its sockets, its processes, and kernel threads that may be releasing
/// the sockets of a process that has ended.
pub fn gather(network: &Network, node: usize, processes: &[Option<u32>]) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(text, "sockets:\n{}", network.sockets(node));
    for process in processes.iter().flatten() {
        let _ = writeln!(text, "process {process}: {}", describe(&process.to_string()));
        for thread in fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten() {
            let stack = fs::read_to_string(thread.path().join("stack")).unwrap_or_default();
            let _ = writeln!(text, "thread {}\n{stack}", thread.file_name().to_string_lossy());
        }
    }
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let id = process.file_name().to_string_lossy().into_owned();
        if id.bytes().all(|byte| byte.is_ascii_digit()) {
            let stack = fs::read_to_string(format!("/proc/{id}/stack")).unwrap_or_default();
            let is_telling = ["io_ring", "io_uring", "io_wq", "fput", "tcp_close", "do_exit", "rtnl", "cleanup_net"]
                .iter()
                .any(|name| stack.contains(name));
            if is_telling {
                let _ = writeln!(text, "{id} {}\n{stack}", describe(&id));
            }
        }
    }
    text
}

/// Returns whether SIGSTOP has stopped a process.
pub fn is_stopped(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

/// Returns name, state and open descriptors of a process.
fn describe(id: &str) -> String {
    let Ok(status) = fs::read_to_string(format!("/proc/{id}/status")) else { return "gone".to_owned() };
    let lines = status.lines().filter(|line| ["Name:", "State:", "PPid:"].iter().any(|name| line.starts_with(name)));
    let descriptors = fs::read_dir(format!("/proc/{id}/fd")).map_or(0, |entries| entries.count());
    format!("{}, {descriptors} descriptors", lines.collect::<Vec<_>>().join(", ").replace('\t', " "))
}
