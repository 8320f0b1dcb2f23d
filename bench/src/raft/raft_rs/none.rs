//! No network: the nodes of one process put messages into each other's queue. The ceiling for all networks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use raft::eraftpb::Message;

use super::network::Endpoint;
use crate::raft::protocol::{Addresses, Id};

/// End of a node whose peers are in the same process.
pub struct NoNetwork {
    queues: Queues,
    id: Id,
}

/// Messages to each node.
type Queues = Arc<Mutex<BTreeMap<Id, VecDeque<Message>>>>;

impl Endpoint for NoNetwork {
    type Bound = Queues;

    fn bind(ids: &[Id]) -> Result<Vec<(Queues, String)>, String> {
        let queues = Queues::default();
        Ok(ids.iter().map(|_| (queues.clone(), "in this process".to_owned())).collect())
    }

    fn connect(queues: Queues, id: Id, _: &Addresses) -> Result<Self, String> {
        Ok(Self { queues, id })
    }

    fn send(&mut self, message: Message) -> bool {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.entry(message.to).or_default().push_back(message);
        true
    }

    fn receive(&mut self, _: Duration, each: &mut dyn FnMut(Message)) {
        let messages = self.queues.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
        messages.into_iter().flatten().for_each(each);
    }
}
