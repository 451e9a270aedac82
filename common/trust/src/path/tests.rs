//! A table of authorities and chains: which are good at a time, and which are not.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose as Eku,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose as Ku, NameConstraints, SanType, date_time_ymd,
};

use super::*;

/// A certificate and its key.
struct Made {
    params: CertificateParams,
    key: KeyPair,
    der: Vec<u8>,
}

/// A change to a certificate's parameters.
type Change = fn(&mut CertificateParams);

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2030, 1, 1);
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![Ku::KeyCertSign, Ku::CrlSign];
    params
}

fn signer() -> CertificateParams {
    let mut params = params("signer");
    params.key_usages = vec![Ku::DigitalSignature];
    params.extended_key_usages = vec![Eku::CodeSigning];
    params.subject_alt_names = vec![SanType::Rfc822Name("ann@example.com".try_into().unwrap())];
    params
}

fn made(mut params: CertificateParams, change: Change, issuer: Option<&Made>) -> Made {
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let der = match issuer {
        None => params.self_signed(&key).unwrap().der().to_vec(),
        Some(issuer) => {
            let by = Issuer::from_params(&issuer.params, &issuer.key);
            params.signed_by(&key, &by).unwrap().der().to_vec()
        }
    };
    Made { params, key, der }
}

fn nothing(_: &mut CertificateParams) {}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A root, an authority under it, another one, and a signer under the first.
struct World {
    root: Made,
    sub: Made,
    other: Made,
    leaf: Made,
}

impl World {
    fn new(root: Change, sub: Change, leaf: Change) -> Self {
        let root = made(authority("root"), root, None);
        let sub = made(authority("sub"), sub, Some(&root));
        let other = made(authority("other"), nothing, Some(&root));
        let leaf = made(signer(), leaf, Some(&sub));
        Self { root, sub, other, leaf }
    }

    fn under(&self, chain: &[&Made], brought: &[&Made], time: &str) -> Result<(), String> {
        let chain = chain.iter().map(|made| made.der.clone()).collect();
        let authorities = [Authority { chain, window: None }];
        let brought: Vec<Vec<u8>> = brought.iter().map(|made| made.der.clone()).collect();
        validate(&self.leaf.der, &authorities, &brought, at(time), Purpose::CodeSigning).map(drop)
    }
}

const NOW: &str = "2025-01-01T00:00:00Z";

#[test]
fn a_good_path_leads_to_the_last_certificate_of_a_chain() {
    let world = World::new(nothing, nothing, nothing);
    world.under(&[&world.sub, &world.root], &[], NOW).unwrap();
    // An authority below a root may itself be the anchor.
    world.under(&[&world.sub], &[], NOW).unwrap();
    // A chain with only a root allows certificates from the evidence; others in between have no effect.
    world.under(&[&world.root], &[&world.sub], NOW).unwrap();
    world.under(&[&world.root], &[&world.other, &world.sub, &world.root], NOW).unwrap();
    world.under(&[&world.root], &[], NOW).unwrap_err();
    // A chain that names its authority allows no other, and its first certificate is not an anchor.
    world.under(&[&world.other, &world.root], &[&world.sub], NOW).unwrap_err();
    // A single certificate that is not a root allows none either.
    let below = made(authority("below"), nothing, Some(&world.sub));
    let leaf = made(signer(), nothing, Some(&below));
    let under = |chain: &[&Made]| {
        let chain = chain.iter().map(|made| made.der.clone()).collect();
        let authorities = [Authority { chain, window: None }];
        let brought = [below.der.clone(), world.sub.der.clone()];
        validate(&leaf.der, &authorities, &brought, at(NOW), Purpose::CodeSigning)
    };
    under(&[&world.root]).unwrap();
    under(&[&world.sub]).unwrap_err();
    let stranger = made(authority("stranger"), nothing, None);
    world.under(&[&world.sub, &stranger], &[], NOW).unwrap_err();
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn every_limit_of_every_certificate_of_a_path_holds() {
    /// The changes to the root, to the authority below it, and to the signer's certificate, and the expected error.
    type Row = (&'static str, Change, Change, Change, &'static str);
    let table: &[Row] = &[
        (
            "a root that is not an authority",
            |p| p.is_ca = IsCa::ExplicitNoCa,
            nothing,
            nothing,
            "not a certificate authority",
        ),
        (
            "a root without basic constraints",
            |p| p.is_ca = IsCa::NoCa,
            nothing,
            nothing,
            "not a certificate authority",
        ),
        (
            "a root that signs data only",
            |p| p.key_usages = vec![Ku::DigitalSignature],
            nothing,
            nothing,
            "keyCertSign",
        ),
        (
            "a root for timestamps",
            |p| p.extended_key_usages = vec![Eku::TimeStamping],
            nothing,
            nothing,
            "extendedKeyUsage",
        ),
        (
            "a root of yesterday",
            |p| p.not_after = date_time_ymd(2024, 12, 1),
            nothing,
            nothing,
            "is valid from",
        ),
        (
            "a root of tomorrow",
            |p| p.not_before = date_time_ymd(2025, 2, 1),
            nothing,
            nothing,
            "is valid from",
        ),
        (
            "a root that allows no authority below it",
            |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)),
            nothing,
            nothing,
            "allows 0 certificate authorities below it",
        ),
        (
            "a root with an unknown critical extension",
            |p| {
                let mut unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
                unknown.set_criticality(true);
                p.custom_extensions = vec![unknown];
            },
            nothing,
            nothing,
            "critical extension 1.2.3.4",
        ),
        (
            "a root that demands policies",
            |p| {
                let content = vec![0x30, 0x03, 0x80, 0x01, 0x00];
                p.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 36], content)];
            },
            nothing,
            nothing,
            "policyConstraints",
        ),
        (
            "a root for other names",
            |p| {
                let permitted_subtrees = vec![GeneralSubtree::Rfc822Name("example.org".to_owned())];
                p.name_constraints =
                    Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
            },
            nothing,
            nothing,
            "NameConstraintViolation",
        ),
        (
            "an intermediate that is not an authority",
            nothing,
            |p| p.is_ca = IsCa::NoCa,
            nothing,
            "EndEntityUsedAsCa",
        ),
        (
            "an intermediate that signs data only",
            nothing,
            |p| p.key_usages = vec![Ku::DigitalSignature],
            nothing,
            "keyCertSign",
        ),
        (
            "an intermediate for timestamps",
            nothing,
            |p| p.extended_key_usages = vec![Eku::TimeStamping],
            nothing,
            "RequiredEkuNotFound",
        ),
        (
            "an intermediate of yesterday",
            nothing,
            |p| p.not_after = date_time_ymd(2024, 12, 1),
            nothing,
            "CertExpired",
        ),
        (
            "a signer for servers",
            nothing,
            nothing,
            |p| p.extended_key_usages = vec![Eku::ServerAuth],
            "RequiredEkuNotFound",
        ),
        (
            "a signer for anything",
            nothing,
            nothing,
            |p| p.extended_key_usages = Vec::new(),
            "extendedKeyUsage",
        ),
        (
            "a signer that does not sign data",
            nothing,
            nothing,
            |p| p.key_usages = vec![Ku::KeyAgreement],
            "digitalSignature",
        ),
        (
            "a signer that is an authority",
            nothing,
            nothing,
            |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            "CaUsedAsEndEntity",
        ),
        (
            "a signer of tomorrow",
            nothing,
            nothing,
            |p| p.not_before = date_time_ymd(2025, 2, 1),
            "CertNotValidYet",
        ),
    ];
    for (what, root, sub, leaf, expected) in table {
        let world = World::new(*root, *sub, *leaf);
        for (chain, brought) in
            [(vec![&world.sub, &world.root], vec![]), (vec![&world.root], vec![&world.sub])]
        {
            let reason = world.under(&chain, &brought, NOW).expect_err(what);
            assert!(reason.contains(expected), "{what}: {reason}");
        }
    }
}

