//! Tests against real services. `scripts/setup` starts them and says where they are.

use libtest_mimic::{Arguments, Trial};

fn main() -> std::process::ExitCode {
    let trials: Vec<Trial> = Vec::new();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
