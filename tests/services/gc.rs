//! `gc`, with everything forged that can be: objects that this machine's drills did not create stay.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use lifeboat_core::clock::{Clock, SystemClock};
use lifeboat_core::random::OsEntropy;
use lifeboat_docker::EngineError;
use lifeboat_docker::ownership::{MachineKey, RehearsalId, ScratchKind};
use lifeboat_docker::selection::Wanted;
use lifeboat_tests::gate::trials_with;

use crate::docker::{Docker, Playground, docker, eventually, runtime, state};
use crate::sandbox::{Sweep, TOGETHER, owner, rules_of, scratch_objects};

pub(crate) fn trials() -> Vec<Trial> {
    let found = Docker::find();
    let test = trials_with(found);
    vec![
        test("gc::expired_leftovers_are_collected_and_young_ones_kept", collection),
        test("gc::forged_labels_names_and_dates_move_nothing_of_the_users", forged),
        test(
            "gc::a_killed_drill_leaves_nothing_that_others_can_reach_and_the_next_command_removes_it",
            killed,
        ),
        test("gc::a_drill_that_is_killed_in_any_phase_is_cleared_away_after", killed_anywhere),
        test("gc::labels_of_an_image_steer_no_backup_of_its_host", labels_of_images),
    ]
}

fn collection(found: &Docker) {
    let key = MachineKey::random(&OsEntropy);
    let [old, young, dead] = [Duration::ZERO, Duration::from_mins(10), Duration::from_mins(10)]
        .map(|lifetime| owner(lifetime, &key));
    let _sweeps = [&old, &young, &dead].map(|owner| Sweep(found, owner.clone()));
    runtime().block_on(async {
        let engine = found.engine().await.unwrap();
        // Three processes that were killed: their sandboxes are simply forgotten.
        for owner in [&old, &young, &dead] {
            let sandbox = engine.sandbox(owner.clone(), TOGETHER).await.unwrap();
            sandbox.volume("data").await.unwrap();
            drop(sandbox);
            assert!(!rules_of(&owner.id.to_string()).is_empty());
        }
        let now = SystemClock.now().checked_add(jiff::SignedDuration::from_secs(1)).unwrap();
        // Another machine, or another user, removes none of it.
        let stranger = MachineKey::random(&OsEntropy);
        let nothing = engine.gc(&stranger, now, &BTreeSet::from([dead.id.clone()])).await.unwrap();
        assert_eq!((nothing.removed_objects, nothing.rehearsals.len()), (0, 0), "{nothing:?}");
        assert!(nothing.left_alone.iter().any(|line| line.contains("its mark is not this machine's")));

        let collected = engine.gc(&key, now, &BTreeSet::from([dead.id.clone()])).await.unwrap();
        let mut gone = vec![old.id.to_string(), dead.id.to_string()];
        gone.sort();
        assert_eq!(collected.rehearsals, gone, "{collected:?}");
        assert_eq!((scratch_objects(&old.id), scratch_objects(&dead.id)), (String::new(), String::new()));
        assert_ne!(scratch_objects(&young.id), "");
        engine.clear(&young).await.unwrap();
        assert_eq!(scratch_objects(&young.id), "");
    });
}

/// `--label` for each.
fn labelled(labels: &BTreeMap<String, String>) -> Vec<String> {
    labels.iter().flat_map(|(key, value)| ["--label".to_owned(), format!("{key}={value}")]).collect()
}

/// An image that puts `labels` on every container.
fn image_with(found: &Docker, labels: &BTreeMap<String, String>, play: &Playground) -> String {
    let made = play.run("base", &[&found.busybox, "true"]);
    let mut args = vec!["commit".to_owned()];
    for (key, value) in labels {
        args.extend(["--change".to_owned(), format!("LABEL {key}={value}")]);
    }
    args.push(made.clone());
    let id = docker(&args.iter().map(String::as_str).collect::<Vec<_>>());
    docker(&["rm", "--force", &made]);
    id
}

/// Removes what a test created under names of its own.
struct Undo(Vec<Vec<String>>);

impl Drop for Undo {
    fn drop(&mut self) {
        for args in self.0.iter().rev() {
            let _ = Command::new("docker").args(args).output();
        }
    }
}

