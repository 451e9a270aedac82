use serde_json::{Value, json};

use super::*;
use crate::bundle::Bundle;
use crate::enclosed::Enclosed;
use crate::key::SigningKey;

const FILE: &[u8] = b"content";
const PAYLOAD: &[u8] = b"{}";

/// A holder of a key and, optionally, a certificate; and the signed content.
struct Signed {
    key: SigningKey,
    certificate: Option<(Vec<u8>, Claims)>,
    content: Content<'static>,
}

fn certified(pair: &rcgen::KeyPair) -> (Vec<u8>, Claims) {
    const ISSUER: &[u64] = &[1, 3, 6, 1, 4, 1, 57264, 1, 1];
    let mut params = rcgen::CertificateParams::default();
    params.subject_alt_names = vec![rcgen::SanType::URI("https://ann.example".try_into().unwrap())];
    let issuer = b"https://issuer.example".to_vec();
    params.custom_extensions = vec![rcgen::CustomExtension::from_oid_content(ISSUER, issuer)];
    (params.not_before, params.not_after) =
        (rcgen::date_time_ymd(2023, 11, 1), rcgen::date_time_ymd(2023, 12, 1));
    let der = params.self_signed(pair).unwrap().der().to_vec();
    let claims = Claims::read(&der).unwrap();
    (der, claims)
}

impl Signed {
    fn new(is_envelope: bool, is_certified: bool) -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        let key = SigningKey::from_pkcs8_der(&pair.serialize_der()).unwrap();
        let content = if is_envelope {
            Bundle::sign_statement(PAYLOAD.to_vec(), &key).unwrap().content
        } else {
            Bundle::sign_file(Sha256Digest::of(FILE), &key).unwrap().content
        };
        Self { certificate: is_certified.then(|| certified(&pair)), key, content }
    }

    fn maker(&self) -> Maker<'_> {
        match &self.certificate {
            Some((der, claims)) => Maker::Certificate(der, claims),
            None => Maker::Key(self.key.verification_key()),
        }
    }

    /// The maker in the form that logs use: base64 of PEM.
    fn pem(&self) -> String {
        let (label, der) = match &self.certificate {
            Some((der, _)) => ("CERTIFICATE", der.clone()),
            None => ("PUBLIC KEY", self.key.verification_key().to_spki_der().to_vec()),
        };
        STANDARD.encode(pem::encode(&pem::Pem::new(label, der)))
    }

    fn signature(&self) -> String {
        STANDARD.encode(self.content.signature())
    }

    fn body(&self, kind: EntryKind) -> Value {
        let hash =
            |bytes: &[u8]| json!({"algorithm": "sha256", "value": Sha256Digest::of(bytes).to_string()});
        let (name, version) = kind.name();
        let spec = match kind {
            EntryKind::HashedRekord => json!({
                "data": {"hash": hash(FILE)},
                "signature": {"content": self.signature(), "publicKey": {"content": self.pem()}},
            }),
            EntryKind::HashedRekordV2 => {
                let digest = match &self.content {
                    Content::Message { .. } => Sha256Digest::of(FILE),
                    Content::Envelope(envelope) => envelope.signed_digest(),
                };
                let mut verifier = json!({"keyDetails": "PKIX_ECDSA_P256_SHA_256"});
                if let Some((der, _)) = &self.certificate {
                    verifier["x509Certificate"] = json!({"rawBytes": STANDARD.encode(der)});
                } else {
                    let key = STANDARD.encode(self.key.verification_key().to_spki_der());
                    verifier["publicKey"] = json!({"rawBytes": key});
                }
                json!({"hashedRekordV002": {
                    "data": {"algorithm": "SHA2_256", "digest": STANDARD.encode(digest.as_bytes())},
                    "signature": {"content": self.signature(), "verifier": verifier},
                }})
            }
            EntryKind::Dsse => json!({
                "envelopeHash": hash(b"whatever"),
                "payloadHash": hash(PAYLOAD),
                "signatures": [{"signature": self.signature(), "verifier": self.pem()}],
            }),
            EntryKind::Intoto => json!({"content": {
                "envelope": {
                    "payloadType": crate::dsse::IN_TOTO,
                    "signatures": [{"sig": STANDARD.encode(self.signature()), "publicKey": self.pem()}],
                },
                "hash": hash(b"whatever"),
                "payloadHash": hash(PAYLOAD),
            }}),
        };
        json!({"apiVersion": version, "kind": name, "spec": spec})
    }

    fn check(&self, kind: EntryKind, body: &str, integrated_time: u64) -> Result<(), String> {
        let entry = LogEntry {
            log: None,
            kind,
            body: body.as_bytes().to_vec(),
            promise: None,
            integrated_time,
            index: 0,
            proof: None,
        };
        let logged = Logged { content: &self.content, file: Sha256Digest::of(FILE), maker: self.maker() };
        logged.check(&[entry]).map_err(|refusal| refusal.to_string())
    }
}

