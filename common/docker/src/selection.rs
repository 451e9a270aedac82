//! Resolves which volumes are selected, and which containers mount them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::EngineError;
pub use crate::compose::{Condition, Dependency, Service};
use crate::document::{list, pairs, some_text, text, texts};
use crate::engine::{Engine, filtered};
use crate::near::near;
use crate::order::Depends;
use crate::own_labels::{Labels, any_is_read, own};
use crate::ownership::{self, RehearsalId, ScratchKind};
use crate::reach::{Places, Reach};

/// What the user asked for. Several selections add up.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Volumes by name.
    pub volumes: Vec<String>,
    /// Containers by name or id: every volume that they mount.
    pub containers: Vec<String>,
    /// Compose projects by name: every volume of the project and every one that its containers mount.
    pub projects: Vec<String>,
    /// Every volume of the engine.
    pub all: bool,
}

/// Volumes, and the containers that mount them.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The volumes, sorted by name.
    pub volumes: Vec<Volume>,
    /// The containers that mount at least one of them, have a folder of the host inside one, or were named, sorted by
    /// name.
    pub containers: Vec<Container>,
    /// Running containers that have a folder of the host which contains volumes, by name, each with these volumes. They
    /// are like the host's own programs: nothing shows whether they write there.
    pub above: BTreeMap<String, Vec<String>>,
}

/// A volume as the engine describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its driver; `local` is the engine's own.
    pub driver: String,
    /// The path of its bytes on the engine's host, according to the driver.
    pub mountpoint: PathBuf,
    /// The driver's options, such as an NFS address.
    pub options: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its time of creation, as the engine reports it.
    pub created_at: String,
    /// The engine's description, verbatim.
    pub document: Value,
}

/// A container that mounts selected volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its id, 64 hexadecimal digits.
    pub id: String,
    /// Its name, without the leading slash.
    pub name: String,
    /// Whether it is running.
    pub activity: Activity,
    /// When it was last started, according to the engine.
    pub started_at: String,
    /// The state of its health check.
    pub health: Health,
    /// The exit code of its last run, if that has ended.
    pub exit_code: i64,
    /// When that ended, according to the engine.
    pub finished_at: String,
    /// The compose service that it is an instance of.
    pub service: Option<Service>,
    /// The services of its project that must be up before it.
    pub depends_on: Vec<Dependency>,
    /// The volumes that it mounts, selected or not.
    pub mounts: Vec<VolumeMount>,
    /// How long it has to stop before it is killed.
    pub stop_timeout: Duration,
    /// The containers, by id or name, whose network, processes or memory it shares: it can start only while they run.
    pub shares_with: Vec<String>,
    /// The containers, by name, that it links to: it can start only while they run.
    pub links: Vec<String>,
    /// Folders of the host that it may write to: binds, and its volumes' folders.
    pub host_folders: Vec<PathBuf>,
    /// How it reaches volumes that it does not mount by name, through these folders.
    pub reaches: BTreeMap<String, Reach>,
    /// Whether the engine removes it as soon as it stops.
    pub removed_on_stop: bool,
    /// Whether an orchestrator would replace it when it stops.
    pub orchestrated: bool,
}

/// Whether a container is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It has no processes: never started, or ended.
    Stopped,
    /// It is running.
    Running,
    /// Its processes are paused.
    Paused,
    /// It ended, and the engine is about to restart it.
    Restarting,
}

/// The state of a container's health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It has none.
    Unchecked,
    /// It has not passed yet, but still may.
    Starting,
    /// It passes.
    Healthy,
    /// It failed as often as it may.
    Unhealthy,
}

/// A volume in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeMount {
    /// The volume's name.
    pub volume: String,
    /// Its path in the container.
    pub destination: String,
    /// Whether the container may write to it.
    pub read_write: bool,
}

impl Volume {
    /// Parses the engine's description of a volume.
    pub(crate) fn from_document(document: Value) -> Self {
        Self {
            name: text(&document["Name"]),
            driver: text(&document["Driver"]),
            mountpoint: text(&document["Mountpoint"]).into(),
            options: pairs(&document["Options"]),
            labels: pairs(&document["Labels"]),
            created_at: text(&document["CreatedAt"]),
            document,
        }
    }

