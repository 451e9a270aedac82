//! Lays out help for the terminal's width. Examples keep their lines, so that they can be copied.

use std::io::{self, Write as _};

use clap::Command;

/// The maximum width of help: longer lines are hard to read.
const WIDEST: usize = 100;

/// The minimum width.
const NARROWEST: usize = 20;

/// Represents a space at which clap must not break the line.
const KEPT_SPACE: &str = "\u{a0}";

/// The width of help: the terminal's, or else the one in `COLUMNS`.
pub(crate) fn width() -> usize {
    let terminal = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    let named = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal.or_else(named).filter(|width| *width > 0).unwrap_or(WIDEST).clamp(NARROWEST, WIDEST)
}

/// The command and all its verbs, laid out for `width` columns.
pub(crate) fn laid_out(command: Command, width: usize) -> Command {
    let after = command.get_after_help().map(|text| with_kept_lines(&text.to_string()));
    let command = match after {
        Some(after) => command.after_help(after),
        None => command,
    };
    command.term_width(width).mut_subcommands(|verb| laid_out(verb, width))
}

/// Lines that start with two spaces are examples and lists, and are kept. Other consecutive lines form one paragraph.
fn with_kept_lines(text: &str) -> String {
    let mut laid_out = String::new();
    let mut in_paragraph = false;
    for line in text.lines() {
        let is_kept = line.starts_with("  ");
        let joins = in_paragraph && !is_kept && !line.is_empty();
        if !laid_out.is_empty() {
            laid_out.push(if joins { ' ' } else { '\n' });
        }
        laid_out += &if is_kept { line.replace(' ', KEPT_SPACE) } else { line.to_owned() };
        in_paragraph = !is_kept && !line.is_empty();
    }
    laid_out
}

/// Prints help, or an error about the command line, to the stream that clap chose for it.
pub(crate) fn print(error: &clap::Error) -> io::Result<()> {
    let text = finished(&error.render().ansi().to_string(), width());
    if error.use_stderr() {
        anstream::AutoStream::auto(io::stderr().lock()).write_all(text.as_bytes())
    } else {
        let mut out = anstream::AutoStream::auto(io::stdout().lock());
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

/// The text with normal spaces, and with a usage that fits the width.
fn finished(text: &str, width: usize) -> String {
    let lines = text.split_inclusive('\n').map(|line| {
        if is_usage(line) && shown_width(line.trim_end()) > width {
            broken_usage(line.trim_end_matches('\n'), width) + "\n"
        } else {
            line.replace(KEPT_SPACE, " ")
        }
    });
    lines.collect()
}

fn is_usage(line: &str) -> bool {
    anstream::adapter::strip_str(line).to_string().starts_with("Usage:")
}

fn shown_width(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().chars().count()
}

/// A line of usage, broken between its parts. A flag and its value stay together.
fn broken_usage(line: &str, width: usize) -> String {
    let mut parts: Vec<String> = Vec::new();
    for word in line.split_inclusive([' ', '|']) {
        let plain = anstream::adapter::strip_str(word).to_string();
        let is_value = plain.starts_with('<') && !plain.starts_with("<-");
        match parts.last_mut().filter(|last| is_value && is_flag(last)) {
            Some(flag) => flag.push_str(word),
            None => parts.push(word.to_owned()),
        }
    }
    let (mut broken, mut used) = (String::new(), 0);
    for part in parts {
        let needed = shown_width(part.trim_end());
        if used > 0 && used + needed > width {
            broken.truncate(broken.trim_end().len());
            broken += "\n         ";
            used = 9;
        }
        used += shown_width(&part);
        broken += &part;
    }
    broken
}

fn is_flag(part: &str) -> bool {
    let plain = anstream::adapter::strip_str(part).to_string();
    plain.trim_start_matches(['[', '<']).starts_with('-') && plain.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    fn help(width: usize) -> String {
        let long = Arg::new("destination").long("destination-of-the-copy").value_name("PLACE").required(true);
        let other = Arg::new("repository").long("repository").value_name("REPO").required(true);
        let verb = Command::new("copy")
            .args([long, other])
            .after_help("Examples:\n  program copy --destination-of-the-copy /a/long/path/to/somewhere\n\nIt says\nhow it ends.");
        let program = laid_out(Command::new("program").subcommand(verb), width);
        let asked = program.try_get_matches_from(["program", "copy", "--help"]);
        finished(&asked.unwrap_err().render().to_string(), width)
    }

    #[test]
    fn examples_keep_their_lines_and_everything_else_is_broken() {
        let narrow = help(40);
        let example = "\n  program copy --destination-of-the-copy /a/long/path/to/somewhere\n";
        assert!(narrow.contains(example), "{narrow}");
        assert!(narrow.contains("\nIt says how it ends."), "{narrow}");
        assert!(
            narrow.contains("copy\n         --destination-of-the-copy <PLACE>\n         --repo"),
            "{narrow}"
        );
        // Clap decides in which column the descriptions of options start.
        let fits = |line: &str| line.len() <= 46 || line.contains("program copy -");
        assert!(narrow.lines().all(fits), "{narrow}");
        let wide = help(100);
        assert!(wide.contains("Usage: program copy --destination-of-the-copy <PLACE> --repository <REPO>\n"));
    }
}
