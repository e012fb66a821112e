//! `task-mode: dump`: the tables as files, in the layout of Dumpling and mydumper.
//!
//! Everything is read in one consistent snapshot, whose position stands in the file `metadata`. That file is written last:
//! a directory that has it is complete. An interrupted dump begins again in the directory it has emptied.

mod counters;
pub(crate) mod directory;
pub(crate) mod layout;
mod output;
mod rows;
mod run;
mod table;

pub use run::{Dumped, run};
