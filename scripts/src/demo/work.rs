//! The folder that a demo works in: its name, its environment, and the lock that shows that the demo is still running.
//!
//! Every object that a demo creates elsewhere has the label `io.lifeboat.demo` with the demo's id, so that the folder's
//! name is enough to find and remove them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::call::Call;
use super::interrupt::interruptible;
use crate::problem::Problem;

/// The label of everything that a demo creates in the engine.
pub(super) const LABEL: &str = "io.lifeboat.demo";

/// The prefix of the names of a demo's folder, containers, volumes and networks.
const PREFIX: &str = "lifeboat-demo-";
const LOCK: &str = "demo.lock";
/// The folder with the labels of the demo's containers.
pub(super) const CONTAINERS: &str = "labels";

#[derive(Debug)]
pub(super) struct Work {
    id: String,
    dir: PathBuf,
    programs: PathBuf,
    passphrase: String,
    _lock: File,
}

impl Work {
    /// Creates the folder, in the system's folder for temporary files. `programs` is where the four binaries are.
    pub(super) fn create(programs: &Path) -> Result<Self, Problem> {
        let random = random()?;
        let id = random[..6].to_owned();
        let dir = std::env::temp_dir().join(format!("{PREFIX}{id}"));
        let cannot_make = |error: &std::io::Error| Problem::io("cannot make", &dir, error);
        // Keys go there, so nobody else may be able to look inside, or to have created it before.
        fs::DirBuilder::new().mode(0o700).create(&dir).map_err(|error| cannot_make(&error))?;
        let lock = File::create(dir.join(LOCK)).map_err(|error| cannot_make(&error))?;
        lock.lock().map_err(|error| cannot_make(&error))?;
        let passphrase = self::random()?;
        let work = Self { id, dir, programs: programs.to_owned(), passphrase, _lock: lock };
        work.write_private("passphrase", &work.passphrase)?;
        Ok(work)
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The name of the demo, which is the prefix of its objects' names.
    pub(super) fn name(&self) -> String {
        format!("{PREFIX}{}", self.id)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(super) fn make_dir(&self, name: &str) -> Result<(), Problem> {
        let path = self.path(name);
        fs::create_dir_all(&path).map_err(|error| Problem::io("cannot make", &path, &error))
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), Problem> {
        let path = self.path(name);
        fs::write(&path, text).map_err(|error| Problem::io("cannot write", &path, &error))
    }

    pub(super) fn write_program(&self, name: &str, text: &str) -> Result<(), Problem> {
        self.write(name, text)?;
        let path = self.path(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .map_err(|error| Problem::io("cannot make executable", &path, &error))
    }

    /// A file that only its owner can read.
    pub(super) fn write_private(&self, name: &str, text: &str) -> Result<(), Problem> {
        let path = self.path(name);
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .map_err(|error| Problem::io("cannot write", &path, &error))
    }

    pub(super) fn read(&self, name: &str) -> Result<String, Problem> {
        let path = self.path(name);
        fs::read_to_string(&path).map_err(|error| Problem::io("cannot read", &path, &error))
    }

    /// What a person types first to run the story's commands by hand.
    pub(super) fn preparations(&self) -> Vec<String> {
        vec![
            format!("cd {}", self.dir.display()),
            format!("export PATH={}:$PATH", self.programs.display()),
            "export XDG_STATE_HOME=$PWD/state XDG_CACHE_HOME=$PWD/cache".to_owned(),
            "export COSIGN_PASSWORD=$(cat passphrase)".to_owned(),
        ]
    }

    /// The process for a call: in the folder, with the binaries just built, and without the user's own settings.
    pub(super) fn command(&self, call: &Call) -> Command {
        let mut command = interruptible();
        command.args(call.words()).current_dir(&self.dir);
        for (name, _) in std::env::vars_os() {
            if is_users_setting(&name) {
                command.env_remove(name);
            }
        }
        let mut path = OsString::from(&self.programs);
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        command.env("PATH", path);
        command.env("XDG_STATE_HOME", self.path("state")).env("XDG_CACHE_HOME", self.path("cache"));
        command.env("COSIGN_PASSWORD", &self.passphrase);
        command
    }
}

/// Variables that would affect the four binaries.
fn is_users_setting(name: &std::ffi::OsStr) -> bool {
    let name = name.to_string_lossy();
    ["LIFEBOAT_", "COSIGN_", "AWS_", "GOOGLE_", "AZURE_"].iter().any(|prefix| name.starts_with(prefix))
}

/// 32 hexadecimal digits that nobody can guess.
pub(super) fn random() -> Result<String, Problem> {
    let source = Path::new("/proc/sys/kernel/random/uuid");
    let uuid = fs::read_to_string(source).map_err(|error| Problem::io("cannot read", source, &error))?;
    Ok(uuid.chars().filter(char::is_ascii_hexdigit).collect())
}

/// The folder of a demo that no longer runs, whose name is also that of everything it created.
#[derive(Debug)]
pub(super) struct Leftover {
    pub(super) id: String,
    pub(super) dir: PathBuf,
}

impl Leftover {
    /// A demo's own leftovers, at its end.
    pub(super) fn of(work: &Work) -> Self {
        Self { id: work.id.clone(), dir: work.dir.clone() }
    }

    /// Whether it may have left anything in the engine. The folder is removed last, so this can be asked again.
    pub(super) fn had_containers(&self) -> bool {
        self.dir.join(CONTAINERS).exists()
    }

    /// Those of this user's demos that ended without cleaning up, or were told to keep everything.
    pub(super) fn mine() -> Vec<Self> {
        let me = fs::metadata("/proc/self").map_or(0, |process| process.uid());
        Self::of_user(me)
            .into_iter()
            .filter(|demo| {
                // A running demo holds its lock.
                File::open(demo.dir.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
            })
            .collect()
    }

    pub(super) fn is_there_any_of_root() -> bool {
        !Self::of_user(0).is_empty()
    }

    /// Every demo folder of that user, whether the demo is running or not.
    fn of_user(user: u32) -> Vec<Self> {
        let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.metadata().is_ok_and(|dir| dir.is_dir() && dir.uid() == user))
            .filter_map(|entry| {
                let id = entry.file_name().to_str()?.strip_prefix(PREFIX)?.to_owned();
                let is_id = id.len() == 6 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
                is_id.then(|| Self { id, dir: entry.path() })
            })
            .collect()
    }
}
