//! Properties of acceptance that hold for any question: docs/acceptance.md, section "Properties".

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::collections::BTreeMap;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lifeboat_core::Sha256Digest;
use lifeboat_tests::authority::{TestAuthority, VOUCHER};
use lifeboat_tests::log::TestLog;
use lifeboat_trust::bundle::Bundle;
use lifeboat_trust::identity::Pattern;
use lifeboat_trust::judge::{Accepted, File, judge_file};
use lifeboat_trust::key::SigningKey;
use lifeboat_trust::key_file::write_public;
use lifeboat_trust::policy::{Demands, Policy, Signer};
use lifeboat_trust::statement::{PredicateType, Statement};
use lifeboat_trust::trusted_root::TrustedRoot;
use lifeboat_trust::witness::{Quorum, Witness};
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use serde_json::{Value, json};

const CONTENT: &[u8] = b"content";
const TIME: i64 = 1_700_000_000;

/// A witness that signs nothing here.
const WITNESS: &str =
    "witness.navigli.sunlight.geomys.org+a3e00fe2+BNy/co4C1Hn1p+INwJrfUlgz7W55dSZReusH/GhUhJ/G";

/// Signers, and evidence by them and by others, some of it good and some not.
struct World {
    signers: Vec<Signer>,
    evidence: Vec<Value>,
    root: String,
}

/// The body of the log entry of a file's signature.
fn body(signature: &[u8], maker: &str) -> Vec<u8> {
    let hash = json!({"algorithm": "sha256", "value": Sha256Digest::of(CONTENT).to_string()});
    let signature =
        json!({"content": STANDARD.encode(signature), "publicKey": {"content": STANDARD.encode(maker)}});
    let spec = json!({"data": {"hash": hash}, "signature": signature});
    json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": spec}).to_string().into_bytes()
}

impl World {
    fn new() -> Self {
        let (log, unknown, authority) = (TestLog::default(), TestLog::default(), TestAuthority::default());
        let keys = [SigningKey::generate(), SigningKey::generate()];
        let digest = Sha256Digest::of(CONTENT);
        let mut evidence: Vec<Value> = Vec::new();
        let parsed = |json: Vec<u8>| serde_json::from_slice::<Value>(&json).unwrap();
        for key in &keys {
            let annotations = BTreeMap::from([("env".to_owned(), "prod".to_owned())]);
            for payload in [Statement::file(digest, "file"), Statement::image_signature(digest, &annotations)]
            {
                evidence.push(parsed(Bundle::sign_statement(payload, key).unwrap().to_json()));
            }
            let plain = parsed(Bundle::sign_file(digest, key).unwrap().to_json());
            let signature =
                STANDARD.decode(plain["messageSignature"]["signature"].as_str().unwrap()).unwrap();
            let entry = |log: &TestLog| {
                let body = body(&signature, &write_public(key.verification_key()));
                log.entry(["hashedrekord", "0.0.1"], &body, TIME, &[])
            };
            for entries in
                [vec![], vec![entry(&log)], vec![entry(&unknown)], vec![entry(&log), entry(&unknown)]]
            {
                let mut logged = plain.clone();
                logged["verificationMaterial"]["tlogEntries"] = json!(entries);
                evidence.push(logged);
            }
        }
        for identity in ["https://ci.example/a", "https://ci.example/b"] {
            evidence.push(authority.certify(identity).sign(CONTENT, &log, TIME));
            evidence.push(authority.certify(identity).sign(CONTENT, &unknown, TIME));
            evidence.push(authority.certify(identity).sign(b"another", &log, TIME));
        }
        // A certificate for a key that is named as well.
        evidence.push(authority.certify_key("https://ci.example/a", &keys[0]).sign(CONTENT, &log, TIME));
        let key = |number: usize| Signer::Key {
            name: format!("{number}.pub"),
            key: keys[number].verification_key().clone(),
        };
        let issuer = || Pattern::exact("issuer", VOUCHER).unwrap();
        let exact = Pattern::exact("identity", "https://ci.example/a").unwrap();
        let any = Pattern::regex("identity", "https://ci.example/.*").unwrap();
        let signers = vec![
            key(0),
            key(1),
            key(0),
            Signer::Identity { identity: exact, issuer: issuer() },
            Signer::Identity { identity: any, issuer: issuer() },
        ];
        let root = authority.trusted_root(&[&authority.root], &log).to_string();
        Self { signers, evidence, root }
    }

    fn get() -> &'static Self {
        static WORLD: OnceLock<World> = OnceLock::new();
        WORLD.get_or_init(Self::new)
    }
}

