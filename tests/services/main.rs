//! Tests against real services. `scripts/setup` starts them and says where they are.

use libtest_mimic::{Arguments, Trial};

mod supply_chain;

fn main() -> std::process::ExitCode {
    let mut trials: Vec<Trial> = Vec::new();
    trials.extend(supply_chain::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
