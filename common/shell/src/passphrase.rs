//! Passphrases: from the environment, or from the person at the terminal.

use std::env;

use lifeboat_vault::Passphrase;
use zeroize::Zeroizing;

use crate::{Failure, ask};

/// The environment variable that holds the passphrase of a recovery key.
const VARIABLE: &str = "LIFEBOAT_PASSPHRASE";

/// The passphrase of something that exists; `what` names it.
pub(crate) fn existing(what: &str) -> Result<Passphrase, Failure> {
    if let Some(passphrase) = from_environment()? {
        return Ok(passphrase);
    }
    demand_terminal(what)?;
    from_terminal(&format!("Passphrase of {what}: "))
}

/// The passphrase of something new, asked twice.
pub(crate) fn new(what: &str) -> Result<Passphrase, Failure> {
    if let Some(passphrase) = from_environment()? {
        return Ok(passphrase);
    }
    demand_terminal(what)?;
    let first = secret(&format!("Passphrase of {what}: "))?;
    if secret("The same passphrase again: ")? != first {
        return Err(Failure::usage("the two passphrases differ", "run the command again"));
    }
    given(&first)
}

fn from_environment() -> Result<Option<Passphrase>, Failure> {
    let Some(value) = env::var_os(VARIABLE) else { return Ok(None) };
    let text = value.into_string().map_err(|_| {
        Failure::usage(
            format!("{VARIABLE} is not UTF-8 text"),
            "set it to the passphrase as it was given when the key was made",
        )
    })?;
    given(&Zeroizing::new(text)).map(Some)
}

fn from_terminal(question: &str) -> Result<Passphrase, Failure> {
    given(&secret(question)?)
}

fn secret(question: &str) -> Result<Zeroizing<String>, Failure> {
    ask::secret(question).map_err(|error| {
        Failure::usage(
            format!("no passphrase could be read from the terminal: {error}"),
            format!("run it on a terminal, or set {VARIABLE}"),
        )
    })
}

fn given(text: &str) -> Result<Passphrase, Failure> {
    Passphrase::new(text)
        .ok_or_else(|| Failure::usage("the passphrase is empty", format!("type one, or set {VARIABLE}")))
}

fn demand_terminal(what: &str) -> Result<(), Failure> {
    if ask::is_possible() {
        return Ok(());
    }
    Err(Failure::usage(
        format!(
            "the passphrase of {what} is missing: {VARIABLE} is not set, and there is no terminal to ask on"
        ),
        format!("set {VARIABLE}, or run it on a terminal"),
    ))
}
