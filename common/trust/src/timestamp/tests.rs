//! Tokens made by hand. Their signatures are not checked here, because the library verifies them first.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose as Eku, IsCa, Issuer, KeyPair,
    KeyUsagePurpose as Ku, date_time_ymd,
};

use super::*;

/// A value in DER.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut der = vec![tag];
    match u8::try_from(content.len()) {
        Ok(length @ 0..0x80) => der.push(length),
        Ok(length) => der.extend([0x81, length]),
        Err(_) => {
            der.push(0x82);
            der.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        }
    }
    der.extend(content);
    der
}

fn oid(oid: ObjectIdentifier) -> Vec<u8> {
    oid.to_der().unwrap()
}

/// A signed attribute with one value.
fn attribute_of(kind: ObjectIdentifier, value: &[u8]) -> Vec<u8> {
    tlv(0x30, &[&oid(kind), &tlv(0x31, &[value])])
}

fn content_type() -> Vec<u8> {
    attribute_of(CONTENT_TYPE, &oid(TST_INFO))
}

fn message_digest(digest: u8) -> Vec<u8> {
    attribute_of(MESSAGE_DIGEST, &tlv(0x04, &[&[digest; 32]]))
}

/// The attribute that names a certificate by its SHA-256, the default of the second version.
fn signing_certificate(der: &[u8]) -> Vec<u8> {
    let digest = digest::digest(&SHA256, der);
    let certificate = tlv(0x30, &[&tlv(0x04, &[digest.as_ref()])]);
    attribute_of(SIGNING_CERTIFICATE_V2, &tlv(0x30, &[&tlv(0x30, &[&certificate])]))
}

/// The first version, which supports only SHA-1.
fn signing_certificate_v1(der: &[u8]) -> Vec<u8> {
    let digest = digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, der);
    let certificate = tlv(0x30, &[&tlv(0x04, &[digest.as_ref()])]);
    attribute_of(SIGNING_CERTIFICATE, &tlv(0x30, &[&tlv(0x30, &[&certificate])]))
}

/// The attribute with a digest of something else, and the issuer and serial number of a certificate.
fn named_by_serial(der: &[u8]) -> Vec<u8> {
    let certificate = Certificate::from_der(der).unwrap().tbs_certificate;
    let issuer = tlv(0x30, &[&tlv(0xa4, &[&certificate.issuer.to_der().unwrap()])]);
    let issued = tlv(0x30, &[&issuer, &certificate.serial_number.to_der().unwrap()]);
    let certificate = tlv(0x30, &[&tlv(0x04, &[&[7; 32]]), &issued]);
    attribute_of(SIGNING_CERTIFICATE_V2, &tlv(0x30, &[&tlv(0x30, &[&certificate])]))
}

/// An authority's chain, the signing certificate first.
struct World {
    chain: Vec<Vec<u8>>,
}

impl World {
    fn new(change: fn(&mut CertificateParams)) -> Self {
        let params = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2030, 1, 1));
            params
        };
        let mut root = params("root");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![Ku::KeyCertSign];
        change(&mut root);
        let mut leaf = params("stamps");
        leaf.key_usages = vec![Ku::DigitalSignature];
        leaf.extended_key_usages = vec![Eku::TimeStamping];
        let (root_key, leaf_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let leaf = leaf.signed_by(&leaf_key, &Issuer::from_params(&root, &root_key)).unwrap();
        let root = root.self_signed(&root_key).unwrap();
        Self { chain: vec![leaf.der().to_vec(), root.der().to_vec()] }
    }

    fn token(&self, time: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
        let attributes = [attributes, &[message_digest(1)]].concat();
        self.token_with(1, time, &attributes)
    }

    fn token_with(&self, version: u8, time: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
        let leaf = Certificate::from_der(&self.chain[0]).unwrap().tbs_certificate;
        let algorithm = tlv(0x30, &[&oid(SHA_256)]);
        let imprint = tlv(0x30, &[&algorithm, &tlv(0x04, &[&[0; 32]])]);
        let info = tlv(
            0x30,
            &[&[2, 1, version], &oid(TST_INFO), &imprint, &[2, 1, 7], &tlv(0x18, &[time.as_bytes()])],
        );
        let content = tlv(0x30, &[&oid(TST_INFO), &tlv(0xa0, &[&tlv(0x04, &[&info])])]);
        let signer = tlv(0x30, &[&leaf.issuer.to_der().unwrap(), &leaf.serial_number.to_der().unwrap()]);
        let mut sorted = attributes.to_vec();
        sorted.sort();
        let signed = tlv(0xa0, &[&sorted.concat()]);
        let signer =
            tlv(0x30, &[&[2, 1, 1], &signer, &algorithm, &signed, &algorithm, &tlv(0x04, &[b"signature"])]);
        let data = tlv(0x30, &[&[2, 1, 3], &tlv(0x31, &[]), &content, &tlv(0x31, &[&signer])]);
        let signed_data = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
        tlv(0x30, &[&oid(signed_data), &tlv(0xa0, &[&data])])
    }

    fn check(token: &[u8], chain: &[Vec<u8>]) -> Result<(), String> {
        let authorities = [Authority { chain: chain.to_vec(), window: None }];
        let now = "2025-01-01T00:00:00Z".parse().unwrap();
        check(token, &authorities, now).map_err(|refusal| refusal.to_string())
    }
}

