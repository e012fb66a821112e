//! Tests of the state machine.

use std::collections::BTreeMap;

use dmnode_model::{Epoch, NodeId, SourceId, TaskName};
use proptest::prelude::*;

use crate::codec;
use crate::command::{Applied, Command, CommandKind, Expected, Refused};
use crate::error::codes;
use crate::machine::requests::REMEMBERED;
use crate::state::{DesiredStage, State};

/// Applies a command under a request id of its own.
pub(crate) fn run(state: &mut State, index: u64, kind: CommandKind) -> Result<Applied, Refused> {
    state.apply(index, &Command::new(format!("request-{index}"), kind)).outcome
}

/// A cluster of `count` nodes n1, n2, …
pub(crate) fn with_nodes(count: u64) -> State {
    let mut state = State::default();
    let reserved = (1..=count).map(|id| (format!("n{id}"), NodeId(id))).collect();
    run(&mut state, 1, CommandKind::InitCluster { cluster_id: "c".to_owned(), reserved }).unwrap();
    for id in 1..=count {
        run(&mut state, 1 + id, register(&format!("n{id}"), &format!("d{id}"), false)).unwrap();
    }
    state
}

fn register(name: &str, incarnation: &str, replace: bool) -> CommandKind {
    let addr = format!("{name}:8261");
    CommandKind::RegisterNode { name: name.to_owned(), addr, incarnation: incarnation.to_owned(), replace }
}

fn put_source(name: &str) -> CommandKind {
    CommandKind::PutSource { source: name.into(), config: "x".to_owned(), expected: Expected::Absent }
}

fn put_task(name: &str, sources: &[&str]) -> CommandKind {
    CommandKind::PutTask {
        task: name.into(),
        config: "y".to_owned(),
        expected: Expected::Any,
        sources: sources.iter().map(|source| SourceId::new(*source)).collect(),
        stage: DesiredStage::Running,
        start_time: None,
        safe_mode_seconds: None,
    }
}

fn assign(source: &str, node: u64, expected: Option<u64>) -> CommandKind {
    let expected_epoch = expected.map(Epoch);
    CommandKind::Assign { source: source.into(), node: NodeId(node), expected_epoch, pinned: false }
}

fn code(result: Result<Applied, Refused>) -> (u32, String) {
    let refused = result.unwrap_err();
    (refused.code, refused.message)
}

#[test]
fn names_get_the_ids_reserved_for_them_and_ids_are_never_reused() {
    let mut state = with_nodes(3);
    assert_eq!(state.node_by_name("n2").unwrap().0, NodeId(2));
    // The same directory again: the same id.
    let again = run(&mut state, 10, register("n2", "d2", false)).unwrap();
    assert_eq!(again, Applied::Node { node: NodeId(2), cluster_id: "c".to_owned() });
    // Another directory under a known name.
    assert_eq!(
        code(run(&mut state, 11, register("n2", "other", false))),
        (46003, "dm-worker with name n2 already exists (at n2:8261)".to_owned())
    );
    let new = run(&mut state, 12, register("n2", "other", true)).unwrap();
    assert_eq!(new, Applied::Node { node: NodeId(4), cluster_id: "c".to_owned() });
    assert!(state.is_retired(NodeId(2)) && !state.is_retired(NodeId(4)) && !state.is_retired(NodeId(5)));
    run(&mut state, 13, CommandKind::RemoveNode { node: NodeId(4) }).unwrap();
    let new = run(&mut state, 14, register("n2", "third", false)).unwrap();
    assert_eq!(new, Applied::Node { node: NodeId(5), cluster_id: "c".to_owned() });
    // The lost directory, found again, does not get its name back.
    assert_eq!(code(run(&mut state, 15, register("n2", "d2", false))).0, 46003);
}

