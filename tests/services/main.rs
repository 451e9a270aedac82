//! Tests against real services. `scripts/setup` starts them and writes their addresses.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod age;
mod at_rest;
mod docker;
mod fields;
mod full_disk;
mod gc;
mod limits;
mod loop_disk;
mod programs;
mod reader;
mod rehearsal;
mod restoring;
mod roles;
mod sandbox;
mod slow;
mod small_engine;
mod storage;
mod store;
mod supply_chain;
mod volumes;
mod walls;

use libtest_mimic::Arguments;
use lifeboat_tests::repository::Binaries;

const BINARIES: Binaries =
    Binaries { backup: env!("CARGO_BIN_EXE_tested-backup"), restore: env!("CARGO_BIN_EXE_tested-restore") };

fn main() -> std::process::ExitCode {
    // Some tests need a process of their own that they can kill: this program again, with a job.
    if let Ok(job) = std::env::var(docker::JOB) {
        docker::work(&job);
        return std::process::ExitCode::SUCCESS;
    }
    let mut trials = Vec::new();
    trials.extend(age::trials());
    trials.extend(at_rest::trials());
    trials.extend(docker::trials());
    trials.extend(fields::trials());
    trials.extend(full_disk::trials());
    trials.extend(gc::trials());
    trials.extend(programs::trials());
    trials.extend(reader::trials());
    trials.extend(rehearsal::trials());
    trials.extend(restoring::trials());
    trials.extend(roles::trials());
    trials.extend(sandbox::trials());
    trials.extend(slow::trials());
    trials.extend(small_engine::trials());
    trials.extend(storage::trials());
    trials.extend(store::trials());
    trials.extend(supply_chain::trials());
    trials.extend(volumes::trials());
    trials.extend(limits::trials());
    trials.extend(walls::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
