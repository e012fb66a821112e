//! Fixtures for the scenarios: real servers, real `dmnode` processes, real faults.
//!
//! - [`workspace`]: where the binaries are, a directory per run, ports nobody uses.
//! - [`process`]: child processes that never outlive the test run.
//! - [`server`]: throw-away MariaDB and MySQL servers, private or shared by the tests of one run.
//! - [`cluster`]: one to three nodes; kill, freeze, stop and restart them, and ask them by `dmnode ctl`.
//! - [`files`]: the source and task files, as a user of DM writes them.
//! - [`chaos`]: the fault proxy and the workload as processes.
//! - [`compare`]: a comparison of rows that shares no code with `dmnode ctl diff`.
//! - [`types`]: a table with a column of every common type.
//! - [`wait`]: bounded waiting.

pub mod chaos;
pub mod cluster;
pub mod compare;
pub mod files;
pub mod process;
pub mod server;
pub mod types;
pub mod wait;
pub mod workspace;
