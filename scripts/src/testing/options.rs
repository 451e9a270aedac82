//! The command line of `scripts/test`.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tier {
    Hermetic,
    Services,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// Install and start nothing, and give no test a service.
    pub(super) hermetic: bool,
    /// Only the tests of one tier, without the other checks.
    pub(super) tier: Option<Tier>,
    /// Run measurements in full, not with a sample.
    pub(super) long: bool,
    /// Only tests whose name contains this, without the other checks.
    pub(super) name: Option<String>,
}

impl Options {
    /// Whether formatting, lints, dependencies and documentation are checked too.
    pub(super) fn is_whole(&self) -> bool {
        self.tier.is_none() && self.name.is_none()
    }

    /// Whether the attacks on the vault run, which a plain `cargo test` leaves out.
    pub(super) fn wants_attacks(&self) -> bool {
        let names_one = |name: &String| ["hostile", "model"].iter().any(|part| name.contains(part));
        self.tier != Some(Tier::Services) && self.name.as_ref().is_none_or(names_one)
    }

    pub(super) fn wants_services(&self) -> bool {
        !self.hermetic && self.tier != Some(Tier::Hermetic)
    }
}

pub(super) enum Request {
    Test(Options),
    Help,
}

pub(super) fn parse(args: impl Iterator<Item = String>) -> Result<Request, String> {
    let mut options = Options::default();
    let mut args = args;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-h" | "--help" => return Ok(Request::Help),
            "--hermetic" => options.hermetic = true,
            "--long" => options.long = true,
            "--tier" => {
                options.tier = Some(match args.next().as_deref() {
                    Some("hermetic") => Tier::Hermetic,
                    Some("services") => Tier::Services,
                    _ => return Err("--tier wants `hermetic` or `services`".to_owned()),
                });
            }
            _ if arg.starts_with('-') => return Err(format!("unknown argument {arg:?}")),
            _ if options.name.is_some() => return Err("only one NAME can be given".to_owned()),
            _ => options.name = Some(arg),
        }
    }
    if options.hermetic && options.tier == Some(Tier::Services) {
        return Err("--hermetic and --tier services contradict each other".to_owned());
    }
    Ok(Request::Test(options))
}

pub(super) const HELP: &str = "\
Checks and tests Lifeboat: sets up what the tests need, then formatting, lints,
dependencies, documentation and all tests. Everything runs, also after a
failure; the last lines sum up.

Usage: scripts/test [--hermetic] [--tier TIER] [--long] [NAME]

  --hermetic     install and start nothing: tests without their service are
                 ignored, or fail where CI is set
  --tier TIER    only the tests of one tier, without the other checks:
                 hermetic (needs nothing) or services (needs real servers)
  --long         with all rows, sizes and mutants of which a sample runs
                 otherwise: hours
  NAME           only the tests whose name contains NAME, likewise
  -h, --help     this text";

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Option<Options> {
        match parse(line.split_whitespace().map(str::to_owned)) {
            Ok(Request::Test(options)) => Some(options),
            _ => None,
        }
    }

    #[test]
    fn a_tier_or_a_name_leaves_the_other_checks_out() {
        assert_eq!(options("").map(|options| options.is_whole()), Some(true));
        assert_eq!(options("--hermetic").map(|options| options.is_whole()), Some(true));
        assert_eq!(options("--tier services").map(|options| options.is_whole()), Some(false));
        assert_eq!(options("sparse").map(|options| options.is_whole()), Some(false));
    }

    #[test]
    fn attacks_run_with_everything_that_needs_no_service_and_by_name() {
        for (line, wanted) in [
            ("", true),
            ("--hermetic", true),
            ("--tier hermetic", true),
            ("--tier services", false),
            ("sparse", false),
            ("hostile::claims", true),
            ("--tier hermetic prune::model", true),
        ] {
            assert_eq!(options(line).map(|options| options.wants_attacks()), Some(wanted), "{line}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        assert_eq!(options("--tier services --hermetic"), None);
        assert_eq!(options("--tier fast"), None);
        assert_eq!(options("one two"), None);
    }
}
