//! Faults and load for dmnode, from outside: dmnode is a process and its databases are servers, nothing here looks inside.
//!
//! - [`proxy`]: a TCP proxy in user space that knows where a MySQL packet ends, so that it can lose exactly the answer of
//!   a COMMIT; it also holds, cuts, refuses and slows connections.
//! - [`control`]: the line protocol by which a test or a person tells a running proxy what to do.
//! - [`tables`]: the mixed tables (composite keys, character keys, no key at all, every common type) and their rows.
//! - [`workload`]: live writes from many connections, each reproducible from one seed.
//! - [`soak`]: random DML and DDL on tables of every type.
//! - [`seed_data`]: a few hundred thousand rows of the mixed tables, quickly.

pub mod control;
pub mod proxy;
pub mod seed_data;
pub mod server;
pub mod soak;
pub mod tables;
pub mod workload;
