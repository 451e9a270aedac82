//! Suggests what to write instead of a value that starts with a dash and was taken for a flag.

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

/// The error with a tip that works, in place of the parser's, which ignores where the value is; without a tip if
/// nothing accepts such a value there. `arguments` are the ones that were parsed.
pub(crate) fn that_works(mut error: clap::Error, command: &Command, arguments: &[OsString]) -> clap::Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    error.remove(ContextKind::Suggested);
    let tip = match error.get(ContextKind::InvalidArg) {
        // A flag with a small typo was meant as a flag.
        Some(ContextValue::String(unknown)) if error.get(ContextKind::SuggestedArg).is_none() => {
            tip(unknown, command, arguments)
        }
        _ => None,
    };
    if let Some(tip) = tip {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    }
    error
}

/// The tip of an error, for output that does not include the parser's text.
pub(crate) fn of(error: &clap::Error) -> Option<String> {
    match error.get(ContextKind::Suggested) {
        Some(ContextValue::StyledStrs(tips)) => tips.first().map(ToString::to_string),
        _ => None,
    }
}

fn tip(unknown: &str, command: &Command, arguments: &[OsString]) -> Option<String> {
    let is_it = |argument: &str| {
        let rest = argument.strip_prefix(unknown);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('=') || !unknown.starts_with("--"))
    };
    let arguments: Vec<&str> =
        arguments.iter().map(|argument| argument.to_str().unwrap_or_default()).collect();
    let at = (1..arguments.len()).find(|at| is_it(arguments[*at]))?;
    let (value, before) = (arguments[at], arguments[at - 1]);
    let mut verbs = vec![command];
    for word in &arguments[1..at] {
        verbs.extend(verbs.last().and_then(|verb| verb.find_subcommand(word)));
    }
    let takes_it = |arg: &&Arg| arg.get_action().takes_values() && is_named(arg, before);
    if verbs.iter().any(|verb| verb.get_opts().any(|arg| takes_it(&arg))) {
        let equals = if before.starts_with("--") { "=" } else { "" };
        return Some(format!("to pass `{value}` to `{before}`, write `{before}{equals}{value}`"));
    }
    let verb = verbs.last()?;
    let has_room = verb.get_positionals().any(|arg| !arg.is_last_set());
    has_room.then(|| {
        format!("to pass `{value}` as a value, write it after all flags, and `--` before it: `-- {value}`")
    })
}

fn is_named(arg: &Arg, flag: &str) -> bool {
    match flag.strip_prefix("--") {
        Some(long) => arg.get_long_and_visible_aliases().is_some_and(|names| names.contains(&long)),
        None => flag.strip_prefix('-').is_some_and(|short| {
            let shorts = arg.get_short_and_visible_aliases();
            shorts.is_some_and(|names| names.iter().any(|name| short == name.to_string()))
        }),
    }
}