#[test]
fn sources_follow_dms_rules() {
    let mut state = with_nodes(1);
    run(&mut state, 10, put_source("a")).unwrap();
    assert_eq!(
        code(run(&mut state, 11, put_source("a"))),
        (46007, "source config with ID a already exists".to_owned())
    );
    let update = |expected| CommandKind::PutSource { source: "a".into(), config: "z".to_owned(), expected };
    assert_eq!(code(run(&mut state, 12, update(Expected::Version(9)))).0, codes::CHANGED_MEANWHILE);
    run(&mut state, 13, update(Expected::Version(10))).unwrap();
    let remove = |source: &str| CommandKind::RemoveSource { source: source.into() };
    assert_eq!(
        code(run(&mut state, 14, remove("b"))),
        (46008, "source config with ID b not exists".to_owned())
    );
    run(&mut state, 15, put_task("t2", &["a"])).unwrap();
    run(&mut state, 16, put_task("t1", &["a"])).unwrap();
    assert_eq!(
        code(run(&mut state, 17, remove("a"))),
        (46010, "source with name a need to operate has existing tasks [t1 t2]".to_owned())
    );
}

#[test]
fn tasks_follow_dms_rules() {
    let mut state = with_nodes(1);
    for (index, source) in (10..).zip(["a", "b", "c"]) {
        run(&mut state, index, put_source(source)).unwrap();
    }
    assert_eq!(
        code(run(&mut state, 19, put_task("t", &["a", "x"]))),
        (46008, "source config with ID x not exists".to_owned())
    );
    run(&mut state, 20, put_task("t", &["a"])).unwrap();
    let added = run(&mut state, 21, put_task("t", &["b", "a"])).unwrap();
    assert_eq!(added, Applied::Task { version: 21, sources: vec!["b".into()] });
    assert_eq!(
        code(run(&mut state, 22, put_task("t", &["b", "a"]))),
        (46014, "subtasks with name t for sources [a b] already exist".to_owned())
    );
    let stage = |task: &str, sources: &[&str], stage| CommandKind::SetStage {
        task: task.into(),
        sources: sources.iter().map(|source| SourceId::new(*source)).collect(),
        stage,
    };
    assert_eq!(
        code(run(&mut state, 23, stage("u", &[], DesiredStage::Paused))),
        (46018, "task with name u not exist".to_owned())
    );
    assert_eq!(
        code(run(&mut state, 24, stage("t", &["a", "c"], DesiredStage::Paused))),
        (46017, "sources [c] need to be operate not exist".to_owned())
    );
    run(&mut state, 25, stage("t", &["a"], DesiredStage::Paused)).unwrap();
    run(&mut state, 26, stage("t", &[], DesiredStage::Running)).unwrap();
    let task = &state.tasks[&TaskName::new("t")];
    assert!(task.subtasks.values().all(|subtask| subtask.run_token == 26));
    let remove = |sources: &[&str]| CommandKind::RemoveSubtasks {
        task: "t".into(),
        sources: sources.iter().map(|source| SourceId::new(*source)).collect(),
    };
    run(&mut state, 27, remove(&["a"])).unwrap();
    assert_eq!(state.tasks[&TaskName::new("t")].subtasks.len(), 1);
    run(&mut state, 28, remove(&[])).unwrap();
    assert!(state.tasks.is_empty());
}

#[test]
fn an_assignment_holds_only_on_the_epoch_it_was_made_on() {
    let mut state = with_nodes(3);
    run(&mut state, 10, put_source("a")).unwrap();
    assert_eq!(code(run(&mut state, 11, assign("a", 9, None))).0, 46004);
    let Ok(Applied::Assigned { epoch: first }) = run(&mut state, 12, assign("a", 1, None)) else { panic!() };
    // A deposed leader's decision.
    assert_eq!(code(run(&mut state, 13, assign("a", 2, None))).0, codes::CHANGED_MEANWHILE);
    let Ok(Applied::Assigned { epoch: second }) = run(&mut state, 14, assign("a", 2, Some(first.0))) else {
        panic!()
    };
    assert_eq!(code(run(&mut state, 15, assign("a", 3, Some(first.0)))).0, codes::CHANGED_MEANWHILE);
    assert!(second > first);
    // Removed and created again: the epoch goes on growing.
    run(&mut state, 16, CommandKind::RemoveSource { source: "a".into() }).unwrap();
    run(&mut state, 17, put_source("a")).unwrap();
    let Ok(Applied::Assigned { epoch: third }) = run(&mut state, 18, assign("a", 1, None)) else { panic!() };
    assert!(third > second);
}

