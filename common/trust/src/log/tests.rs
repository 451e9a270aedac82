use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::json;

use super::*;
use crate::bundle::NoteSignature;
use crate::key::SigningKey;

const BODY: &[u8] = br#"{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{}}"#;

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn log_of(key: &SigningKey, url: &str, window: &serde_json::Value) -> Log {
    let spki = key.verification_key().to_spki_der();
    let id = key.verification_key().id();
    let wire: wire::Log = serde_json::from_value(json!({
        "baseUrl": url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": {"rawBytes": STANDARD.encode(spki), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": window},
        "logId": {"keyId": STANDARD.encode(id.as_bytes())},
    }))
    .unwrap();
    Log::read(&wire).unwrap()
}

fn log(key: &SigningKey) -> Log {
    log_of(key, "https://log.example", &json!({"start": "2020-01-01T00:00:00Z"}))
}

/// An entry under a checkpoint with this origin, signed with this name by `key` with the id of `named`.
fn entry(origin: &str, name: &str, key: &SigningKey, named: &SigningKey) -> LogEntry {
    let root = Sha256Digest::of(&[&[0], BODY].concat());
    let body = format!("{origin}\n1\n{}\n", STANDARD.encode(root.as_bytes()));
    let id = *named.verification_key().id().as_bytes().first_chunk().unwrap();
    let signature = NoteSignature { name: name.to_owned(), id, bytes: key.sign(body.as_bytes()) };
    LogEntry {
        log: Some(named.verification_key().id()),
        kind: EntryKind::HashedRekord,
        body: BODY.to_vec(),
        promise: None,
        integrated_time: 1_700_000_000,
        index: 7,
        proof: Some(Proof {
            index: 0,
            size: 1,
            root,
            hashes: Vec::new(),
            checkpoint: Some(Checkpoint {
                body,
                log_name: name.to_owned(),
                log_signatures: vec![signature],
                cosignatures: Vec::new(),
            }),
        }),
    }
}

fn shows(entry: &LogEntry, log: &Log) -> Result<Shows, String> {
    check_entry(entry, log, None, now()).map(|(shows, _)| shows).map_err(|refusal| refusal.to_string())
}

#[test]
fn a_checkpoint_counts_with_the_key_and_the_name_of_its_log_only() {
    let (own, other) = (SigningKey::generate(), SigningKey::generate());
    let log = log(&own);
    for origin in ["log.example", "log.example - 1", "log.example - 2605736670972794746"] {
        assert_eq!(shows(&entry(origin, "log.example", &own, &own), &log), Ok(Shows::Inclusion), "{origin}");
    }
    let reason = shows(&entry("log.example", "log.example", &other, &own), &log).unwrap_err();
    assert_eq!(reason, "its checkpoint is not signed by the log that the entry names");
    for (origin, name) in [
        ("evil-origin", "log.example"),
        ("log.example.evil", "log.example"),
        ("log.example - ", "log.example"),
        ("log.example - x", "log.example"),
        ("", "log.example"),
        ("evil.example", "evil.example"),
        ("log.example:1", "log.example:1"),
    ] {
        shows(&entry(origin, name, &own, &own), &log).unwrap_err();
    }
    // The signature is next to one that only has the log's id.
    let mut both = entry("log.example", "log.example", &own, &own);
    let garbage = entry("log.example", "log.example", &other, &own);
    let garbage = garbage.proof.unwrap().checkpoint.unwrap().log_signatures.remove(0);
    both.proof.as_mut().unwrap().checkpoint.as_mut().unwrap().log_signatures.insert(0, garbage);
    assert_eq!(shows(&both, &log), Ok(Shows::Inclusion));
    let mut none = entry("log.example", "log.example", &own, &own);
    none.proof.as_mut().unwrap().checkpoint = None;
    shows(&none, &log).unwrap_err();
    // The log contains another entry.
    let mut other = entry("log.example", "log.example", &own, &own);
    other.body.push(b' ');
    shows(&other, &log).unwrap_err();
}

