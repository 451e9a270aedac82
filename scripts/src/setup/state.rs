//! The folder of setup's output: programs, logs, data, running services and the `env` file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::problem::Problem;

#[derive(Debug)]
pub(super) struct State {
    root: PathBuf,
}

impl State {
    /// Opens the folder at `$XDG_CACHE_HOME/lifeboat-dev` or `~/.cache/lifeboat-dev`, and creates it if necessary.
    pub(super) fn open() -> Result<Self, Problem> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache =
            variable("XDG_CACHE_HOME")
                .or_else(|| variable("HOME").map(|home| home.join(".cache")))
                .ok_or_else(|| Problem::new("neither HOME nor XDG_CACHE_HOME is set").advise("set HOME"))?;
        Self::at(cache.join("lifeboat-dev"))
    }

    fn at(root: PathBuf) -> Result<Self, Problem> {
        let state = Self { root };
        for dir in ["bin", "log", "data", "run", "installed"] {
            state.dir(dir)?;
        }
        Ok(state)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A subfolder, created if necessary.
    pub(super) fn dir(&self, name: &str) -> Result<PathBuf, Problem> {
        let dir = self.root.join(name);
        fs::create_dir_all(&dir).map_err(|error| Problem::io("cannot make", &dir, &error))?;
        Ok(dir)
    }

    /// An empty temporary folder.
    pub(super) fn scratch(&self, name: &str) -> Result<Scratch, Problem> {
        let dir = self.root.join("scratch").join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(|error| Problem::io("cannot clear", &dir, &error))?;
        }
        fs::create_dir_all(&dir).map_err(|error| Problem::io("cannot make", &dir, &error))?;
        Ok(Scratch(dir))
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.root.join("bin").join(name)
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.root.join("log").join(format!("{name}.log"))
    }

    pub(super) fn run_dir(&self) -> PathBuf {
        self.root.join("run")
    }

    pub(super) fn env_file(&self) -> PathBuf {
        self.root.join("env")
    }

    /// Waits for any other setup to end; the lock is released when the file is closed.
    pub(super) fn lock(&self, waiting: impl FnOnce()) -> Result<File, Problem> {
        let path = self.root.join("lock");
        let cannot_lock = |error| Problem::io("cannot lock", &path, &error);
        let file = File::create(&path).map_err(cannot_lock)?;
        if file.try_lock().is_err() {
            waiting();
            file.lock().map_err(cannot_lock)?;
        }
        Ok(file)
    }

    /// Whether `program` was installed here from exactly this `origin` (a version, or its source).
    pub(super) fn is_installed(&self, program: &str, origin: &str) -> bool {
        let noted = fs::read_to_string(self.root.join("installed").join(program));
        self.program(program).is_file() && noted.is_ok_and(|noted| noted == origin)
    }

    pub(super) fn note_installed(&self, program: &str, origin: &str) -> Result<(), Problem> {
        let path = self.root.join("installed").join(program);
        fs::write(&path, origin).map_err(|error| Problem::io("cannot write", &path, &error))
    }
}

/// A folder that is removed with its content when dropped.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // If anything is left, the next run removes it.
        let _ = fs::remove_dir_all(&self.0);
    }
}
