//! Against real servers, which each test starts for itself.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod all_types;
mod reading;
mod roundtrip;
mod servers;
mod sessions;
