//! Scenarios on real servers and real `dmnode` processes. Names say the topic; those that close a frequent question start
//! with its id (`f12_…`). Each reads as a sequence of phases; each owns its schemas, sources, tasks and meta schema, the
//! servers may be shared.

mod bad_inputs;
mod control;
mod copy_kills;
mod ddl;
mod deaths;
mod definitions;
mod differences;
mod faq;
mod fixtures;
mod kills;
mod lost_answers;
mod many_tables;
mod memory;
mod online;
mod operators;
mod pairs;
mod secrets;
mod selection;
mod soak;
mod stages;
mod starting;
mod tables;
mod tidy;
