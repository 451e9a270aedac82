//! Keys exchanged with age itself, the reference program, and with its plugins: each opens what the other wraps, and
//! both read identity files.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};
use lifeboat_core::Sha256Digest;
use lifeboat_tests::command::{Output, run};
use lifeboat_tests::gate::{Missing, setting, trial};
use lifeboat_tests::repository::{Binaries, TestRepository};

const BINARIES: Binaries =
    Binaries { backup: env!("CARGO_BIN_EXE_tested-backup"), restore: env!("CARGO_BIN_EXE_tested-restore") };
const PASSPHRASE: &str = "correct horse";
const SSH_PUBLIC: &str = include_str!("../../common/vault/src/keys/golden/ssh.pub");
const SSH_PRIVATE: &str = include_str!("../../common/vault/src/keys/golden/ssh");

pub(crate) fn trials() -> Vec<Trial> {
    type Test = fn(&Bench) -> Result<(), Failed>;
    let tests: [(&str, Test); 4] = [
        ("age_opens_what_we_wrap", age_opens_ours),
        ("we_open_what_age_wraps", we_open_ages),
        ("we_open_identity_files_that_age_locked", we_open_locked_files),
        ("a_plugin_opens_what_we_wrap", plugin_opens_ours),
    ];
    let trials = tests.into_iter().map(|(name, test)| {
        trial(&format!("age::{name}"), Programs::find(), move |programs| test(&Bench::new(programs)))
    });
    trials.collect()
}

/// The paths of age's programs; the plugins must be in one folder, which is put on the PATH.
struct Programs {
    age: String,
    keygen: String,
    plugin_pq: PathBuf,
}

impl Programs {
    fn find() -> Result<Self, Missing> {
        let plugin_pq = PathBuf::from(setting("LIFEBOAT_TEST_AGE_PLUGIN_PQ")?);
        let batchpass = PathBuf::from(setting("LIFEBOAT_TEST_AGE_PLUGIN_BATCHPASS")?);
        if let Some(absent) = [&plugin_pq, &batchpass].into_iter().find(|path| !path.exists()) {
            return Err(Missing(format!("{} is not there; run scripts/setup", absent.display())));
        }
        if plugin_pq.parent() != batchpass.parent() {
            return Err(Missing("age's plugins do not lie in one folder".to_owned()));
        }
        Ok(Self {
            age: setting("LIFEBOAT_TEST_AGE")?,
            keygen: setting("LIFEBOAT_TEST_AGE_KEYGEN")?,
            plugin_pq,
        })
    }
}

struct Bench {
    programs: Programs,
    repo: TestRepository,
}

impl Bench {
    fn new(programs: Programs) -> Self {
        Self { programs, repo: TestRepository::without_repository(BINARIES) }
    }

    /// Creates a repository for one key of ours and `recipients`, with one file in it. Returns the repository's id.
    fn init(&self, recipients: &[&str]) -> String {
        let (key, writer) = (self.path("one.key"), self.path("writer.key"));
        let keys = ["init", "--json", "--recovery-key", &key, "--writer-key", &writer];
        let recipients = recipients.iter().flat_map(|recipient| ["--recipient", recipient]);
        let single = ["--single-recipient"];
        let mut init = self.repo.backup_command(keys.into_iter().chain(recipients).chain(single));
        let said = run(init.env("LIFEBOAT_PASSPHRASE", PASSPHRASE)).expect_code(0);
        let source = self.repo.path("source");
        fs::create_dir(&source).expect("the home can be written");
        fs::write(source.join("file"), "kept").expect("the home can be written");
        self.repo.snapshot(&source).expect_code(0);
        let report: serde_json::Value = serde_json::from_str(&said.stdout).expect("a report is JSON");
        report["repository"].as_str().expect("a report names the repository").to_owned()
    }

    fn path(&self, name: &str) -> String {
        self.repo.path(name).display().to_string()
    }

    fn objects(&self, folder: &str) -> Vec<PathBuf> {
        self.repo.objects(folder)
    }

