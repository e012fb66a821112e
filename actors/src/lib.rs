//! dmnode-actors