/// The question. Each number is a degree of strictness.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct Asked {
    signers: Vec<usize>,
    threshold: usize,
    log: bool,
    certificate_log: bool,
    keys_need_log: bool,
    witnessed: bool,
    annotations: usize,
    minimum_time: usize,
    typed: bool,
}

/// One is before and one after the start of validity of the certificates here.
const MINIMUM_TIMES: [&str; 2] = ["2023-10-01T00:00:00Z", "2024-01-01T00:00:00Z"];

impl Asked {
    fn policy(&self) -> Policy {
        let Self {
            signers,
            threshold,
            log,
            certificate_log,
            keys_need_log,
            witnessed,
            annotations,
            minimum_time,
            typed: _,
        } = self;
        let world = World::get();
        let all = [("env", "prod"), ("env2", "x")];
        let witnesses = witnessed.then(|| Witness::from_vkey(WITNESS).unwrap());
        Policy {
            signers: signers.iter().map(|place| world.signers[*place].clone()).collect(),
            threshold: *threshold,
            root: TrustedRoot::from_json("root", world.root.as_bytes()).unwrap(),
            demands: Demands { log: *log, certificate_log: *certificate_log },
            keys_need_log: *keys_need_log,
            quorum: Quorum::new(witnesses.into_iter().collect(), None).unwrap(),
            annotations: all[..*annotations]
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
            minimum_time: minimum_time.checked_sub(1).map(|place| MINIMUM_TIMES[place].parse().unwrap()),
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
        }
    }

    /// The same question, stricter in one point; unchanged if it cannot be stricter there.
    fn stricter(&self, point: usize) -> Self {
        let mut stricter = self.clone();
        match point % 9 {
            0 => _ = stricter.signers.pop(),
            1 => stricter.threshold += 1,
            2 => stricter.log = true,
            3 => stricter.certificate_log = true,
            4 => stricter.keys_need_log = true,
            5 => stricter.witnessed = true,
            6 => stricter.annotations = (stricter.annotations + 1).min(2),
            7 => stricter.minimum_time = (stricter.minimum_time + 1).min(2),
            _ => stricter.typed = true,
        }
        stricter
    }

    fn judge<'p>(&self, evidence: &Value, content: &[u8], policy: &'p Policy) -> Option<Accepted<'p>> {
        let kind = PredicateType::image_signature();
        let predicate_type = self.typed.then_some(&kind);
        let file = File { digest: Sha256Digest::of(content), content: Some(content), predicate_type };
        judge_file(evidence.to_string().as_bytes(), file, policy).ok()
    }

    /// Which of the evidence is accepted, how many slots it fills, and whether the policy is met.
    fn answer(&self, evidence: &[&Value]) -> (Vec<bool>, usize, bool) {
        let policy = self.policy();
        let judged: Vec<_> = evidence.iter().map(|one| self.judge(one, CONTENT, &policy)).collect();
        let votes: Vec<_> = judged.iter().flatten().map(|accepted| &accepted.vote).collect();
        let filled = policy.fill(votes.iter().copied()).iter().flatten().count();
        (judged.iter().map(Option::is_some).collect(), filled, policy.is_met_by(votes))
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let flags =
        (any::<bool>(), prop::bool::weighted(0.1), any::<bool>(), prop::bool::weighted(0.1), any::<bool>());
    let signers = subsequence((0..5).collect::<Vec<usize>>(), 1..=5).prop_shuffle();
    (signers, 1..4_usize, flags, 0..3_usize, 0..3_usize).prop_map(
        |(signers, threshold, flags, annotations, minimum_time)| {
            let (log, certificate_log, keys_need_log, witnessed, typed) = flags;
            Asked {
                signers,
                threshold,
                log,
                certificate_log,
                keys_need_log,
                witnessed,
                // Most questions should be answered with yes, so that there is something to lose.
                annotations: annotations.saturating_sub(1),
                minimum_time: minimum_time.saturating_sub(1),
                typed,
            }
        },
    )
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    let count = World::get().evidence.len();
    subsequence((0..count).collect::<Vec<_>>(), 0..=count).prop_shuffle()
}

fn of(places: &[usize]) -> Vec<&'static Value> {
    places.iter().map(|place| &World::get().evidence[*place]).collect()
}

