//! Where the bytes of a volume are, and volumes that a restore creates.
//!
//! Bytes are read and written in place, at the volume's mountpoint on this host. That is correct only if the engine
//! runs on this very host and the mountpoint really holds what containers see. Both are proved before the path is
//! returned, without creating anything: see [`Engine::volume_directory`].

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::RemoveVolumeOptions;
use jiff::Timestamp;

use crate::EngineError;
use crate::document::list;
use crate::engine::{Engine, filtered};
use crate::selection::{Volume, checked_name};

/// How often the engine's time mark is compared before the host counts as another: the folder may change in between.
const PROOF_ATTEMPTS: u32 = 5;

/// A volume created by a restore, which is removed again unless the restore completes.
#[derive(Debug)]
pub struct FreshVolume {
    engine: Engine,
    name: String,
    directory: PathBuf,
    created: bool,
}

impl Engine {
    /// The folder on this host that holds the volume's bytes.
    ///
    /// The engine computes a volume's `CreatedAt` on request from the volume's folder (the change time of the folder
    /// or, in engines from 24 on, of its parent). If the folder with that path here has the same time, it is the folder
    /// that the engine sees: same host, same file system. A volume with driver options (NFS, a bind, a disk) is
    /// somewhere else, and mounted at its mountpoint only while a container uses it; it is accepted only if this
    /// process sees that mount.
    ///
    /// # Errors
    ///
    /// [`EngineError::VolumeOutOfReach`] with the reason and what to do.
    pub async fn volume_directory(&self, volume: &Volume) -> Result<PathBuf, EngineError> {
        let out_of_reach = |reason: String, advice: &str| EngineError::VolumeOutOfReach {
            volume: volume.name.clone(),
            reason,
            advice: advice.to_owned(),
        };
        if volume.driver != "local" {
            return Err(out_of_reach(
                format!(
                    "its driver is `{}`, and only volumes of the driver `local` are read in place",
                    volume.driver
                ),
                "mount the volume's storage on this host and back the folder up with --path",
            ));
        }
        let directory = &volume.mountpoint;
        match fs::symlink_metadata(directory) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                return Err(out_of_reach(
                    format!("{} is not a folder", directory.display()),
                    "look at the engine's data folder: a link in place of a volume is never followed",
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(out_of_reach(
                    format!("this user may not look into {}", self.facts().root.display()),
                    "run as root: the bytes of volumes belong to the users inside the containers",
                ));
            }
            Err(_) => {
                return Err(out_of_reach(
                    format!("{} does not exist on this host", directory.display()),
                    "run on the host where the engine runs (in a container: mount the engine's data folder at the same path)",
                ));
            }
        }
        if !volume.options.is_empty() {
            let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|source| EngineError::Io {
                operation: "read",
                path: "/proc/self/mountinfo".into(),
                source,
            })?;
            if is_mountpoint(&mounts, directory) {
                return Ok(directory.clone());
            }
            let kind = volume.options.get("type").map_or("driver", String::as_str);
            return Err(out_of_reach(
                format!("it has {kind} options and is not mounted now, so its folder here is empty"),
                "start a container that mounts it, or back its source up with --path",
            ));
        }
        let mut said = volume.created_at.clone();
        for _ in 0..PROOF_ATTEMPTS {
            if bears_mark(directory, &said) {
                return Ok(directory.clone());
            }
            said = self.volume(&volume.name).await?.created_at;
        }
        Err(out_of_reach(
            format!(
                "{} here is not the folder that the engine sees (it speaks of {said})",
                directory.display()
            ),
            "run on the host where the engine runs; DOCKER_HOST may point at another one",
        ))
    }

    /// The containers that mount the volume `name`, running or not, by name.
    pub async fn users_of_volume(&self, name: &str) -> Result<Vec<String>, EngineError> {
        let answer = self
            .get(&filtered("/containers/json?all=true", &[("volume", name)]), "list a volume's containers")
            .await?;
        // The filter also matches mount paths, so compare the name.
        Ok(list(&answer)
            .iter()
            .filter(|c| list(&c["Mounts"]).iter().any(|m| m["Name"] == name))
            .filter_map(|c| c["Names"][0].as_str())
            .map(|n| n.trim_start_matches('/').to_owned())
            .collect())
    }

    /// Creates the volume `name` for a restore, or takes an existing one that is empty and that no container uses.
    ///
    /// # Errors
    ///
    /// [`EngineError::VolumeTaken`] if a volume with that name is not empty or is in use.
    pub async fn fresh_volume(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<FreshVolume, EngineError> {
        checked_name("volume", name)?;
        let (volume, created) = match self.volume(name).await {
            Ok(volume) => (volume, false),
            Err(error) if error.is_absent() => (self.create_volume(name, labels, None).await?, true),
            Err(error) => return Err(error),
        };
        let taken = |reason: String| EngineError::VolumeTaken { volume: name.to_owned(), reason };
        if !created {
            let users = self.users_of_volume(name).await?;
            if !users.is_empty() {
                return Err(taken(format!("is mounted by {}", users.join(", "))));
            }
        }
        let mut fresh =
            FreshVolume { engine: self.clone(), name: name.to_owned(), directory: PathBuf::new(), created };
        match self.volume_directory(&volume).await {
            Ok(directory) => fresh.directory = directory,
            Err(error) => {
                fresh.discard().await?;
                return Err(error);
            }
        }
        let mut entries = fs::read_dir(&fresh.directory).map_err(|source| EngineError::Io {
            operation: "read",
            path: fresh.directory.clone(),
            source,
        })?;
        if entries.next().is_some() {
            return Err(taken("is not empty".to_owned()));
        }
        Ok(fresh)
    }

    /// Creates a volume of the engine's own driver; if `folder` is given, its bytes are in that folder of this host.
    pub(crate) async fn create_volume(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        folder: Option<&Path>,
    ) -> Result<Volume, EngineError> {
        let options = folder.map(|folder| {
            let device = folder.display().to_string();
            let options = [("type", "none"), ("o", "bind"), ("device", &device)];
            options.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
        });
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            driver: Some("local".to_owned()),
            driver_opts: options,
            labels: Some(labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect::<HashMap<_, _>>()),
            ..Default::default()
        };
        self.client()
            .create_volume(request)
            .await
            .map_err(EngineError::call(format!("create volume `{name}`")))?;
        self.volume(name).await
    }

    /// Removes the volume `name`. If it is already gone, that is fine.
    pub(crate) async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        let removed = self
            .client()
            .remove_volume(name, None::<RemoveVolumeOptions>)
            .await
            .map_err(EngineError::call(format!("remove volume `{name}`")));
        match removed {
            Err(error) if error.is_absent() => Ok(()),
            other => other,
        }
    }
}

