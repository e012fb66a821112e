//! Which node works for which source: the leader's decisions, each proposed on the epoch it was made on.

use std::collections::{BTreeMap, BTreeSet};

use dmnode_model::NodeId;

use crate::command::CommandKind;
use crate::state::State;

/// What the leader knows about the nodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outlook {
    /// Heard of lately.
    pub alive: BTreeSet<NodeId>,
    /// Silent for too long.
    pub lost: BTreeSet<NodeId>,
}

/// The assignments to propose now: sources without an owner, and those of lost or removed nodes, go to the live
/// nodes with the least to do. Everything else stays where it is, and where an operator put it.
pub(crate) fn plan(state: &State, outlook: &Outlook) -> Vec<CommandKind> {
    let candidates = || outlook.alive.iter().filter(|node| state.nodes.contains_key(node));
    let mut load: BTreeMap<NodeId, usize> = candidates().map(|node| (*node, 0)).collect();
    let mut homeless = Vec::new();
    for source in state.sources.keys() {
        let assignment = state.assignments.get(source);
        let owner = assignment
            .and_then(|assignment| assignment.node)
            .filter(|node| state.nodes.contains_key(node) && !outlook.lost.contains(node));
        match owner {
            Some(node) => {
                if let Some(count) = load.get_mut(&node) {
                    *count += 1;
                }
            }
            None => homeless.push((source, assignment.map(|assignment| assignment.epoch))),
        }
    }
    let mut commands = Vec::new();
    for (source, expected_epoch) in homeless {
        // Nobody left: the source stays where it is until somebody is.
        let Some(node) = load.iter().min_by_key(|(node, count)| (**count, **node)).map(|(node, _)| *node)
        else {
            break;
        };
        if let Some(count) = load.get_mut(&node) {
            *count += 1;
        }
        commands.push(CommandKind::Assign { source: source.clone(), node, expected_epoch, pinned: false });
    }
    commands
}

#[cfg(test)]
mod tests {
    use dmnode_model::SourceId;

    use super::*;
    use crate::machine::tests::{run, with_nodes};
    use crate::{Assignment, Expected};

    fn state(nodes: u64, sources: &[&str]) -> State {
        let mut state = with_nodes(nodes);
        for (number, source) in sources.iter().enumerate() {
            let kind = CommandKind::PutSource {
                source: SourceId::new(*source),
                config: String::new(),
                expected: Expected::Absent,
            };
            run(&mut state, 100 + number as u64, kind).unwrap();
        }
        state
    }

    fn outlook(alive: &[u64], lost: &[u64]) -> Outlook {
        Outlook {
            alive: alive.iter().map(|id| NodeId(*id)).collect(),
            lost: lost.iter().map(|id| NodeId(*id)).collect(),
        }
    }

    fn apply(state: &mut State, index: u64, commands: Vec<CommandKind>) {
        for (number, command) in commands.into_iter().enumerate() {
            run(state, index + number as u64, command).unwrap();
        }
    }

    fn owners(state: &State) -> BTreeMap<&str, u64> {
        let owner = |a: &Assignment| a.node.map_or(0, |node| node.0);
        state.assignments.iter().map(|(source, a)| (source.as_str(), owner(a))).collect()
    }

    #[test]
    fn sources_spread_and_stay() {
        let mut state = state(3, &["a", "b", "c", "d"]);
        let all = outlook(&[1, 2, 3], &[]);
        let commands = plan(&state, &all);
        apply(&mut state, 200, commands);
        assert_eq!(owners(&state), BTreeMap::from([("a", 1), ("b", 2), ("c", 3), ("d", 1)]));
        assert!(plan(&state, &all).is_empty());
        // Silent, but not for long enough.
        assert!(plan(&state, &outlook(&[1, 3], &[])).is_empty());
        let commands = plan(&state, &outlook(&[2, 3], &[1]));
        apply(&mut state, 300, commands);
        assert_eq!(owners(&state), BTreeMap::from([("a", 2), ("b", 2), ("c", 3), ("d", 3)]));
        // Node 1 comes back: nothing moves by itself.
        assert!(plan(&state, &all).is_empty());
    }

    #[test]
    fn nobody_alive_leaves_all_as_it_is() {
        let mut state = state(2, &["a"]);
        let commands = plan(&state, &outlook(&[1], &[]));
        apply(&mut state, 200, commands);
        assert!(plan(&state, &outlook(&[], &[1, 2])).is_empty());
    }

    #[test]
    fn the_sources_of_a_removed_node_move() {
        let mut state = state(2, &["a"]);
        let commands = plan(&state, &outlook(&[1, 2], &[]));
        apply(&mut state, 200, commands);
        run(&mut state, 250, CommandKind::RemoveNode { node: NodeId(1) }).unwrap();
        let commands = plan(&state, &outlook(&[1, 2], &[]));
        apply(&mut state, 300, commands);
        assert_eq!(owners(&state), BTreeMap::from([("a", 2)]));
    }
}
