//! Limits what all containers of a sandbox may use of this host together: one control group above all of theirs.
//!
//! Both versions of the kernel's control groups are supported (kernel documentation, `admin-guide/cgroup-v1` and
//! `admin-guide/cgroup-v2`), and both ways in which engines create theirs: by themselves (`cgroupfs`), or through
//! systemd, whose groups have limits of their own that it sets again.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use crate::EngineError;
use crate::means::{CgroupDriver, Cgroups};
use crate::ownership::RehearsalId;

/// Where the kernel mounts its control groups.
const ROOT: &str = "/sys/fs/cgroup";

/// The file that enables controllers for the groups below (version 2).
const CONTROL: &str = "cgroup.subtree_control";

/// How often everything in a group is killed.
const KILL_ROUNDS: usize = 20;

/// A drill's share of the processors and disks when others want them too: half of anyone else's default, in the units
/// of each version.
const CPU_SHARES_V1: u64 = 512;
const CPU_WEIGHT_V2: u64 = 50;
const BLKIO_WEIGHT_V1: u64 = 250;
const IO_WEIGHT_V2: u64 = 50;

/// The most that all containers of a sandbox may use together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Together {
    /// Memory, in bytes; nothing is swapped out beyond it.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u64,
    /// How many containers there are at most.
    pub containers: usize,
}

/// One sandbox's control group.
#[derive(Debug, Clone)]
pub(super) struct Cgroup {
    name: String,
    cgroups: Cgroups,
    root: PathBuf,
}

/// One step in creating the group.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Create a folder.
    Make(PathBuf),
    /// Write a value to a file.
    Write(PathBuf, String),
    /// The same if the file exists: not every kernel has every controller.
    WriteIfThere(PathBuf, String),
    /// Call systemd.
    Ask(Vec<String>),
}

fn cannot(reason: String) -> EngineError {
    EngineError::WallMissing {
        wall: "control group",
        reason,
        advice: "run the drill as root on the host where the engine runs; nothing was restored".to_owned(),
    }
}

impl Cgroup {
    pub(super) fn new(id: &RehearsalId, cgroups: Cgroups) -> Self {
        let name = match cgroups.driver {
            CgroupDriver::Cgroupfs => format!("lifeboat-{id}"),
            // A dash in the name of a slice would nest it in another one.
            CgroupDriver::Systemd => format!("lifeboat_{id}.slice"),
        };
        Self { name, cgroups, root: ROOT.into() }
    }

    /// The parent group for the engine's containers.
    pub(super) fn parent(&self) -> String {
        match self.cgroups.driver {
            CgroupDriver::Cgroupfs => format!("/{}", self.name),
            CgroupDriver::Systemd => self.name.clone(),
        }
    }

    fn steps(&self, together: Together) -> Vec<Step> {
        match self.cgroups {
            Cgroups { driver: CgroupDriver::Systemd, .. } => self.slice(together),
            Cgroups { version: 1, .. } => self.groups_of_version_1(together),
            Cgroups { .. } => self.group_of_version_2(together),
        }
    }

    fn slice(&self, Together { memory_bytes, processes, .. }: Together) -> Vec<Step> {
        let mut ask: Vec<String> = ["systemctl", "set-property", "--runtime"].map(str::to_owned).to_vec();
        ask.push(self.name.clone());
        ask.extend([
            format!("MemoryMax={memory_bytes}"),
            "MemorySwapMax=0".to_owned(),
            format!("TasksMax={processes}"),
            format!("CPUWeight={CPU_WEIGHT_V2}"),
            format!("IOWeight={IO_WEIGHT_V2}"),
        ]);
        vec![Step::Ask(ask)]
    }

    fn groups_of_version_1(&self, Together { memory_bytes, processes, .. }: Together) -> Vec<Step> {
        let folder = |controller: &str| self.root.join(controller).join(&self.name);
        let of = |controller: &str, file: &str| folder(controller).join(file);
        vec![
            Step::Make(folder("memory")),
            Step::Write(of("memory", "memory.limit_in_bytes"), memory_bytes.to_string()),
            // Memory and swap together.
            Step::WriteIfThere(of("memory", "memory.memsw.limit_in_bytes"), memory_bytes.to_string()),
            // The kernel's memory for connections is counted separately.
            Step::WriteIfThere(
                of("memory", "memory.kmem.tcp.limit_in_bytes"),
                (memory_bytes / 8).to_string(),
            ),
            Step::Make(folder("pids")),
            Step::Write(of("pids", "pids.max"), processes.to_string()),
            Step::Make(folder("cpu")),
            Step::Write(of("cpu", "cpu.shares"), CPU_SHARES_V1.to_string()),
            Step::Make(folder("blkio")),
            Step::WriteIfThere(of("blkio", "blkio.weight"), BLKIO_WEIGHT_V1.to_string()),
            Step::WriteIfThere(of("blkio", "blkio.bfq.weight"), BLKIO_WEIGHT_V1.to_string()),
        ]
    }

