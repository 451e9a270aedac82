//! The `lifeboat-backup` binary.

fn main() -> std::process::ExitCode {
    lifeboat_backup::main()
}
