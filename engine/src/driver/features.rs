//! Kernel features that the engine needs, and the errors when one is missing.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;

use io_uring::{IoUring, Probe, opcode};

use super::enter::{self, RingHandle};

/// Kernel feature that the engine needs or makes use of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Name of the feature in the kernel.
    pub name: &'static str,
    /// Use of the feature in the engine.
    pub purpose: &'static str,
    /// Set if the kernel has the feature.
    pub found: bool,
    /// Set if the engine does not run without the feature.
    pub required: bool,
}

/// Report on the kernel's features: the result of [`probe`].
#[derive(Clone, Debug)]
pub struct FeatureReport {
    /// Every feature that matters to the engine.
    pub features: Vec<Feature>,
    /// Reason why io_uring cannot be used at all, if so.
    pub unavailable: Option<Unavailable>,
}

/// Error: io_uring or a part of it cannot be used.
///
/// The message names the missing part, the reason and the cure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    message: String,
    /// Set if io_uring is missing or forbidden, not another resource.
    about_io_uring: bool,
}

impl Unavailable {
    pub(super) fn eventfd(error: io::Error) -> Unavailable {
        Unavailable::other(format!("eventfd failed: {error}; raise the limit of open files (ulimit -n)"))
    }

    pub(crate) fn epoll(error: io::Error) -> Unavailable {
        Unavailable::other(format!("epoll failed: {error}; raise the limit of open files (ulimit -n)"))
    }

    /// Makes the error for io_uring under a reactor.
    pub(crate) fn reactor() -> Unavailable {
        Unavailable::other(
            "a reactor cannot turn io_uring, whose ring belongs to one thread; use the driver epoll, or auto"
                .to_owned(),
        )
    }

    fn other(message: String) -> Unavailable {
        Unavailable { message, about_io_uring: false }
    }

    fn io_uring(message: String) -> Unavailable {
        Unavailable { message, about_io_uring: true }
    }

    /// Returns whether io_uring is missing or forbidden, so that epoll may serve in its place.
    pub(super) fn is_about_io_uring(&self) -> bool {
        self.about_io_uring
    }

    /// Makes the error for an event loop whose thread could not be started.
    pub(crate) fn thread(error: &io::Error) -> Unavailable {
        Unavailable::other(format!("no thread for an event loop: {error}; raise the limit of processes (ulimit -u)"))
    }

    fn from_set_up(error: &io::Error) -> Unavailable {
        let message = match error.raw_os_error() {
            Some(libc::ENOSYS) => "io_uring_setup is not there: the kernel is older than 5.1, or a sandbox hides it; \
                                   use Linux 6.1 or later"
                .to_owned(),
            Some(libc::EPERM | libc::EACCES) => {
                format!("io_uring_setup was refused ({error}): {}", why_refused())
            }
            Some(libc::EINVAL) => {
                "io_uring_setup does not know DEFER_TASKRUN: the kernel is older than 6.1; upgrade it".to_owned()
            }
            Some(libc::EMFILE | libc::ENFILE) => {
                format!("io_uring_setup failed: {error}; raise the limit of open files (ulimit -n)")
            }
            Some(libc::ENOMEM) => {
                format!("io_uring_setup failed: {error}; raise the limit of locked memory (ulimit -l)")
            }
            _ => format!("io_uring_setup failed: {error}"),
        };
        // Where descriptors are short, epoll would find none either.
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => Unavailable::other(message),
            _ => Unavailable::io_uring(message),
        }
    }
}

impl Unavailable {
    /// Makes the error for `io_uring_enter` or `io_uring_register`, after `io_uring_setup` succeeded.
    fn from_call(call: &str, error: &io::Error) -> Unavailable {
        let message = match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => format!("{call} was refused ({error}): {SECCOMP}"),
            Some(libc::ENOSYS) => format!("{call} is not there ({error}), although io_uring_setup is: {SECCOMP}"),
            _ => format!("{call} failed: {error}"),
        };
        Unavailable::io_uring(message)
    }
}

const SECCOMP: &str = "a seccomp profile forbids it, as container runtimes do by default; \
                       allow io_uring_setup, io_uring_enter and io_uring_register in the container's profile";

fn why_refused() -> &'static str {
    match std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").as_deref().map(str::trim) {
        Ok("2") => "kernel.io_uring_disabled is 2; set it to 0 with sysctl",
        Ok("1") => {
            "kernel.io_uring_disabled is 1, and this process is neither privileged nor in kernel.io_uring_group; \
             set it to 0 with sysctl, or add the group"
        }
        _ => SECCOMP,
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Unavailable {}