    fn group_of_version_2(&self, Together { memory_bytes, processes, .. }: Together) -> Vec<Step> {
        let folder = self.root.join(&self.name);
        let of = |file: &str| folder.join(file);
        vec![
            // Controllers of the containers' groups must be enabled in every group above them.
            Step::Write(self.root.join(CONTROL), "+memory +pids +cpu".to_owned()),
            Step::Make(folder.clone()),
            Step::Write(of(CONTROL), "+memory +pids +cpu".to_owned()),
            Step::Write(of("memory.max"), memory_bytes.to_string()),
            Step::WriteIfThere(of("memory.swap.max"), "0".to_owned()),
            Step::Write(of("pids.max"), processes.to_string()),
            Step::Write(of("cpu.weight"), CPU_WEIGHT_V2.to_string()),
            Step::WriteIfThere(of("io.weight"), format!("default {IO_WEIGHT_V2}")),
        ]
    }

    /// Creates the group with its limits.
    pub(super) async fn raise(&self, together: Together) -> Result<(), EngineError> {
        for step in self.steps(together) {
            take(&step).await.map_err(cannot)?;
        }
        Ok(())
    }

    /// The limits that have changed. Those of a slice are systemd's responsibility.
    pub(super) fn faults(&self, together: Together) -> Vec<String> {
        let steps = self.steps(together);
        let is_limit_of_ours = |path: &Path| {
            path.parent().is_some_and(|folder| folder.ends_with(&self.name)) && !path.ends_with(CONTROL)
        };
        let limits = steps.iter().filter_map(|step| match step {
            Step::Write(path, value) if is_limit_of_ours(path) => Some((path, value)),
            _ => None,
        });
        limits
            .filter_map(|(path, value)| match fs::read_to_string(path) {
                Ok(found) if is_limit(found.trim(), value) => None,
                Ok(found) => Some(format!("{} is {} in place of {value}", path.display(), found.trim())),
                Err(error) => Some(format!("{} cannot be read: {error}", path.display())),
            })
            .collect()
    }
}

/// Where a group counts how often a limit was reached: the file, the word before the number, and the resource.
const REACHED: [(&str, &str, &str); 3] = [
    ("memory.oom_control", "oom_kill", "memory"),
    ("memory.events", "oom_kill", "memory"),
    ("pids.events", "max", "processes"),
];

impl Cgroup {
    /// The resources of which its containers wanted more than they may have.
    pub(super) fn reached(&self) -> Vec<&'static str> {
        let mut reached: Vec<&'static str> = self
            .folders()
            .iter()
            .flat_map(|folder| with_those_below(folder))
            .flat_map(|folder| REACHED.map(|(file, word, what)| (folder.join(file), word, what)))
            .filter(|(path, word, _)| fs::read_to_string(path).is_ok_and(|text| is_over(&text, word)))
            .map(|(.., what)| what)
            .collect();
        reached.sort_unstable();
        reached.dedup();
        reached
    }

    fn folders(&self) -> Vec<PathBuf> {
        folders_of(left_below(&self.root), |id| id_in(&self.name).as_ref() == Some(id))
    }
}

/// Whether the number after `word` in a group's file is more than 0.
fn is_over(text: &str, word: &str) -> bool {
    let number = text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    number.and_then(|number| number.trim().parse::<u64>().ok()).is_some_and(|number| number > 0)
}

/// The folders in `folder`: the groups below a group, or a version 1 kernel's controllers.
fn folders_in(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir())
}

/// A group's folder, and those of the groups in it.
fn with_those_below(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::iter::once(folder.to_owned()).chain(folders_in(folder))
}