const KINDS: [(EntryKind, bool); 5] = [
    (EntryKind::HashedRekord, false),
    (EntryKind::HashedRekordV2, false),
    (EntryKind::HashedRekordV2, true),
    (EntryKind::Dsse, true),
    (EntryKind::Intoto, true),
];

#[test]
fn an_entry_of_each_kind_is_about_the_signature_that_it_was_made_of_and_no_other() {
    for (kind, is_envelope) in KINDS {
        for is_certified in [false, true] {
            let (own, other) =
                (Signed::new(is_envelope, is_certified), Signed::new(is_envelope, is_certified));
            let body = own.body(kind).to_string();
            assert_eq!(own.check(kind, &body, 0), Ok(()), "{kind:?}");
            // By another maker, with another signature, of other content.
            let maker = body.replace(&own.pem(), &other.pem());
            let maker = match &own.certificate {
                Some((der, _)) => maker
                    .replace(&STANDARD.encode(der), &STANDARD.encode(&other.certificate.as_ref().unwrap().0)),
                None => maker.replace(
                    &STANDARD.encode(own.key.verification_key().to_spki_der()),
                    &STANDARD.encode(other.key.verification_key().to_spki_der()),
                ),
            };
            let signature = body
                .replace(&STANDARD.encode(own.signature()), &STANDARD.encode(other.signature()))
                .replace(&own.signature(), &other.signature());
            let digest = |text: &str| {
                let of = |bytes: &[u8]| Sha256Digest::of(bytes);
                let signed = match &own.content {
                    Content::Envelope(envelope) => envelope.signed_digest(),
                    Content::Message { .. } => of(FILE),
                };
                text.replace(&of(FILE).to_string(), &of(b"x").to_string())
                    .replace(&of(PAYLOAD).to_string(), &of(b"x").to_string())
                    .replace(&STANDARD.encode(signed.as_bytes()), &STANDARD.encode(of(b"x").as_bytes()))
            };
            let algorithm = body.replace("sha256\",\"value\":\"44", "sha512\",\"value\":\"44");
            for (bad, reason) in [
                (maker, if is_certified { "another certificate" } else { "another key's signature" }),
                (signature, "another signature"),
                (digest(&body), "its log entry is about another"),
            ] {
                assert_ne!(bad, body);
                let found = own.check(kind, &bad, 0).unwrap_err();
                assert!(found.contains(reason), "{kind:?}: {found}");
            }
            if algorithm != body {
                own.check(kind, &algorithm, 0).unwrap_err();
            }
        }
    }
}

