//! openraft's storage traits on dmnode-storage.

mod log;
mod machine;
mod snapshot;
#[cfg(test)]
mod suite;

pub(crate) use log::Log;
pub(crate) use machine::{Machine, Replica};
