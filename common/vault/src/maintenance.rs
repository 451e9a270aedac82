//! Keeping a repository whole and small: checks and repairs, forgetting and pruning, and who may do what in it.

pub mod check;
pub(crate) mod forget;
pub(crate) mod members;
pub(crate) mod prune;
pub mod repair;
