//! How changes are applied: conflicts, modes, write sets, size.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod conflicts;
mod duplicates;
mod foreign_keys;
mod long_keys;
mod modes;
mod safe_mode;
mod size;
#[path = "../support/stream_rig.rs"]
mod stream_rig;
#[path = "../support/mod.rs"]
mod support;
mod vectors;
mod write_sets;
