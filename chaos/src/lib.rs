//! dmnode-chaos
