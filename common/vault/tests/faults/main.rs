//! Faults of the store and of hosts: nothing that was committed is lost, whatever happens.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

mod depending;
mod ending;
mod groups;
mod hosts;
mod kills;
mod lies;
mod losing;
mod pruning;
mod slow;
mod test_repository;
