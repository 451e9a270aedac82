//! Installs and starts what the tests and the demo need.

fn main() -> std::process::ExitCode {
    lifeboat_scripts::setup::main()
}
