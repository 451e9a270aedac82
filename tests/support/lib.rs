//! What the test suites share: running the binaries, and gates for real services.

pub mod command;
pub mod gate;
pub mod repository;
pub mod tree;
