//! The network of real consensus libraries: three nodes of openraft or of tikv's raft, whose clients write as fast as
//! they are answered.
//!
//! - [`compare`] measures writes of all [`contenders`] in interleaved rounds; [`modes`] measures an idle group, the
//!   loss of a leader, and a large snapshot beside writes.
//! - [`command`] is the command line.
//! - `group` starts a process for each node and leads the processes through a measurement; `member` is such a process.
//!   They talk by the lines of `protocol`.
//! - `openraft` and `raft_rs` hold the nodes of each library. A contender is one file there, which gives the nodes a
//!   network.
//! - `content` is what clients write and nodes replicate, `recorder` what is kept of the clients' writes.
//!
//! Clients run in the process of the leader. A client on another machine would add the same to each contender.

pub mod command;
pub mod compare;
pub mod contenders;
pub mod modes;

mod content;
mod group;
mod member;
mod openraft;
mod protocol;
mod raft_rs;
mod recorder;

pub use group::MEMBER;
pub use protocol::Library;

use contenders::Contender;
use protocol::Job;

/// Runs a process of a group, whose `job` is JSON.
pub fn serve(job: &str) -> Result<(), Box<dyn std::error::Error>> {
    let job: Job = serde_json::from_str(job)?;
    let contender = Contender::find(job.library, &job.contender).ok_or("there is no such contender")?;
    (contender.serve)(&job);
    Ok(())
}
