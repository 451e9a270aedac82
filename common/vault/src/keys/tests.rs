//! Tests every kind of recipient against its identity, another identity, damage, and files of the reference program.
//! The files in `golden/` were written by age 1.3.2 (`age-keygen -pq`, `age -a`) and OpenSSH 9.2.

use std::sync::Arc;

use age::armor::ArmoredReader;
use age_core::primitives::bech32_encode;
use bech32::Hrp;
use lifeboat_core::limits::read_capped;
use lifeboat_core::random::OsEntropy;
use proptest::prelude::*;

use super::*;
use crate::error::VaultError;

const HYBRID_KEY: &str = include_str!("golden/hybrid.key");
const X25519_KEY: &str = include_str!("golden/x25519.key");
const LOCKED_IDENTITY: &str = include_str!("golden/locked-identity.age");
const SSH: [&str; 2] = [include_str!("golden/ssh.pub"), include_str!("golden/ssh")];
const SSH_RSA: [&str; 2] = [include_str!("golden/ssh-rsa.pub"), include_str!("golden/ssh-rsa")];
const SSH_LOCKED: [&str; 2] = [include_str!("golden/ssh-locked.pub"), include_str!("golden/ssh-locked")];

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text).unwrap()
}

fn nobody() -> Arc<dyn PluginDialog> {
    Arc::new(NoDialog)
}

fn binary(armoured: &str) -> Vec<u8> {
    read_capped(ArmoredReader::new(armoured.as_bytes()), 1 << 20).unwrap()
}

fn public_key(identity_file: &str) -> &str {
    identity_file.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap()
}

/// One of each kind that needs no other program, with an identity that opens it and one of the same kind that does not.
fn pairs() -> Vec<(Recipient, Identity, Identity)> {
    let (ours, recipient) = generate(&OsEntropy);
    let (other, _) = generate(&OsEntropy);
    let identity = |text: &str| Identity::parse(text.as_bytes()).unwrap();
    let unlocked = IdentityFile::parse(SSH_LOCKED[1].as_bytes()).unwrap();
    let unlocked = unlocked.unlock(&passphrase("correct horse")).unwrap().identity(&nobody()).unwrap();
    let x25519 = age::x25519::Identity::generate();
    vec![
        (recipient, identity(&ours), identity(&other)),
        (
            x25519.to_public().to_string().parse().unwrap(),
            identity(secrecy::ExposeSecret::expose_secret(&x25519.to_string())),
            identity(X25519_KEY),
        ),
        (SSH[0].parse().unwrap(), identity(SSH[1]), identity(SSH_RSA[1])),
        (SSH_RSA[0].parse().unwrap(), identity(SSH_RSA[1]), identity(SSH[1])),
        (SSH_LOCKED[0].parse().unwrap(), unlocked, identity(SSH[1])),
        (
            Recipient::cheap_passphrase(&passphrase("correct horse")),
            Identity::of_passphrase(&passphrase("correct horse")),
            Identity::of_passphrase(&passphrase("correct house")),
        ),
    ]
}