impl FreshVolume {
    /// The volume's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder to restore into.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Keeps the volume: the restore is complete.
    pub fn keep(mut self) {
        self.created = false;
    }

    /// Removes the volume again if it was created for this restore. One that existed before stays as it is now.
    pub async fn discard(mut self) -> Result<(), EngineError> {
        if std::mem::take(&mut self.created) { self.engine.remove_volume(&self.name).await } else { Ok(()) }
    }
}

impl Drop for FreshVolume {
    fn drop(&mut self) {
        if self.created {
            tracing::warn!(
                "volume `{}` was left behind half restored; remove it with `docker volume rm`",
                self.name
            );
        }
    }
}

/// Whether the folder, or its parent, was last changed in the second that the engine reports.
fn bears_mark(directory: &Path, created_at: &str) -> bool {
    let Ok(said) = created_at.parse::<Timestamp>() else { return false };
    [Some(directory), directory.parent()]
        .into_iter()
        .flatten()
        .filter_map(|folder| fs::metadata(folder).ok())
        .any(|found| found.ctime() == said.as_second())
}

/// Whether `directory` is a mount point in the lines of a `/proc/…/mountinfo` (proc(5): the fifth field, with blanks
/// and backslashes in octal).
pub(crate) fn is_mountpoint(mountinfo: &str, directory: &Path) -> bool {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).any(|field| {
        let plain =
            field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\");
        Path::new(&plain) == directory
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_bears_the_mark_of_its_own_change_time_only() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("_data");
        fs::create_dir(&inner).unwrap();
        let at = Timestamp::from_second(fs::metadata(&inner).unwrap().ctime()).unwrap();
        assert!(bears_mark(&inner, &at.to_string()));
        let other = at.checked_sub(jiff::SignedDuration::from_secs(100)).unwrap();
        assert!(!bears_mark(&inner, &other.to_string()));
        assert!(!bears_mark(&inner, ""));
    }

    #[test]
    fn mount_points_are_found_with_their_escapes() {
        let lines = "36 35 98:0 / /mnt/with\\040blank rw - ext4 /dev/x rw\n37 35 0:9 / /var/lib rw - ext4 /dev/y rw\n";
        assert!(is_mountpoint(lines, Path::new("/mnt/with blank")));
        assert!(is_mountpoint(lines, Path::new("/var/lib")));
        assert!(!is_mountpoint(lines, Path::new("/var/lib/docker")));
    }
}