/// Kills everything in the groups of the rehearsals that `goes` selects, even what the engine itself is waiting for.
pub(super) fn kill(goes: impl Fn(&RehearsalId) -> bool) {
    let folders = folders_of(left(), goes);
    // Processes that fork in the meantime are killed in the next round.
    for _ in 0..KILL_ROUNDS {
        let files = folders.iter().flat_map(|folder| with_those_below(folder));
        let pids: BTreeSet<i32> = files
            .flat_map(|folder| {
                let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
                text.lines().filter_map(|line| line.trim().parse().ok()).collect::<Vec<i32>>()
            })
            .collect();
        if pids.is_empty() {
            return;
        }
        for pid in pids.into_iter().filter_map(Pid::from_raw) {
            // A process that has ended in the meantime needs nothing more.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Whether the kernel reports the value that was written: it rounds memory down to whole pages.
fn is_limit(found: &str, wanted: &str) -> bool {
    const PAGE: u64 = 64 << 10;
    match (found.parse::<u64>(), wanted.parse::<u64>()) {
        (Ok(found), Ok(wanted)) => found <= wanted && wanted - found < PAGE,
        _ => found == wanted,
    }
}

async fn take(step: &Step) -> Result<(), String> {
    let write = |path: &Path, value: &str| {
        fs::write(path, value)
            .map_err(|error| format!("{} cannot be set to {value}: {error}", path.display()))
    };
    match step {
        Step::Make(path) => match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(format!("{} cannot be made: {error}", path.display()))
            }
            _ => Ok(()),
        },
        Step::WriteIfThere(path, _) if !path.exists() => Ok(()),
        Step::Write(path, value) | Step::WriteIfThere(path, value) => write(path, value),
        Step::Ask(words) => {
            let (program, args) = words.split_first().ok_or("nothing is to be asked")?;
            let output = Command::new(program).args(args).kill_on_drop(true).output().await;
            let output = output.map_err(|error| format!("`{program}` cannot be started: {error}"))?;
            if output.status.success() {
                return Ok(());
            }
            let said: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(300).collect();
            Err(format!("`{program}` failed: {said}"))
        }
    }
}

/// The groups that rehearsals have created and that still exist, each with its folders.
pub(super) fn left() -> Vec<(RehearsalId, Vec<PathBuf>)> {
    left_below(Path::new(ROOT))
}

fn left_below(root: &Path) -> Vec<(RehearsalId, Vec<PathBuf>)> {
    let mut found: Vec<(RehearsalId, Vec<PathBuf>)> = Vec::new();
    for path in folders_in(root).flat_map(|above| with_those_below(&above)) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(id) = id_in(&name) else { continue };
        match found.iter_mut().find(|(other, _)| *other == id) {
            Some((_, paths)) => paths.push(path),
            None => found.push((id, vec![path])),
        }
    }
    found
}

/// The folders of the rehearsals that `is_wanted` selects.
fn folders_of(
    left: Vec<(RehearsalId, Vec<PathBuf>)>,
    is_wanted: impl Fn(&RehearsalId) -> bool,
) -> Vec<PathBuf> {
    left.into_iter().filter(|(id, _)| is_wanted(id)).flat_map(|(_, folders)| folders).collect()
}

fn id_in(name: &str) -> Option<RehearsalId> {
    let id = name.strip_prefix("lifeboat-");
    RehearsalId::parse(id.or_else(|| name.strip_prefix("lifeboat_")?.strip_suffix(".slice"))?)
}