#[test]
fn what_is_wrapped_opens_with_its_identity_and_no_other() {
    for (recipient, ours, other) in pairs() {
        let wrapped = recipient.wrap(b"secret").unwrap();
        assert_eq!(&**ours.unwrap(&wrapped).unwrap(), b"secret", "{recipient:?}");
        assert!(other.unwrap(&wrapped).is_none(), "{recipient:?}");
        for length in [0, 1, wrapped.len() / 2, wrapped.len() - 1] {
            assert!(ours.unwrap(&wrapped[..length]).is_none(), "{recipient:?}, cut to {length}");
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_never_gives_another_secret() {
    for (recipient, ours, _) in pairs() {
        let wrapped = recipient.wrap(b"secret").unwrap();
        for place in 0..wrapped.len() {
            let mut damaged = wrapped.clone();
            damaged[place] ^= 1 << (place % 8);
            assert!(ours.unwrap(&damaged).is_none(), "{recipient:?}, byte {place}");
        }
    }
}

#[test]
fn what_the_reference_program_wrapped_opens() {
    let phrase = Identity::of_passphrase(&passphrase("correct horse"));
    let identity = |text: &str| Identity::parse(text.as_bytes()).unwrap();
    for (identity, wrapped) in [
        (identity(HYBRID_KEY), include_str!("golden/hybrid.age")),
        (identity(X25519_KEY), include_str!("golden/x25519.age")),
        (phrase, include_str!("golden/scrypt.age")),
    ] {
        assert_eq!(&**identity.unwrap(&binary(wrapped)).unwrap(), b"wrapped by age 1.3.2");
    }
}

#[test]
fn hybrid_keys_have_the_same_text_as_in_the_reference_program() {
    let secret = HYBRID_KEY.lines().find(|line| line.starts_with("AGE-SECRET-KEY-PQ-1")).unwrap();
    assert_eq!(recipient_of(secret.as_bytes()).unwrap(), public_key(HYBRID_KEY));
    assert_eq!(*secret.parse::<hybrid::Identity>().unwrap().to_text(), secret);
    assert_eq!(public_key(HYBRID_KEY).parse::<Recipient>().unwrap().as_str(), public_key(HYBRID_KEY));
    assert_eq!(recipient_of(X25519_KEY.as_bytes()), None);
}

#[test]
fn a_locked_identity_file_opens_with_its_passphrase_only() {
    for (text, recipient) in [(LOCKED_IDENTITY, public_key(HYBRID_KEY)), (SSH_LOCKED[1], SSH_LOCKED[0])] {
        let file = || IdentityFile::parse(text.as_bytes()).unwrap();
        assert!(file().is_locked());
        assert!(file().identity(&nobody()).unwrap_err().contains("passphrase"));
        assert_eq!(file().unlock(&passphrase("wrong")).unwrap_err(), "the passphrase does not open it");
        let file = file().unlock(&passphrase("correct horse")).unwrap();
        assert!(!file.is_locked());
        let wrapped = recipient.parse::<Recipient>().unwrap().wrap(b"secret").unwrap();
        assert_eq!(&**file.identity(&nobody()).unwrap().unwrap(&wrapped).unwrap(), b"secret");
    }
    let other = IdentityFile::parse(&binary(include_str!("golden/x25519.age"))).unwrap_err();
    assert!(other.contains("encrypted to other keys"), "{other}");
}

#[test]
fn no_file_mixes_post_quantum_with_classical_recipients_or_passphrases_with_any() {
    let hybrid = hybrid::Identity::random(&OsEntropy).recipient();
    let classical = age::x25519::Identity::generate().to_public();
    let phrase = passphrase::Recipient::cheap(passphrase("correct horse"));
    let all: [&dyn age::Recipient; 3] = [&hybrid, &classical, &phrase];
    for (one, two) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2)] {
        assert!(
            age::Encryptor::with_recipients([all[one], all[two]].into_iter()).is_err(),
            "{one} and {two}"
        );
    }
    let second = hybrid::Identity::random(&OsEntropy).recipient();
    let both: [&dyn age::Recipient; 2] = [&hybrid, &second];
    assert!(age::Encryptor::with_recipients(both.into_iter()).is_ok());
}

#[test]
fn recipients_report_their_kind_and_protection() {
    let plugin = bech32_encode(Hrp::parse("age1nosuch").unwrap(), &[7; 20]);
    for (text, kind, protection) in [
        (public_key(HYBRID_KEY), RecipientKind::Hybrid, Protection::PostQuantum),
        (public_key(X25519_KEY), RecipientKind::X25519, Protection::Classical),
        (SSH[0], RecipientKind::Ssh, Protection::Classical),
        (
            "age1tag1qt8lw0ual6avlwmwatk888yqnmdamm7xfd0wak53ut6elz5c4swx2yqdj4e",
            RecipientKind::Tag,
            Protection::Classical,
        ),
        (&plugin, RecipientKind::Plugin, Protection::Unknown),
        ("passphrase-0123456789abcdef", RecipientKind::Passphrase, Protection::PostQuantum),
    ] {
        let recipient: Recipient = text.parse().unwrap();
        assert_eq!((recipient.kind(), recipient.protection()), (kind, protection), "{text}");
        assert_eq!(recipient.is_post_quantum(), protection == Protection::PostQuantum);
        assert_eq!(recipient.as_str(), text.trim());
        assert_eq!(recipient.id().len(), 16);
    }
}

#[test]
fn a_missing_plugin_is_named() {
    let text = bech32_encode(Hrp::parse("age1nosuch").unwrap(), &[7; 20]);
    let mut recipient: Recipient = text.parse().unwrap();
    for error in [recipient.prepare().unwrap_err(), recipient.wrap(b"secret").unwrap_err()] {
        assert!(error.to_string().contains("`age-plugin-nosuch` is not on the PATH"), "{error}");
    }
    let identity = bech32_encode(Hrp::parse("age-plugin-nosuch-").unwrap(), &[7; 20]).to_uppercase();
    let error = Identity::parse(identity.as_bytes()).unwrap_err();
    assert!(error.contains("`age-plugin-nosuch` is not on the PATH"), "{error}");
}

#[test]
fn a_passphrase_recipients_id_reveals_nothing_of_the_passphrase() {
    let phrase = passphrase("correct horse");
    let (one, two) =
        (Recipient::of_passphrase(&phrase, &OsEntropy), Recipient::of_passphrase(&phrase, &OsEntropy));
    assert_ne!(one.id(), two.id());
    let again: Recipient = one.as_str().parse().unwrap();
    assert_eq!(again.id(), one.id());
    assert!(again.needs_passphrase() && again.wrap(b"secret").is_err());
    assert!(!again.unlock(&phrase).needs_passphrase());
    assert!(Passphrase::new("").is_none());
}

#[test]
fn an_ssh_keys_comment_is_not_part_of_its_identity() {
    let bare: Vec<&str> = SSH[0].split(' ').take(2).collect();
    let (one, two): (Recipient, Recipient) = (SSH[0].parse().unwrap(), bare.join(" ").parse().unwrap());
    assert_eq!(one.id(), two.id());
}

#[test]
fn recipients_that_age_does_not_know_are_refused() {
    let cut = &public_key(HYBRID_KEY)[..1000];
    let long = format!("age1{}", "q".repeat(9000));
    // Valid Bech32 of the right length over bytes that are not an ML-KEM key: its coefficients must be below the
    // modulus.
    let no_key = bech32_encode(Hrp::parse("age1pq").unwrap(), &[0xff; 1216]);
    for bad in [
        "",
        "bob",
        "age1qqqq",
        "age1pq1qqqq",
        "ssh-dss AAAA",
        "passphrase",
        "passphrase-x",
        "a\nb",
        cut,
        &long,
        &no_key,
    ] {
        assert!(bad.parse::<Recipient>().is_err(), "{bad}");
    }
}

#[test]
fn a_private_key_that_is_given_as_a_recipient_is_not_quoted() {
    for secret in [HYBRID_KEY, X25519_KEY] {
        let line = secret.lines().find(|line| line.starts_with("AGE-")).unwrap();
        let error = line.parse::<Recipient>().unwrap_err();
        let VaultError::BadRecipient { text, reason } = &error else { panic!("{error}") };
        assert!(!text.contains(&line[20..30]) && reason.contains("private key"), "{error}");
    }
}

#[test]
fn a_line_without_an_identity_is_numbered_and_not_quoted() {
    let text = HYBRID_KEY.replace("PQ-1", "PQ-1Q");
    let error = Identity::parse(text.as_bytes()).unwrap_err();
    let key = text.lines().position(|line| line.starts_with("AGE-")).unwrap();
    assert!(error.starts_with(&format!("line {} ", key + 1)), "{error}");
    assert!(!error.contains("PQ-1Q"), "{error}");
    assert_eq!(Identity::parse(b"# only a comment\n").unwrap_err(), "it contains no age identity");
}

#[test]
fn nothing_that_is_secret_is_shown() {
    let secret = hybrid::Identity::random(&OsEntropy);
    let shown = format!(
        "{secret:?} {:?} {:?} {:?}",
        Identity::parse(secret.to_text().as_bytes()).unwrap(),
        IdentityFile::parse(secret.to_text().as_bytes()).unwrap(),
        passphrase("correct horse"),
    );
    assert!(!shown.contains("AGE-SECRET") && !shown.contains("horse"), "{shown}");
}

#[test]
fn storage_cannot_ask_for_more_scrypt_work_than_we_spend() {
    let phrase = passphrase("correct horse");
    let wrapped = Recipient::cheap_passphrase(&phrase).wrap(b"secret").unwrap();
    let end_of_line = wrapped.windows(3).position(|w| w == b" 2\n").unwrap() + 1;
    let costly = [&wrapped[..end_of_line], b"40", &wrapped[end_of_line + 1..]].concat();
    assert!(Identity::of_passphrase(&phrase).unwrap(&costly).is_none());
}

#[test]
fn a_secret_that_is_too_long_is_refused_and_not_cut() {
    let (text, recipient) = generate(&OsEntropy);
    let identity = Identity::parse(text.as_bytes()).unwrap();
    let mut secret = vec![7; 16 << 10];
    assert_eq!(**identity.unwrap(&recipient.wrap(&secret).unwrap()).unwrap(), secret);
    secret.push(7);
    assert!(identity.unwrap(&recipient.wrap(&secret).unwrap()).is_none());
}

proptest! {
    #[test]
    fn any_secret_round_trips(secret in proptest::collection::vec(any::<u8>(), 0..2048), seed in any::<[u8; 32]>()) {
        let identity = hybrid::Identity::from_seed(seed);
        let recipient = Recipient::hybrid(identity.recipient());
        let identity = Identity::parse(identity.to_text().as_bytes()).unwrap();
        let opened = identity.unwrap(&recipient.wrap(&secret).unwrap()).unwrap();
        prop_assert_eq!(&**opened, &secret[..]);
    }

    #[test]
    fn no_identity_file_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = IdentityFile::parse(&bytes).and_then(|file| file.identity(&nobody()));
        for start in ["AGE-SECRET-KEY-PQ-1", "-----BEGIN OPENSSH PRIVATE KEY-----\n", "age-encryption.org/v1\n-> "] {
            let bytes = [start.as_bytes(), &bytes].concat();
            let _ = IdentityFile::parse(&bytes).and_then(|file| file.identity(&nobody()));
        }
    }
}
