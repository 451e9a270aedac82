//! The `lifeboat-restore` binary.

fn main() -> std::process::ExitCode {
    lifeboat_restore::main()
}
