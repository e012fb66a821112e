//! Scenarios on real servers and real `dmnode` processes. Names say the topic; those that close a frequent question start
//! with its id (`f12_…`).

mod fixtures;
