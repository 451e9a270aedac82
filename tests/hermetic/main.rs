//! Tests that need only the file system.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use lifeboat_tests::repository::Binaries;

mod bad_day;
mod check;
mod command_line;
mod copy;
mod damage;
mod damage_matrix;
mod diff;
mod doctor;
mod documents;
mod errors;
mod exclude;
mod forgetting;
mod help;
mod interrupting;
mod members;
mod odd_names;
mod progress;
mod recipients;
mod recovery_sheet;
mod release;
mod repair;
mod restoring;
mod round_trip;
mod search;
mod storage_errors;
mod store;
mod store_folder;
mod store_http;
mod supply_chain;
mod unfinished;
mod write_only;

const BINARIES: Binaries =
    Binaries { backup: env!("CARGO_BIN_EXE_tested-backup"), restore: env!("CARGO_BIN_EXE_tested-restore") };
