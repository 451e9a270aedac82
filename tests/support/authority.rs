//! A certificate authority for identities, made by hand: its certificates have whatever lifetime and name a test needs.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lifeboat_core::Sha256Digest;
use lifeboat_trust::key::SigningKey;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use serde_json::{Value, json};

use crate::log::TestLog;

/// Fulcio's extension for the issuer of an identity, in its first form.
const ISSUER: &[u64] = &[1, 3, 6, 1, 4, 1, 57264, 1, 1];

/// The issuer of everybody whom this authority names.
pub const VOUCHER: &str = "https://issuer.example";

/// An authority with one root certificate. Everything that it issues is valid in November 2023.
pub struct TestAuthority {
    params: CertificateParams,
    key: KeyPair,
    /// The root certificate in DER.
    pub root: Vec<u8>,
}

/// A key holder with a certificate.
pub struct Certified {
    /// The private key.
    pub key: SigningKey,
    /// The certificate in DER.
    pub certificate: Vec<u8>,
    params: CertificateParams,
    pair: KeyPair,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2023, 11, 1);
    params.not_after = date_time_ymd(2023, 12, 1);
    params
}

impl Default for TestAuthority {
    fn default() -> Self {
        let mut params = params("root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().to_vec();
        Self { params, key, root }
    }
}

impl TestAuthority {
    /// A new key, certified for this URI.
    #[must_use]
    pub fn certify(&self, identity: &str) -> Certified {
        issue(identity, None, &Issuer::from_params(&self.params, &self.key))
    }

    /// A certificate for an existing key.
    pub fn certify_key(&self, identity: &str, key: &SigningKey) -> Certified {
        issue(identity, Some(key), &Issuer::from_params(&self.params, &self.key))
    }

    /// A trusted root with this authority as `chain`, and this log.
    pub fn trusted_root(&self, chain: &[&[u8]], log: &TestLog) -> Value {
        let certificates: Vec<Value> =
            chain.iter().map(|der| json!({"rawBytes": STANDARD.encode(der)})).collect();
        let mut root = log.trusted_root();
        root["certificateAuthorities"] = json!([{
            "uri": "https://ca.example",
            "certChain": {"certificates": certificates},
            "validFor": {"start": "2020-01-01T00:00:00Z"},
        }]);
        root
    }
}

fn issue(identity: &str, key: Option<&SigningKey>, by: &Issuer<'_, &KeyPair>) -> Certified {
    let mut params = params("signer");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    params.subject_alt_names = vec![SanType::URI(identity.try_into().unwrap())];
    params.custom_extensions = vec![CustomExtension::from_oid_content(ISSUER, VOUCHER.as_bytes().to_vec())];
    let pair = match key {
        None => KeyPair::generate().unwrap(),
        Some(key) => KeyPair::try_from(key.to_pkcs8_der().as_slice()).unwrap(),
    };
    let certificate = params.signed_by(&pair, by).unwrap().der().to_vec();
    let key = SigningKey::from_pkcs8_der(&pair.serialize_der()).unwrap();
    Certified { key, certificate, params, pair }
}

impl Certified {
    /// A key certified by this one, which no authority permits.
    #[must_use]
    pub fn certify(&self, identity: &str) -> Certified {
        issue(identity, None, &Issuer::from_params(&self.params, &self.pair))
    }

    /// A bundle with a signature of `content`, which `log` received at `time`.
    pub fn sign(&self, content: &[u8], log: &TestLog, time: i64) -> Value {
        self.bundle(content, &self.key.sign(content), log, time)
    }

    /// The same with an existing signature.
    pub fn bundle(&self, content: &[u8], signature: &[u8], log: &TestLog, time: i64) -> Value {
        let digest = Sha256Digest::of(content);
        let pem = pem::encode(&pem::Pem::new("CERTIFICATE", self.certificate.clone()));
        let body = json!({
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": digest.to_string()}},
                "signature": {
                    "content": STANDARD.encode(signature),
                    "publicKey": {"content": STANDARD.encode(pem)},
                },
            },
        });
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": STANDARD.encode(&self.certificate)},
                "tlogEntries": [log.entry(["hashedrekord", "0.0.1"], body.to_string().as_bytes(), time, &[])],
            },
            "messageSignature": {
                "messageDigest": {"algorithm": "SHA2_256", "digest": STANDARD.encode(digest.as_bytes())},
                "signature": STANDARD.encode(signature),
            },
        })
    }
}
