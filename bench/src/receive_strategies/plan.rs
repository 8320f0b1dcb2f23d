//! Choices of a driver, and all their combinations.

use std::fmt;

/// One combination of choices, used by both ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Way of receiving.
    pub receive: Receive,
    /// Way of waiting for completions.
    pub wait: Wait,
    /// Way of sending.
    pub send: Send,
}

/// Way of receiving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receive {
    /// One receive at a time into one contiguous buffer of 256 KiB.
    OneShot,
    /// One receive at a time into one buffer of 256 KiB; the kernel waits for readiness before it tries
    /// (`RECVSEND_POLL_FIRST`).
    OneShotPollFirst,
    /// One request, many completions, each with a buffer of 64 KiB from a provided ring.
    Multishot,
    /// Multishot, each completion with as many 16 KiB buffers as were filled (Linux 6.10).
    Bundle,
    /// Multishot, each completion with the next part of a 256 KiB buffer (Linux 6.12).
    Incremental,
}

/// Way of waiting for completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Sleeps in `io_uring_enter` until there is a completion.
    Parked,
    /// Watches shared memory, and enters the kernel only when deferred work is announced there.
    SpinFlag,
    /// Enters the kernel in a loop.
    SpinEnter,
}

/// Way of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Send {
    /// Sends through the ring, with a completion for each send.
    Completion,
    /// Sends through the ring, with a completion only for a failed send (`CQE_SKIP_SUCCESS`).
    SkipSuccess,
    /// Sends by a non-blocking `send(2)`; the rest that the socket does not take follows through the ring.
    Direct,
}

impl Plan {
    /// Returns every combination.
    pub fn all() -> Vec<Plan> {
        let mut plans = Vec::new();
        for receive in Receive::ALL {
            for wait in Wait::ALL {
                plans.extend(Send::ALL.map(|send| Plan { receive, wait, send }));
            }
        }
        plans
    }
}

impl Receive {
    const ALL: [Self; 5] = [Self::OneShot, Self::OneShotPollFirst, Self::Multishot, Self::Bundle, Self::Incremental];
}

impl Wait {
    const ALL: [Self; 3] = [Self::Parked, Self::SpinFlag, Self::SpinEnter];
}

impl Send {
    const ALL: [Self; 3] = [Self::Completion, Self::SkipSuccess, Self::Direct];
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let receive = match self.receive {
            Receive::OneShot => "one-shot",
            Receive::OneShotPollFirst => "one-shot poll-first",
            Receive::Multishot => "multishot",
            Receive::Bundle => "multishot bundle",
            Receive::Incremental => "multishot incremental",
        };
        let wait = match self.wait {
            Wait::Parked => "parked",
            Wait::SpinFlag => "spin on flag",
            Wait::SpinEnter => "spin on enter",
        };
        let send = match self.send {
            Send::Completion => "send cqe",
            Send::SkipSuccess => "send skip-cqe",
            Send::Direct => "send(2)",
        };
        write!(f, "{wait:<13} | {receive:<21} | {send}")
    }
}