fn forged(found: &Docker) {
    let play = Playground::new();
    let key = MachineKey::random(&OsEntropy);
    let id = RehearsalId::random(&OsEntropy);
    let forged = |id: &str| {
        BTreeMap::from([
            ("io.lifeboat.rehearsal".to_owned(), id.to_owned()),
            ("io.lifeboat.expires".to_owned(), "2000-01-01T00:00:00Z".to_owned()),
            ("io.lifeboat.mark".to_owned(), "0".repeat(64)),
        ])
    };
    let mut undo = Undo(Vec::new());
    let mut later = |args: &[&str]| undo.0.push(args.iter().map(|&a| a.to_owned()).collect());
    let make = |args: &[&str], labels: &BTreeMap<String, String>, rest: &[&str]| {
        let labels = labelled(labels);
        let all: Vec<&str> = args
            .iter()
            .copied()
            .chain(labels.iter().map(String::as_str))
            .chain(rest.iter().copied())
            .collect();
        docker(&all)
    };

    // 1. A base image with a label, as they exist: a running container and its anonymous volume.
    let image = image_with(found, &forged("x"), &play);
    later(&["rmi", "--force", &image]);
    let prod = play.run(
        "prod",
        &["-v", "/var/lib/data", &image, "sh", "-c", "echo only > /var/lib/data/copy; exec sleep 600"],
    );
    // 2. Names and labels of the right form, on every kind of object.
    let named = format!("lifeboat-{id}");
    let full = forged(&id.to_string());
    let volume = make(&["volume", "create"], &full, &[&format!("{named}-data")]);
    later(&["volume", "rm", &volume]);
    let network = make(&["network", "create"], &full, &[&named]);
    later(&["network", "rm", &network]);
    let container = make(
        &["run", "--detach", "--name", &format!("{named}-db")],
        &full,
        &[&found.busybox, "sleep", "600"],
    );
    later(&["rm", "--force", &container]);
    let tagged = image_with(found, &full, &play);
    docker(&["tag", &tagged, &format!("lifeboat-rehearsal:{id}")]);
    later(&["rmi", "--force", &tagged]);
    // 3. Genuine labels of a finished drill, on things that it did not create.
    let over = owner(Duration::ZERO, &key);
    let copied = over.labels(ScratchKind::Volume, &over.volume_name("data"), "data");
    let stolen = make(&["volume", "create"], &copied, &[&play.name("stolen")]);
    // 4. A genuine mark that comes from the image.
    let heir = over.container_name("heir");
    let true_image = image_with(found, &over.labels(ScratchKind::Container, &heir, "heir"), &play);
    later(&["rmi", "--force", &true_image]);
    let inheritor = docker(&["run", "--detach", "--name", &heir, &true_image, "sleep", "600"]);
    later(&["rm", "--force", &inheritor]);
    // 5. Leftovers of an older release, without a mark.
    let mut unmarked = forged(&id.to_string());
    unmarked.remove("io.lifeboat.mark");
    let older = make(&["volume", "create"], &unmarked, &[&format!("{named}-older")]);
    later(&["volume", "rm", &older]);

    let dead = BTreeSet::from([id.clone(), over.id.clone()]);
    let collected = runtime().block_on(async {
        let now = SystemClock.now().checked_add(jiff::SignedDuration::from_secs(1)).unwrap();
        found.engine().await.unwrap().gc(&key, now, &dead).await.unwrap()
    });
    assert_eq!((collected.removed_objects, collected.leftovers.len()), (0, 0), "{collected:?}");
    for running in [&prod, &container, &inheritor] {
        assert_eq!(state(running), "running");
    }
    assert_eq!(docker(&["exec", &prod, "cat", "/var/lib/data/copy"]), "only");
    for there in [&volume, &stolen, &older] {
        docker(&["volume", "inspect", there]);
    }
    docker(&["network", "inspect", &network]);
    docker(&["image", "inspect", &format!("lifeboat-rehearsal:{id}"), &image, &true_image]);
    for (named, reason) in [
        (play.name("prod"), "no rehearsal"),
        (volume, "not this machine's"),
        (format!("container {named}-db"), "not this machine's"),
        (format!("network {named}"), "not this machine's"),
        (format!("image lifeboat-rehearsal:{id}"), "not this machine's"),
        (stolen, "its name"),
        (heir, "from its image"),
        (older, "an older release"),
    ] {
        let told = collected.left_alone.iter().any(|line| line.contains(&named) && line.contains(reason));
        assert!(told, "{named}: {reason} in {:#?}", collected.left_alone);
    }
}

