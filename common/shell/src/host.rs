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

/// The folder for what belongs to this machine, whoever's home `sudo` or a timer has set: for root the system's own, unless
/// `XDG_STATE_HOME` names another.
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

/// The variables by which a process of ours that is started beside this one finds the engine and the machine's folder; no
/// secret is among them.
pub fn machine_variables() -> Vec<(&'static str, std::ffi::OsString)> {
    let known = ["PATH", "HOME", "XDG_STATE_HOME", "DOCKER_HOST", "LIFEBOAT_LOG"];
    known.into_iter().filter_map(|name| Some((name, env::var_os(name)?))).collect()
}

fn base(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |value: std::ffi::OsString| Some(PathBuf::from(value)).filter(|path| path.is_absolute());
    env::var_os(variable).and_then(absolute).or_else(|| Some(env::home_dir()?.join(below_home)))
}
