//! Measures the cost of the largest evidence before a trusted signer is known: each document is judged in a process of
//! its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lifeboat_core::Sha256Digest;
use rcgen::{CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, KeyPair, SanType};

use crate::bundle::{MAX_ATTESTATION_BYTES, MEDIA_TYPE};
use crate::dsse::{IN_TOTO, pre_authentication_encoding};
use crate::identity::Pattern;
use crate::judge::{File, judge_any, judge_file, judge_legacy_attestation};
use crate::key::{SigningKey, VerificationKey};
use crate::policy::{Demands, Policy, Signer};

/// Set for a process that should judge one document: the name of the row and the file, separated by a blank.
const TASK: &str = "LIFEBOAT_COST_OF";

/// The most memory that a process may use, including the document, and its processor time.
const MAX_BYTES: u64 = 128 << 20;
const MAX_MILLIS: u64 = 2000;

/// A document, and how it is judged.
struct Row {
    name: &'static str,
    make: fn() -> Vec<u8>,
    judge: fn(&[u8]) -> String,
}

fn subject() -> Sha256Digest {
    Sha256Digest::of(b"image")
}

/// A policy with keys of each kind that verifies in its own way, and with any identity.
fn policy() -> Policy {
    let ed25519 = VerificationKey::from_ed25519([
        0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e,
        0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
    ]);
    let key = |key: VerificationKey| Signer::Key { name: "a key".to_owned(), key };
    let any = || Pattern::regex("identity", "(?s).*").unwrap();
    let signers = vec![
        key(SigningKey::generate().verification_key().clone()),
        key(ed25519.unwrap()),
        Signer::Identity { identity: any(), issuer: any() },
    ];
    let demands = Demands { log: false, certificate_log: false };
    Policy { signers, demands, now: "2026-01-01T00:00:00Z".parse().unwrap(), ..Policy::default() }
}

fn judge_bundle(document: &[u8]) -> String {
    judge_any(document, subject(), None, &policy()).map(drop).unwrap_err().to_string()
}

fn judge_blob(document: &[u8]) -> String {
    let file = File { digest: subject(), content: Some(b"image"), predicate_type: None };
    judge_file(document, file, &policy()).map(drop).unwrap_err().to_string()
}

fn judge_legacy(document: &[u8]) -> String {
    let annotations = BTreeMap::new();
    judge_legacy_attestation(document, &annotations, subject(), None, &policy())
        .map(drop)
        .unwrap_err()
        .to_string()
}

/// How many characters of base64 fit, given how much else there is.
fn room(beside: usize) -> usize {
    (usize::try_from(MAX_ATTESTATION_BYTES).unwrap() - beside - 4096) / 4 * 4
}

fn with(material: &str, content: &str) -> Vec<u8> {
    let text = format!(r#"{{"mediaType":"{MEDIA_TYPE}","verificationMaterial":{{{material}}},{content}}}"#);
    assert!(text.len() as u64 <= MAX_ATTESTATION_BYTES);
    text.into_bytes()
}

fn envelope(payload: &str, signature: &[u8]) -> String {
    let signature = STANDARD.encode(signature);
    format!(
        r#""dsseEnvelope":{{"payload":"{payload}","payloadType":"{IN_TOTO}","signatures":[{{"sig":"{signature}"}}]}}"#
    )
}

/// A statement of maximal size, whose predicate is expensive to parse.
fn statement(length: usize) -> Vec<u8> {
    let head = format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{}"}}}}],"predicateType":"x","predicate":["#,
        subject()
    );
    let items = "[],".repeat((length - head.len() - 8) / 3);
    format!("{head}{items}0]}}").into_bytes()
}

