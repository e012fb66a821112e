//! openraft's storage traits on dmnode-storage.

mod log;
mod machine;
mod snapshot;

pub(crate) use log::Log;
pub(crate) use machine::{Machine, Replica};
