//! dmnode-cli
