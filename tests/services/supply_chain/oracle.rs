//! The oracle of tests/oracle, a second implementation of docs/acceptance.md in another language: it and the program
//! must give the same answer for real evidence, and for mutants of it.

mod documents;
mod mutants;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use libtest_mimic::{Failed, Trial};
use lifeboat_tests::gate::{interpreter, trial};
use lifeboat_verify::derive_again;
use serde_json::Value;

use self::documents::Bench;
use self::mutants::Mutator;

pub(crate) fn trials() -> Vec<Trial> {
    let on = |name: &str, test: fn(&mut Oracle) -> Result<(), Failed>| {
        trial(&format!("supply_chain::oracle::{name}"), interpreter(), move |python| {
            test(&mut Oracle::start(&python)?)
        })
    };
    vec![on("agrees_on_what_is_there", agrees_on_what_is_there), on("agrees_on_mutants", agrees_on_mutants)]
}

/// The oracle, one process for all documents.
struct Oracle {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Each is kept in a file for inspection.
    disagreements: Vec<String>,
}

/// The test ends after this many.
const MOST_DISAGREEMENTS: usize = 20;

/// One implementation's answer for a document.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    verdict: String,
    /// The numbers of the pieces of evidence that count.
    accepted: Vec<usize>,
    filled: usize,
}

impl Oracle {
    fn start(python: &PathBuf) -> Result<Self, Failed> {
        let mut process = Command::new(python)
            .args(["-m", "oracle"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take().ok_or("an input")?;
        let output = BufReader::new(process.stdout.take().ok_or("an output")?);
        Ok(Self { process, input, output, disagreements: Vec::new() })
    }

    fn ask(&mut self, document: &str) -> Result<(Answer, Value), Failed> {
        writeln!(self.input, "{document}")?;
        self.input.flush()?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line)?;
        let accepted = said["accepted"].as_array().ok_or("a list")?.iter();
        let answer = Answer {
            verdict: said["verdict"].as_str().ok_or("a verdict")?.to_owned(),
            accepted: accepted.filter_map(Value::as_u64).filter_map(|n| usize::try_from(n).ok()).collect(),
            filled: said["filled"].as_u64().and_then(|n| usize::try_from(n).ok()).ok_or("a number")?,
        };
        Ok((answer, said))
    }

    /// Asks both, and returns the answer if they agree.
    fn compare(&mut self, what: &str, document: &Value) -> Result<Answer, Failed> {
        let text = document.to_string();
        let program = match derive_again(&text) {
            Ok(answer) => Answer {
                verdict: answer.verdict,
                accepted: answer.accepted.iter().filter_map(|place| place.parse().ok()).collect(),
                filled: answer.filled,
            },
            Err(_) => Answer { verdict: "unusable".to_owned(), accepted: Vec::new(), filled: 0 },
        };
        let (oracle, said) = self.ask(&text)?;
        if program != oracle {
            let kept =
                std::env::temp_dir().join(format!("lifeboat-oracle-{}.json", self.disagreements.len()));
            std::fs::write(&kept, &text)?;
            let reason = format!("the program says {program:?} and the oracle {said}: {}", kept.display());
            self.disagreements.push(format!("{what}: {reason}"));
        }
        if self.disagreements.len() >= MOST_DISAGREEMENTS { self.agreed() } else { Ok(()) }?;
        Ok(oracle)
    }
}

impl Oracle {
    /// Fails if there was any disagreement.
    fn agreed(&self) -> Result<(), Failed> {
        if self.disagreements.is_empty() { Ok(()) } else { Err(self.disagreements.join("\n").into()) }
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn agrees_on_what_is_there(oracle: &mut Oracle) -> Result<(), Failed> {
    let bench = Bench::new()?;
    let (mut verified, mut refused) = (0, 0);
    for (name, document) in bench.documents()? {
        match oracle.compare(&name, &document)?.verdict.as_str() {
            "verified" => verified += 1,
            _ => refused += 1,
        }
    }
    assert!(verified >= 15 && refused >= 8, "{verified} {refused}");
    oracle.agreed()
}

/// How many mutants are judged; the second number is for `scripts/test --long`.
const MUTANTS: (usize, usize) = (2_000, 100_000);

fn agrees_on_mutants(oracle: &mut Oracle) -> Result<(), Failed> {
    let is_long = std::env::var_os("LIFEBOAT_LONG").is_some_and(|value| !value.is_empty());
    let documents = Bench::new()?.documents()?;
    let mut mutator = Mutator::new(7, documents.iter().map(|(_, document)| document.clone()).collect());
    let (mut accepted, mut refused) = (0, 0);
    for number in 0..if is_long { MUTANTS.1 } else { MUTANTS.0 } {
        let (of, mutant) = mutator.next();
        let answer = oracle.compare(&format!("mutant {number} of {}", documents[of].0), &mutant)?;
        if answer.accepted.is_empty() {
            refused += 1;
        } else {
            accepted += 1;
        }
    }
    // A change without effect on the decision is accepted; most have one.
    assert!(accepted >= 100 && refused >= 800, "{accepted} {refused}");
    oracle.agreed()
}
