//! dmnode
