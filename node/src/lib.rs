//! A node: one process that is a member of the Raft group, a worker for the sources assigned to it, and a
//! door to the cluster for everybody who asks.
//!
//! - [`settings`]: flags, file and defaults become [`settings::Settings`]; [`logging`] follows them
//! - [`run`]: the life of the process, from the listener to the clean stop
//! - [`server`]: the one listener: `/raft/*`, `/api/ctl/*`, `/internal/*`, `/health`
//! - [`wiring`]: what the replicated state wants of this node becomes the supervision tree's wishes
//! - [`control`]: the commands of `dmnode ctl`
//! - [`peers`]: asking other nodes

pub mod control;
pub mod logging;
pub mod peers;
pub mod run;
pub mod server;
pub mod settings;
pub mod wiring;

pub use run::start;
pub use settings::StartArgs;

/// Version and, when it is known, the commit.
pub const VERSION: &str = match env!("DMNODE_COMMIT").len() {
    0 => env!("CARGO_PKG_VERSION"),
    _ => concat!(env!("CARGO_PKG_VERSION"), " (", env!("DMNODE_COMMIT"), ")"),
};
