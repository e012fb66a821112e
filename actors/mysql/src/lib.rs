//! dmnode-mysql