/// An image's labels have no effect on backups of the host that runs it.
fn labels_of_images(found: &Docker) {
    let play = Playground::new();
    let compose = |name: &str, value: &str| (format!("com.docker.compose.{name}"), value.to_owned());
    let project = play.name("shop");
    let mut labels = BTreeMap::from([
        compose("project", &project),
        compose("service", "db"),
        compose("config-hash", "abc"),
        compose("container-number", "1"),
        compose("oneoff", "False"),
        ("io.kubernetes.pod.uid".to_owned(), "x".to_owned()),
        ("com.docker.swarm.task.id".to_owned(), "x".to_owned()),
    ]);
    let hostile = image_with(found, &labels, &play);
    let _undo = Undo(vec![vec!["rmi".to_owned(), "--force".to_owned(), hostile.clone()]]);
    let volume = play.volume("data");
    let mount = format!("{volume}:/data");
    let run = |name: &str, more: &[&str]| {
        play.run(name, &[&["--volume", &mount], more, &[&hostile, "sleep", "600"]].concat())
    };
    run("stranger", &[]);
    runtime().block_on(async {
        let engine = found.engine().await.unwrap();
        let stranger = engine.container(&play.name("stranger")).await.unwrap();
        assert_eq!((stranger.service, stranger.orchestrated), (None, false));
        let wanted = Wanted { projects: vec![project.clone()], ..Default::default() };
        let error = engine.select(&wanted).await.unwrap_err();
        assert!(matches!(error, EngineError::NotFound { .. }), "{error}");

        // A container that Compose has created from the same image belongs to the project, and the other still does
        // not.
        run("own", &["--label", "com.docker.compose.config-hash=def"]);
        let selection = engine.select(&wanted).await.unwrap();
        let names: Vec<&str> = selection.containers.iter().map(|container| container.name.as_str()).collect();
        assert!(names.contains(&play.name("own").as_str()), "{names:?}");
        let of_project = selection.containers.iter().filter(|container| container.service.is_some()).count();
        assert_eq!(of_project, 1, "{names:?}");
        let own = engine.container(&play.name("own")).await.unwrap();
        assert!(!own.orchestrated);
    });
    // If its image was removed, a container's labels count.
    labels.clear();
    docker(&["rm", "--force", &play.name("stranger")]);
    docker(&["stop", "--time", "0", &play.name("own")]);
    docker(&["rmi", "--force", &hostile]);
    runtime().block_on(async {
        let own = found.engine().await.unwrap().container(&play.name("own")).await.unwrap();
        assert_eq!(own.service.unwrap().project, project);
    });
}

fn as_nobody(script: &str) -> bool {
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", script];
    Command::new("setpriv")
        .args(nobody)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap()
        .success()
}

