//! A repository created by the binaries under test, for tests that use it from outside.

#![expect(clippy::unwrap_used, reason = "a test whose surroundings cannot be made has failed")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{Output, lifeboat, run};
use crate::s3::S3;

/// The paths of the binaries under test. Only a test target knows them: `env!("CARGO_BIN_EXE_tested-backup")`.
#[derive(Debug, Clone, Copy)]
pub struct Binaries {
    /// `lifeboat-backup`.
    pub backup: &'static str,
    /// `lifeboat-restore`.
    pub restore: &'static str,
}

/// A repository, its keys, and a home for cache and state.
pub struct TestRepository {
    binaries: Binaries,
    home: tempfile::TempDir,
    /// The repository's location.
    pub location: String,
    /// Environment variables for the binaries, such as credentials.
    pub variables: Vec<(String, String)>,
}

impl TestRepository {
    /// Creates a repository in a folder.
    pub fn in_folder(binaries: Binaries) -> Self {
        let repo = Self::without_repository(binaries);
        repo.init().expect_code(0);
        repo
    }

    /// A home without a repository; `location` is a folder in it that does not exist yet.
    ///
    /// # Panics
    /// When no temporary folder can be made.
    pub fn without_repository(binaries: Binaries) -> Self {
        let home = tempfile::tempdir().unwrap();
        let location = home.path().join("repository").display().to_string();
        Self { binaries, home, location, variables: Vec::new() }
    }

    /// A home whose repository will be in a separate part of a bucket; nothing is created there yet.
    ///
    /// # Panics
    /// When no temporary folder can be made.
    pub fn on_s3(binaries: Binaries, server: &S3) -> Self {
        let mut repo = Self::without_repository(binaries);
        let unique = repo.home.path().file_name().unwrap().to_string_lossy();
        repo.location = format!("s3://{}/{}", server.bucket, unique.trim_start_matches('.'));
        repo.variables = server.variables();
        repo
    }

    /// A copy of everything: the repository, the keys, the cache, the state, and everything else in the home.
    ///
    /// # Panics
    /// When it cannot be copied.
    #[must_use]
    pub fn twin(&self) -> Self {
        let twin = Self::without_repository(self.binaries);
        copy_folder(self.home.path(), twin.home.path());
        twin
    }

    /// Creates the repository at `location` with two recovery keys, and with a floor that lets tests forget at once.
    pub fn init(&self) -> Output {
        let (one, two, writer) = (self.path("one.key"), self.path("two.key"), self.path("writer.key"));
        let args = ["init", "--keep-days-at-least", "0", "--recovery-key"]
            .map(OsStr::new)
            .into_iter()
            .chain([one.as_os_str()]);
        let args = args.chain([OsStr::new("--recovery-key"), two.as_os_str()]);
        self.backup(args.chain([OsStr::new("--writer-key"), writer.as_os_str()]))
    }

    /// A path in the home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Runs `lifeboat-backup` on the repository, with only the writer key.
    pub fn backup(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
        run(&mut self.backup_command(args))
    }

    /// The same as a command that is not started yet.
    pub fn backup_command(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> std::process::Command {
        let mut command = lifeboat(self.binaries.backup, self.home.path(), args);
        self.surroundings(&mut command);
        command.env("LIFEBOAT_WRITER_KEY", self.path("writer.key"));
        command
    }

    /// Enrols a keeper and writes its key to `keeper.key`; returns the path.
    pub fn add_keeper(&self) -> String {
        let (keeper, identity) = (self.path("keeper.key"), self.path("one.key"));
        let keeper = keeper.display().to_string();
        self.backup(["key", "add", "keeper", &keeper, "--identity", &identity.display().to_string()])
            .expect_code(0);
        keeper
    }

    /// Runs `lifeboat-backup` with only the keeper key.
    pub fn as_keeper(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
        let mut command = self.backup_command(args);
        command.env_remove("LIFEBOAT_WRITER_KEY").env("LIFEBOAT_KEEPER_KEY", self.path("keeper.key"));
        run(&mut command)
    }

    /// Runs `lifeboat-restore` on the repository with the first recovery key.
    pub fn restore(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
        run(&mut self.restore_command(args))
    }

    /// The same as a command that is not started yet.
    pub fn restore_command(
        &self,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> std::process::Command {
        let mut command = lifeboat(self.binaries.restore, self.home.path(), args);
        self.surroundings(&mut command);
        command.env("LIFEBOAT_IDENTITY", self.path("one.key"));
        command
    }

    /// Runs `lifeboat-restore` with no key.
    pub fn restore_without_key(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
        run(&mut self.restore_command_without_key(args))
    }

    /// The same as a command that is not started yet.
    pub fn restore_command_without_key(
        &self,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> std::process::Command {
        let mut command = lifeboat(self.binaries.restore, self.home.path(), args);
        self.surroundings(&mut command);
        command
    }

    fn surroundings(&self, command: &mut std::process::Command) {
        command.env("LIFEBOAT_REPOSITORY", &self.location).env("AWS_EC2_METADATA_DISABLED", "true");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
    }

    /// Captures the folder at `path`.
    pub fn snapshot(&self, path: &Path) -> Output {
        self.backup([OsStr::new("run"), OsStr::new("--path"), path.as_os_str()])
    }

    /// All files of a folder repository below `folder`, sorted.
    ///
    /// # Panics
    /// When the folder cannot be read.
    pub fn objects(&self, folder: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut open = vec![Path::new(&self.location).join(folder)];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { open.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files
    }

    /// The output of the binaries, with what differs between runs replaced.
    pub fn plain(&self, text: &str) -> String {
        let mut plain = text.replace(&self.home.path().display().to_string(), "HOME");
        for (long, name) in [(64, "HASH"), (32, "ID")] {
            plain = replace_hex(&plain, long, name);
        }
        // A pack's folder is named after the start of its hash.
        plain
            .split('/')
            .map(|part| if is_pack_folder(part) { "XX" } else { part })
            .collect::<Vec<_>>()
            .join("/")
    }
}

fn is_pack_folder(part: &str) -> bool {
    part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Copies the files and folders of a folder into another, existing one, with their times, which show a store when an
/// object was stored.
///
/// # Panics
/// When something cannot be copied.
pub fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
            let modified = entry.metadata().unwrap().modified().unwrap();
            fs::File::options().write(true).open(&target).unwrap().set_modified(modified).unwrap();
        }
    }
}

/// Replaces runs of exactly `length` lower-case hexadecimal digits.
fn replace_hex(text: &str, length: usize, name: &str) -> String {
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_hex) {
        let run = rest[start..].find(|c| !is_hex(c)).unwrap_or(rest.len() - start);
        out.push_str(&rest[..start]);
        out.push_str(if run == length { name } else { &rest[start..start + run] });
        rest = &rest[start + run..];
    }
    out + rest
}
