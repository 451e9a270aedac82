//! The command line of `scripts/demo`.

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Options {
    /// Use a folder and an OCI layout, without containers.
    pub(super) no_docker: bool,
    /// Keep what the demo created, to look at it.
    pub(super) keep: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    Show(Options),
    Clean,
    Help,
}

pub(super) fn parse(args: impl Iterator<Item = String>) -> Result<Request, String> {
    let mut options = Options::default();
    let mut clean = false;
    for arg in args {
        match arg.as_str() {
            "-h" | "--help" => return Ok(Request::Help),
            "--no-docker" => options.no_docker = true,
            "--keep" => options.keep = true,
            "--clean" => clean = true,
            _ => return Err(format!("unknown argument {arg:?}")),
        }
    }
    match (clean, options == Options::default()) {
        (true, true) => Ok(Request::Clean),
        (true, false) => Err("--clean stands alone".to_owned()),
        (false, _) => Ok(Request::Show(options)),
    }
}

pub(super) const HELP: &str = "\
Shows Lifeboat's main job, from a running application to a drill report: a
database is backed up, the restore is rehearsed in scratch containers, an image
and its SBOM are signed and verified, and a tampered image is refused. Every
command is shown as you would type it. Takes minutes, and cleans up after
itself; the drill report stays, and the last line says where.

Usage: scripts/demo [--no-docker] [--keep]
       scripts/demo --clean

  --no-docker  the same story on a folder, a repository folder and an OCI
               layout on disk: needs nothing but the Rust toolchain
  --keep       leave what the demo made, to look at
  --clean      remove what `--keep`, or a demo that was killed, left behind
  -h, --help   this text

Exit codes: 0 every step came out as expected, 1 one did not, 2 usage,
130 interrupted";

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> Result<Request, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_two_stories_are_told_apart() {
        assert_eq!(request(""), Ok(Request::Show(Options::default())));
        let options = Options { no_docker: true, keep: true };
        assert_eq!(request("--keep --no-docker"), Ok(Request::Show(options)));
        assert!(request("--fast").is_err());
    }

    #[test]
    fn clean_stands_alone() {
        assert_eq!(request("--clean"), Ok(Request::Clean));
        assert!(request("--clean --keep").is_err());
    }
}