#[test]
fn a_repeated_request_is_applied_once_and_answered_the_same() {
    let mut state = with_nodes(1);
    let create = Command::new("r1", put_source("a"));
    let first = state.apply(10, &create);
    let before = state.clone();
    assert_eq!(state.apply(11, &create), first);
    assert_eq!(state, before);
    // A refusal is an answer as well.
    let refused = Command::new("r2", put_source("a"));
    let first = state.apply(12, &refused);
    run(&mut state, 13, CommandKind::RemoveSource { source: "a".into() }).unwrap();
    assert_eq!(state.apply(14, &refused), first);
    assert!(state.sources.is_empty());
    // The same id on something else is a mistake.
    let other = Command::new("r2", put_source("b"));
    assert_eq!(code(state.apply(15, &other).outcome).0, codes::REQUEST_ID_REUSED);
}

#[test]
fn the_memory_of_requests_is_bounded() {
    let mut state = with_nodes(1);
    for index in 10..10 + 2 * REMEMBERED as u64 {
        let _ = run(&mut state, index, CommandKind::RemoveSource { source: "none".into() });
    }
    assert_eq!(state.applied_requests.len(), REMEMBERED);
}

#[test]
fn nonsense_is_refused() {
    let mut state = with_nodes(1);
    assert_eq!(code(run(&mut state, 10, put_source(""))).0, codes::INVALID_COMMAND);
    assert_eq!(code(run(&mut state, 11, put_source(&"x".repeat(300)))).0, codes::INVALID_COMMAND);
    assert_eq!(code(run(&mut state, 12, put_task("t", &[]))).0, codes::INVALID_COMMAND);
    assert_eq!(code(run(&mut state, 13, CommandKind::RemoveNode { node: NodeId(1) })).0, codes::NODE_REFUSED);
}

#[test]
fn what_is_remembered_of_requests_is_bounded() {
    let mut state = with_nodes(1);
    let before = state.applied_requests.clone();
    for id in ["", &"x".repeat(1000)] {
        let refused = state.apply(50, &Command::new(id, put_source("a"))).outcome.unwrap_err();
        assert_eq!(refused.code, codes::INVALID_COMMAND);
    }
    assert_eq!(state.applied_requests, before);
    let kind = CommandKind::RemoveSource { source: SourceId::new("ä".repeat(100_000)) };
    let (code, message) = code(run(&mut state, 51, kind));
    assert_eq!(code, 46008);
    assert!(message.len() < 5000 && message.ends_with('…'), "{}", message.len());
    assert!(codec::encode(&state).unwrap().len() < 10_000);
}

