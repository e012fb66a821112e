//! dmnode-tests