    fn plugin_path(&self) -> String {
        let folder = self.programs.plugin_pq.parent().expect("a program lies in a folder");
        format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default())
    }

    /// The output of age for `input`.
    fn age(&self, args: &[&str], input: &[u8]) -> Result<Vec<u8>, Failed> {
        let mut age = Command::new(&self.programs.age);
        age.args(args).env("PATH", self.plugin_path()).env("AGE_PASSPHRASE", PASSPHRASE);
        let mut child = age.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut pipe = child.stdin.take().expect("it is piped");
        // age stops reading if it cannot open the file, and then its exit code shows that.
        let _ = pipe.write_all(input);
        drop(pipe);
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(format!("age {args:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }

    /// Creates a new identity file with age, and returns its recipient.
    fn keygen(&self, name: &str, args: &[&str]) -> String {
        let said = run(Command::new(&self.programs.keygen).args(args).args(["-o", &self.path(name)]));
        said.expect_code(0);
        self.recipient_of(name)
    }

    /// The recipient of the identity in a file, according to age.
    fn recipient_of(&self, name: &str) -> String {
        let said = run(Command::new(&self.programs.keygen).args(["-y", &self.path(name)])).expect_code(0);
        said.stdout.trim().to_owned()
    }

    /// The secret of every object in `folder` that age opens with one of our key files.
    fn opened(&self, folder: &str, identity: &str) -> Vec<Vec<u8>> {
        let open = |path: &PathBuf| {
            let bytes = fs::read(path).expect("the object is there");
            self.age(&["-d", "-i", &self.path(identity)], &bytes).ok()
        };
        self.objects(folder).iter().filter_map(open).collect()
    }

    /// Replaces everything in `folder` by a wrap that age made.
    fn put(&self, folder: &str, name: &str, wrapped: &[u8]) {
        let objects = self.objects(folder);
        let folder = objects[0].parent().map(Path::to_owned).expect("an object lies in a folder");
        for object in objects {
            fs::remove_file(object).expect("the repository can be written");
        }
        let hash = Sha256Digest::of(wrapped);
        fs::write(folder.join(name.replace("HASH", &hash.to_string())), wrapped)
            .expect("the repository can be written");
    }

    fn write_private(&self, name: &str, content: &[u8]) {
        let path = self.repo.path(name);
        fs::write(&path, content).expect("the home can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
    }

    fn dump(&self, identity: &str, root: &str) -> Command {
        let args = ["dump", "latest", "file", "--identity", identity, "--root", root];
        let mut command = self.repo.restore_command_without_key(args);
        command.env("LIFEBOAT_PASSPHRASE", PASSPHRASE);
        command
    }

    /// The file's content, restored with an identity.
    fn restore(&self, identity: &str, root: &str) -> Output {
        run(&mut self.dump(identity, root)).expect_code(0)
    }
}

fn same<T: PartialEq + std::fmt::Debug>(found: &T, expected: &T) -> Result<(), Failed> {
    if found == expected { Ok(()) } else { Err(format!("{found:?}, where {expected:?} was expected").into()) }
}

fn age_opens_ours(bench: &Bench) -> Result<(), Failed> {
    let hybrid = bench.keygen("hybrid", &["-pq"]);
    let classical = bench.keygen("classical", &[]);
    bench.init(&[&hybrid, &classical, "passphrase"]);
    same(&bench.objects("keys/data-0").len(), &4)?;
    for identity in ["one.key", "hybrid", "classical"] {
        same(&bench.opened("keys/data-0", identity).len(), &1)?;
        same(&bench.opened("keys/root", identity).len(), &1)?;
    }
    let by_passphrase = bench
        .objects("keys/data-0")
        .iter()
        .filter_map(|path| bench.age(&["-d", "-j", "batchpass"], &fs::read(path).ok()?).ok())
        .count();
    same(&by_passphrase, &1)?;

    // The data identity in all of them opens the group's keys, and has the recipient that the writer seals to.
    let data = bench.opened("keys/data-0", "one.key").remove(0);
    bench.write_private("data", &data);
    let groups = bench.objects("keys").into_iter().filter(|path| path.to_string_lossy().contains("/group-"));
    let groups: Vec<_> = groups.collect();
    let opened = bench.age(&["-d", "-i", &bench.path("data")], &fs::read(&groups[0])?)?;
    same(&opened.is_empty(), &false)?;
    let recipient = bench.recipient_of("data");
    same(&recipient.starts_with("age1pq1"), &true)?;
    let writer_key = fs::read_to_string(bench.repo.path("writer.key"))?;
    same(&writer_key.contains(&format!("data_recipient = \"{recipient}\"")), &true)?;
    // age itself also reads the recovery key file.
    let key = fs::read_to_string(bench.repo.path("one.key"))?;
    same(&key.contains(&format!("# public key: {}\n", bench.recipient_of("one.key"))), &true)
}

fn we_open_ages(bench: &Bench) -> Result<(), Failed> {
    let hybrid = bench.keygen("hybrid", &["-pq"]);
    let classical = bench.keygen("classical", &[]);
    let id = bench.init(&[&hybrid, &classical, "passphrase"]);
    let data = bench.opened("keys/data-0", "one.key").remove(0);
    bench.write_private("data", &data);
    bench.write_private("ssh", SSH_PRIVATE.as_bytes());
    // Start with the group's keys: age wraps them again to the data recipient, and every restore below needs them.
    let groups = bench.objects("keys").into_iter().find(|path| path.to_string_lossy().contains("/group-"));
    let group = groups.ok_or("the repository has a group")?;
    let keys = bench.age(&["-d", "-i", &bench.path("data")], &fs::read(&group)?)?;
    let folder = format!("keys/{}", group.iter().rev().nth(1).unwrap_or_default().to_string_lossy());
    bench.put(&folder, "0123456789abcdef-HASH.age", &bench.age(&["-r", &bench.recipient_of("data")], &keys)?);
    for (args, identity) in [
        (["-r", hybrid.as_str()], bench.path("hybrid")),
        (["-r", &classical], bench.path("classical")),
        (["-r", &bench.recipient_of("one.key")], bench.path("one.key")),
        (["-r", SSH_PUBLIC], bench.path("ssh")),
        (["-e", "-j=batchpass"], "passphrase".to_owned()),
    ] {
        bench.put("keys/data-0", "0123456789abcdef-HASH.age", &bench.age(&args, &data)?);
        same(&bench.restore(&identity, &id).stdout.as_str(), &"kept")?;
    }
    Ok(())
}

fn we_open_locked_files(bench: &Bench) -> Result<(), Failed> {
    let recipient = bench.keygen("hybrid", &["-pq"]);
    let id = bench.init(&[&recipient]);
    let clear = fs::read(bench.repo.path("hybrid"))?;
    for (name, args) in
        [("binary", &["-e", "-j", "batchpass"][..]), ("armoured", &["-a", "-e", "-j", "batchpass"])]
    {
        bench.write_private(name, &bench.age(args, &clear)?);
        same(&bench.restore(&bench.path(name), &id).stdout.as_str(), &"kept")?;
        let wrong = run(bench.dump(&bench.path(name), &id).env("LIFEBOAT_PASSPHRASE", "correct house"));
        wrong.expect_code(2);
    }
    // Our recovery key still names its repository after its owner has locked it.
    let ours = fs::read(bench.repo.path("one.key"))?;
    bench.write_private("locked.key", &bench.age(&["-e", "-j", "batchpass"], &ours)?);
    let (locked, other) = (bench.path("locked.key"), "0".repeat(64));
    let mut command =
        bench.repo.restore_command_without_key(["dump", "latest", "file", "--identity", locked.as_str()]);
    same(&run(command.env("LIFEBOAT_PASSPHRASE", PASSPHRASE)).expect_code(0).stdout.as_str(), &"kept")?;
    run(&mut bench.dump(&locked, &other)).expect_code(1);
    Ok(())
}

fn plugin_opens_ours(bench: &Bench) -> Result<(), Failed> {
    let recipient = bench.keygen("hybrid", &["-pq"]);
    let id = bench.init(&[&recipient]);
    let plugin = bench.programs.plugin_pq.display().to_string();
    let said = run(Command::new(plugin).args(["-identity", &bench.path("hybrid")])).expect_code(0);
    same(&said.stdout.contains("AGE-PLUGIN-PQ-1"), &true)?;
    bench.write_private("plugin", said.stdout.as_bytes());
    let identity = bench.path("plugin");
    let said = run(bench.dump(&identity, &id).env("PATH", bench.plugin_path())).expect_code(0);
    same(&said.stdout.as_str(), &"kept")?;
    let said = run(bench.dump(&identity, &id).env("PATH", "/usr/bin")).expect_code(2);
    same(&said.stderr.contains("`age-plugin-pq` is not on the PATH"), &true)?;
    // The plugin refuses another identity, and no snapshot is restored.
    bench.keygen("other", &["-pq"]);
    let plugin = bench.programs.plugin_pq.display().to_string();
    let said = run(Command::new(plugin).args(["-identity", &bench.path("other")])).expect_code(0);
    bench.write_private("other-plugin", said.stdout.as_bytes());
    let mut other = bench.dump(&bench.path("other-plugin"), &id);
    run(other.env("PATH", bench.plugin_path())).expect_code(1);
    Ok(())
}
