//! What a host's environment says: where Lifeboat keeps what it remembers there, and which engine is meant.

use std::env;
use std::path::PathBuf;

use clap::Args;

/// Where downloaded and remembered data is kept. Losing it costs time, never data.
#[derive(Debug, Clone, Args)]
pub struct CacheFlags {
    /// The folder for what this host remembers [default: the user's cache folder]
    #[arg(long, value_name = "DIR", env = "LIFEBOAT_CACHE_DIR", help_heading = "Repository")]
    pub cache_dir: Option<PathBuf>,
}

impl CacheFlags {
    /// The folder, if there is one to be had.
    pub fn folder(&self) -> Option<PathBuf> {
        self.cache_dir.clone().or_else(|| Some(base("XDG_CACHE_HOME", ".cache")?.join("lifeboat")))
    }
}

/// The folder for what must survive this process: journals of containers that are at rest, heads that were seen.
pub fn state_folder() -> PathBuf {
    base("XDG_STATE_HOME", ".local/state")
        .map_or_else(|| PathBuf::from("/var/lib/lifeboat"), |b| b.join("lifeboat"))
}

/// The folder for what belongs to this machine, whatever home `sudo` or a timer has set: for root the system's own, unless
/// XDG_STATE_HOME names another.
pub fn machine_folder() -> PathBuf {
    if rustix::process::geteuid().is_root() && env::var_os("XDG_STATE_HOME").is_none() {
        PathBuf::from("/var/lib/lifeboat")
    } else {
        state_folder()
    }
}

/// The Docker Engine's address as Docker's own client takes it.
pub fn engine_address() -> Option<String> {
    env::var("DOCKER_HOST").ok().filter(|address| !address.is_empty())
}

fn base(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |value: std::ffi::OsString| Some(PathBuf::from(value)).filter(|path| path.is_absolute());
    env::var_os(variable).and_then(absolute).or_else(|| Some(env::home_dir()?.join(below_home)))
}
