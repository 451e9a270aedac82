//! Shared code of the test suites: running the binaries, and gates for real services.

pub mod archive;
pub mod authority;
pub mod command;
pub mod course;
pub mod documents;
pub mod gate;
pub mod http;
pub mod layout;
pub mod log;
pub mod network;
pub mod polyglot;
pub mod registry;
pub mod repository;
pub mod s3;
pub mod sheet;
pub mod terminal;
pub mod tree;
