//! dmnode-storage
