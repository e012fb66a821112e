//! The state machine: every decision is checked against the version it was made on, and nothing but the state and
//! the command takes part, so that every replica decides the same.

mod decisions;
mod nodes;
mod requests;
mod sources;
mod tables;
mod tasks;
#[cfg(test)]
pub(crate) mod tests;

use crate::codec;
use crate::command::{Applied, Command, CommandKind, CommandReply, Refused};
use crate::error::codes;
use crate::state::State;

/// Longest name of anything, and longest request id.
const MAX_NAME: usize = 256;
/// Longest message of a refusal.
const MAX_MESSAGE: usize = 4096;
/// Longest configuration.
const MAX_CONFIG: usize = 2 * 1024 * 1024;

type Outcome = Result<Applied, Refused>;

impl State {
    /// Applies the command of log entry `index`. A request applied before is answered as it was then.
    pub(crate) fn apply(&mut self, index: u64, command: &Command) -> CommandReply {
        let digest = digest(command);
        if let Some(earlier) = self.applied_requests.get(&command.request_id) {
            return if earlier.digest == digest {
                earlier.reply.clone()
            } else {
                let message =
                    format!("request id {} was used for another command before", command.request_id);
                CommandReply { index, outcome: Err(Refused { code: codes::REQUEST_ID_REUSED, message }) }
            };
        }
        let mut outcome = check_lengths(command).and_then(|()| self.decide(index, &command.kind));
        if let Err(refused) = &mut outcome {
            shorten(&mut refused.message);
        }
        let reply = CommandReply { index, outcome };
        // What is remembered is bounded; such an id is refused the next time as well.
        if is_name(&command.request_id) {
            self.applied_requests.remember(index, &command.request_id, digest, &reply);
        }
        reply
    }

    fn decide(&mut self, index: u64, kind: &CommandKind) -> Outcome {
        match kind {
            CommandKind::InitCluster { cluster_id, reserved } => self.init_cluster(cluster_id, reserved),
            CommandKind::RegisterNode { name, addr, incarnation, replace } => {
                self.register_node(name, addr, incarnation, *replace)
            }
            CommandKind::RemoveNode { node } => self.remove_node(*node),
            CommandKind::PutSource { source, config, expected } => {
                self.put_source(index, source, config, *expected)
            }
            CommandKind::RemoveSource { source } => self.remove_source(source),
            CommandKind::PutTask {
                task,
                config,
                expected,
                sources,
                stage,
                start_time,
                safe_mode_seconds,
            } => {
                let start = tasks::Start {
                    stage: *stage,
                    time: start_time.clone(),
                    safe_mode_seconds: *safe_mode_seconds,
                };
                self.put_task(index, task, config, *expected, sources, &start)
            }
            CommandKind::UpdateTask { task, config, expected, tables } => {
                self.update_task(index, task, config, *expected, tables)
            }
            CommandKind::ChangeTables { task, changes } => self.change_tables(index, task, changes),
            CommandKind::SettleTables { task, source, joined } => self.settle_tables(task, source, joined),
            CommandKind::AddSubtasks { task, sources, stage, start_time } => {
                let start = tasks::Start { stage: *stage, time: start_time.clone(), safe_mode_seconds: None };
                self.add_subtasks(index, task, sources, &start)
            }
            CommandKind::RemoveSubtasks { task, sources } => self.remove_subtasks(task, sources),
            CommandKind::SetStage { task, sources, stage } => self.set_stage(index, task, sources, *stage),
            CommandKind::Assign { source, node, expected_epoch, pinned } => {
                self.assign(index, source, *node, *expected_epoch, *pinned)
            }
            CommandKind::Unassign { source, expected_epoch } => self.unassign(index, source, *expected_epoch),
            CommandKind::DecideEvent { task, positions, op, statements } => {
                self.decide_event(index, task, positions, *op, statements)
            }
            CommandKind::SettleDecisions { task, source, before } => {
                self.settle_decisions(task, source, before)
            }
        }
    }
}

/// Identifies what a request asks for, so that a reused request id is noticed.
fn digest(command: &Command) -> u32 {
    // Encoding plain data cannot fail; should it, all such commands share a digest and the check is weaker.
    crc32fast::hash(&codec::encode(&command.kind).unwrap_or_default())
}

fn check_lengths(command: &Command) -> Result<(), Refused> {
    let mut names: Vec<&str> = vec![&command.request_id];
    let mut configs: Vec<&str> = Vec::new();
    match &command.kind {
        CommandKind::InitCluster { cluster_id, reserved } => {
            names.push(cluster_id);
            names.extend(reserved.keys().map(String::as_str));
        }
        CommandKind::RegisterNode { name, addr, incarnation, .. } => {
            names.extend([name.as_str(), addr, incarnation])
        }
        CommandKind::PutSource { source, config, .. } => {
            names.push(source.as_str());
            configs.push(config);
        }
        CommandKind::PutTask { task, config, .. } | CommandKind::UpdateTask { task, config, .. } => {
            names.push(task.as_str());
            configs.push(config);
        }
        CommandKind::DecideEvent { task, statements, .. } => {
            names.push(task.as_str());
            configs.extend(statements.iter().map(String::as_str));
        }
        _ => {}
    }
    if !names.iter().all(|name| is_name(name)) {
        return Err(invalid(format!("a name is empty or longer than {MAX_NAME} bytes")));
    }
    if configs.iter().any(|config| config.len() > MAX_CONFIG) {
        return Err(invalid(format!("a configuration is longer than {MAX_CONFIG} bytes")));
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME
}

/// Refusals quote what they refuse, and are remembered.
fn shorten(message: &mut String) {
    if message.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
}

fn refuse<T>(code: u32, message: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { code, message: message.into() })
}

fn invalid(message: String) -> Refused {
    Refused { code: codes::INVALID_COMMAND, message }
}

/// Prints names as DM's messages do: `[a b]`.
fn list<T: std::fmt::Display>(names: impl IntoIterator<Item = T>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    format!("[{}]", names.join(" "))
}
