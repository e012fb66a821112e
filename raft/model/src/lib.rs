//! dmnode-model