/// A certificate that anybody can make, and a signature with its key.
fn self_made(message: &[u8]) -> (String, Vec<u8>) {
    const ISSUER: &[u64] = &[1, 3, 6, 1, 4, 1, 57264, 1, 1];
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    params.subject_alt_names = vec![SanType::URI("https://mallory.example".try_into().unwrap())];
    params.custom_extensions =
        vec![CustomExtension::from_oid_content(ISSUER, b"https://issuer.example".to_vec())];
    let pair = KeyPair::generate().unwrap();
    let certificate = STANDARD.encode(params.self_signed(&pair).unwrap().der());
    let key = SigningKey::from_pkcs8_der(&pair.serialize_der()).unwrap();
    (format!(r#""certificate":{{"rawBytes":"{certificate}"}}"#), key.sign(message))
}

const KEY: &str = r#""publicKey":{"hint":"x"}"#;
const MESSAGE: &str = r#""messageSignature":{"signature":"AA=="}"#;

const ROWS: &[Row] = &[
    Row {
        name: "a payload that a stranger signed",
        make: || {
            let payload = statement(room(0) / 4 * 3);
            with(KEY, &envelope(&STANDARD.encode(payload), &[0x30, 0]))
        },
        judge: judge_bundle,
    },
    Row {
        name: "a payload whose signature is good by a certificate that nobody issued",
        make: || {
            let payload = statement(room(4096) / 4 * 3);
            let (material, signature) = self_made(&pre_authentication_encoding(IN_TOTO, &payload));
            with(&material, &envelope(&STANDARD.encode(payload), &signature))
        },
        judge: judge_bundle,
    },
    Row {
        name: "a payload that an Ed25519 key needs whole, and as much beside it as may be",
        make: || {
            let hint = "x".repeat((4 << 20) - 4096);
            let payload = "A".repeat(crate::enclosed::MAX_WHOLE_BYTES / 3 * 4);
            with(&format!(r#""publicKey":{{"hint":"{hint}"}}"#), &envelope(&payload, &[7; 64]))
        },
        judge: judge_bundle,
    },
    Row {
        name: "a hint",
        make: || with(&format!(r#""publicKey":{{"hint":"{}"}}"#, "x".repeat(room(0))), MESSAGE),
        judge: judge_blob,
    },
    Row {
        name: "a signature",
        make: || with(KEY, &format!(r#""messageSignature":{{"signature":"{}"}}"#, "A".repeat(room(0)))),
        judge: judge_blob,
    },
    Row {
        name: "a certificate",
        make: || with(&format!(r#""certificate":{{"rawBytes":"{}"}}"#, "A".repeat(room(0))), MESSAGE),
        judge: judge_blob,
    },
    Row {
        name: "log entries",
        make: || {
            let body = "A".repeat(room(16 * 1024) / 16 / 4 * 4);
            let entry = format!(
                r#"{{"logId":{{"keyId":"AA=="}},"kindVersion":{{"kind":"dsse","version":"0.0.1"}},"canonicalizedBody":"{body}"}}"#
            );
            with(&format!(r#"{KEY},"tlogEntries":[{}]"#, vec![entry; 16].join(",")), MESSAGE)
        },
        judge: judge_blob,
    },
    Row {
        name: "timestamps, as large as is read",
        make: || {
            let token = "MIME".repeat(((4 << 20) - 8192) / 16 / 4);
            let stamp = format!(r#"{{"signedTimestamp":"{token}"}}"#);
            let stamps = vec![stamp; 16].join(",");
            let (material, _) = self_made(b"");
            with(
                &format!(r#"{material},"timestampVerificationData":{{"rfc3161Timestamps":[{stamps}]}}"#),
                MESSAGE,
            )
        },
        judge: judge_blob,
    },
    Row {
        name: "very many members",
        make: || {
            let members = (0..4_000_000).map(|n| format!(r#""{n}":0"#)).collect::<Vec<_>>().join(",");
            format!("{{{members}}}").into_bytes()
        },
        judge: judge_blob,
    },
    Row {
        name: "a number in very many digits",
        make: || with(&format!(r#"{KEY},"tlogEntries":[{{"logIndex":"{}"}}]"#, "0".repeat(room(0))), MESSAGE),
        judge: judge_blob,
    },
    Row {
        name: "texts that are written with escapes",
        make: || {
            let text = format!("\"{}\"", r"\u0041".repeat(100_000));
            let count = room(0) / (text.len() + 1);
            format!(r#"{{"a":[{}]}}"#, vec![text; count].join(",")).into_bytes()
        },
        judge: judge_blob,
    },
    Row {
        name: "a legacy envelope",
        make: || {
            let payload = STANDARD.encode(statement(room(0) / 4 * 3));
            format!(r#"{{"payload":"{payload}","payloadType":"{IN_TOTO}","signatures":[{{"sig":"AA=="}}]}}"#)
                .into_bytes()
        },
        judge: judge_legacy,
    },
];

/// In a process that was started for one row: judges it, and prints the cost.
fn run_if_asked() -> bool {
    let Ok(task) = std::env::var(TASK) else { return false };
    let (row, path) = task.split_once('/').unwrap();
    let row = &ROWS[row.parse::<usize>().unwrap()];
    let document = fs::read(Path::new("/").join(path)).unwrap();
    let reason = (row.judge)(&document);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // The fields after the program's name in brackets; utime and stime are numbers 14 and 15, in hundredths of a
    // second.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let millis: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum();
    println!("COST {} {millis} {reason}", kib << 10);
    true
}

/// The largest evidence costs at most 128 MiB, itself included, and two seconds.
#[test]
fn no_evidence_costs_much_before_its_signature_is_verified() {
    if run_if_asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let test = std::thread::current().name().unwrap().to_owned();
    let mut broken = Vec::new();
    for (number, row) in ROWS.iter().enumerate() {
        let path = folder.path().join("document");
        fs::write(&path, (row.make)()).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &test, "--nocapture"]).env(TASK, format!("{number}{}", path.display()));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let cost = said.lines().find_map(|line| line.split_once("COST ")).map(|(_, cost)| cost);
        let cost =
            cost.unwrap_or_else(|| panic!("{}: {said}{}", row.name, String::from_utf8_lossy(&output.stderr)));
        let mut words = cost.splitn(3, ' ');
        let mut next = || words.next().unwrap();
        let (peak, millis): (u64, u64) = (next().parse().unwrap(), next().parse().unwrap());
        let line = format!("{}: {} MiB, {millis} ms: {}", row.name, peak >> 20, next());
        eprintln!("{line}");
        if peak > MAX_BYTES || millis > MAX_MILLIS {
            broken.push(line);
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
