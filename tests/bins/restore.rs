//! The `lifeboat-restore` binary as the tests run it: always as fresh as the tests themselves.

fn main() -> std::process::ExitCode {
    lifeboat_restore::main()
}
