//! Against real servers, which each test starts for itself.

#![allow(missing_docs)]

mod all_types;
mod reading;
mod roundtrip;
mod servers;
mod sessions;