#[test]
fn a_log_goes_by_its_host_or_by_the_name_in_its_id() {
    let key = SigningKey::generate();
    let open = json!({"start": "2020-01-01T00:00:00Z"});
    for (url, names) in [
        ("https://log.example", vec!["log.example"]),
        ("http://localhost:8000", vec!["localhost", "localhost:8000"]),
        ("https://log.example/v2/", vec!["log.example"]),
    ] {
        let log = log_of(&key, url, &open);
        for name in names {
            assert!(log.is_named(name), "{url} {name}");
        }
        for name in ["", "https:", "log.example/v2", "example"] {
            assert!(!log.is_named(name), "{url} {name}");
        }
    }
    let pair = Ed25519KeyPair::generate().unwrap();
    let raw = <[u8; 32]>::try_from(pair.public_key().as_ref()).unwrap();
    let mut log = log(&key);
    log.key = Some(VerificationKey::from_ed25519(raw).unwrap());
    log.id = Sha256Digest::of(&[&b"moved.example\n\x01"[..], &raw].concat());
    assert!(log.is_named("moved.example") && !log.is_named("other.example"));
}

#[test]
fn a_promise_is_no_inclusion_and_is_by_the_log_that_is_named() {
    let (own, other) = (SigningKey::generate(), SigningKey::generate());
    let promised = |key: &SigningKey, time: u64| {
        let mut entry = entry("log.example", "log.example", &own, &own);
        entry.proof = None;
        let text = format!(
            r#"{{"body":"{}","integratedTime":{time},"logID":"{}","logIndex":7}}"#,
            STANDARD.encode(BODY),
            own.verification_key().id()
        );
        entry.promise = Some(key.sign(text.as_bytes()));
        entry
    };
    let log = log(&own);
    assert_eq!(shows(&promised(&own, 1_700_000_000), &log), Ok(Shows::Promise));
    shows(&promised(&other, 1_700_000_000), &log).unwrap_err();
    shows(&promised(&own, 1_700_000_001), &log).unwrap_err();
    let ended = json!({"start": "2020-01-01T00:00:00Z", "end": "2021-01-01T00:00:00Z"});
    shows(&promised(&own, 1_700_000_000), &log_of(&own, "https://log.example", &ended)).unwrap_err();
    // It contains a time, which must not be in the future.
    let time = |time: u64| {
        let entry = LogEntry { integrated_time: time, ..promised(&own, time) };
        check_entry(&entry, &log, None, now()).map(|(_, time)| time)
    };
    assert_eq!(time(1_700_000_000).unwrap(), Some(Timestamp::from_second(1_700_000_000).unwrap()));
    let present = u64::try_from(now().as_second()).unwrap();
    assert!(time(present).is_ok() && time(present + 1).unwrap_err().to_string().contains("check the clock"));
}

#[test]
fn a_log_is_believed_within_its_window_only() {
    let own = SigningKey::generate();
    let entry = entry("log.example", "log.example", &own, &own);
    let window = |start: &str, end: &str, after: Option<&str>| {
        let window = json!({"start": start, "end": end});
        let log = log_of(&own, "https://log.example", &window);
        check_entry(&entry, &log, after.map(|after| after.parse().unwrap()), now()).is_ok()
    };
    let (start, end) = ("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z");
    assert!(window(start, end, None));
    assert!(window(start, end, Some(end)));
    assert!(!window(start, end, Some("2023-01-01T00:00:00Z")));
    assert!(!window("2030-01-01T00:00:00Z", "2031-01-01T00:00:00Z", None));
}

#[test]
fn a_log_that_has_ended_took_the_signature_in_within_its_window() {
    let own = SigningKey::generate();
    let entry = entry("log.example", "log.example", &own, &own);
    let (start, end) = ("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z");
    let holds = |window: serde_json::Value, times: &[&str]| {
        let window = log_of(&own, "https://log.example", &window).window;
        let shown = Shown { known: vec![(&entry, Shows::Inclusion, window)], ..Shown::default() };
        shown.check_times(&times.iter().map(|time| time.parse().unwrap()).collect()).is_ok()
    };
    let (within, behind) = ("2020-06-01T00:00:00Z", "2022-06-01T00:00:00Z");
    for (window, times, expected) in [
        (json!({"start": start}), vec![], true),
        (json!({"start": start, "end": end}), vec![], false),
        (json!({"start": start, "end": end}), vec![behind], false),
        (json!({"start": start, "end": end}), vec![within, behind], true),
        (json!({"start": start, "end": end}), vec![end], true),
    ] {
        assert_eq!(holds(window.clone(), &times), expected, "{window} {times:?}");
    }
}
