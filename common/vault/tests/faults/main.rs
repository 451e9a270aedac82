//! Faults of the store and of hosts: nothing that was committed is lost, whatever happens.

mod kills;
mod pruning;
mod yard;
