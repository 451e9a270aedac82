//! The `env` file: what the tests may use, as `NAME='value'` lines that a shell can source.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::problem::Problem;

pub(crate) type Variables = BTreeMap<String, String>;

/// Reads the file; a missing one is empty.
pub(super) fn read(path: &Path) -> Variables {
    parse(&fs::read_to_string(path).unwrap_or_default())
}

/// Writes the file if its content changes.
pub(super) fn write(path: &Path, variables: &Variables) -> Result<(), Problem> {
    if path.exists() && read(path) == *variables {
        return Ok(());
    }
    fs::write(path, render(variables)).map_err(|error| Problem::io("cannot write", path, &error))
}

fn parse(text: &str) -> Variables {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), unquote(value)))
        .collect()
}

fn unquote(value: &str) -> String {
    let inner = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    inner.unwrap_or(value).replace(r"'\''", "'")
}

fn render(variables: &Variables) -> String {
    let mut lines = vec!["# Written by scripts/setup: what the tests may use on this machine.".to_owned()];
    lines.extend(variables.iter().map(|(name, value)| format!("{name}='{}'", value.replace('\'', r"'\''"))));
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let variables: Variables = [("PLAIN", "127.0.0.1:5000"), ("ODD", "the folder's = 'x'")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        assert_eq!(parse(&render(&variables)), variables);
    }
}
