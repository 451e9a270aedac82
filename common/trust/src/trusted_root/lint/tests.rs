use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose as Eku, IsCa, Issuer, KeyPair,
    KeyUsagePurpose as Ku, date_time_ymd,
};
use serde_json::{Value, json};
use sigstore_verify::trust_root::{
    SIGSTORE_GITHUB_TRUSTED_ROOT, SIGSTORE_PRODUCTION_TRUSTED_ROOT, SIGSTORE_STAGING_TRUSTED_ROOT,
};

use super::*;

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn found(root: &Value, level: Level) -> Vec<String> {
    let findings = lint(root.to_string().as_bytes(), now());
    findings.iter().filter(|finding| finding.level == level).map(ToString::to_string).collect()
}

/// A root certificate, an authority below it, and a signing certificate, in DER.
fn certificates(change: fn(&mut CertificateParams)) -> [String; 3] {
    let params = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2030, 1, 1));
        params
    };
    let authority = |name: &str| {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![Ku::KeyCertSign];
        params
    };
    let keys = [(); 3].map(|()| KeyPair::generate().unwrap());
    let root = authority("root");
    let mut sub = authority("sub");
    change(&mut sub);
    let mut leaf = params("leaf");
    leaf.key_usages = vec![Ku::DigitalSignature];
    leaf.extended_key_usages = vec![Eku::TimeStamping];
    let (by_root, by_sub) = (Issuer::from_params(&root, &keys[0]), Issuer::from_params(&sub, &keys[1]));
    [
        root.self_signed(&keys[0]).unwrap(),
        sub.signed_by(&keys[1], &by_root).unwrap(),
        leaf.signed_by(&keys[2], &by_sub).unwrap(),
    ]
    .map(|certificate| STANDARD.encode(certificate.der()))
}

fn authority(chain: &[&String], window: &Value) -> Value {
    let certificates: Vec<Value> = chain.iter().map(|der| json!({"rawBytes": der})).collect();
    json!({"uri": "https://ca.example", "certChain": {"certificates": certificates}, "validFor": window})
}

fn root(authorities: &[Value], stamps: &[Value]) -> Value {
    json!({
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "certificateAuthorities": authorities,
        "timestampAuthorities": stamps,
    })
}

#[test]
fn the_roots_of_sigstore_and_github_have_no_errors() {
    for json in
        [SIGSTORE_PRODUCTION_TRUSTED_ROOT, SIGSTORE_STAGING_TRUSTED_ROOT, SIGSTORE_GITHUB_TRUSTED_ROOT]
    {
        let errors: Vec<_> = lint(json.as_bytes(), now())
            .into_iter()
            .filter(|finding| finding.level == Level::Error)
            .collect();
        assert_eq!(errors, []);
    }
}

#[test]
fn certificates_that_may_not_issue_and_broken_chains_are_errors() {
    let open = json!({"start": "2020-01-01T00:00:00Z"});
    let [top, sub, leaf] = certificates(|_| {});
    let good = root(&[authority(&[&sub, &top], &open)], &[authority(&[&leaf, &sub, &top], &open)]);
    assert_eq!(lint(good.to_string().as_bytes(), now()), []);

    let errors = |authorities: &[Value], stamps: &[Value]| found(&root(authorities, stamps), Level::Error);
    let one = |chain: &[&String]| errors(&[authority(chain, &open)], &[]);
    insta::assert_snapshot!(one(&[&leaf, &sub, &top]).join("\n"), @"certificateAuthorities[0].certChain.certificates[0]: `CN=leaf` is not a certificate authority (basicConstraints)");
    let backwards = root(&[authority(&[&top, &sub], &open)], &[]);
    assert_eq!(found(&backwards, Level::Error), Vec::<String>::new());
    insta::assert_snapshot!(found(&backwards, Level::Warning).join("\n"), @"certificateAuthorities[0]: its chain begins with the root: the last certificate, which is believed, is not the root");
    insta::assert_snapshot!(one(&[]).join("\n"), @"certificateAuthorities[0]: it has no certificates");
    let [_, other, _] = certificates(|params| params.key_usages = vec![Ku::DigitalSignature]);
    assert!(one(&[&other]).join("\n").contains("keyUsage lacks keyCertSign"));
    let [_, other, _] = certificates(|params| params.extended_key_usages = vec![Eku::TimeStamping]);
    assert!(one(&[&other]).join("\n").contains("is not for code signing"));
    let [_, foreign, _] = certificates(|_| {});
    assert!(one(&[&foreign, &top]).join("\n").contains("its signature is wrong"));
    // Only as the first of a timestamp authority is a leaf in its proper place.
    assert!(errors(&[], &[authority(&[&sub, &leaf], &open)]).join("\n").contains("`CN=leaf` is not"));
}

