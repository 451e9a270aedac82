//! Who can recover: every kind of recipient by itself, what `init` says about each, and identities that name no
//! repository.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use lifeboat_tests::command::{Output, run};
use lifeboat_tests::repository::TestRepository;
use lifeboat_tests::terminal::run_on_terminal;
use serde_json::Value;

use crate::BINARIES;

const SSH_PUBLIC: &str = include_str!("../../common/vault/src/keys/golden/ssh.pub");
const SSH_PRIVATE: &str = include_str!("../../common/vault/src/keys/golden/ssh");
const SSH_LOCKED_PUBLIC: &str = include_str!("../../common/vault/src/keys/golden/ssh-locked.pub");
const SSH_LOCKED_PRIVATE: &str = include_str!("../../common/vault/src/keys/golden/ssh-locked");
const HYBRID_KEY: &str = include_str!("../../common/vault/src/keys/golden/hybrid.key");
const LOCKED_HYBRID_KEY: &str = include_str!("../../common/vault/src/keys/golden/locked-identity.age");
const PASSPHRASE: &str = "correct horse";

/// A repository with `init`'s recovery key and `recipients`, and a snapshot of one file in it.
struct Shared {
    repo: TestRepository,
    init: Value,
}

impl Shared {
    fn new(recipients: &[&str]) -> Self {
        let mut repo = TestRepository::without_repository(BINARIES);
        repo.variables.push(("LIFEBOAT_PASSPHRASE".to_owned(), PASSPHRASE.to_owned()));
        let said = init(&repo, recipients, &["--json"]).expect_code(0);
        repo.variables.clear();
        let source = repo.path("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), "kept").unwrap();
        repo.snapshot(&source).expect_code(0);
        for (name, text) in [
            ("ssh", SSH_PRIVATE),
            ("ssh-locked", SSH_LOCKED_PRIVATE),
            ("hybrid", HYBRID_KEY),
            ("hybrid-locked", LOCKED_HYBRID_KEY),
        ] {
            fs::write(repo.path(name), text).unwrap();
            fs::set_permissions(repo.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        Self { repo, init: serde_json::from_str(&said.stdout).unwrap() }
    }

    fn id(&self) -> &str {
        self.init["repository"].as_str().unwrap()
    }

    /// `--identity NAME`: one of the files above, or `passphrase`.
    fn identity(&self, name: &str) -> [String; 2] {
        let path = self.repo.path(name);
        let value = if path.exists() { path.to_str().unwrap() } else { name };
        ["--identity".to_owned(), value.to_owned()]
    }

    fn dump(&self, identity: &str, more: &[&str], passphrase: Option<&str>) -> Output {
        let args = ["dump", "latest", "file"].into_iter().map(str::to_owned);
        let args = args.chain(self.identity(identity)).chain(more.iter().map(|&arg| arg.to_owned()));
        let mut command = self.repo.restore_command_without_key(args);
        run(command.envs(passphrase.map(|text| ("LIFEBOAT_PASSPHRASE", text))))
    }

    fn typed(&self, args: &[&str], identity: &str, lines: &[&str]) -> Output {
        let args = args.iter().map(|&arg| arg.to_owned()).chain(self.identity(identity));
        run_on_terminal(&self.repo.restore_command_without_key(args), lines)
    }
}

fn init(repo: &TestRepository, recipients: &[&str], more: &[&str]) -> Output {
    let (key, writer) = (repo.path("one.key"), repo.path("writer.key"));
    let keys = ["init", "--recovery-key", key.to_str().unwrap(), "--writer-key", writer.to_str().unwrap()];
    let recipients = recipients.iter().flat_map(|recipient| ["--recipient", recipient]);
    repo.backup(keys.into_iter().chain(recipients).chain(more.iter().copied()))
}

#[test]
fn each_of_three_kinds_of_recipients_restores_by_itself() {
    let shared = Shared::new(&[SSH_PUBLIC.trim(), "passphrase"]);
    let root = ["--root", shared.id()];
    assert_eq!(shared.dump("one.key", &[], None).expect_code(0).stdout, "kept");
    assert_eq!(shared.dump("ssh", &root, None).expect_code(0).stdout, "kept");
    assert_eq!(shared.dump("passphrase", &root, Some(PASSPHRASE)).expect_code(0).stdout, "kept");
    let wrong = shared.dump("passphrase", &root, Some("correct house")).expect_code(1);
    assert!(wrong.stderr.contains("none of the repository's data keys opens"), "{}", wrong.stderr);
    assert!(shared.dump("hybrid", &root, None).expect_code(1).stdout.is_empty());

    let recipients = shared.init["recipients"].as_array().unwrap();
    let of = |field: &str| recipients.iter().map(|r| r[field].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(of("kind"), ["ssh", "passphrase"]);
    assert_eq!(of("protection"), ["classical", "post-quantum"]);
    assert!(shared.init["warnings"][0].as_str().unwrap().contains("classical"), "{}", shared.init);
    let names = shared.repo.objects("keys/root").into_iter().chain(shared.repo.objects("keys/data-0"));
    for object in names {
        let name = object.file_name().unwrap().to_str().unwrap().to_owned();
        let bytes = fs::read(&object).unwrap();
        let stanza = String::from_utf8_lossy(&bytes).lines().nth(1).unwrap().to_owned();
        let kind = match of("id").iter().position(|id| name.starts_with(id)) {
            Some(0) => "-> ssh-ed25519",
            Some(_) => "-> scrypt",
            None => "-> mlkem768x25519",
        };
        assert!(stanza.starts_with(kind), "{name}: {stanza}");
    }
}

#[test]
fn an_identity_that_is_locked_by_a_passphrase_restores() {
    let public = HYBRID_KEY.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let shared = Shared::new(&[public, SSH_LOCKED_PUBLIC.trim()]);
    let root = ["--root", shared.id()];
    for identity in ["hybrid-locked", "ssh-locked"] {
        assert_eq!(shared.dump(identity, &root, Some(PASSPHRASE)).expect_code(0).stdout, "kept");
        let wrong = shared.dump(identity, &root, Some("correct house")).expect_code(2);
        assert!(wrong.stderr.contains("the passphrase does not open it"), "{}", wrong.stderr);
        let missing = shared.dump(identity, &root, None).expect_code(2);
        assert!(missing.stderr.contains("set LIFEBOAT_PASSPHRASE"), "{}", missing.stderr);
    }
    assert_eq!(shared.dump("hybrid", &root, None).expect_code(0).stdout, "kept");
    let said = init(&TestRepository::without_repository(BINARIES), &[public], &[]).expect_code(0);
    assert!(said.stdout.contains("mlkem768x25519, post-quantum"), "{}", said.stdout);
    assert!(!said.stdout.contains("warning: "), "{}", said.stdout);
}

#[test]
fn an_identity_that_names_no_repository_needs_a_root_or_a_yes() {
    let shared = Shared::new(&[SSH_PUBLIC.trim(), "passphrase"]);
    let unbound = shared.dump("ssh", &[], None).expect_code(2);
    assert!(unbound.stderr.contains("--root ID"), "{}", unbound.stderr);
    let other = shared.dump("ssh", &["--root", &"0".repeat(64)], None).expect_code(1);
    let named = format!("`--root` names repository {}, and ", "0".repeat(64));
    assert!(other.stderr.contains(&named) && other.stderr.contains(shared.id()), "{}", other.stderr);
    let contradicted = shared.dump("one.key", &["--root", &"0".repeat(64)], None).expect_code(1);
    let named = format!("the recovery key is for repository {}, and `--root` names 0", shared.id());
    assert!(contradicted.stderr.contains(&named), "{}", contradicted.stderr);

    let asked = shared.typed(&["list"], "ssh", &["yes"]).expect_code(0);
    assert!(asked.stdout.contains(shared.id()) && asked.stdout.contains("file"), "{}", asked.stdout);
    for refused in [["no"], ["y"]] {
        let said = shared.typed(&["list"], "ssh", &refused).expect_code(1);
        assert!(said.stdout.contains("was not confirmed"), "{}", said.stdout);
    }
    let both = shared.typed(&["dump", "latest", "file"], "passphrase", &[PASSPHRASE, "yes"]).expect_code(0);
    assert!(both.stdout.ends_with("kept"), "{}", both.stdout);
    assert!(!both.stdout.contains(PASSPHRASE), "the passphrase was shown: {}", both.stdout);
}

#[test]
fn a_repository_that_a_stranger_made_for_the_right_recipients_is_refused() {
    let shared = Shared::new(&[SSH_PUBLIC.trim()]);
    let recovery = fs::read_to_string(shared.repo.path("one.key")).unwrap();
    let public = recovery.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let stranger = TestRepository::without_repository(BINARIES);
    let writer = stranger.path("writer.key");
    let args = ["init", "--writer-key", writer.to_str().unwrap(), "--recipient", public];
    stranger.backup(args.into_iter().chain(["--recipient", SSH_PUBLIC.trim()])).expect_code(0);
    let source = stranger.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "planted").unwrap();
    stranger.snapshot(&source).expect_code(0);
    let forged = Path::new(&stranger.location).join("lifeboat.json");
    let own_marker = fs::read_to_string(&forged).unwrap();
    let true_marker = fs::read_to_string(Path::new(&shared.repo.location).join("lifeboat.json")).unwrap();

    fs::remove_dir_all(&shared.repo.location).unwrap();
    fs::create_dir(&shared.repo.location).unwrap();
    lifeboat_tests::repository::copy_folder(Path::new(&stranger.location), Path::new(&shared.repo.location));
    let root = ["--root", shared.id()];
    for marker in [own_marker, true_marker] {
        fs::write(Path::new(&shared.repo.location).join("lifeboat.json"), marker).unwrap();
        for (identity, more) in [("one.key", &[][..]), ("ssh", &root)] {
            let said = shared.dump(identity, more, None).expect_code(1);
            assert!(said.stdout.is_empty() && said.stderr.contains("repository"), "{}", said.stderr);
        }
        shared.repo.backup(["list"]).expect_code(1);
        shared.repo.snapshot(&source).expect_code(1);
    }
}

#[test]
fn every_command_that_takes_an_identity_takes_a_root() {
    let shared = Shared::new(&[SSH_PUBLIC.trim()]);
    let ssh = shared.identity("ssh");
    let key = [ssh[0].as_str(), &ssh[1], "--root", shared.id()];
    let source = shared.repo.path("source");
    let source = source.to_str().unwrap();
    let (brought, sheet) = (shared.repo.path("brought"), shared.repo.path("sheet.html"));
    for args in [
        &["list"][..],
        &["ls", "latest"],
        &["dump", "latest", "file"],
        &["diff", "latest", source],
        &["path", "latest", "--to", brought.to_str().unwrap()],
    ] {
        let args = args.iter().chain(&key);
        shared.repo.restore_without_key(args).expect_code(0);
    }
    assert_eq!(fs::read(brought.join("file")).unwrap(), b"kept");
    for args in [
        &["list"][..],
        &["show", "latest"],
        &["find", "file"],
        &["stats"],
        &["check", "--read-data"],
        &["repair"],
        &["forget", "--keep-last", "1"],
        &["prune"],
        &["key", "list"],
        &["key", "sheet", sheet.to_str().unwrap()],
        &["key", "rotate"],
    ] {
        shared.repo.backup(args.iter().chain(&key)).expect_code(0);
    }
    let said = shared.repo.restore_without_key(["rehearse", "latest"].iter().chain(&key));
    assert_ne!(said.code, Some(2), "{}", said.stderr);
}

#[test]
fn a_passphrase_that_nobody_can_be_asked_for_is_a_usage_error_that_says_what_to_set() {
    let repo = TestRepository::without_repository(BINARIES);
    insta::assert_snapshot!(init(&repo, &["passphrase"], &[]).expect_code(2).stderr);
    assert_nothing_was_made(&repo);
    let asked = run_on_terminal(
        &repo.backup_command(init_args(&repo, "passphrase").iter()),
        &[PASSPHRASE, PASSPHRASE],
    );
    let asked = asked.expect_code(0);
    assert!(asked.stdout.contains("again") && !asked.stdout.contains(PASSPHRASE), "{}", asked.stdout);
}

#[test]
fn passphrases_that_differ_when_typed_again_make_nothing() {
    let repo = TestRepository::without_repository(BINARIES);
    let command = repo.backup_command(init_args(&repo, "passphrase").iter());
    let said = run_on_terminal(&command, &[PASSPHRASE, "correct house"]).expect_code(2);
    assert!(said.stdout.contains("the two passphrases differ"), "{}", said.stdout);
    assert_nothing_was_made(&repo);
}

#[test]
fn a_recipient_that_is_named_twice_or_cannot_be_used_makes_nothing() {
    let bare = SSH_PUBLIC.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let secret = HYBRID_KEY.lines().find(|line| line.starts_with("AGE-")).unwrap();
    // A recipient for a plugin that does not exist, with a valid checksum.
    let plugin = "age1nosuch1qcrqvpsxqcrqvpsxqcrqvpsxqcrqvpsxanwtlj";
    for (recipients, words) in [
        (&[SSH_PUBLIC.trim(), &bare][..], "named twice"),
        (&[plugin], "`age-plugin-nosuch` is not on the PATH"),
        (&[secret], "private key"),
        (&["bob"], "of an unknown kind"),
    ] {
        let repo = TestRepository::without_repository(BINARIES);
        let said = init(&repo, recipients, &[]).expect_code(2);
        assert!(said.stderr.contains(words), "{}", said.stderr);
        assert!(!said.stderr.contains(&secret[30..50]), "the key is shown: {}", said.stderr);
        assert_nothing_was_made(&repo);
    }
    let mut repo = TestRepository::without_repository(BINARIES);
    repo.variables.push(("LIFEBOAT_PASSPHRASE".to_owned(), PASSPHRASE.to_owned()));
    let said = init(&repo, &["passphrase", "passphrase"], &[]).expect_code(2);
    assert!(said.stderr.contains("a passphrase is named twice"), "{}", said.stderr);
}

fn init_args(repo: &TestRepository, recipient: &str) -> [String; 7] {
    let path = |name: &str| repo.path(name).to_str().unwrap().to_owned();
    let flags = ["init", "--recovery-key", "--writer-key", "--recipient"].map(str::to_owned);
    let [init, recovery_key, writer_key, recipient_flag] = flags;
    let (one, writer) = (path("one.key"), path("writer.key"));
    [init, recovery_key, one, writer_key, writer, recipient_flag, recipient.to_owned()]
}

fn assert_nothing_was_made(repo: &TestRepository) {
    for path in [&repo.path("one.key"), &repo.path("writer.key"), Path::new(&repo.location)] {
        assert!(!path.exists(), "{} was made", path.display());
    }
}
