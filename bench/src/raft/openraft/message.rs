//! Calls between nodes and their answers as bytes, the same for all networks that carry bytes.
//!
//! A message is a byte that tells its kind, and a body in postcard's format. The data of a chunk follows the body as it
//! is: postcard would take it byte by byte.

use openraft::error::{InstallSnapshotError, RaftError};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use openraft::{BasicNode, SnapshotMeta, Vote};
use serde::{Deserialize, Serialize};

use super::types::{Raft, Types};

/// Call of a node.
#[derive(Debug)]
pub enum Request {
    /// Entries, or a heartbeat.
    Append(AppendEntriesRequest<Types>),
    /// Request for a vote.
    Vote(VoteRequest<u64>),
    /// Chunk of a snapshot.
    Chunk(InstallSnapshotRequest<Types>),
}

/// Answer to a call.
#[derive(Debug, Serialize, Deserialize)]
pub enum Response {
    /// Answer to entries.
    Append(Result<AppendEntriesResponse<u64>, RaftError<u64>>),
    /// Answer to a request for a vote.
    Vote(Result<VoteResponse<u64>, RaftError<u64>>),
    /// Answer to a chunk.
    Chunk(Result<InstallSnapshotResponse<u64>, RaftError<u64, InstallSnapshotError>>),
}

/// Chunk without its data.
#[derive(Serialize, Deserialize)]
struct ChunkHead {
    vote: Vote<u64>,
    meta: SnapshotMeta<u64, BasicNode>,
    offset: u64,
    done: bool,
}

impl Request {
    /// Appends the call to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Append(call) => put(APPEND, call, out),
            Self::Vote(call) => put(VOTE, call, out),
            Self::Chunk(call) => {
                let InstallSnapshotRequest { vote, meta, offset, data, done } = call;
                put(CHUNK, &ChunkHead { vote: *vote, meta: meta.clone(), offset: *offset, done: *done }, out);
                out.extend_from_slice(data);
            }
        }
    }

    /// Returns the call that these bytes are.
    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        let (kind, body) = bytes.split_first().ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        match *kind {
            APPEND => postcard::from_bytes(body).map(Self::Append),
            VOTE => postcard::from_bytes(body).map(Self::Vote),
            CHUNK => {
                let (head, data) = postcard::take_from_bytes(body)?;
                let ChunkHead { vote, meta, offset, done } = head;
                Ok(Self::Chunk(InstallSnapshotRequest { vote, meta, offset, data: data.to_vec(), done }))
            }
            _ => Err(postcard::Error::DeserializeBadEnum),
        }
    }

    /// Has a node answer the call.
    pub async fn answer(self, raft: &Raft) -> Response {
        match self {
            Self::Append(call) => Response::Append(raft.append_entries(call).await),
            Self::Vote(call) => Response::Vote(raft.vote(call).await),
            Self::Chunk(call) => Response::Chunk(raft.install_snapshot(call).await),
        }
    }

    /// Returns whether the call is part of a transfer of much data.
    pub fn is_bulk(&self) -> bool {
        matches!(self, Self::Chunk(_))
    }
}

impl Response {
    /// Appends the answer to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        write(self, out);
    }

    /// Returns the answer that these bytes are.
    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(bytes)
    }
}

fn put(kind: u8, body: &impl Serialize, out: &mut Vec<u8>) {
    out.push(kind);
    write(body, out);
}

fn write(value: &impl Serialize, out: &mut Vec<u8>) {
    postcard::to_io(value, out).expect("messages can be encoded, and memory takes all bytes");
}

const APPEND: u8 = 0;
const VOTE: u8 = 1;
const CHUNK: u8 = 2;

#[cfg(test)]
mod tests {
    use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId};

    use super::*;
    use crate::raft::content::Write;

    fn decoded(call: &Request) -> Request {
        let mut bytes = Vec::new();
        call.encode(&mut bytes);
        Request::decode(&bytes).unwrap()
    }

    #[test]
    fn calls_are_read_as_they_were_written() {
        let log_id = LogId::new(CommittedLeaderId::new(3, 1), 300);
        let payload = EntryPayload::Normal(Write::new(7, 9, 4096));
        let append = AppendEntriesRequest {
            vote: Vote::new_committed(3, 1),
            prev_log_id: Some(log_id),
            entries: vec![Entry { log_id, payload }, Entry { log_id, payload: EntryPayload::Blank }],
            leader_commit: None,
        };
        let Request::Append(read) = decoded(&Request::Append(append.clone())) else { panic!("another kind") };
        assert_eq!((read.vote, read.prev_log_id, read.entries), (append.vote, append.prev_log_id, append.entries));

        let vote = VoteRequest { vote: Vote::new(4, 2), last_log_id: Some(log_id) };
        assert!(matches!(decoded(&Request::Vote(vote.clone())), Request::Vote(read) if read == vote));

        let meta = SnapshotMeta { last_log_id: Some(log_id), ..SnapshotMeta::default() };
        let data = (0..=255).collect();
        let chunk = InstallSnapshotRequest { vote: Vote::new(4, 2), meta, offset: 1 << 40, data, done: true };
        assert!(matches!(decoded(&Request::Chunk(chunk.clone())), Request::Chunk(read) if read == chunk));
    }

    #[test]
    fn bytes_that_are_no_call_are_refused() {
        for bytes in [&[][..], &[9], &[APPEND], &[CHUNK, 1], &[APPEND, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]] {
            assert!(Request::decode(bytes).is_err(), "{bytes:?}");
        }
        // A claimed length costs no memory.
        assert!(Request::decode(&[APPEND, 1, 1, 1, 0, 0xff, 0xff, 0xff, 0xff, 0x7f]).is_err());
    }

    #[test]
    fn answers_are_read_as_they_were_written() {
        let mut bytes = Vec::new();
        Response::Append(Ok(AppendEntriesResponse::Conflict)).encode(&mut bytes);
        assert!(matches!(Response::decode(&bytes), Ok(Response::Append(Ok(AppendEntriesResponse::Conflict)))));
        assert!(Response::decode(&bytes[..1]).is_err());
    }
}
