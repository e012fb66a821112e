//! The state machine of one supervised subtask: pure, driven by events and a clock that is passed in.
//!
//! | state | meaning | leaves by |
//! |---|---|---|
//! | Running | a generation is at work | exit, hang, changed wish |
//! | Cancelling | told to end, not idle yet | exit |
//! | BackingOff | waits for the next generation | time, changed wish |
//! | Paused | idle, by an operator or by an error that needs one | changed wish |
//! | Finished | the work is complete | changed run token, removal |
//! | Gone | removed and idle | – |

use std::time::{Duration, Instant};

use dmnode_model::codes::{self, Policy};
use dmnode_model::error::CodedError;
use dmnode_model::policy;
use dmnode_model::status::Stage;

use super::options::SupervisionLimits;
use crate::unit::UnitDone;

/// What is wanted of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Run; a changed token means: from the start, whatever happened before.
    Run { token: u64 },
    /// Be idle and keep everything.
    Pause,
    /// Be idle and disappear.
    Remove,
}

/// How a generation ended.
#[derive(Clone, Debug)]
pub(super) enum Exit {
    Done(UnitDone),
    Failed(CodedError),
    Panicked(String),
    /// Aborted by the supervisor.
    Aborted,
}

/// What the owner of the state machine has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Start the generation.
    Spawn,
    /// Ask the running generation to end.
    Cancel,
    /// End it at its next await.
    Abort,
    /// Drop the child.
    Forget,
}

/// Why a cancelled generation was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Because {
    Wish,
    Hang,
}

#[derive(Clone, Debug)]
enum State {
    Running { started: Instant, beats: u64, beaten: Instant },
    Cancelling { because: Because, since: Instant, beats: u64, beaten: Instant, aborted: bool },
    BackingOff { until: Instant },
    Paused { by_operator: bool },
    Finished,
    Gone,
}

/// Deaths of a child, counted apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Deaths {
    pub panics: u64,
    pub errors: u64,
    pub hangs: u64,
}

/// One supervised subtask.
#[derive(Debug)]
pub(super) struct Child {
    limits: SupervisionLimits,
    wish: Wish,
    state: State,
    /// Token the current or last generation was started for.
    token: u64,
    /// Failures in a row without a healthy time between.
    failures: u32,
    /// The code of the last failures and how many of them in a row had it.
    equal: (u32, u32),
    deaths: Deaths,
    last_cause: String,
    error: Option<CodedError>,
}

impl Child {
    /// A child with a first wish. The effects start it if it is to run.
    pub fn new(limits: SupervisionLimits, wish: Wish, deaths: Deaths, now: Instant) -> (Self, Vec<Effect>) {
        let mut child = Self {
            limits,
            wish,
            state: State::Paused { by_operator: true },
            token: 0,
            failures: 0,
            equal: (0, 0),
            deaths,
            last_cause: String::new(),
            error: None,
        };
        let effects = match wish {
            Wish::Run { token } => child.start(token, now),
            Wish::Pause => Vec::new(),
            Wish::Remove => child.gone(),
        };
        (child, effects)
    }

    /// The owner wants something else (or the same again). `restart` forces a new generation.
    pub fn wish(&mut self, wish: Wish, restart: bool, now: Instant) -> Vec<Effect> {
        self.wish = wish;
        match (&mut self.state, wish) {
            (State::Gone, _) => Vec::new(),
            (State::Running { .. }, Wish::Run { token }) if token == self.token && !restart => Vec::new(),
            (State::Running { beats, beaten, .. }, _) => {
                self.state = State::Cancelling {
                    because: Because::Wish,
                    since: now,
                    beats: *beats,
                    beaten: (*beaten).max(now),
                    aborted: false,
                };
                vec![Effect::Cancel]
            }
            // The exit decides by the wish of that moment. A hang that is being cleared away is no longer a failure
            // to wait for when the operator has asked for something else.
            (State::Cancelling { .. }, _) => Vec::new(),
            (_, Wish::Remove) => self.gone(),
            (State::Finished, Wish::Run { token }) if token == self.token => Vec::new(),
            (State::Finished, Wish::Pause) => Vec::new(),
            (State::BackingOff { .. }, Wish::Run { token }) if token == self.token && !restart => Vec::new(),
            (State::Paused { by_operator: false }, Wish::Run { token }) if token == self.token => Vec::new(),
            (_, Wish::Run { token }) => self.start(token, now),
            (_, Wish::Pause) => {
                self.state = State::Paused { by_operator: true };
                Vec::new()
            }
        }
    }

