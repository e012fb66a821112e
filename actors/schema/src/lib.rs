//! dmnode-schema
