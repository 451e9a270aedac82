//! A step that failed: what went wrong, the last lines of its log, and what to do.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// How many lines of a log a failure shows.
const TAIL_LINES: usize = 8;

#[derive(Debug, Clone)]
pub(crate) struct Problem {
    what: String,
    log: Option<PathBuf>,
    advice: Option<String>,
    is_interruption: bool,
}

impl Problem {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), log: None, advice: None, is_interruption: false }
    }

    /// The user asked to stop.
    pub(crate) fn interrupted() -> Self {
        Self { is_interruption: true, ..Self::new("interrupted") }
    }

    pub(crate) fn is_interruption(&self) -> bool {
        self.is_interruption
    }

    pub(crate) fn io(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::new(format!("{doing} {}: {error}", path.display()))
    }

    /// Adds what was being done when it happened.
    pub(crate) fn within(mut self, whole: &str) -> Self {
        self.what = format!("{whole}: {}", self.what);
        self
    }

    /// The log that holds the evidence; its last lines are shown.
    pub(crate) fn with_log(mut self, log: &Path) -> Self {
        self.log = Some(log.to_owned());
        self
    }

    /// What to do about it. The first advice is kept: it was given closest to the cause.
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice.get_or_insert_with(|| advice.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(log) = &self.log {
            let text = fs::read_to_string(log).unwrap_or_default();
            for line in last_lines(&text) {
                write!(f, "\n| {line}")?;
            }
            write!(f, "\nlog: {}", log.display())?;
        }
        if let Some(advice) = &self.advice {
            write!(f, "\nhelp: {advice}")?;
        }
        Ok(())
    }
}

fn last_lines(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_cut_to_its_last_lines() {
        let text = (1..=20).map(|n| format!("line {n}")).collect::<Vec<_>>().join("\n\n");
        assert_eq!(last_lines(&text).first(), Some(&"line 13"));
        assert_eq!(last_lines(&text).len(), TAIL_LINES);
        assert_eq!(last_lines("only"), ["only"]);
    }

    #[test]
    fn the_first_advice_stays() {
        let problem = Problem::new("no Go").advise("install Go").advise("look around");
        assert_eq!(problem.to_string(), "no Go\nhelp: install Go");
    }
}
