//! Checks and tests the whole workspace with one command.

fn main() -> std::process::ExitCode {
    lifeboat_scripts::testing::main()
}
