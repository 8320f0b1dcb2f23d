//! Links the distribution's libnng where it is installed (Debian: `libnng-dev`). Where it is not, everything builds all the
//! same, and says so when it is used.
//!
//! The crate `nng` would build the library from source with cmake, but its last release is of 2021.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=CLUSTER_BENCH_LIBNNG");
    println!("cargo:rustc-check-cfg=cfg(has_nng)");
    if let Ok(folder) = env::var("CLUSTER_BENCH_LIBNNG") {
        println!("cargo:rustc-link-search=native={folder}");
    } else {
        println!("cargo:rerun-if-changed={HEADER}");
        if !Path::new(HEADER).exists() {
            println!("cargo:warning=without NNG: {HEADER} is not there (Debian: apt-get install libnng-dev)");
            return;
        }
    }
    println!("cargo:rustc-cfg=has_nng");
    println!("cargo:rustc-link-lib=dylib=nng");
}

const HEADER: &str = "/usr/include/nng/nng.h";
