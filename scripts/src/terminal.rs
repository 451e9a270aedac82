//! Output for people: calm, aligned lines, and on a terminal one changing line about the current work.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Lines must be readable on the narrowest usual terminal.
const WIDTH: usize = 79;

#[derive(Debug)]
pub(crate) struct Terminal {
    live: bool,
    under_way: Mutex<Vec<String>>,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        Self { live: io::stdout().is_terminal(), under_way: Mutex::new(Vec::new()) }
    }

    pub(crate) fn line(&self, text: &str) {
        let under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        self.draw(Some(text), &under_way);
    }

    pub(crate) fn complain(&self, text: &str) {
        let under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        self.draw(None, &under_way);
        let _ = writeln!(io::stderr(), "{text}");
    }

    pub(crate) fn begin(&self, what: &str) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.push(what.to_owned());
        self.draw(None, &under_way);
    }

    pub(crate) fn end(&self, what: &str, text: &str) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.retain(|other| other != what);
        self.draw(Some(text), &under_way);
    }

    /// A line that stands out on a terminal.
    pub(crate) fn heading(&self, text: &str) {
        if self.live { self.line(&format!("\x1b[1m{text}\x1b[0m")) } else { self.line(text) }
    }

    /// The current work; an empty text for nothing.
    pub(crate) fn now(&self, what: &str) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.clear();
        under_way.extend((!what.is_empty()).then(|| what.to_owned()));
        self.draw(None, &under_way);
    }

    /// A reader that went away (`scripts/setup | head`) must not stop the work, so write errors are ignored.
    fn draw(&self, text: Option<&str>, under_way: &[String]) {
        let mut out = String::new();
        if self.live {
            out.push_str("\r\x1b[2K");
        }
        if let Some(text) = text {
            out.push_str(text);
            out.push('\n');
        }
        if self.live && !under_way.is_empty() {
            let status = format!("  at work    {}", under_way.join(", "));
            out.extend(status.chars().take(WIDTH));
        }
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush());
    }
}

/// Every line of `text` after the first, indented by `columns`.
pub(crate) fn hanging(text: &str, columns: usize) -> String {
    text.replace('\n', &format!("\n{}", " ".repeat(columns)))
}

/// Wraps a line between words if it is too long for the terminal, indenting the rest by two columns. A line that could
/// only be broken near its start, for example before a digest, stays whole.
pub(crate) fn wrapped(line: &str) -> String {
    let mut rest = line.trim_end();
    let depth = rest.len() - rest.trim_start().len() + 2;
    let mut text = String::new();
    loop {
        let width = if text.is_empty() { WIDTH } else { WIDTH - depth };
        // The line may also be broken at a space right after the last column.
        let end = rest.char_indices().nth(width + 1).map_or(rest.len(), |(end, _)| end);
        match rest[..end].rfind(' ') {
            Some(space) if rest.chars().count() > width && space > WIDTH / 2 => {
                text.push_str(rest[..space].trim_end());
                text.push('\n');
                text.push_str(&" ".repeat(depth));
                rest = rest[space..].trim_start();
            }
            _ => {
                text.push_str(rest);
                return text;
            }
        }
    }
}

pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds >= 60 {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    } else if seconds >= 10 {
        format!("{seconds} s")
    } else if time.as_millis() >= 100 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} ms", time.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_between_words() {
        let words = "word ".repeat(33);
        let lines: Vec<String> = wrapped(&format!("    {words}")).lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.len() <= WIDTH));
        assert!(lines[1].starts_with("      word"));
        assert_eq!(lines.concat().matches("word").count(), 33);
    }

    #[test]
    fn a_digest_stays_on_its_line() {
        let line = format!("    digest    sha256:{}", "0".repeat(64));
        assert_eq!(wrapped(&line), line);
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(Duration::from_millis(34)), "34 ms");
        assert_eq!(duration(Duration::from_millis(340)), "0.3 s");
        assert_eq!(duration(Duration::from_millis(12_900)), "12 s");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 05 s");
    }
}
