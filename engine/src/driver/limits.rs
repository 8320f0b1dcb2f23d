//! Limits that the operating system sets for this process, and the kernel's errors when they are reached.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of open files to the hard limit: the soft limit is made for programs that use `select`.
///
/// A failure is ignored: the process keeps the descriptors that it had.
pub fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` is no limit.
    if current.unwrap_or(u64::MAX) < maximum.unwrap_or(u64::MAX) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// Returns whether a socket failed for lack of descriptors or memory, which may be free again later.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS))
        || error.kind() == io::ErrorKind::OutOfMemory
}

/// Formats a kernel error with its cure.
pub(crate) fn with_cure(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EMFILE) => format!("{error}; raise the limit of open files of this process (ulimit -n)"),
        Some(libc::ENFILE) => format!("{error}; raise the limit of the machine (sysctl fs.file-max)"),
        Some(libc::ENOBUFS) => format!("{error}; the kernel is short of memory for sockets (sysctl net.ipv4.tcp_mem)"),
        _ if error.kind() == io::ErrorKind::OutOfMemory => format!("{error}; free some, or allow this process more"),
        _ => error.to_string(),
    }
}
