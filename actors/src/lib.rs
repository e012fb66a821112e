//! The data plane: the supervision tree and the units that copy and replicate.
//!
//! `NodeSupervisor → SourceSupervisor(source, epoch) → units`. The supervisors are actix actors that hold only state
//! and timers; a unit is plain async code ([`unit`]) that is watched, counted and replaced from outside.
//! [`load`] is the full copy, [`sync`] the continuous replication, [`progress`] and [`target`] the exactly-once
//! writing both use.

pub mod check;
mod computed;
pub(crate) mod definitions;
pub mod diff;
mod extended;
pub mod failpoint;
mod fit;
mod joining;
mod lenient;
pub mod load;
pub mod meta;
pub mod operator;
pub mod progress;
pub mod subtask;
pub mod supervision;
pub mod sync;
pub mod target;
pub mod unit;
