//! From what was judged to the report on it.

use lifeboat_report::verification::{AcceptedBundle, RefusedBundle, Step, Verdict};
use lifeboat_trust::judge::{Accepted, Author, Policy};
use lifeboat_trust::refusal::Refusal;
use lifeboat_trust::step;

fn step(step: &step::Step) -> Step {
    Step { name: step.name, specification: step.specification }
}

/// A signature that counts, as reports show it.
pub(crate) fn accepted_bundle(bundle: String, format: &'static str, accepted: &Accepted<'_>) -> AcceptedBundle {
    let evidence = &accepted.evidence;
    let (key_id, identity, issuer) = match &accepted.author {
        Author::Key(id) => (Some(id.to_string()), None, None),
        Author::Identity { identity, issuer } => (None, Some(identity.clone()), Some(issuer.clone())),
    };
    AcceptedBundle {
        bundle,
        format,
        signer: accepted.signer.name(),
        key_id,
        identity,
        issuer,
        states: accepted.statement.as_ref().map(|statement| statement.predicate_type.clone()),
        witnessed_at: evidence.times.iter().map(ToString::to_string).collect(),
        log_entries: evidence.log_entries,
        unchecked_log_entries: evidence.unknown_log_entries,
        timestamps: evidence.timestamps,
        written_to: None,
        steps: evidence.steps.iter().map(step).collect(),
    }
}

/// A signature that does not count, as reports show it.
pub(crate) fn refused_bundle(bundle: String, refusal: &Refusal) -> RefusedBundle {
    RefusedBundle { bundle, reason: refusal.to_string(), step: Some(step(&refusal.step())) }
}

/// What has to be shown, as a sentence.
pub(crate) fn claim(what: &str, policy: &Policy) -> String {
    let names = policy.names();
    match policy.threshold {
        0 | 1 => format!("{what} by {}", names.join(" or ")),
        threshold => format!("{what} by {threshold} of {}", names.join(", ")),
    }
}

/// The exit code of a verdict.
pub(crate) fn outcome(verdict: Verdict) -> lifeboat_shell::Outcome {
    match verdict {
        Verdict::Verified => lifeboat_shell::Outcome::Done,
        Verdict::Refused => lifeboat_shell::Outcome::Negative,
        Verdict::Undetermined => lifeboat_shell::Outcome::Incomplete,
    }
}