    /// The folder of the host that its options bind it to, if any.
    pub(crate) fn bound_folder(&self) -> Option<PathBuf> {
        let is_bound =
            self.options.get("o").is_some_and(|o| o.split(',').any(|o| o == "bind" || o == "rbind"));
        self.options.get("device").filter(|_| is_bound).map(PathBuf::from)
    }

    /// Whether nobody gave it a name: the engine generated one of 64 hexadecimal digits.
    pub fn is_anonymous(&self) -> bool {
        is_engine_id(&self.name)
    }

    /// Whether a rehearsal created it. This needs the right name as well as the label, because scratch volumes are not
    /// backed up.
    pub fn is_scratch(&self) -> bool {
        let id = self.labels.get(ownership::REHEARSAL_LABEL).and_then(|id| RehearsalId::parse(id));
        id.is_some_and(|id| ownership::is_named_after(&id, ScratchKind::Volume, &self.name))
    }
}

impl Container {
    /// Parses the engine's description of a container; `image` has the labels of its image, if that exists.
    pub(crate) fn from_document(document: &Value, image: Option<&Labels>) -> Self {
        let (config, host, state) = (&document["Config"], &document["HostConfig"], &document["State"]);
        let labels = own(pairs(&config["Labels"]), image);
        Self {
            id: text(&document["Id"]),
            name: text(&document["Name"]).trim_start_matches('/').to_owned(),
            activity: match (&state["Paused"], &state["Restarting"], &state["Running"]) {
                (Value::Bool(true), ..) => Activity::Paused,
                (_, Value::Bool(true), _) => Activity::Restarting,
                (.., Value::Bool(true)) => Activity::Running,
                _ => Activity::Stopped,
            },
            started_at: text(&state["StartedAt"]),
            health: match state["Health"]["Status"].as_str() {
                Some("starting") => Health::Starting,
                Some("healthy") => Health::Healthy,
                Some("unhealthy") => Health::Unhealthy,
                _ => Health::Unchecked,
            },
            exit_code: state["ExitCode"].as_i64().unwrap_or(0),
            finished_at: text(&state["FinishedAt"]),
            service: Service::from_labels(&labels),
            depends_on: Dependency::from_labels(&labels),
            mounts: volume_mounts(&document["Mounts"]),
            // The engine's own default is 10 seconds; a negative value means for ever, which becomes an hour here.
            stop_timeout: match config["StopTimeout"].as_i64() {
                None => Duration::from_secs(10),
                Some(seconds) => Duration::from_secs(u64::try_from(seconds).unwrap_or(3600).min(3600)),
            },
            shares_with: ["NetworkMode", "PidMode", "IpcMode"]
                .iter()
                .filter_map(|key| Some(host[*key].as_str()?.strip_prefix("container:")?.to_owned()))
                .collect(),
            links: texts(&host["Links"])
                .iter()
                .filter_map(|link| Some(link.split(':').next()?.trim_start_matches('/').to_owned()))
                .collect(),
            host_folders: list(&document["Mounts"]).iter().filter_map(writable_folder).collect(),
            reaches: BTreeMap::new(),
            removed_on_stop: host["AutoRemove"].as_bool().unwrap_or(false),
            orchestrated: labels.contains_key("com.docker.swarm.task.id")
                || labels.contains_key("io.kubernetes.pod.uid"),
        }
    }

    /// Whether it lives in the network, the processes or the memory of `other`.
    pub fn shares_what_is_of(&self, other: &Self) -> bool {
        self.lives_in(&other.id, &other.name)
    }

    /// Whether it lives in another container's network, processes or memory.
    pub(crate) fn lives_in_another(&self) -> bool {
        !self.shares_with.is_empty()
    }

    /// Whether it lives in the network, the processes or the memory of the container with this id and this name.
    pub(crate) fn lives_in(&self, id: &str, name: &str) -> bool {
        self.shares_with.iter().any(|shared| shared == id || shared == name)
    }

    /// Finds out which of the volumes it reaches by folders of the host.
    pub(crate) fn find_reach(&mut self, places: &Places) {
        for (volume, reach) in self.host_folders.iter().flat_map(|folder| places.reached_by(folder)) {
            // A folder inside the volume says more than one that contains it.
            if reach == Reach::Into || !self.reaches.contains_key(&volume) {
                self.reaches.insert(volume, reach);
            }
        }
    }