/// Sets up a ring with everything that the driver needs. The ring stays disabled until its thread is known.
///
/// # Errors
/// [`Unavailable`], which names what is missing.
pub(super) fn set_up(entries: u32, completions: u32) -> Result<IoUring, Unavailable> {
    let ring = IoUring::builder()
        .setup_cqsize(completions)
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_r_disabled()
        .dontfork()
        .build(entries)
        .map_err(|error| Unavailable::from_set_up(&error))?;
    match list(&ring)?.iter().find(|feature| feature.required && !feature.found) {
        None => Ok(ring),
        Some(missing) => Err(Unavailable::io_uring(format!(
            "this kernel's io_uring lacks {}, needed for {}; use Linux 6.1 or later",
            missing.name, missing.purpose
        ))),
    }
}

/// Probes the running kernel, and returns the features that matter to the engine.
pub fn probe() -> FeatureReport {
    let found = match IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(8) {
        Ok(ring) => list(&ring),
        Err(error) => Err(Unavailable::from_set_up(&error)),
    };
    match found {
        Ok(features) => FeatureReport { features, unavailable: None },
        Err(unavailable) => FeatureReport { features: Vec::new(), unavailable: Some(unavailable) },
    }
}

/// Lists every feature, found or not.
///
/// # Errors
/// Returns an error when the kernel refuses a system call that this check and the engine need.
fn list(ring: &IoUring) -> Result<Vec<Feature>, Unavailable> {
    let mut probe = Probe::new();
    let probed = ring.submitter().register_probe(&mut probe);
    probed.map_err(|error| Unavailable::from_call("io_uring_register", &error))?;
    match enter::enter(RingHandle::Descriptor(ring.as_raw_fd()), 0, false) {
        // A ring that is not enabled yet answers with EBADFD.
        Err(error) if error.raw_os_error() != Some(libc::EBADFD) => {
            return Err(Unavailable::from_call("io_uring_enter", &error));
        }
        _ => {}
    }
    let parameters = ring.params();
    let need = |name, purpose, found| Feature { name, purpose, found, required: true };
    let like = |name, purpose, found| Feature { name, purpose, found, required: false };
    Ok(vec![
        need("SINGLE_ISSUER, DEFER_TASKRUN", "completions that run when the loop asks for them", true),
        need("FEAT_NODROP", "completions that are never lost", parameters.is_feature_nodrop()),
        need("OP_CONNECT", "dialing peers", probe.is_supported(opcode::Connect::CODE)),
        need("OP_RECV", "receiving", probe.is_supported(opcode::Recv::CODE)),
        need("OP_SENDMSG", "sending gathered segments", probe.is_supported(opcode::SendMsg::CODE)),
        need("OP_ASYNC_CANCEL", "closing a connection", probe.is_supported(opcode::AsyncCancel::CODE)),
        need("OP_TIMEOUT", "waits that end at a given time", probe.is_supported(opcode::Timeout::CODE)),
        need("OP_POLL_ADD", "waking a parked loop, accepting peers", probe.is_supported(opcode::PollAdd::CODE)),
        like(
            "FEAT_RECVSEND_BUNDLE",
            "nothing yet: measured, and not better here",
            parameters.is_feature_recvsend_bundle(),
        ),
    ])
}

/// Returns whether a test of io_uring must be left out, because the test run forbids io_uring (`forbid-io-uring`).
#[cfg(test)]
pub(super) fn is_forbidden() -> bool {
    std::env::var_os("IO_URING_FORBIDDEN").is_some()
}

#[cfg(test)]
mod tests {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

    use super::*;

    /// Forbids a system call to the calling thread, as a seccomp profile does.
    fn forbid(call: libc::c_long, error: libc::c_int) {
        let refused = SeccompAction::Errno(error as u32);
        let rules = [(call, Vec::new())].into_iter().collect();
        let architecture = std::env::consts::ARCH.try_into().unwrap();
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, architecture).unwrap();
        seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
    }

    /// Regression: a forbidden call was reported as an operation that the kernel lacks, with the advice to upgrade the
    /// kernel.
    #[test]
    fn a_call_that_seccomp_forbids_is_named_with_the_cure() {
        if is_forbidden() {
            return;
        }
        for (call, name) in
            [(libc::SYS_io_uring_register, "io_uring_register"), (libc::SYS_io_uring_enter, "io_uring_enter")]
        {
            for (error, said) in [(libc::EPERM, "refused"), (libc::EACCES, "refused"), (libc::ENOSYS, "not there")] {
                let [started, probed] = std::thread::spawn(move || {
                    forbid(call, error);
                    let started = set_up(8, 16).err().map(|error| error.to_string());
                    let report = probe();
                    assert!(report.features.is_empty());
                    [started, report.unavailable.map(|error| error.to_string())]
                })
                .join()
                .unwrap();
                assert_eq!(started, probed);
                let message = started.unwrap();
                assert!(message.starts_with(name) && message.contains(said), "{message}");
                assert!(message.contains("allow io_uring_setup, io_uring_enter and io_uring_register"), "{message}");
            }
        }
    }
}