/// The places in a bundle that hold signed bytes, the signature, or evidence for it; all in base64.
const SIGNED: [&str; 8] = [
    "/messageSignature/signature",
    "/messageSignature/messageDigest/digest",
    "/dsseEnvelope/payload",
    "/dsseEnvelope/signatures/0/sig",
    "/verificationMaterial/certificate/rawBytes",
    "/verificationMaterial/tlogEntries/0/canonicalizedBody",
    "/verificationMaterial/tlogEntries/0/inclusionPromise/signedEntryTimestamp",
    "/verificationMaterial/tlogEntries/0/inclusionProof/rootHash",
];

/// The most lenient question: it accepts everything in the world that is good.
fn lenient() -> Asked {
    Asked {
        signers: (0..5).collect(),
        threshold: 1,
        log: false,
        certificate_log: false,
        keys_need_log: false,
        witnessed: false,
        annotations: 0,
        minimum_time: 0,
        typed: false,
    }
}

#[test]
fn there_is_something_to_lose() {
    let world = World::get();
    let all: Vec<usize> = (0..world.evidence.len()).collect();
    let (accepted, filled, _) = lenient().answer(&of(&all));
    // Evidence about another file, and certificates without a known log, do not count.
    assert_eq!(accepted.iter().filter(|is_accepted| **is_accepted).count(), all.len() - 4);
    assert_eq!(filled, 4, "one key is named twice");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_stricter_policy_never_accepts_more(asked in asked(), points in prop::collection::vec(0..9_usize, 1..4), pieces in pieces()) {
        let evidence = of(&pieces);
        let (accepted, filled, is_met) = asked.answer(&evidence);
        let stricter = points.iter().fold(asked.clone(), |asked, point| asked.stricter(*point));
        let (fewer, filled_then, is_met_then) = stricter.answer(&evidence);
        for (place, (before, then)) in accepted.iter().zip(&fewer).enumerate() {
            prop_assert!(*before || !then, "{stricter:?} accepts {}", evidence[place]);
        }
        prop_assert!(filled_then <= filled);
        prop_assert!(is_met || !is_met_then);
    }

    #[test]
    fn nothing_counts_twice(asked in asked(), pieces in pieces(), again in pieces()) {
        let (_, filled, is_met) = asked.answer(&of(&pieces));
        let repeated: Vec<usize> = again.into_iter().filter(|place| pieces.contains(place)).collect();
        let (_, filled_then, is_met_then) = asked.answer(&of(&[pieces, repeated].concat()));
        prop_assert_eq!((filled, is_met), (filled_then, is_met_then));
        prop_assert!(filled <= asked.policy().distinct_signers());
    }

    #[test]
    fn order_does_not_matter(asked in asked(), pieces in pieces(), turn in any::<Index>()) {
        let (accepted, filled, is_met) = asked.answer(&of(&pieces));
        let mut turned = pieces.clone();
        turned.rotate_left(turn.index(pieces.len().max(1)).min(pieces.len()));
        turned.reverse();
        let mut others = asked.clone();
        others.signers.reverse();
        let (accepted_then, filled_then, is_met_then) = others.answer(&of(&turned));
        prop_assert_eq!((filled, is_met), (filled_then, is_met_then));
        for (place, is_accepted) in pieces.iter().zip(accepted) {
            let then = turned.iter().position(|other| other == place).unwrap();
            prop_assert_eq!(is_accepted, accepted_then[then]);
        }
    }

    #[test]
    fn any_single_bit_of_what_is_signed_matters(piece in any::<Index>(), place in any::<Index>(), bit in any::<Index>()) {
        let world = World::get();
        let evidence = piece.get(&world.evidence);
        let asked = lenient();
        let policy = asked.policy();
        prop_assume!(asked.judge(evidence, CONTENT, &policy).is_some());
        let there: Vec<&str> =
            SIGNED.into_iter().filter(|place| evidence.pointer(place).is_some_and(Value::is_string)).collect();
        let mut changed = evidence.clone();
        // The first entry of some is from an unknown log, which proves nothing that could be wrong.
        let place = place.get(&there);
        let logged = asked.stricter(4);
        let is_logged = || logged.judge(evidence, CONTENT, &logged.policy()).is_some();
        prop_assume!(!place.contains("tlogEntries") || is_logged());
        let text = changed.pointer_mut(place).unwrap();
        let mut bytes = STANDARD.decode(text.as_str().unwrap()).unwrap();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        *text = STANDARD.encode(bytes).into();
        prop_assert!(asked.judge(&changed, CONTENT, &policy).is_none(), "bit {bit} of {place}");
        // And so does any bit of the subject.
        let mut content = CONTENT.to_vec();
        let bit = bit % (content.len() * 8);
        content[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(asked.judge(evidence, &content, &policy).is_none());
    }
}
