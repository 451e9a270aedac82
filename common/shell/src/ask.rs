//! Questions to the person at the terminal. Secret answers are not echoed.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::sync::Arc;

use lifeboat_report::lines::{Level, MessageLine};
use lifeboat_vault::{Passphrase, PluginDialog};
use zeroize::Zeroizing;

use crate::terminal::tell;

/// Whether a person can be asked: standard input and standard error are terminals.
pub(crate) fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a line.
pub(crate) fn line(question: &str) -> io::Result<String> {
    let mut out = io::stderr().lock();
    write!(out, "{question}").and_then(|()| out.flush())?;
    let mut answer = String::new();
    if io::stdin().lock().read_line(&mut answer)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer.trim_end_matches(['\n', '\r']).to_owned())
}

/// Asks for a line without echo.
pub(crate) fn secret(question: &str) -> io::Result<Zeroizing<String>> {
    rpassword::prompt_password(question).map(Zeroizing::new)
}

/// Asks for confirmation; the answer must be a full "yes".
pub(crate) fn yes(question: &str) -> io::Result<bool> {
    Ok(line(&format!("{question} [yes/no] "))?.eq_ignore_ascii_case("yes"))
}

/// The terminal as age's plugins see it.
struct Terminal;

/// Lets plugins ask the person at the terminal; without a terminal their questions remain unanswered.
pub(crate) fn plugin_dialog() -> Arc<dyn PluginDialog> {
    Arc::new(Terminal)
}

impl PluginDialog for Terminal {
    fn tell(&self, plugin_says: &str) {
        tell(&MessageLine { level: Level::Note, message: printable(plugin_says) });
    }

    fn choose(&self, plugin_says: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        let (yes, no) = (printable(yes), printable(no.unwrap_or("no")));
        let question = format!("{}\n  1: {yes}\n  2: {no}\n1 or 2: ", printable(plugin_says));
        match line_if_possible(&question)?.trim() {
            "1" => Some(true),
            "2" => Some(false),
            _ => None,
        }
    }

    fn ask(&self, plugin_says: &str) -> Option<String> {
        line_if_possible(&format!("{} ", printable(plugin_says)))
    }

    fn ask_secret(&self, plugin_says: &str) -> Option<Passphrase> {
        let question = format!("{} ", printable(plugin_says));
        if is_possible() { secret(&question).ok().and_then(|answer| Passphrase::new(&answer)) } else { None }
    }
}

fn line_if_possible(question: &str) -> Option<String> {
    if is_possible() { line(question).ok() } else { None }
}

/// Text from a plugin must not move the cursor or colour the terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| *c == '\n' || !c.is_control()).collect()
}
