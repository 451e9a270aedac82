//! The command line of `scripts/setup`.

use super::part::Part;
use super::parts;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    Ensure { only: Vec<String>, require_all: bool },
    Stop,
    Help,
}

pub(super) fn parse(args: impl Iterator<Item = String>) -> Result<Request, String> {
    let (mut only, mut require_all, mut stop) = (Vec::new(), false, false);
    let mut args = args;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-h" | "--help" => return Ok(Request::Help),
            "--require-all" => require_all = true,
            "--stop" => stop = true,
            "--only" => {
                let names = args.next().ok_or("--only wants names of parts, separated by commas")?;
                only.extend(names.split(',').map(str::to_owned));
            }
            _ => return Err(format!("unknown argument {arg:?}")),
        }
    }
    if let Some(name) = only.iter().find(|name| parts::find(name).is_none()) {
        return Err(format!("no part is called {name:?}"));
    }
    match (stop, only.is_empty() && !require_all) {
        (true, true) => Ok(Request::Stop),
        (true, false) => Err("--stop stands alone".to_owned()),
        (false, _) => Ok(Request::Ensure { only, require_all }),
    }
}

pub(super) fn help() -> String {
    let parts: Vec<String> =
        parts::ALL.iter().map(|Part { name, title, .. }| format!("  {name:<18} {title}")).collect();
    format!(
        "\
Installs what Lifeboat's tests and demo need and is missing, and starts it.
Asks nothing; run twice, it changes nothing. Needs Debian or Ubuntu, and root
or a sudo that does not ask for a password.

Usage: scripts/setup [--only PART,...] [--require-all]
       scripts/setup --stop

  --only PART,...  only these parts and what they need
  --require-all    fail if any part cannot be had
  --stop           stop what setup started, and nothing else
  -h, --help       this text

Parts:
{}

Programs, logs and data go to $XDG_CACHE_HOME/lifeboat-dev (usually
~/.cache/lifeboat-dev). Its file `env` names what the tests may use.",
        parts.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> Result<Request, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn parts_are_named_and_checked() {
        let only = vec!["docker".to_owned(), "minio".to_owned()];
        assert_eq!(request("--only docker,minio"), Ok(Request::Ensure { only, require_all: false }));
        assert!(request("--only dokker").is_err());
        assert!(request("--only").is_err());
    }

    #[test]
    fn stop_stands_alone() {
        assert_eq!(request("--stop"), Ok(Request::Stop));
        assert!(request("--stop --require-all").is_err());
        assert!(request("--now").is_err());
    }
}
