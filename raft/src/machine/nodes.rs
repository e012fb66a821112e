//! Commands about nodes.

use std::collections::BTreeMap;

use dmnode_model::NodeId;

use super::{Outcome, refuse};
use crate::command::Applied;
use crate::error::codes;
use crate::state::{NodeEntry, State};

impl State {
    pub(super) fn init_cluster(&mut self, cluster_id: &str, reserved: &BTreeMap<String, NodeId>) -> Outcome {
        if self.cluster_id == cluster_id {
            return Ok(Applied::Done);
        }
        if !self.cluster_id.is_empty() {
            return refuse(
                codes::CHANGED_MEANWHILE,
                format!("the cluster is named {} already", self.cluster_id),
            );
        }
        self.cluster_id = cluster_id.to_owned();
        self.reserved = reserved.clone();
        let highest = reserved.values().map(|id| id.0).max().unwrap_or(0);
        self.next_node_id = self.next_node_id.max(highest + 1).max(1);
        Ok(Applied::Done)
    }

    pub(super) fn register_node(
        &mut self,
        name: &str,
        addr: &str,
        incarnation: &str,
        replace: bool,
    ) -> Outcome {
        if self.cluster_id.is_empty() {
            return refuse(codes::CHANGED_MEANWHILE, "the cluster has no name yet");
        }
        let known = self.node_by_name(name).map(|(id, entry)| (id, entry.clone()));
        if let Some((other, entry)) =
            self.nodes.iter().find(|(_, entry)| entry.addr == addr && entry.name != name)
        {
            return refuse(
                codes::NODE_REFUSED,
                format!("the address {addr} belongs to node `{}` (id {other}) already", entry.name),
            );
        }
        let node = match known {
            Some((id, entry)) if entry.incarnation == incarnation => id,
            Some((_, entry)) if !replace => {
                return refuse(
                    46003,
                    format!("dm-worker with name {name} already exists (at {})", entry.addr),
                );
            }
            Some((lost, _)) => {
                self.nodes.remove(&lost);
                self.allocate()
            }
            None => match self.reserved.remove(name) {
                Some(id) => id,
                None => self.allocate(),
            },
        };
        let entry =
            NodeEntry { name: name.to_owned(), addr: addr.to_owned(), incarnation: incarnation.to_owned() };
        self.nodes.insert(node, entry);
        Ok(Applied::Node { node, cluster_id: self.cluster_id.clone() })
    }

    pub(super) fn remove_node(&mut self, node: NodeId) -> Outcome {
        let Some(entry) = self.nodes.get(&node) else {
            return refuse(46004, format!("dm-worker with name {node} not exists"));
        };
        if self.nodes.len() == 1 {
            return refuse(codes::NODE_REFUSED, format!("`{}` is the only node of the cluster", entry.name));
        }
        self.nodes.remove(&node);
        Ok(Applied::Done)
    }

    /// Whether this id was given out once and is not in use any more.
    pub(crate) fn is_retired(&self, node: NodeId) -> bool {
        node.0 < self.next_node_id
            && !self.nodes.contains_key(&node)
            && !self.reserved.values().any(|id| *id == node)
    }

    fn allocate(&mut self) -> NodeId {
        let id = self.next_node_id.max(1);
        self.next_node_id = id + 1;
        NodeId(id)
    }
}
