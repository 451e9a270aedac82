//! Whom a verifier trusts about certificates, logs and times (Sigstore protobuf specs, `sigstore_trustroot.proto`).

mod lint;
pub(crate) mod wire;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use lifeboat_core::{Fault, Kind, Sha256Digest};
use sigstore_verify::Verifier;
use sigstore_verify::trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, TrustedRoot as Parsed};

pub use self::lint::{Finding, Level, lint};
use self::wire::Root;
use crate::certificate_log::CertificateLogs;
use crate::log::Log;
use crate::path::{Authority, check_form};

/// The trusted certificate authorities, logs and timestamp authorities.
///
/// The public-good instance's root is built in, as it was when this version was made. It is prepared only when it is
/// first needed, because most verifications with keys never need it.
pub struct TrustedRoot {
    name: String,
    json: Cow<'static, [u8]>,
    prepared: OnceLock<Prepared>,
}

pub(crate) struct Prepared {
    /// The certificate transparency logs.
    pub(crate) certificate_logs: CertificateLogs,
    /// The logs, by their ids.
    pub(crate) logs: BTreeMap<Sha256Digest, Log>,
    /// The authorities that issue signing certificates.
    pub(crate) certificate_authorities: Vec<Authority>,
    /// The timestamp authorities; each chain starts with the signing certificate.
    pub(crate) timestamp_authorities: Vec<Authority>,
}

/// Why a trusted root cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("this is not a Sigstore trusted root ({reason})")]
pub struct NotATrustedRoot {
    /// What was found instead.
    reason: String,
}

impl Fault for NotATrustedRoot {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn advice(&self) -> Option<String> {
        Some(
            "give the trusted_root.json of the instance that signed (`cosign trusted-root create` makes one), and \
             look at what `lifeboat-verify trusted-root check` says of it"
                .to_owned(),
        )
    }
}

impl TrustedRoot {
    /// The root of Sigstore's public-good instance.
    pub fn public_good() -> Self {
        let json = Cow::Borrowed(SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes());
        Self { name: "Sigstore's public-good instance".to_owned(), json, prepared: OnceLock::new() }
    }

    /// Parses the JSON form. The caller has capped its size; `name` is the user's name for it.
    pub fn from_json(name: &str, json: &[u8]) -> Result<Self, NotATrustedRoot> {
        let prepared = prepare(json).map_err(|reason| NotATrustedRoot { reason })?;
        let json = json.to_vec().into();
        Ok(Self { name: name.to_owned(), json, prepared: OnceLock::from(prepared) })
    }

    /// The user's name for it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its JSON form, verbatim.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    pub(crate) fn prepared(&self) -> &Prepared {
        self.prepared.get_or_init(|| prepare(&self.json).expect("the built-in root is good: a test shows it"))
    }
}

impl fmt::Debug for TrustedRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustedRoot({})", self.name)
    }
}

fn prepare(json: &[u8]) -> Result<Prepared, String> {
    let root = Root::parse(json)?;
    let mut logs = BTreeMap::new();
    for log in &root.tlogs {
        let log = Log::read(log)?;
        logs.insert(log.id, log);
    }
    let authorities = |all: &[wire::CertificateAuthority]| {
        all.iter().map(wire::CertificateAuthority::authority).collect::<Result<Vec<_>, _>>()
    };
    let certificate_authorities = authorities(&root.certificate_authorities)?;
    let timestamp_authorities = authorities(&root.timestamp_authorities)?;
    for der in certificate_authorities.iter().chain(&timestamp_authorities).flat_map(|one| &one.chain) {
        check_form(der).map_err(|reason| format!("a certificate of an authority: {reason}"))?;
    }
    // The library reads one spelling of each member and ignores all others.
    let parsed = Parsed::from_json(&root.to_json()).map_err(|error| error.to_string())?;
    // It reports everything that is not a valid key or certificate.
    Verifier::new(&parsed).map_err(|error| error.to_string())?;
    let certificate_logs = CertificateLogs::read(&root, &parsed)?;
    Ok(Prepared { certificate_logs, logs, certificate_authorities, timestamp_authorities })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_root_is_good() {
        let root = TrustedRoot::public_good();
        assert!(root.prepared().logs.values().any(|log| log.is_named("rekor.sigstore.dev")));
    }

    #[test]
    fn what_is_no_root_is_refused() {
        for bad in ["", "[]", "{}", r#"{"mediaType":"text/plain"}"#, r#"{"mediaType":"a","mediaType":"b"}"#] {
            assert!(TrustedRoot::from_json("it", bad.as_bytes()).is_err(), "{bad}");
        }
        let good = String::from_utf8(TrustedRoot::public_good().json().to_vec()).unwrap();
        let good: serde_json::Value = serde_json::from_str(&good).unwrap();
        let changes: [(&str, serde_json::Value); 7] = [
            ("/tlogs/0/logId", serde_json::json!([good["tlogs"][0]["logId"]["keyId"]])),
            ("/tlogs/0/publicKey/validFor", serde_json::json!(["2021-01-12T11:53:27Z"])),
            ("/certificateAuthorities/0/certChain", serde_json::json!([[]])),
            ("/tlogs/0/hashAlgorithm", "sha256".into()),
            ("/ctlogs/0/hashAlgorithm", "SHA3_256".into()),
            ("/ctlogs/0/publicKey/rawBytes", {
                let key = good["ctlogs"][0]["publicKey"]["rawBytes"].as_str().unwrap();
                key.replace('+', "-").replace('/', "_").into()
            }),
            ("/ctlogs/0/publicKey/keyDetails", serde_json::Value::Null),
        ];
        for (place, value) in changes {
            let mut bad = good.clone();
            *bad.pointer_mut(place).unwrap() = value;
            assert_ne!(bad, good, "{place}");
            assert!(TrustedRoot::from_json("it", bad.to_string().as_bytes()).is_err(), "{place}");
        }
        TrustedRoot::from_json("it", good.to_string().as_bytes()).unwrap();
    }
}
