//! The Docker Engine as Lifeboat uses it: which volumes exist and who mounts them ([`selection`]), where their bytes
//! are ([`volume`]), what an application consists of ([`definitions`]), stopping it and starting it again
//! ([`quiesce`]), and scratch copies of it for rehearsals ([`scratch`]), each of which is marked with its owner
//! ([`ownership`]).
//!
//! Everything here works with engines from 20.10 (API 1.41) on. Answers that are kept or judged are read as the engine
//! sent them (`Engine::get`); changes go through the client library. Nothing is ever created by accident: what is named
//! must exist, and every object that Lifeboat creates for itself has its labels.

mod compose;
pub mod definitions;
pub mod disturbed;
mod document;
mod engine;
mod error;
pub mod held;
mod machine_key;
mod means;
mod near;
pub mod order;
mod own_labels;
pub mod ownership;
pub mod quiesce;
mod reach;
pub mod redaction;
pub mod scratch;
pub mod selection;
pub mod volume;

pub use engine::{DEFAULT_SOCKET, Engine, EngineFacts};
pub use error::EngineError;
pub use means::{CgroupDriver, Cgroups, EngineMeans};
pub use reach::Reach;
