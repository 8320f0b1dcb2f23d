//! Pure code of the engine, whose instructions valgrind counts: one file for each layer.
//!
//! Arguments of a function are made before the count, and its result is dropped after it.

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