#[test]
fn windows_are_information_and_a_warning_only_where_a_newer_one_has_begun() {
    let [top, sub, _] = certificates(|_| {});
    let window = |start: &str, end: Option<&str>| match end {
        Some(end) => {
            json!({"start": format!("{start}-01-01T00:00:00Z"), "end": format!("{end}-01-01T00:00:00Z")})
        }
        None => json!({"start": format!("{start}-01-01T00:00:00Z")}),
    };
    let of = |windows: &[Value], level| {
        let all: Vec<Value> = windows.iter().map(|window| authority(&[&sub, &top], window)).collect();
        found(&root(&all, &[]), level)
    };
    assert_eq!(of(&[window("2020", Some("2022"))], Level::Information).len(), 1);
    assert_eq!(of(&[window("2020", None)], Level::Warning).len(), 0);
    assert_eq!(of(&[window("2020", None), window("2027", None)], Level::Warning).len(), 0);
    let warnings = of(&[window("2020", None), window("2024", None)], Level::Warning);
    insta::assert_snapshot!(warnings.join("\n"), @"certificateAuthorities[0]: it is believed without end, and certificateAuthorities[1] of the same operator (ca.example) has begun: give it a `validFor.end` if it is out of use");
    assert_eq!(of(&[window("2020", Some("2024")), window("2024", None)], Level::Warning).len(), 0);
    assert_eq!(of(&[window("2022", Some("2020"))], Level::Error).len(), 1);
}

#[test]
fn a_member_is_read_in_both_spellings_and_in_no_other() {
    let [top, sub, _] = certificates(|_| {});
    let window = json!({"start": "2020-01-01T00:00:00Z", "end": "2021-01-01T00:00:00Z"});
    let good = root(&[authority(&[&sub, &top], &window)], &[]).to_string();
    let ends = |json: &str| {
        let root = Root::parse(json.as_bytes())?;
        Ok::<_, String>(
            root.certificate_authorities[0].authority()?.window.and_then(|window| window.end).is_some(),
        )
    };
    assert_eq!(ends(&good), Ok(true));
    for (camel, snake) in [
        ("validFor", "valid_for"),
        ("certificateAuthorities", "certificate_authorities"),
        ("certChain", "cert_chain"),
        ("rawBytes", "raw_bytes"),
        ("mediaType", "media_type"),
    ] {
        assert_eq!(ends(&good.replace(camel, snake)), Ok(true), "{snake}");
        let both = good.replacen(&format!("\"{camel}\":"), &format!("\"{snake}\":null,\"{camel}\":"), 1);
        assert!(ends(&both).is_err(), "{both}");
        for other in [camel.to_lowercase(), camel.to_uppercase(), format!("{camel}s")] {
            assert!(ends(&good.replace(camel, &other)).is_err(), "{other}");
        }
    }
    assert!(ends(&good.replace("\"end\"", "\"End\"")).is_err());
    let with_kind = |kind: &str| ends(&good.replace("trustedroot+json;version=0.1", kind));
    for kind in ["trustedroot.v0.1+json", "trustedroot.v0.2+json"] {
        assert_eq!(with_kind(kind), Ok(true), "{kind}");
    }
    for kind in
        ["trustedroot.v99+json", "trustedroot+json;version=0.2", "trustedroot", "trustedroot.v0.1+json "]
    {
        assert!(with_kind(kind).is_err(), "{kind}");
    }
}
