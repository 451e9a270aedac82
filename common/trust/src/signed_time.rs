//! The time at which a statement claims to have been made.
//!
//! A log or a timestamp authority shows that a signature existed at a time, never that it did not exist before: an old
//! one can be submitted to them again. What shows that it is not older is a time that was signed with it.

use jiff::Timestamp;
use serde_json::Value;

use crate::refusal::Refusal;
use crate::statement::Statement;
use crate::step;

/// How far a time may be ahead of this machine's clock, in seconds.
const MAX_AHEAD: i64 = 60;

/// Whether a time is further ahead of this machine's clock than clocks usually differ.
pub(crate) fn is_ahead(time: Timestamp, now: Timestamp) -> bool {
    time.as_second() > now.as_second().saturating_add(MAX_AHEAD)
}

/// Refuses a signed time in the future, which does not prove that the signature is recent.
pub(crate) fn check(stated: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    if is_ahead(stated, now) {
        let reason = format!("it says that it was made at {stated}, and now is {now}");
        return Err(Refusal::unproven(step::MINIMUM_TIME, reason));
    }
    Ok(())
}

/// Where each kind of predicate records when it was made, as JSON pointers (RFC 6901) into the predicate. The first one
/// that exists counts.
const PLACES: [(&str, &[&str]); 7] = [
    // SLSA 1.0, "Provenance", `BuildMetadata`.
    (
        "https://slsa.dev/provenance/v1",
        &["/runDetails/metadata/finishedOn", "/runDetails/metadata/startedOn"],
    ),
    // SPDX 2.3, section 6.9.
    ("https://spdx.dev/Document", &["/creationInfo/created"]),
    // CycloneDX 1.5, `metadata.timestamp`.
    ("https://cyclonedx.org/bom", &["/metadata/timestamp"]),
    // Cosign, "Vulnerability scan record attestation".
    ("https://cosign.sigstore.dev/attestation/vuln/v1", &["/metadata/scanFinishedOn"]),
    // OpenVEX 0.2.0, `timestamp`.
    ("https://openvex.dev/ns", &["/timestamp"]),
    // Cosign, "Custom predicate".
    ("https://cosign.sigstore.dev/attestation/v1", &["/Timestamp"]),
    // The repository format, "Manifests".
    ("urn:lifeboat:snapshot:v0", &["/time"]),
];

/// The time in a statement, if its kind has one.
pub(crate) fn of_statement(statement: &Statement) -> Option<Timestamp> {
    let (_, places) = PLACES.iter().find(|(kind, _)| *kind == statement.predicate_type)?;
    let predicate: Value = serde_json::from_str(statement.predicate.as_ref()?.get()).ok()?;
    // If the first one is not a valid time, the next one is not used instead.
    places.iter().find_map(|place| predicate.pointer(place))?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_time_in_its_own_place() {
        let of = |kind: &str, predicate: &str| {
            let json = format!(
                r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{}"}}}}],"predicateType":"{kind}","predicate":{predicate}}}"#,
                lifeboat_core::Sha256Digest::of(b"")
            );
            of_statement(&Statement::parse(json.as_bytes()).unwrap()).map(|time| time.to_string())
        };
        let time = "2024-05-06T07:08:09Z";
        let table = [
            (0, r#"{"runDetails":{"metadata":{"finishedOn":"T","startedOn":"2020-01-01T00:00:00Z"}}}"#),
            (0, r#"{"runDetails":{"metadata":{"startedOn":"T"}}}"#),
            (1, r#"{"creationInfo":{"created":"T"}}"#),
            (2, r#"{"metadata":{"timestamp":"T"}}"#),
            (3, r#"{"metadata":{"scanFinishedOn":"T"}}"#),
            (4, r#"{"timestamp":"T"}"#),
            (5, r#"{"Timestamp":"T"}"#),
            (6, r#"{"time":"T"}"#),
        ];
        for (kind, predicate) in table {
            let kind = PLACES[kind].0;
            assert_eq!(
                of(kind, &predicate.replace("\"T\"", &format!("\"{time}\""))).as_deref(),
                Some(time),
                "{kind}"
            );
            assert_eq!(of(kind, "{}"), None);
            assert_eq!(
                of(kind, &predicate.replace("\"T\"", "\"soon\"").replace("2020", "x")),
                None,
                "{kind}"
            );
        }
        assert_eq!(of("https://example.com/x", r#"{"timestamp":"2024-05-06T07:08:09Z"}"#), None);
    }
}