    /// Other limits, from now on.
    pub fn set_limits(&mut self, limits: SupervisionLimits) {
        self.limits = limits;
    }

    /// The current generation ended.
    pub fn exited(&mut self, exit: Exit, jitter: f64, now: Instant) -> Vec<Effect> {
        let (because, healthy) = match &self.state {
            State::Running { started, .. } => {
                (None, now.duration_since(*started) >= self.limits.healthy_after)
            }
            State::Cancelling { because, .. } => (Some(*because), false),
            State::BackingOff { .. } | State::Paused { .. } | State::Finished | State::Gone => {
                return Vec::new();
            }
        };
        if healthy {
            self.recovered();
        }
        let failure = match (&exit, because) {
            (Exit::Panicked(cause), _) => {
                self.deaths.panics += 1;
                Some(CodedError::new(codes::UNIT_PANICKED, "a unit panicked").cause(cause))
            }
            (Exit::Failed(error), _) => {
                self.deaths.errors += 1;
                Some(error.clone())
            }
            // Counted when it was found.
            (_, Some(Because::Hang)) => Some(self.hang_error()),
            (Exit::Aborted, None) => {
                self.deaths.errors += 1;
                Some(CodedError::new(codes::UNIT_PANICKED, "a unit was ended from outside"))
            }
            (Exit::Done(UnitDone::Cancelled), None) => {
                // Nobody asked it to: as good as an error, else it would silently stand still.
                self.deaths.errors += 1;
                Some(CodedError::new(codes::UNIT_PANICKED, "a unit ended before its work was complete"))
            }
            (Exit::Aborted | Exit::Done(_), _) => None,
        };
        if let Some(error) = &failure {
            self.last_cause = error.to_string();
        }
        match self.wish {
            Wish::Remove => self.gone(),
            Wish::Pause => {
                if matches!(exit, Exit::Done(UnitDone::Finished)) {
                    self.error = None;
                    self.state = State::Finished;
                } else {
                    self.error = failure;
                    self.state = State::Paused { by_operator: true };
                }
                Vec::new()
            }
            Wish::Run { token } if token != self.token => self.start(token, now),
            Wish::Run { token } => match failure {
                Some(error) => {
                    let retry = self.retries(error.code);
                    self.error = Some(error);
                    if retry {
                        self.back_off(jitter, now);
                    } else {
                        self.state = State::Paused { by_operator: false };
                    }
                    Vec::new()
                }
                None if matches!(exit, Exit::Done(UnitDone::Finished)) => {
                    self.error = None;
                    self.state = State::Finished;
                    Vec::new()
                }
                None => self.start(token, now),
            },
        }
    }

