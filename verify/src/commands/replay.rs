//! `lifeboat-verify replay`

use std::path::PathBuf;

use lifeboat_core::Sha256Digest;
use lifeboat_report::replay::{Replay, Replayed};
use lifeboat_shell::{Failure, Outcome, Ui};
use serde_json::Value;

use crate::commands::snapshot::{self, Derived};
use crate::item::Item;
use crate::question::{Question, Unjudged};
use crate::verdict::{Altered, Document, Gathered, Recorded, Unusable, digest_of, to_value};

/// Derive a verdict again from the file that --report wrote, without network and by the clock that it records
///
/// The file holds the policy, the trusted root and all evidence that was read; what is more than 1 MiB lies beside it, in
/// FILE.d. The same verdict by the same steps must come of it, whether it is positive or not: read which one it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat-verify image registry.example/app:1.0 --key release.pub --report verdict.json
  lifeboat-verify replay verdict.json
  lifeboat-verify replay verdict.json --json

Exit codes: 0 the same verdict, whichever it is; 1 another one, or the file was altered; 2 no verdict; 3 evidence is
missing from FILE.d")]
pub(crate) struct Args {
    /// What `--report` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// How many differences are shown.
const MAX_DIFFERENCES: usize = 20;

/// The longest value that is shown, in characters.
const MAX_SHOWN: usize = 200;

pub(crate) async fn run(args: &Args, ui: &Ui) -> Result<Outcome, Failure> {
    let mut report = Replay { file: args.file.display().to_string(), ..Replay::default() };
    match Document::read(&args.file)? {
        Err(Altered(reason)) => report.differs(vec![reason]),
        Ok(document) => replay(&document, args, &mut report).await?,
    }
    ui.report(&report);
    Ok(match report.replayed {
        Replayed::Same => Outcome::Done,
        Replayed::Differs => Outcome::Negative,
        Replayed::Incomplete => Outcome::Incomplete,
    })
}

async fn replay(document: &Document, args: &Args, report: &mut Replay) -> Result<(), Failure> {
    report.subject = Some(document.subject.name.clone());
    report.digest = Some(document.subject.digest.to_oci());
    report.verdict = document.derivation["verdict"].as_str().map(str::to_owned);
    report.verified_at = Some(document.now);
    report.version = Some(document.version.clone());
    report.policy_digest = Some(document.policy_digest.to_oci());
    report.trusted_root_digest = Some(document.trusted_root.digest.to_oci());
    let contents = match document.contents(&args.file)? {
        Gathered::All(contents) => contents,
        Gathered::Missing(missing) => {
            report.incomplete(missing.into_iter().map(Sha256Digest::to_oci).collect());
            return Ok(());
        }
        Gathered::Altered(altered) => {
            let differ = |digest| format!("the bytes of {digest} are not what they were");
            report.differs(altered.into_iter().map(|digest| differ(digest.to_oci())).collect());
            return Ok(());
        }
    };
    let mut differences = Vec::new();
    let digest = digest_of(&document.question);
    if digest != document.policy_digest {
        differences.push(format!(
            "the policy has the digest {}, and is recorded with {}",
            digest.to_oci(),
            document.policy_digest.to_oci()
        ));
    }
    let policy = document.policy(&contents).map_err(|Unusable { what, reason }| {
        Failure::usage(
            format!("the {what} in the verdict {} cannot be used: {reason}", args.file.display()),
            "give a file that `--report` wrote",
        )
    })?;
    let derived = match &document.question.snapshot {
        None => document.answer(&policy, &contents),
        Some(asked) => match snapshot::judge_again(document.objects(&contents), asked, &policy).await {
            Ok(Derived { subject, report, evidence }) => {
                // Everything in it is derived, so nothing else can be there.
                let evidence: Vec<Item> = evidence.into_iter().map(|(item, _)| item).collect();
                let question = Question::of_snapshot(&policy, asked.clone());
                let derived = Recorded {
                    subject: &subject,
                    question: &question,
                    whole: None,
                    evidence: &evidence,
                    unjudged: &Unjudged::default(),
                };
                compare("", &to_value(&document.recorded()), &to_value(&derived), &mut differences);
                to_value(&report)
            }
            Err(failure) => {
                report.differs(vec![format!("the snapshot cannot be judged again: {}", failure.message())]);
                return Ok(());
            }
        },
    };
    compare("", &document.derivation, &derived, &mut differences);
    if document.question.snapshot.is_none() {
        let accepted = derived["accepted"].as_array().into_iter().flatten();
        let places: Vec<&str> = accepted.filter_map(|found| found["bundle"].as_str()).collect();
        match document.shown(&places, &contents) {
            Ok(shown) => report.digest = Some(shown.to_oci()),
            Err(reason) => differences.push(reason),
        }
    }
    if differences.is_empty() {
        report.replayed = Replayed::Same;
    } else {
        report.differs(differences);
    }
    Ok(())
}

/// Reports where two values differ.
fn compare(place: &str, recorded: &Value, derived: &Value, differences: &mut Vec<String>) {
    if differences.len() >= MAX_DIFFERENCES || recorded == derived {
        return;
    }
    match (recorded, derived) {
        (Value::Object(one), Value::Object(other)) => {
            let names: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
            for name in names {
                let value = |all: &serde_json::Map<String, Value>| all.get(name).cloned().unwrap_or_default();
                compare(&format!("{place}/{name}"), &value(one), &value(other), differences);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (number, (one, other)) in one.iter().zip(other).enumerate() {
                compare(&format!("{place}/{number}"), one, other, differences);
            }
        }
        _ => {
            let shown = |value: &Value| value.to_string().chars().take(MAX_SHOWN).collect::<String>();
            differences.push(format!(
                "{place} is recorded as {}, and is {}",
                shown(recorded),
                shown(derived)
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_named_by_its_place() {
        let found = |one: &Value, other: &Value| {
            let mut differences = Vec::new();
            compare("", one, other, &mut differences);
            differences
        };
        let one = json!({"verdict": "verified", "accepted": [{"steps": [1, 2]}], "same": true});
        assert_eq!(found(&one, &one), Vec::<String>::new());
        let other = json!({"verdict": "refused", "accepted": [{"steps": [1, 3]}], "same": true});
        assert_eq!(
            found(&one, &other),
            [
                "/accepted/0/steps/1 is recorded as 2, and is 3",
                "/verdict is recorded as \"verified\", and is \"refused\""
            ]
        );
        let fewer = json!({"verdict": "verified", "accepted": []});
        assert_eq!(found(&one, &fewer).len(), 2);
        let many = |n: usize| json!((0..100).map(|i| i * n).collect::<Vec<_>>());
        assert_eq!(found(&many(1), &many(2)).len(), MAX_DIFFERENCES);
    }
}