    /// Whether it has `volume`, or a folder of the host inside it, and may write there when it runs.
    pub fn may_write_to(&self, volume: &Volume) -> bool {
        self.mounts.iter().any(|mount| mount.read_write && mount.volume == volume.name)
            || self.reaches.get(&volume.name) == Some(&Reach::Into)
    }

    /// Whether it may write to `volume` now: it is running, or about to.
    pub fn writes_to(&self, volume: &Volume) -> bool {
        matches!(self.activity, Activity::Running | Activity::Restarting) && self.may_write_to(volume)
    }
}

impl Depends for Container {
    fn names(&self) -> Vec<String> {
        let service = self.service.iter().map(|s| format!("service {}/{}", s.project, s.service));
        service.chain([&self.id, &self.name].map(|name| format!("container {name}"))).collect()
    }

    fn needs(&self) -> Vec<String> {
        let shared = self.shares_with.iter().map(|other| format!("container {other}"));
        let services = self.service.iter().flat_map(|service| {
            self.depends_on.iter().map(|d| format!("service {}/{}", service.project, d.service))
        });
        let linked = self.links.iter().map(|other| format!("container {other}"));
        services.chain(shared).chain(linked).collect()
    }
}

fn volume_mounts(mounts: &Value) -> Vec<VolumeMount> {
    list(mounts)
        .iter()
        .filter(|mount| mount["Type"] == "volume")
        .filter_map(|mount| {
            Some(VolumeMount {
                volume: some_text(&mount["Name"])?,
                destination: text(&mount["Destination"]),
                read_write: mount["RW"].as_bool().unwrap_or(true),
            })
        })
        .collect()
}

/// The folder of the host that a container may write to through this mount.
fn writable_folder(mount: &Value) -> Option<PathBuf> {
    let is_one = mount["Type"] == "bind" || mount["Type"] == "volume";
    (is_one && mount["RW"].as_bool().unwrap_or(true)).then(|| text(&mount["Source"]).into())
}

fn is_engine_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The engine's rule for names. An invalid name would also break the path of a request.
pub(crate) fn checked_name<'a>(thing: &'static str, name: &'a str) -> Result<&'a str, EngineError> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
    if first && name.len() <= 255 && bytes.all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
        Ok(name)
    } else {
        Err(EngineError::BadName {
            thing,
            name: name.chars().take(80).flat_map(char::escape_default).collect(),
        })
    }
}