#[test]
fn a_leaf_in_a_chain_issues_nothing() {
    let world = World::new(nothing, nothing, nothing);
    let mallory = made(signer(), nothing, Some(&world.root));
    let forged = made(signer(), nothing, Some(&mallory));
    for chain in [vec![&mallory, &world.root], vec![&mallory]] {
        let chain = chain.into_iter().map(|made| made.der.clone()).collect();
        let authorities = [Authority { chain, window: None }];
        validate(&forged.der, &authorities, &[], at(NOW), Purpose::CodeSigning).unwrap_err();
    }
}

#[test]
fn path_lengths_do_not_count_self_issued_certificates() {
    let limit: Change = |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    let root = made(authority("root"), limit, None);
    let sub = made(authority("sub"), nothing, Some(&root));
    let below = made(authority("below"), nothing, Some(&sub));
    let leaf = made(signer(), nothing, Some(&below));
    let chain = [&below, &sub, &root].map(|made| made.der.clone()).to_vec();
    let authorities = [Authority { chain, window: None }];
    let reason = validate(&leaf.der, &authorities, &[], at(NOW), Purpose::CodeSigning).unwrap_err();
    assert!(reason.contains("allows 1 certificate authorities below it, and there are 2"), "{reason}");
    // The same with a certificate in between that the authority issued to itself for a new key.
    let again = made(authority("sub"), nothing, Some(&sub));
    let leaf = made(signer(), nothing, Some(&again));
    let chain = [&again, &sub, &root].map(|made| made.der.clone()).to_vec();
    let authorities = [Authority { chain, window: None }];
    validate(&leaf.der, &authorities, &[], at(NOW), Purpose::CodeSigning).unwrap();
}

#[test]
fn an_authority_is_believed_within_its_window_only() {
    let world = World::new(nothing, nothing, nothing);
    let chain = vec![world.sub.der.clone(), world.root.der.clone()];
    let window = |start: &str, end: Option<&str>| Window { start: at(start), end: end.map(at) };
    let table = [
        (window("2024-01-01T00:00:00Z", None), true),
        (window("2025-01-01T00:00:00Z", Some("2025-01-01T00:00:00Z")), true),
        (window("2025-01-01T00:00:01Z", None), false),
        (window("2020-01-01T00:00:00Z", Some("2024-12-31T23:59:59Z")), false),
    ];
    for (window, is_good) in table {
        let authorities = [Authority { chain: chain.clone(), window: Some(window) }];
        let found = validate(&world.leaf.der, &authorities, &[], at(NOW), Purpose::CodeSigning);
        assert_eq!(found.is_ok(), is_good, "{window:?}: {found:?}");
    }
    validate(&world.leaf.der, &[], &[], at(NOW), Purpose::CodeSigning).unwrap_err();
}

#[test]
fn a_link_of_a_chain_is_checked_by_itself() {
    let world = World::new(nothing, nothing, nothing);
    is_issued_by(&world.sub.der, &world.root.der).unwrap();
    is_issued_by(&world.root.der, &world.root.der).unwrap();
    assert!(is_issued_by(&world.leaf.der, &world.root.der).unwrap_err().contains("as its issuer"));
    let namesake = made(authority("root"), nothing, None);
    assert_eq!(is_issued_by(&world.sub.der, &namesake.der).unwrap_err(), "its signature is wrong");
}