/// Removes a group. Only one without processes can be removed.
pub(super) async fn remove(folder: &Path) -> io::Result<()> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if folder.extension().is_some_and(|kind| kind == "slice") {
        // systemd removes the folder with the slice, and its settings with `revert`.
        for verb in ["stop", "revert"] {
            let asked = Command::new("systemctl").args([verb, &name]).kill_on_drop(true).output().await;
            asked.map(drop)?;
        }
    }
    match remove_folder(folder) {
        // Two names may lead to one group, like those of joined controllers.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    // Groups that the engine created below for removed containers are empty too.
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir(entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

#[cfg(test)]
mod tests {
    use lifeboat_core::random::OsEntropy;

    use super::*;

    const TOGETHER: Together = Together { memory_bytes: 1 << 30, processes: 500, containers: 3 };

    fn group(driver: CgroupDriver, version: u8, root: &Path) -> Cgroup {
        let id = RehearsalId::random(&OsEntropy);
        Cgroup { root: root.to_owned(), ..Cgroup::new(&id, Cgroups { driver, version }) }
    }

    /// A kernel's files as regular ones.
    fn kernel(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        root
    }

    #[tokio::test]
    async fn version_2_has_one_group_for_all_controllers() {
        let root = kernel(&["cgroup.subtree_control"]);
        let group = group(CgroupDriver::Cgroupfs, 2, root.path());
        group.raise(TOGETHER).await.unwrap();
        let read = |file: &str| fs::read_to_string(root.path().join(&group.name).join(file)).unwrap();
        assert_eq!(
            (read("memory.max"), read("pids.max"), read("cpu.weight")),
            ("1073741824".into(), "500".into(), "50".into())
        );
        assert_eq!(
            fs::read_to_string(root.path().join("cgroup.subtree_control")).unwrap(),
            "+memory +pids +cpu"
        );
        assert_eq!(group.parent(), format!("/{}", group.name));
        assert_eq!(group.faults(TOGETHER), [""; 0]);
        fs::write(root.path().join(&group.name).join("memory.max"), "max\n").unwrap();
        let faults = group.faults(TOGETHER);
        assert!(faults[0].contains("memory.max is max in place of 1073741824"), "{faults:?}");
    }

    #[tokio::test]
    async fn version_1_has_one_for_each_controller() {
        let root = kernel(&["memory/x", "pids/x", "cpu/x", "blkio/x"]);
        let group = group(CgroupDriver::Cgroupfs, 1, root.path());
        group.raise(TOGETHER).await.unwrap();
        let read =
            |file: &str| fs::read_to_string(root.path().join(file.replace("NAME", &group.name))).unwrap();
        assert_eq!(read("memory/NAME/memory.limit_in_bytes"), "1073741824");
        assert_eq!((read("pids/NAME/pids.max"), read("cpu/NAME/cpu.shares")), ("500".into(), "512".into()));
        assert_eq!(group.faults(TOGETHER), [""; 0]);
        let left = left_below(root.path());
        assert_eq!((left.len(), left[0].1.len()), (1, 4), "{left:?}");
        fs::remove_dir_all(root.path().join("pids").join(&group.name)).unwrap();
        assert_eq!(group.faults(TOGETHER).len(), 1);
    }

    #[test]
    fn systemd_is_asked_for_a_slice_of_our_own() {
        let group = group(CgroupDriver::Systemd, 2, Path::new("/none"));
        let steps = group.steps(TOGETHER);
        let [Step::Ask(words)] = steps.as_slice() else { panic!("{steps:?}") };
        assert!(
            words.contains(&"MemoryMax=1073741824".to_owned()) && words.contains(&"TasksMax=500".to_owned())
        );
        assert!(id_in(&group.parent()).is_some() && !group.parent().contains('-'), "{}", group.parent());
    }

    #[tokio::test]
    async fn a_group_that_cannot_be_made_is_a_wall_that_is_missing() {
        let group = group(CgroupDriver::Cgroupfs, 1, Path::new("/nowhere"));
        let error = group.raise(TOGETHER).await.unwrap_err();
        assert!(matches!(error, EngineError::WallMissing { wall: "control group", .. }), "{error}");
    }

    #[tokio::test]
    async fn limits_that_were_reached_are_told_also_by_the_groups_below() {
        let root = kernel(&["memory/x", "pids/x", "cpu/x", "blkio/x"]);
        let group = group(CgroupDriver::Cgroupfs, 1, root.path());
        group.raise(TOGETHER).await.unwrap();
        let file = |path: &str, text: &str| {
            let path = root.path().join(path.replace("NAME", &group.name));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        file("memory/NAME/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n");
        file("pids/NAME/container/pids.events", "max 0\n");
        assert!(group.reached().is_empty());
        file("memory/NAME/container/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
        assert_eq!(group.reached(), ["memory"]);
        file("pids/NAME/pids.events", "max 7\n");
        assert_eq!(group.reached(), ["memory", "processes"]);
    }

    #[test]
    fn groups_of_others_are_not_ours() {
        for name in [
            "docker",
            "lifeboat-",
            "lifeboat-xyz",
            "lifeboat-0123456789abcdef0",
            "lifeboat_0123456789abcdef",
            "system.slice",
        ] {
            assert_eq!(id_in(name), None, "{name}");
        }
        assert!(id_in("lifeboat-0123456789abcdef").is_some());
        assert!(id_in("lifeboat_0123456789abcdef.slice").is_some());
    }
}
