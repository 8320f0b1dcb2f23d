//! Nodes of tikv's raft in this process, over the network of a contender, all on one thread.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::clients::{Clients, Event};
use super::network::Endpoint;
use super::node::Node;
use crate::child::reply;
use crate::raft::content::Content;
use crate::raft::member::Nodes;
use crate::raft::protocol::{Addresses, Compared, Contacts, Id, Job, Load, Reply, Settings};
use crate::raft::recorder::Recorder;

/// Nodes of one process. Their thread ends with the process.
pub struct RaftRsNodes<E: Endpoint> {
    bound: Vec<(Id, E::Bound)>,
    settings: Settings,
    contents: BTreeMap<Id, Arc<Mutex<Content>>>,
    orders: Option<Sender<Order>>,
    events: Option<Receiver<Event>>,
}

/// Order to the thread of the nodes.
enum Order {
    Lead,
    Write(Clients),
}

impl<E: Endpoint + 'static> Nodes for RaftRsNodes<E> {
    fn open(job: &Job) -> Result<(Self, Addresses), String> {
        let (mut bound, mut addresses) = (Vec::new(), Addresses::new());
        for (&id, (end, address)) in job.ids.iter().zip(E::bind(&job.ids)?) {
            bound.push((id, end));
            addresses.insert(id, address);
        }
        let contents = job.ids.iter().map(|id| (*id, Arc::default())).collect();
        Ok((Self { bound, settings: job.settings, contents, orders: None, events: None }, addresses))
    }

    fn start(&mut self, addresses: Addresses) -> Result<(), String> {
        let bound = std::mem::take(&mut self.bound);
        let (contents, settings) = (self.contents.clone(), self.settings);
        let (give, orders) = channel();
        self.orders = Some(give);
        thread::spawn(move || {
            let nodes = bound.into_iter().map(|(id, bound)| {
                let end = E::connect(bound, id, &addresses)?;
                let content = contents.get(&id).cloned().unwrap_or_default();
                Node::new(id, end, content, &settings)
            });
            let outcome = nodes.collect::<Result<_, _>>().and_then(|nodes| run(nodes, &orders));
            if let Err(reason) = outcome {
                reply(&Reply::Failed(reason));
            }
        });
        Ok(())
    }

    fn lead(&mut self) -> Result<(), String> {
        self.order(Order::Lead)
    }

    fn write(&mut self, load: Load, recorder: Arc<Recorder>) -> Result<(), String> {
        let (give, events) = channel();
        self.order(Order::Write(Clients::new(load, recorder, give)))?;
        let events = self.events.insert(events);
        events.recv().map(drop).map_err(|_| "the thread of the nodes has ended".to_owned())
    }

    fn rest(&mut self) -> Result<(), String> {
        let events = self.events.take().ok_or("no client writes")?;
        while events.recv().map_err(|_| "the thread of the nodes has ended")? != Event::Ended {}
        Ok(())
    }

    fn compact(&mut self) -> Result<(), String> {
        Err("snapshots are measured with openraft".to_owned())
    }

    fn join(&mut self, _: Id) -> Result<(), String> {
        Err("snapshots are measured with openraft".to_owned())
    }

    fn contacts(&mut self) -> Vec<Contacts> {
        Vec::new()
    }

    fn compare(&mut self, writes: u64, limit: Duration) -> Vec<Compared> {
        let deadline = Instant::now() + limit;
        let compare = |(&node, content): (&Id, &Arc<Mutex<Content>>)| {
            loop {
                let content = content.lock().unwrap_or_else(PoisonError::into_inner);
                if content.summary().writes >= writes || Instant::now() >= deadline {
                    return Compared { node, summary: content.summary(), digest: content.digest() };
                }
                drop(content);
                thread::sleep(Duration::from_millis(2));
            }
        };
        self.contents.iter().map(compare).collect()
    }
}

impl<E: Endpoint> RaftRsNodes<E> {
    fn order(&self, order: Order) -> Result<(), String> {
        let orders = self.orders.as_ref().ok_or("the nodes have not started")?;
        orders.send(order).map_err(|_| "the thread of the nodes has ended".to_owned())
    }
}

/// Turns the nodes until the process gives no more orders. Several nodes are turned in a circle; their thread sleeps
/// when a whole circle has found nothing.
fn run<E: Endpoint>(mut nodes: Vec<Node<E>>, orders: &Receiver<Order>) -> Result<(), String> {
    let patience = if nodes.len() == 1 { ORDERS } else { Duration::ZERO };
    loop {
        while let Ok(order) = orders.try_recv() {
            let leader = nodes.first_mut().ok_or("there is no node")?;
            match order {
                Order::Lead => leader.lead()?,
                Order::Write(clients) => leader.write(clients),
            }
        }
        let mut worked = false;
        for node in &mut nodes {
            worked |= node.turn(patience)?;
        }
        if !worked && nodes.len() > 1 {
            // No node has a message for another one, so that nothing happens before a tick or an order.
            let next_tick = nodes.iter().map(Node::next_tick).min().unwrap_or_else(Instant::now);
            thread::sleep(next_tick.saturating_duration_since(Instant::now()).min(ORDERS));
        }
    }
}

/// Longest time after which a thread that waits for messages looks for orders.
const ORDERS: Duration = Duration::from_millis(100);
