//! The `lifeboat-sign` binary.

fn main() -> std::process::ExitCode {
    lifeboat_sign::main()
}