fn killed(found: &Docker) {
    let play = Playground::new();
    let volume = play.volume("data");
    let app = play.run_writer(found, "app", &volume, &[]);
    let repo = found.repo();
    // A folder as well, with a program that makes its user root.
    let folder = repo.path("folder");
    fs::create_dir(&folder).unwrap();
    fs::copy("/bin/true", folder.join("rootme")).unwrap();
    fs::set_permissions(folder.join("rootme"), fs::Permissions::from_mode(0o6755)).unwrap();
    repo.backup(["run", "--volume", &volume, "--path", folder.to_str().unwrap(), "--mode", "pause"])
        .expect_code(0);
    let plan = repo.path("plan.toml");
    fs::write(&plan, "version = 1\nstability = \"60s\"\n").unwrap();
    // Others may pass through the folders above, as on a host with the state folder below /var/lib.
    for open in [repo.path("."), repo.path("state"), repo.path("state/lifeboat")] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o755)).unwrap();
    }

    let drill = |dies_with_its_watchdog: bool| {
        let mut command = repo.restore_command(["rehearse", "latest", "--plan", plan.to_str().unwrap()]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let copy = || {
            let names = docker(&["ps", "--format", "{{.Names}}", "--filter", "label=io.lifeboat.rehearsal"]);
            names.lines().find(|name| name.ends_with(&play.name("app"))).map(str::to_owned)
        };
        eventually("the scratch copy runs", || copy().is_some());
        let name = copy().unwrap();
        if dies_with_its_watchdog {
            kill(watchdog_of(child.id()));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        name["lifeboat-".len()..][..16].to_owned()
    };
    let id = drill(true);
    let _sweep =
        Undo(vec![vec!["rm".into(), "--force".into(), format!("lifeboat-{id}-{}", play.name("app"))]]);
    let left = repo.path(&format!("state/lifeboat/rehearsals/lifeboat-rehearsal-{id}"));
    // The volume is the first stream, the folder the second.
    assert_eq!(fs::metadata(left.join("1/rootme")).unwrap().permissions().mode() & 0o7777, 0o6755);
    assert!(as_nobody(&format!("ls {}", repo.path("state/lifeboat").display())), "the way is open so far");
    assert!(!as_nobody(&format!("ls {}", left.display())), "others look into a drill's folder");
    assert!(!as_nobody(&format!("{}/1/rootme", left.display())), "others run what a snapshot holds");
    let said = repo.restore(["gc", "--json"]).expect_code(0);
    let document = said.json();
    assert!(document["removed"].as_u64().unwrap() >= 6, "{document}");
    assert_eq!(scratch_objects(&id), "");
    assert!(!left.exists());
    assert_eq!(fs::read_dir(repo.path("state/lifeboat/drills")).unwrap().count(), 0);
    assert_eq!(state(&app), "running");

    // The next drill starts by removing what the last one left, although nothing of it has expired.
    let id = drill(true);
    assert_ne!(scratch_objects(&id), "");
    fs::write(&plan, "version = 1\nstability = \"0s\"\n").unwrap();
    let said = repo.restore(["rehearse", "latest", "--plan", plan.to_str().unwrap()]).expect_code(3);
    assert!(said.stderr.contains("an earlier drill did not clear away"), "{}", said.stderr);
    assert_eq!(scratch_objects(&id), "");

    // While its watchdog is alive, nobody needs to run anything.
    fs::write(&plan, "version = 1\nstability = \"60s\"\n").unwrap();
    let id = drill(false);
    let left = repo.path(&format!("state/lifeboat/rehearsals/lifeboat-rehearsal-{id}"));
    eventually("the watchdog has cleared away", || scratch_objects(&id).is_empty() && !left.exists());
    eventually("the watchdog has left the register", || {
        fs::read_dir(repo.path("state/lifeboat/drills")).unwrap().count() == 0
    });
    assert_eq!(state(&app), "running");
}

/// Whether a drill with this id has reached some point.
type Reached<'a> = &'a dyn Fn(&str) -> bool;

fn killed_anywhere(found: &Docker) {
    let play = Playground::new();
    let volume = play.volume("data");
    let app = play.run_writer(found, "app", &volume, &[]);
    let repo = found.repo();
    repo.backup(["run", "--volume", &volume, "--mode", "pause"]).expect_code(0);
    let plan = repo.path("plan.toml");
    fs::write(&plan, "version = 1\nstability = \"60s\"\n[limits]\nvolumes_mib = 64\n").unwrap();
    let register = repo.path("state/lifeboat/drills");
    let entered = || {
        let entries = fs::read_dir(&register).into_iter().flatten().flatten();
        let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.find_map(|name| Some(name.strip_suffix(".lock")?.to_owned()))
    };
    let listed = |what: &[&str], id: &str| {
        let filter = format!("label=io.lifeboat.rehearsal={id}");
        docker(&[what, &["--filter", &filter]].concat())
    };
    let phases: [(&str, Reached<'_>); 6] = [
        ("it is in the register", &|_| true),
        ("its network is there", &|id| !listed(&["network", "ls", "--quiet"], id).is_empty()),
        ("its walls stand", &|id| rules_of(id).lines().count() >= 10),
        ("its volume is there", &|id| !listed(&["volume", "ls", "--quiet"], id).is_empty()),
        ("its probe runs", &|id| !listed(&["ps", "--quiet"], id).is_empty()),
        ("its copy runs", &|id| listed(&["ps", "--quiet"], id).lines().count() > 1),
    ];
    for (phase, is_reached) in phases {
        let mut command = repo.restore_command(["rehearse", "latest", "--plan", plan.to_str().unwrap()]);
        let mut drill = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut id = String::new();
        eventually(phase, || {
            id = entered().unwrap_or_default();
            !id.is_empty() && is_reached(&id)
        });
        drill.kill().unwrap();
        drill.wait().unwrap();
        eventually(&format!("after a drill that was killed when {phase}, nothing is there"), || {
            scratch_objects(&id).is_empty() && entered().is_none()
        });
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(&repo.path("state").display().to_string()), "{phase}: {mounts}");
    }
    assert_eq!(state(&app), "running");
}

/// The watchdog process of a drill.
fn watchdog_of(drill: u32) -> u32 {
    let children = fs::read_dir(format!("/proc/{drill}/task")).unwrap().flat_map(|task| {
        let children = fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
        children.split_ascii_whitespace().map(|pid| pid.parse::<u32>().unwrap()).collect::<Vec<_>>()
    });
    let is_watchdog =
        |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().ends_with(b"\0watchdog\0");
    let watchdog = children.into_iter().find(is_watchdog).expect("a drill has a watchdog");
    // Its environment contains no secrets.
    let environment = fs::read(format!("/proc/{watchdog}/environ")).unwrap();
    let names: Vec<String> = environment
        .split(|byte| *byte == 0)
        .filter(|pair| !pair.is_empty())
        .map(|pair| String::from_utf8_lossy(pair).split('=').next().unwrap().to_owned())
        .collect();
    let known = ["PATH", "HOME", "XDG_STATE_HOME", "DOCKER_HOST", "LIFEBOAT_LOG"];
    assert!(names.iter().all(|name| known.contains(&name.as_str())), "{names:?}");
    watchdog
}

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}
