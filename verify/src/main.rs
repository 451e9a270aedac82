//! The `lifeboat-verify` binary.

fn main() -> std::process::ExitCode {
    lifeboat_verify::main()
}
