//! Tests that need nothing but the file system.

use lifeboat_tests::repository::Binaries;

mod copy;
mod damage;
mod errors;
mod exclude;
mod round_trip;
mod search;
mod supply_chain;
mod write_only;

const BINARIES: Binaries =
    Binaries { backup: env!("CARGO_BIN_EXE_tested-backup"), restore: env!("CARGO_BIN_EXE_tested-restore") };