impl Engine {
    /// Every volume of the engine, sorted by name.
    pub async fn volumes(&self) -> Result<Vec<Volume>, EngineError> {
        let answer = self.get("/volumes", "list its volumes").await?;
        let mut volumes: Vec<Volume> =
            list(&answer["Volumes"]).iter().cloned().map(Volume::from_document).collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// The volume `name`. Asking for it never creates it.
    pub async fn volume(&self, name: &str) -> Result<Volume, EngineError> {
        checked_name("volume", name)?;
        match self.get(&format!("/volumes/{name}"), "describe a volume").await {
            Ok(document) => Ok(Volume::from_document(document)),
            Err(error) if error.is_absent() => {
                let volumes = self.volumes().await?;
                let near = near(name, volumes.iter().map(|v| v.name.as_str()));
                Err(EngineError::NotFound { thing: "volume", name: name.to_owned(), near })
            }
            Err(error) => Err(error),
        }
    }

    /// The engine's description of the container with this name or id, verbatim.
    pub(crate) async fn container_document(&self, name_or_id: &str) -> Result<Value, EngineError> {
        checked_name("container", name_or_id)?;
        match self.get(&format!("/containers/{name_or_id}/json"), "describe a container").await {
            Err(error) if error.is_absent() => {
                let all = self.get("/containers/json?all=true", "list its containers").await?;
                let names: Vec<String> = list(&all).iter().filter_map(first_name).collect();
                let near = near(name_or_id, names.iter().map(String::as_str));
                Err(EngineError::NotFound { thing: "container", name: name_or_id.to_owned(), near })
            }
            answer => answer,
        }
    }

    /// The container with this name or id.
    pub async fn container(&self, name_or_id: &str) -> Result<Container, EngineError> {
        let document = self.container_document(name_or_id).await?;
        let image = if any_is_read(&pairs(&document["Config"]["Labels"])) {
            self.image_labels(&text(&document["Image"])).await?
        } else {
            None
        };
        Ok(Container::from_document(&document, image.as_ref()))
    }

    /// The labels that an image gives to its containers; `None` if it was removed.
    async fn image_labels(&self, id: &str) -> Result<Option<Labels>, EngineError> {
        match self.image_document(id).await {
            Ok(document) => Ok(Some(pairs(&document["Config"]["Labels"]))),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Resolves `wanted`: the volumes, and every container that mounts one of them. Scratch objects of rehearsals are
    /// never selected by a project or by "all".
    ///
    /// # Errors
    ///
    /// [`EngineError::NotFound`] for a name that does not exist, with similar names.
    pub async fn select(&self, wanted: &Wanted) -> Result<Selection, EngineError> {
        let mut names: BTreeSet<String> = BTreeSet::new();
        let mut containers: BTreeMap<String, Container> = BTreeMap::new();
        for name in &wanted.volumes {
            names.insert(self.volume(name).await?.name);
        }
        for name in &wanted.containers {
            let container = self.container(name).await?;
            names.extend(container.mounts.iter().map(|mount| mount.volume.clone()));
            containers.insert(container.id.clone(), container);
        }
        for project in &wanted.projects {
            let found = self.project(project).await?;
            names.extend(found.volumes);
            containers.extend(found.containers.into_iter().map(|c| (c.id.clone(), c)));
        }
        let all = if wanted.all { self.volumes().await? } else { Vec::new() };
        let mut volumes: BTreeMap<String, Volume> =
            all.into_iter().filter(|v| !v.is_scratch()).map(|v| (v.name.clone(), v)).collect();
        for name in names {
            if let Entry::Vacant(place) = volumes.entry(name) {
                match self.volume(place.key()).await {
                    Ok(volume) => _ = place.insert(volume),
                    // It was removed with its container. Named volumes are looked up above.
                    Err(error) if error.is_absent() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let everyone = self.get("/containers/json?all=true", "list its containers").await?;
        let folders_of =
            |summary: &Value| list(&summary["Mounts"]).iter().filter_map(writable_folder).collect();
        let folders: Vec<PathBuf> =
            list(&everyone).iter().flat_map(|summary| -> Vec<PathBuf> { folders_of(summary) }).collect();
        let places = Places::of(&volumes.values().collect::<Vec<_>>(), &folders, &self.places).await;
        let mut above: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for summary in list(&everyone) {
            let id = text(&summary["Id"]);
            let mounts = volume_mounts(&summary["Mounts"]);
            let has_volume = mounts.iter().any(|mount| volumes.contains_key(&mount.volume));
            let folders: Vec<PathBuf> = folders_of(summary);
            let reached: Vec<(String, Reach)> =
                folders.iter().flat_map(|folder| places.reached_by(folder)).collect();
            let leads_into = reached.iter().any(|(_, reach)| *reach == Reach::Into);
            if !(has_volume || leads_into) {
                let names: BTreeSet<String> = reached.into_iter().map(|(volume, _)| volume).collect();
                if summary["State"] == "running" && !names.is_empty() {
                    let name = first_name(summary).unwrap_or_else(|| id.clone());
                    above.insert(name, names.into_iter().collect());
                }
                continue;
            }
            if containers.contains_key(&id) {
                continue;
            }
            match self.container(&id).await {
                Ok(container) => {
                    containers.insert(id, container);
                }
                // It was removed after it was listed.
                Err(error) if error.is_absent() => {}
                Err(error) => return Err(error),
            }
        }
        let mut containers: Vec<Container> = containers.into_values().collect();
        for container in &mut containers {
            container.find_reach(&places);
        }
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Selection { volumes: volumes.into_values().collect(), containers, above })
    }

    async fn project(&self, project: &str) -> Result<Project, EngineError> {
        checked_name("project", project)?;
        let label = format!("com.docker.compose.project={project}");
        let summaries = self
            .get(&filtered("/containers/json?all=true", &[("label", &label)]), "list a project's containers")
            .await?;
        let own = self.get(&filtered("/volumes", &[("label", &label)]), "list a project's volumes").await?;
        let mut found = Project::default();
        for volume in list(&own["Volumes"]).iter().cloned().map(Volume::from_document) {
            if !volume.is_scratch() {
                found.volumes.push(volume.name);
            }
        }
        for summary in list(&summaries) {
            let container = match self.container(&text(&summary["Id"])).await {
                Ok(container) => container,
                Err(error) if error.is_absent() => continue,
                Err(error) => return Err(error),
            };
            // The label may come from its image.
            if container.service.as_ref().is_none_or(|service| service.project != project) {
                continue;
            }
            found.volumes.extend(container.mounts.iter().map(|mount| mount.volume.clone()));
            found.containers.push(container);
        }
        if found.volumes.is_empty() && found.containers.is_empty() {
            let all = self.get("/containers/json?all=true", "list its containers").await?;
            let mut projects: Vec<String> = list(&all)
                .iter()
                .filter_map(|c| some_text(&c["Labels"]["com.docker.compose.project"]))
                .collect();
            projects.sort();
            projects.dedup();
            let near = near(project, projects.iter().map(String::as_str));
            return Err(EngineError::NotFound { thing: "project", name: project.to_owned(), near });
        }
        Ok(found)
    }
}

#[derive(Default)]
struct Project {
    volumes: Vec<String>,
    containers: Vec<Container>,
}

fn first_name(summary: &Value) -> Option<String> {
    some_text(&summary["Names"][0]).map(|name| name.trim_start_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_alone_takes_no_volume_out_of_a_backup() {
        let volume = |name: &str, id: &str| {
            let labels = serde_json::json!({ ownership::REHEARSAL_LABEL: id });
            Volume::from_document(serde_json::json!({"Name": name, "Labels": labels}))
        };
        assert!(volume("lifeboat-0123456789abcdef-data", "0123456789abcdef").is_scratch());
        assert!(!volume("data", "0123456789abcdef").is_scratch());
        assert!(!volume("lifeboat-0123456789abcdef-data", "x").is_scratch());
    }

    #[test]
    fn a_name_that_would_change_the_request_is_refused() {
        for bad in ["", "../x", "a/b", "a?force=1", "-a", "ä", &"a".repeat(256)] {
            assert!(checked_name("volume", bad).is_err(), "{bad}");
        }
        assert!(checked_name("volume", "my_vol.1-a").is_ok());
    }

    #[test]
    fn who_shares_what_of_another_starts_after_it() {
        let container = |id: &str, name: &str, shares: &str| {
            let document = serde_json::json!({
                "Id": id, "Name": format!("/{name}"), "HostConfig": {"NetworkMode": shares, "PidMode": shares},
            });
            Container::from_document(&document, None)
        };
        let all = [
            container("aa", "app", "container:bb"),
            container("cc", "other", "container:app"),
            container("bb", "vpn", "bridge"),
        ];
        assert_eq!(crate::order::starting_order(&all), [2, 0, 1]);
    }

    #[test]
    fn compose_labels_give_service_and_dependencies() {
        let document = serde_json::json!({
            "Id": "x", "Name": "/shop-web-2",
            "State": {"Running": true, "StartedAt": "2026-01-01T00:00:00Z"},
            "HostConfig": {"AutoRemove": false},
            "Config": {"StopTimeout": 90, "Labels": {
                "com.docker.compose.project": "shop", "com.docker.compose.service": "web",
                "com.docker.compose.container-number": "2",
                "com.docker.compose.depends_on": "db:service_healthy:false,init:service_completed_successfully:true,cache"}},
            "Mounts": [
                {"Type": "volume", "Name": "data", "Destination": "/data", "RW": false},
                {"Type": "bind", "Source": "/etc", "Destination": "/e", "RW": true}],
        });
        let container = Container::from_document(&document, None);
        assert_eq!(
            container.service,
            Some(Service { project: "shop".into(), service: "web".into(), number: 2 })
        );
        let conditions: Vec<_> =
            container.depends_on.iter().map(|d| (d.service.as_str(), d.condition)).collect();
        assert_eq!(
            conditions,
            [
                ("db", Condition::Healthy),
                ("init", Condition::CompletedSuccessfully),
                ("cache", Condition::Started)
            ]
        );
        assert_eq!(container.stop_timeout, Duration::from_secs(90));
        let data = Volume::from_document(serde_json::json!({"Name": "data", "Mountpoint": "/v/data/_data"}));
        assert!(!container.writes_to(&data), "a read-only mount does not write");
        assert_eq!(container.mounts.len(), 1);
    }
}
