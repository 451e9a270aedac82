//! Parses the process's arguments: accepts flags before the verb, and makes errors useful to scripts and to users of
//! other tools.

use std::ffi::{OsStr, OsString};

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::{Failure, Program, help, tip};

/// Flags of the verbs that may also come before the verb, and whether they take a value.
const BEFORE_THE_VERB: [(&str, bool); 3] = [("-r", true), ("--repository", true), ("--allow-http", false)];

/// Flags of all verbs that take a value; the value is not the verb.
const WITH_A_VALUE: [&str; 2] = ["--state-dir", "--progress"];

/// Verbs of other tools, each with our equivalents.
const ELSEWHERE: [(&str, &[&str]); 10] = [
    ("snapshots", &["list"]),
    ("backup", &["run"]),
    ("create", &["run"]),
    ("restore", &["path", "volume"]),
    ("extract", &["path", "volume"]),
    ("cat", &["dump"]),
    ("verify", &["check", "image"]),
    ("compact", &["prune"]),
    ("generate-key-pair", &["keygen"]),
    ("drill", &["rehearse"]),
];

/// Parses `arguments`, the first of which is the program's name.
pub(crate) fn parse<P: Program>(arguments: impl IntoIterator<Item = OsString>) -> Result<P, clap::Error> {
    let arguments = verb_first(arguments.into_iter().collect());
    let mut command = help::laid_out(P::command(), help::width());
    let parsed = command.try_get_matches_from_mut(&arguments);
    let mut matches = parsed.map_err(|error| tip::that_works(error, &command, &arguments))?;
    P::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut P::command()))
}

/// The arguments, with leading [`BEFORE_THE_VERB`] flags moved behind the verb.
fn verb_first(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let mut moved = Vec::new();
    let mut at = 1;
    while let Some(argument) = arguments.get(at) {
        let flag = BEFORE_THE_VERB
            .iter()
            .find(|(name, takes)| argument == name || (*takes && holds_value(argument, name)));
        let count = match flag {
            Some((name, true)) if argument == name => 2,
            Some(_) => 1,
            None if argument.as_encoded_bytes().starts_with(b"-") => {
                at += if WITH_A_VALUE.iter().any(|name| argument == name) { 2 } else { 1 };
                continue;
            }
            // The verb.
            None => {
                at += 1;
                break;
            }
        };
        moved.extend(arguments.drain(at..(at + count).min(arguments.len())));
    }
    let at = at.min(arguments.len());
    arguments.splice(at..at, moved);
    arguments
}

/// Whether `argument` is the flag `name` with its value in the same word: `--repository=X`, `-rX`.
fn holds_value(argument: &OsStr, name: &str) -> bool {
    let rest = argument.as_encoded_bytes().strip_prefix(name.as_bytes());
    rest.is_some_and(|rest| !name.starts_with("--") && !rest.is_empty() || rest.starts_with(b"="))
}

/// Whether an invalid command line asks for JSON lines on standard error.
pub(crate) fn wants_json_lines(arguments: &[OsString]) -> bool {
    let in_two = arguments.windows(2).any(|pair| pair[0] == "--progress" && pair[1] == "json");
    in_two || arguments.iter().any(|argument| argument == "--progress=json")
}

/// The error as a document for scripts, and one more line for people.
pub(crate) fn failure<P: CommandFactory>(error: &clap::Error) -> Failure {
    let rendered = error.render().to_string();
    let said = rendered.trim().trim_start_matches("error: ");
    let message: Vec<&str> = said.split("\n\n").next().unwrap_or(said).split_whitespace().collect();
    let advice = hint::<P>(error).or_else(|| tip::of(error));
    let advice = advice.unwrap_or_else(|| "see --help of the verb".to_owned());
    Failure::usage(message.join(" "), advice)
}

/// A hint for someone who uses a verb of another tool.
pub(crate) fn hint<P: CommandFactory>(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let Some(ContextValue::String(verb)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    let (_, ours) = ELSEWHERE.iter().find(|(name, _)| name == verb)?;
    let command = P::command();
    let has = |verb: &&&str| command.find_subcommand(**verb).is_some();
    let ours: Vec<String> =
        ours.iter().filter(has).map(|verb| format!("`{} {verb}`", command.get_name())).collect();
    (!ours.is_empty()).then(|| format!("`{verb}` is {} here", ours.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(line: &str) -> String {
        let words = std::iter::once("x").chain(line.split_whitespace()).map(OsString::from).collect();
        let words: Vec<String> = verb_first(words).into_iter().map(|w| w.into_string().unwrap()).collect();
        words[1..].join(" ")
    }

    #[test]
    fn flags_of_verbs_may_stand_before_the_verb() {
        for (line, parsed) in [
            ("list -r a", "list -r a"),
            ("-r a list", "list -r a"),
            ("-q -r a --json list --host h", "-q --json list -r a --host h"),
            ("--repository=a list", "list --repository=a"),
            ("-ra --allow-http list -v", "list -ra --allow-http -v"),
            ("--state-dir /s -r a list", "--state-dir /s list -r a"),
            ("--state-dir=/s -r a list", "--state-dir=/s list -r a"),
            ("--progress json -r a list", "--progress json list -r a"),
            ("-r", "-r"),
            ("-r a", "-r a"),
            ("key -r a list", "key -r a list"),
            ("-r a key list", "key -r a list"),
            ("", ""),
        ] {
            assert_eq!(moved(line), parsed, "{line}");
        }
    }
}