    /// Time has passed; `beats` is the heartbeat of the current generation.
    pub fn tick(&mut self, beats_now: u64, now: Instant) -> Vec<Effect> {
        let limit = self.limits.hang_limit;
        let grace = self.limits.abort_grace;
        match &mut self.state {
            State::Running { started, beats, beaten } => {
                if *beats != beats_now {
                    (*beats, *beaten) = (beats_now, now);
                }
                if now.duration_since(*started) >= self.limits.healthy_after {
                    (self.failures, self.equal) = (0, (0, 0));
                }
                if now.duration_since(*beaten) < limit {
                    return Vec::new();
                }
                self.deaths.hangs += 1;
                self.last_cause = self.hang_error().to_string();
                self.state = State::Cancelling {
                    because: Because::Hang,
                    since: now,
                    beats: beats_now,
                    beaten: now,
                    aborted: false,
                };
                vec![Effect::Cancel]
            }
            State::Cancelling { because, since, beats, beaten, aborted } => {
                if *beats != beats_now {
                    (*beats, *beaten) = (beats_now, now);
                }
                // A hung unit gets a short grace; one that drains gets all the time it makes progress in.
                let late = match because {
                    Because::Hang => now.duration_since(*since) >= grace,
                    Because::Wish => now.duration_since(*beaten) >= limit,
                };
                if late && !*aborted {
                    *aborted = true;
                    return vec![Effect::Abort];
                }
                Vec::new()
            }
            State::BackingOff { until } if now >= *until => {
                let token = self.token;
                self.start(token, now)
            }
            State::BackingOff { .. } | State::Paused { .. } | State::Finished | State::Gone => Vec::new(),
        }
    }

    /// DM's name for the state.
    pub fn stage(&self) -> Stage {
        match (&self.state, self.wish) {
            (State::Running { .. }, _) => Stage::Running,
            (State::Cancelling { .. }, Wish::Pause) => Stage::Pausing,
            (State::Cancelling { .. }, Wish::Remove) => Stage::Stopping,
            (State::Cancelling { .. }, Wish::Run { .. }) | (State::BackingOff { .. }, _) => Stage::Resuming,
            (State::Paused { .. }, _) => Stage::Paused,
            (State::Finished, _) => Stage::Finished,
            (State::Gone, _) => Stage::Stopped,
        }
    }

    /// The error that holds or delays the child, and whether an operator's pause does.
    pub fn result(&self) -> (Option<&CodedError>, bool) {
        let by_operator = matches!(self.state, State::Paused { by_operator: true });
        let shown = matches!(self.state, State::Paused { .. } | State::BackingOff { .. });
        (self.error.as_ref().filter(|_| shown), by_operator)
    }

    /// When the next attempt begins, and how many in a row have failed; none when nothing is tried again by itself.
    pub fn retry(&self) -> Option<(Instant, u32)> {
        match self.state {
            State::BackingOff { until } => Some((until, self.failures)),
            State::Running { .. }
            | State::Cancelling { .. }
            | State::Paused { .. }
            | State::Finished
            | State::Gone => None,
        }
    }

    /// Deaths so far.
    pub fn deaths(&self) -> Deaths {
        self.deaths
    }

    /// Why the last generation died; empty if none did.
    pub fn last_cause(&self) -> &str {
        &self.last_cause
    }

    fn start(&mut self, token: u64, now: Instant) -> Vec<Effect> {
        if token != self.token {
            self.recovered();
            self.error = None;
        }
        self.token = token;
        self.state = State::Running { started: now, beats: 0, beaten: now };
        vec![Effect::Spawn]
    }

    fn gone(&mut self) -> Vec<Effect> {
        self.state = State::Gone;
        vec![Effect::Forget]
    }

    fn recovered(&mut self) {
        self.failures = 0;
        self.equal = (0, 0);
    }

    /// Whether the child is started again by itself after a failure with this code.
    fn retries(&mut self, code: u32) -> bool {
        if self.equal.0 != code {
            self.equal = (code, 0);
        }
        let before = self.equal.1;
        self.equal.1 = before.saturating_add(1);
        (self.limits.auto_resume || policy::is_handover(code))
            && policy::decide(code, before) == Policy::Retry
    }

    fn back_off(&mut self, jitter: f64, now: Instant) {
        let delay = self.limits.back_off(self.failures, jitter);
        self.failures = self.failures.saturating_add(1);
        self.state = State::BackingOff { until: now + delay };
    }

    fn hang_error(&self) -> CodedError {
        let limit: Duration = self.limits.hang_limit;
        CodedError::new(codes::UNIT_HUNG, format!("a unit made no progress for {limit:?}"))
    }
}

#[cfg(test)]
#[path = "child_tests.rs"]
mod tests;
