//! Converts what was judged into the report.

use std::collections::BTreeMap;

use lifeboat_report::verification::{AcceptedBundle, Cosignature, RefusedBundle, Slot, Step, Verdict};
use lifeboat_trust::judge::Accepted;
use lifeboat_trust::matching::Vote;
use lifeboat_trust::policy::Policy;
use lifeboat_trust::refusal::Refusal;
use lifeboat_trust::{step, witness};

fn step(step: &step::Step) -> Step {
    Step { name: step.name, specification: step.specification }
}

fn cosignature(cosignature: &witness::Cosignature) -> Cosignature {
    Cosignature { witness: cosignature.witness.clone(), time: cosignature.time }
}

/// A signature that counts, in the form that reports show.
pub(crate) fn accepted_bundle(
    bundle: String,
    format: &'static str,
    accepted: &Accepted<'_>,
) -> AcceptedBundle {
    let evidence = &accepted.evidence;
    let (identity, issuer) = accepted.vote.identity.clone().unzip();
    let key_id = identity.is_none().then(|| accepted.vote.key.to_string());
    AcceptedBundle {
        bundle,
        format,
        signer: accepted.signer.name(),
        key_id,
        identity,
        issuer,
        states: accepted.statement.as_ref().map(|statement| statement.predicate_type.clone()),
        witnessed_at: evidence.times.clone(),
        fills: None,
        log_entries: evidence.log_entries,
        log_promises: evidence.log_promises,
        unchecked_log_entries: evidence.unknown_log_entries,
        cosignatures: evidence.cosignatures.iter().map(cosignature).collect(),
        unchecked_cosignatures: evidence.unchecked_cosignatures,
        timestamps: evidence.timestamps,
        written_to: None,
        steps: evidence.steps.iter().map(step).collect(),
    }
}

/// A signature that does not count, in the form that reports show.
pub(crate) fn refused_bundle(bundle: String, refusal: &Refusal) -> RefusedBundle {
    RefusedBundle { bundle, reason: refusal.to_string(), step: Some(step(&refusal.step())) }
}

/// Checks that a manifest's annotations about a bundle agree with what was signed.
pub(crate) fn check_annotations(
    annotations: &BTreeMap<String, String>,
    accepted: &Accepted<'_>,
) -> Result<(), String> {
    let own_kind = accepted.statement.as_ref().map(|statement| statement.predicate_type.as_str());
    let own_content = if own_kind.is_some() { "dsse-envelope" } else { "message-signature" };
    let differs = |name: &str, own: Option<&str>| {
        annotations.get(name).is_some_and(|stated| Some(stated.as_str()) != own)
    };
    if differs("dev.sigstore.bundle.content", Some(own_content))
        || differs("dev.sigstore.bundle.predicateType", own_kind)
    {
        return Err("its manifest's annotations contradict the bundle that it holds".to_owned());
    }
    Ok(())
}

/// Matches bundles to signers' slots, marks the bundles that fill one, and returns how many are filled. The votes are
/// those of the bundles, in the same order.
pub(crate) fn fill_slots(
    policy: &Policy,
    votes: &[Vote],
    accepted: &mut [AcceptedBundle],
) -> (Vec<Slot>, usize) {
    let filled = policy.fill(votes);
    let slots: Vec<Slot> = policy
        .names()
        .into_iter()
        .zip(&filled)
        .map(|(signer, place)| {
            let bundle = place.and_then(|place| accepted.get_mut(place));
            let filled_by = bundle.map(|bundle| {
                bundle.fills = Some(signer.clone());
                bundle.bundle.clone()
            });
            Slot { signer, filled_by }
        })
        .collect();
    let count = slots.iter().filter(|slot| slot.filled_by.is_some()).count();
    (slots, count)
}

/// The verdict for these votes; `is_whole` says whether all evidence could be considered.
pub(crate) fn verdict<'v>(
    policy: &Policy,
    votes: impl IntoIterator<Item = &'v Vote>,
    is_whole: bool,
) -> Verdict {
    match (policy.is_met_by(votes), is_whole) {
        (true, _) => Verdict::Verified,
        (false, true) => Verdict::Refused,
        (false, false) => Verdict::Undetermined,
    }
}

/// The claim to verify, as a sentence.
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
