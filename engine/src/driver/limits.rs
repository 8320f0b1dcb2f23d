//! Limits that the operating system sets for this process, and the kernel's errors when they are reached.

use std::io;

/// Raises the limit of open files to the hard limit: the soft limit is made for programs that use `select`.
///
/// A failure is ignored: the process keeps the descriptors that it had.
pub fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit, which `limit` is.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0 && limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: the kernel reads one rlimit.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
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
