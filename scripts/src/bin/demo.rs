//! Shows Lifeboat's main job on this machine, from a running application to a drill report.

fn main() -> std::process::ExitCode {
    lifeboat_scripts::demo::main()
}
