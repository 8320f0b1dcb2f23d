//! The engine's pure code, for valgrind to count its instructions: one file for each layer.
//!
//! What a function is given was made outside of the count, and what it returns is dropped outside of it.

mod inbox;
mod link;
mod ring;
mod stream;
mod wire;

use inbox::arrivals;
use link::sessions;
use ring::records;
use stream::envelopes;
use wire::segments;

gungraun::main!(library_benchmark_groups = segments, records, envelopes, sessions, arrivals);
