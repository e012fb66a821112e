//! `task-mode: load` and `load&sync`: a directory of dump files into the target.
//!
//! Files of Dumpling, mydumper and dmnode are known by their names. Rows are written together with a mark that says how
//! many statements of their file are there, in one target transaction: whatever crashes, each statement takes effect once.

mod catalog;
mod file;
#[cfg(test)]
mod fuzz;
mod marks;
mod run;
mod splitter;
mod statement;

pub use run::run;
