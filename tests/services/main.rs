//! Tests against real services. `scripts/setup` starts them and says where they are.

mod docker;
mod rehearsal;
mod store;
mod supply_chain;

use libtest_mimic::Arguments;

fn main() -> std::process::ExitCode {
    // Some tests need a process of their own that they can kill: this program again, with a job.
    if let Ok(job) = std::env::var(docker::JOB) {
        docker::work(&job);
        return std::process::ExitCode::SUCCESS;
    }
    let mut trials = Vec::new();
    trials.extend(docker::trials());
    trials.extend(rehearsal::trials());
    trials.extend(store::trials());
    trials.extend(supply_chain::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