const TIME: &str = "20240101000000Z";

#[test]
fn a_token_says_what_it_is_and_by_whom() {
    let world = World::new(|_| {});
    let leaf = world.chain[0].as_slice();
    let good = [content_type(), signing_certificate(leaf)];
    World::check(&world.token(TIME, &good), &world.chain).unwrap();
    World::check(&world.token(TIME, &[content_type(), signing_certificate_v1(leaf)]), &world.chain).unwrap();
    World::check(&world.token(TIME, &[content_type(), named_by_serial(leaf)]), &world.chain).unwrap();
    let reason =
        World::check(&world.token(TIME, &[content_type(), named_by_serial(&world.chain[1])]), &world.chain);
    assert!(reason.unwrap_err().contains("for another certificate"));
    // An authority's response that contains the token, as it comes over the wire.
    let answer = tlv(0x30, &[&tlv(0x30, &[&[2, 1, 0]]), &world.token(TIME, &good)]);
    World::check(&answer, &world.chain).unwrap();

    let data = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
    let table: [(&[Vec<u8>], &str); 6] = [
        (&[signing_certificate(leaf)], "no signed content type"),
        (&[attribute_of(CONTENT_TYPE, &oid(data)), signing_certificate(leaf)], "not that of a timestamp"),
        (&[content_type()], "does not sign which certificate"),
        (&[content_type(), signing_certificate(&world.chain[1])], "for another certificate"),
        (&[content_type(), signing_certificate_v1(&world.chain[1])], "for another certificate"),
        (&[content_type(), signing_certificate(leaf), signing_certificate(b"x")], "occurs 2 times"),
    ];
    for (attributes, expected) in table {
        let reason = World::check(&world.token(TIME, attributes), &world.chain).unwrap_err();
        assert!(reason.contains(expected), "{reason}");
    }
    let named = [content_type(), signing_certificate(leaf)];
    let with = |digests: &[Vec<u8>]| {
        World::check(&world.token_with(1, TIME, &[&named[..], digests].concat()), &world.chain)
    };
    with(&[message_digest(1)]).unwrap();
    let two_values = tlv(0x31, &[&tlv(0x04, &[&[1; 32]]), &tlv(0x04, &[&[2; 32]])]);
    let two_values = tlv(0x30, &[&oid(MESSAGE_DIGEST), &two_values]);
    let table: [(&[Vec<u8>], &str); 4] = [
        (&[], "no signed digest"),
        (&[message_digest(1), message_digest(2)], "occurs 2 times"),
        (&[message_digest(1), message_digest(1)], "malformed"),
        (&[two_values], "has not one value"),
    ];
    for (digests, expected) in table {
        let reason = with(digests).unwrap_err();
        assert!(reason.contains(expected), "{expected}: {reason}");
    }
    for version in [0, 2] {
        let token = world.token_with(version, TIME, &[&named[..], &[message_digest(1)]].concat());
        assert!(World::check(&token, &world.chain).unwrap_err().contains("malformed"), "{version}");
    }
    for bad in [&b""[..], b"\x30\x00", &[0x30; 40]] {
        World::check(bad, &world.chain).unwrap_err();
    }
}

#[test]
fn a_token_of_the_future_or_outside_of_its_authority_counts_for_nothing() {
    let world = World::new(|_| {});
    let good = [content_type(), signing_certificate(&world.chain[0])];
    let at = |time: &str| World::check(&world.token(time, &good), &world.chain);
    at("20250101000030Z").unwrap();
    assert!(at("20250101000200Z").unwrap_err().contains("check the clock"));
    assert!(at("20191231000000Z").unwrap_err().contains("CertNotValidYet"));
    let stranger = World::new(|_| {});
    let reason = World::check(&world.token(TIME, &good), &stranger.chain).unwrap_err();
    assert!(reason.contains("names no certificate of an authority"), "{reason}");
    // The authority's only certificate may be the signing one.
    World::check(&world.token(TIME, &good), &world.chain[..1]).unwrap();
    assert!(World::check(&world.token("20191231000000Z", &good), &world.chain[..1]).is_err());
    for change in [
        (|params| params.not_after = date_time_ymd(2023, 1, 1)) as fn(&mut CertificateParams),
        |params| params.is_ca = IsCa::ExplicitNoCa,
        |params| params.key_usages = vec![Ku::DigitalSignature],
        |params| params.extended_key_usages = vec![Eku::CodeSigning],
    ] {
        let world = World::new(change);
        let good = [content_type(), signing_certificate(&world.chain[0])];
        World::check(&world.token(TIME, &good), &world.chain).unwrap_err();
    }
}
