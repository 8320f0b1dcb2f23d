//! Builds libzmq 4.3.5 from the sources that `zeromq-src` vendors, as a distribution would build it.
//!
//! By default, `zeromq-src` compiles with an empty `platform.hpp`. That library works, but it wakes its threads through
//! socket pairs instead of eventfds, and it is unoptimized in a debug build. A peer in a benchmark must not be
//! handicapped: the switches that libzmq's own `configure` finds on Linux are passed here as compiler flags.
//!
//! To measure with another libzmq, set `CLUSTER_BENCH_LIBZMQ` to the folder that holds its `libzmq.so`.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=CLUSTER_BENCH_LIBZMQ");
    if let Ok(folder) = env::var("CLUSTER_BENCH_LIBZMQ") {
        println!("cargo:rustc-link-search=native={folder}");
        println!("cargo:rustc-link-lib=dylib=zmq");
        return;
    }

    let defines: Vec<String> = LINUX_FEATURES.iter().map(|name| format!("-D{name}=1")).collect();
    let flags = format!("{} {CACHE_LINE} {}", env::var("CXXFLAGS").unwrap_or_default(), defines.join(" "));
    // SAFETY: the build script has one thread, so that no other thread accesses the environment.
    unsafe {
        env::set_var("CXXFLAGS", flags);
        env::set_var("OPT_LEVEL", "2");
        env::set_var("PROFILE", "release");
        env::set_var("DEBUG", "false");
    }
    zeromq_src::Build::new().build();
}

/// Features that libzmq's `configure` detects on a Linux with glibc, beyond those that `zeromq-src` defines itself.
const LINUX_FEATURES: [&str; 22] = [
    "HAVE_ACCEPT4",
    "HAVE_CLOCK_GETTIME",
    "HAVE_FORK",
    "HAVE_IF_NAMETOINDEX",
    "HAVE_MKDTEMP",
    "HAVE_POSIX_MEMALIGN",
    "ZMQ_HAVE_BUSY_POLL",
    "ZMQ_HAVE_EVENTFD",
    "ZMQ_HAVE_EVENTFD_CLOEXEC",
    "ZMQ_HAVE_IFADDRS",
    "ZMQ_HAVE_NOEXCEPT",
    "ZMQ_HAVE_O_CLOEXEC",
    "ZMQ_HAVE_PPOLL",
    "ZMQ_HAVE_PTHREAD_SETNAME_2",
    "ZMQ_HAVE_PTHREAD_SET_AFFINITY",
    "ZMQ_HAVE_SOCK_CLOEXEC",
    "ZMQ_HAVE_SO_BINDTODEVICE",
    "ZMQ_HAVE_SO_KEEPALIVE",
    "ZMQ_HAVE_SO_PEERCRED",
    "ZMQ_HAVE_SO_PRIORITY",
    "ZMQ_HAVE_TCP_KEEPIDLE",
    "ZMQ_IOTHREAD_POLLER_USE_EPOLL_CLOEXEC",
];

const CACHE_LINE: &str = "-DZMQ_CACHELINE_SIZE=64";