#[test]
fn an_entry_is_of_the_kind_that_it_is_presented_as_and_fits_what_was_signed() {
    let (file, envelope) = (Signed::new(false, false), Signed::new(true, false));
    for (kind, is_envelope) in KINDS {
        let (own, other) = if is_envelope { (&envelope, &file) } else { (&file, &envelope) };
        let body = own.body(kind).to_string();
        let reason = own.check(kind, &body.replace("\"apiVersion\":\"0.0", "\"apiVersion\":\"0.1"), 0);
        assert!(reason.unwrap_err().contains("and is presented as"));
        if kind != EntryKind::HashedRekordV2 {
            assert!(other.check(kind, &body, 0).unwrap_err().contains("which no"), "{kind:?}");
        }
        for bad in ["", "[]", "{}", r#"{"kind":"dsse","kind":"dsse"}"#] {
            own.check(kind, bad, 0).unwrap_err();
        }
        own.check(kind, &body.replace("\"spec\"", "\"spec\":1,\"spec\""), 0).unwrap_err();
    }
    // More than one signature, or none.
    for (kind, pointer) in
        [(EntryKind::Dsse, "/spec/signatures"), (EntryKind::Intoto, "/spec/content/envelope/signatures")]
    {
        let good = envelope.body(kind);
        let one = good.pointer(pointer).unwrap()[0].clone();
        for list in [json!([]), json!([one, one])] {
            let mut body = good.clone();
            *body.pointer_mut(pointer).unwrap() = list;
            assert!(envelope.check(kind, &body.to_string(), 0).unwrap_err().contains("signatures"));
        }
    }
    let own = Signed::new(false, true);
    let mut two = own.body(EntryKind::HashedRekordV2);
    let verifier = two.pointer_mut("/spec/hashedRekordV002/signature/verifier").unwrap();
    for (name, bytes) in [("x509Certificate", "AA=="), ("publicKey", "AA==")] {
        if verifier[name].is_null() {
            verifier[name] = json!({"rawBytes": bytes});
        }
    }
    assert!(own.check(EntryKind::HashedRekordV2, &two.to_string(), 0).unwrap_err().contains("two signers"));
    let other_type = envelope.body(EntryKind::Intoto).to_string().replace("vnd.in-toto", "vnd.other");
    assert!(envelope.check(EntryKind::Intoto, &other_type, 0).unwrap_err().contains("payload type"));
}

#[test]
fn a_certificate_for_a_key_stands_for_it_in_the_log_of_an_envelope() {
    let pair = rcgen::KeyPair::generate().unwrap();
    let key = SigningKey::from_pkcs8_der(&pair.serialize_der()).unwrap();
    let by = |pair: &rcgen::KeyPair| Some(certified(pair));
    let content = Bundle::sign_statement(PAYLOAD.to_vec(), &key).unwrap().content;
    let own = Signed { key: key.clone(), certificate: None, content: content.clone() };
    for kind in [EntryKind::Dsse, EntryKind::Intoto] {
        let logged = Signed { key: key.clone(), certificate: by(&pair), content: content.clone() };
        assert_eq!(own.check(kind, &logged.body(kind).to_string(), 0), Ok(()));
        let stranger = rcgen::KeyPair::generate().unwrap();
        let logged = Signed { key: key.clone(), certificate: by(&stranger), content: content.clone() };
        own.check(kind, &logged.body(kind).to_string(), 0).unwrap_err();
    }
    // An entry for a file contains the key.
    let content = Bundle::sign_file(Sha256Digest::of(FILE), &key).unwrap().content;
    let own = Signed { key: key.clone(), certificate: None, content: content.clone() };
    let logged = Signed { key, certificate: by(&pair), content };
    own.check(EntryKind::HashedRekord, &logged.body(EntryKind::HashedRekord).to_string(), 0).unwrap_err();
}

#[test]
fn a_file_is_logged_while_its_certificate_is_valid() {
    let own = Signed::new(false, true);
    let body = own.body(EntryKind::HashedRekord).to_string();
    let at = |time: u64| own.check(EntryKind::HashedRekord, &body, time);
    assert_eq!((at(0), at(1_700_000_000)), (Ok(()), Ok(())));
    for time in [1, 1_600_000_000, 1_710_000_000, u64::MAX] {
        at(time).unwrap_err();
    }
    let by_key = Signed::new(false, false);
    let body = by_key.body(EntryKind::HashedRekord).to_string();
    by_key.check(EntryKind::HashedRekord, &body, 1).unwrap();
}

#[test]
fn an_envelope_in_a_test_is_what_is_signed() {
    let own = Signed::new(true, false);
    let Content::Envelope(envelope) = &own.content else { panic!("it is one") };
    let again = Enclosed::new(crate::dsse::IN_TOTO.into(), "e30=".into(), Vec::new()).unwrap();
    assert_eq!(envelope.signed_digest(), again.signed_digest());
}