fn any_kind() -> impl Strategy<Value = CommandKind> {
    let name = || prop::sample::select(vec!["a", "b", "c", ""]);
    let node = || (0..5_u64).prop_map(NodeId);
    let epoch = || (0..40_u64).prop_map(Epoch);
    let expected = || {
        prop_oneof![
            Just(Expected::Absent),
            Just(Expected::Present),
            Just(Expected::Any),
            (0..40_u64).prop_map(Expected::Version)
        ]
    };
    let stage = || prop_oneof![Just(DesiredStage::Running), Just(DesiredStage::Paused)];
    let sources = move || prop::collection::vec(name().prop_map(SourceId::new), 0..3);
    prop_oneof![
        Just(CommandKind::InitCluster { cluster_id: "c".to_owned(), reserved: BTreeMap::new() }),
        (name(), name(), any::<bool>()).prop_map(|(name, dir, replace)| register(name, dir, replace)),
        node().prop_map(|node| CommandKind::RemoveNode { node }),
        (name(), expected()).prop_map(|(source, expected)| CommandKind::PutSource {
            source: source.into(),
            config: "x".to_owned(),
            expected
        }),
        name().prop_map(|source| CommandKind::RemoveSource { source: source.into() }),
        (name(), expected(), sources(), stage()).prop_map(|(task, expected, sources, stage)| {
            CommandKind::PutTask {
                task: task.into(),
                config: "y".to_owned(),
                expected,
                sources,
                stage,
                start_time: None,
                safe_mode_seconds: None,
            }
        }),
        (name(), sources(), stage()).prop_map(|(task, sources, stage)| CommandKind::SetStage {
            task: task.into(),
            sources,
            stage
        }),
        (name(), sources())
            .prop_map(|(task, sources)| CommandKind::RemoveSubtasks { task: task.into(), sources }),
        (name(), sources(), stage()).prop_map(|(task, sources, stage)| CommandKind::AddSubtasks {
            task: task.into(),
            sources,
            stage,
            start_time: Some("now".to_owned())
        }),
        (name(), node(), prop::option::of(epoch())).prop_map(|(source, node, expected_epoch)| {
            CommandKind::Assign { source: source.into(), node, expected_epoch, pinned: false }
        }),
        (name(), epoch()).prop_map(|(source, expected_epoch)| CommandKind::Unassign {
            source: source.into(),
            expected_epoch
        }),
    ]
}

fn any_log() -> impl Strategy<Value = Vec<Command>> {
    let command = (0..60_u32, any_kind()).prop_map(|(id, kind)| Command::new(format!("r{id}"), kind));
    prop::collection::vec(command, 0..60)
}

proptest! {
    #[test]
    fn the_same_log_gives_the_same_bytes(log in any_log(), cut in 0..60_usize) {
        let mut whole = State::default();
        let replies: Vec<_> = (1..).zip(&log).map(|(index, command)| whole.apply(index, command)).collect();
        // Another replica starts from a snapshot in the middle.
        let mut other = State::default();
        let mut again = Vec::new();
        for (at, (index, command)) in (1..).zip(&log).enumerate() {
            if at == cut {
                other = codec::decode(&codec::encode(&other).unwrap()).unwrap();
            }
            again.push(other.apply(index, command));
        }
        prop_assert_eq!(replies, again);
        prop_assert_eq!(codec::encode(&whole).unwrap(), codec::encode(&other).unwrap());
    }

    #[test]
    fn references_hold_and_epochs_only_grow(log in any_log()) {
        let mut state = State::default();
        let mut highest: BTreeMap<SourceId, Epoch> = BTreeMap::new();
        let mut ids = 0;
        for (index, command) in (1..).zip(&log) {
            let before = state.clone();
            let reply = state.apply(index, command);
            if reply.outcome.is_err() {
                let mut unchanged = before.clone();
                unchanged.applied_requests = state.applied_requests.clone();
                prop_assert_eq!(&unchanged, &state, "a refused command changed something");
            }
            prop_assert!(state.next_node_id >= ids);
            ids = state.next_node_id;
            for (source, assignment) in &state.assignments {
                prop_assert!(state.sources.contains_key(source));
                let earlier = highest.insert(source.clone(), assignment.epoch);
                prop_assert!(earlier.is_none_or(|earlier| earlier <= assignment.epoch));
                if before.assignments.get(source) != Some(assignment) {
                    prop_assert!(earlier.is_none_or(|earlier| earlier < assignment.epoch));
                }
            }
            for task in state.tasks.values() {
                prop_assert!(!task.subtasks.is_empty());
                prop_assert!(task.subtasks.keys().all(|source| state.sources.contains_key(source)));
            }
            let names: std::collections::BTreeSet<_> = state.nodes.values().map(|node| &node.name).collect();
            prop_assert_eq!(names.len(), state.nodes.len());
        }
    }
}
