//! The full copy: every chunk knows its position.
//!
//! A table is cut into chunks; each chunk is read in a consistent snapshot whose exact source position is known and is
//! written together with its chunk-done row in one target transaction. The stream that follows skips exactly what a
//! chunk already contains ([`filter::ChunkFilter`]). After a crash, finished chunks stay; the missing ones are read in
//! new snapshots at new positions.

mod chunks;
mod columns;
mod copy;
pub mod dump;
pub mod files;
pub mod filter;
#[cfg(test)]
mod fuzz;
mod inventory;
mod join;
pub mod key;
mod parcel;
mod plan;
mod prepare;
mod progress;
mod run;
mod snapshot;
mod statistics;
mod text;

pub use filter::{ChunkFilter, DdlCopied};
pub(crate) use inventory::source_error;
pub(crate) use join::{join_statements, made_by_copy};
pub use run::{LoadSpec, Loaded, run};
