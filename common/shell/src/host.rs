//! Settings from a host's environment: where Lifeboat keeps its state, and which engine to use.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use clap::Args;

/// Where downloaded and remembered data is kept. Losing it costs time, never data.
#[derive(Debug, Clone, Args)]
pub struct CacheFlags {
    /// The folder for what this host remembers [default: the user's cache folder]
    #[arg(long, value_name = "DIR", env = "LIFEBOAT_CACHE_DIR", help_heading = "Repository")]
    pub cache_dir: Option<PathBuf>,
}

impl CacheFlags {
    /// The folder, if one can be determined.
    pub fn folder(&self) -> Option<PathBuf> {
        self.cache_dir.clone().or_else(|| Some(base("XDG_CACHE_HOME", ".cache")?.join("lifeboat")))
    }
}

/// The state folder that the command line names.
static NAMED: OnceLock<PathBuf> = OnceLock::new();

/// The variable that names the state folder for processes that this one starts.
const STATE_VARIABLE: &str = "LIFEBOAT_STATE_DIR";

/// Sets `folder` as the state folder of this process.
pub(crate) fn name_state_folder(folder: &Path) {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    // The command line is parsed once.
    let _ = NAMED.set(folder);
}

/// The folder for what must survive this process: journals of stopped containers, heads that were seen.
pub fn state_folder() -> PathBuf {
    let below_home = || base("XDG_STATE_HOME", ".local/state").map(|base| base.join("lifeboat"));
    NAMED.get().cloned().or_else(below_home).unwrap_or_else(|| PathBuf::from(SYSTEMS))
}

/// The system's own state folder.
const SYSTEMS: &str = "/var/lib/lifeboat";

/// The folder for what belongs to this machine, regardless of the home that `sudo` or a timer sets: for root the
/// system's own, unless `--state-dir` or `XDG_STATE_HOME` names another.
pub fn machine_folder() -> PathBuf {
    let is_named = NAMED.get().is_some() || env::var_os("XDG_STATE_HOME").is_some();
    if rustix::process::geteuid().is_root() && !is_named { PathBuf::from(SYSTEMS) } else { state_folder() }
}

/// The Docker Engine's address in the form that Docker's own client takes.
pub fn engine_address() -> Option<String> {
    env::var("DOCKER_HOST").ok().filter(|address| !address.is_empty())
}

/// The variables by which processes that this one starts find the engine and the machine's folder. None is a secret.
pub fn machine_variables() -> Vec<(&'static str, std::ffi::OsString)> {
    let known = ["PATH", "HOME", "XDG_STATE_HOME", "DOCKER_HOST", "LIFEBOAT_LOG"];
    let named = NAMED.get().map(|folder| (STATE_VARIABLE, folder.clone().into_os_string()));
    known.into_iter().filter_map(|name| Some((name, env::var_os(name)?))).chain(named).collect()
}

fn base(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |value: std::ffi::OsString| Some(PathBuf::from(value)).filter(|path| path.is_absolute());
    env::var_os(variable).and_then(absolute).or_else(|| Some(env::home_dir()?.join(below_home)))
}
