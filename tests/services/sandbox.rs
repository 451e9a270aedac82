//! Real scratch sandboxes: isolated, limited, and removed afterwards.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use lifeboat_core::clock::{Clock, SystemClock};
use lifeboat_core::random::OsEntropy;
use lifeboat_docker::ownership::{MachineKey, Ownership, RehearsalId};
use lifeboat_docker::scratch::sanitise::{Limits, Setting, sanitise};
use lifeboat_docker::scratch::{ExecCommand, Ready, Sandbox, Together};
use lifeboat_docker::selection::Wanted;
use lifeboat_docker::{Engine, EngineError};
use lifeboat_tests::gate::trials_with;

use crate::docker::{Docker, Playground, docker, runtime, state};

pub(crate) fn trials() -> Vec<Trial> {
    let found = Docker::find();
    let test = trials_with(found);
    vec![test("sandbox::it_is_cut_off_and_leaves_nothing", cut_off)]
}

/// The most that the containers of these tests use together.
pub(crate) const TOGETHER: Together = Together { memory_bytes: 1 << 30, processes: 1024, containers: 4 };

pub(crate) fn owner(lifetime: Duration, key: &MachineKey) -> Ownership {
    let lifetime = jiff::SignedDuration::try_from(lifetime).unwrap();
    let expires = SystemClock.now().checked_add(lifetime).unwrap();
    Ownership::new(RehearsalId::random(&OsEntropy), expires, key.clone())
}

/// A sandbox that has proved its isolation.
pub(crate) async fn proven(found: &Docker, owner: &Ownership, together: Together) -> (Engine, Sandbox) {
    let engine = found.engine().await.unwrap();
    let mut sandbox = engine.sandbox(owner.clone(), together).await.unwrap();
    sandbox.prove_isolation().await.unwrap();
    (engine, sandbox)
}

/// Clears a rehearsal away when its test ends, however it ends.
pub(crate) struct Sweep<'a>(pub(crate) &'a Docker, pub(crate) Ownership);

impl Drop for Sweep<'_> {
    fn drop(&mut self) {
        runtime().block_on(async {
            let _ = self.0.engine().await.unwrap().clear(&self.1).await;
        });
    }
}

pub(crate) fn scratch_objects(id: impl std::fmt::Display) -> String {
    let filter = format!("label=io.lifeboat.rehearsal={id}");
    [
        docker(&["ps", "--all", "--quiet", "--filter", &filter]),
        docker(&["volume", "ls", "--quiet", "--filter", &filter]),
        docker(&["network", "ls", "--quiet", "--filter", &filter]),
        docker(&["images", "--all", "--quiet", "--filter", &filter]),
        rules_of(id.to_string().as_str()),
        groups_of(id.to_string().as_str()),
    ]
    .concat()
}

/// The control groups that a rehearsal has made.
fn groups_of(id: &str) -> String {
    let name = format!("*{id}*");
    let found =
        Command::new("find").args(["/sys/fs/cgroup", "-maxdepth", "2", "-name", &name]).output().unwrap();
    String::from_utf8_lossy(&found.stdout).into_owned()
}

/// The packet filters, and the tables in which a rehearsal sets rules.
pub(crate) const FILTERS: [(&str, &str); 4] = [
    ("/usr/sbin/iptables", "filter"),
    ("/usr/sbin/iptables", "raw"),
    ("/usr/sbin/ip6tables", "filter"),
    ("/usr/sbin/ip6tables", "raw"),
];

/// The rules of both packet filters that a rehearsal set.
pub(crate) fn rules_of(id: &str) -> String {
    let mut found = Vec::new();
    for (program, table) in FILTERS {
        let output = Command::new(program).args(["-t", table, "-S"]).output().unwrap();
        let listed = String::from_utf8_lossy(&output.stdout).into_owned();
        found.extend(listed.lines().filter(|line| line.contains(id)).map(str::to_owned));
    }
    found.join("\n")
}

fn cut_off(found: &Docker) {
    let play = Playground::new();
    let data = play.volume("data");
    play.run(
        "web",
        &[
            "-v",
            &format!("{data}:/data"),
            "--env",
            "PASSWORD=hunter2222",
            &found.busybox,
            "sh",
            "-c",
            "echo started with $PASSWORD; httpd -p 8080 -h /; exec sleep 600",
        ],
    );
    let owner = owner(Duration::from_mins(10), &MachineKey::random(&OsEntropy));
    let id = owner.id.clone();
    let _sweep = Sweep(found, owner.clone());
    let secrets = ["hunter2222".to_owned()];
    runtime().block_on(async {
        let engine = found.engine().await.unwrap();
        let wanted = Wanted { volumes: vec![data.clone()], ..Default::default() };
        let captured =
            engine.capture(&engine.select(&wanted).await.unwrap(), SystemClock.now()).await.unwrap();
        let parts = captured.container_parts().unwrap().remove(0);
        let image =
            engine.resolve_image(&parts, captured.image_parts(&parts.image_id).as_ref()).await.unwrap();
        let mut sandbox = engine.sandbox(owner.clone(), TOGETHER).await.unwrap();
        let volume = sandbox.volume(&data).await.unwrap();
        std::fs::write(volume.directory.join("restored"), "yes").unwrap();
        let restored = BTreeMap::from([(data.clone(), volume.name.clone())]);
        let network = sandbox.network().to_owned();
        let setting = Setting {
            owner: &owner,
            network: &network,
            restored: &restored,
            containers: &BTreeMap::new(),
            limits: Limits { memory_bytes: 64 << 20, nano_cpus: 1_000_000_000, processes: 64 },
            walls: &sandbox.walls(None),
            is_alone: false,
            may_win_rights: false,
            env: &BTreeMap::new(),
        };
        let sanitised = sanitise(&parts, &image, &setting);
        let refused = sandbox.create_container(sanitised.clone()).await.unwrap_err();
        assert!(matches!(refused, EngineError::IsolationUnproven { .. }), "nothing is made before the proof");
        let isolation = sandbox.prove_isolation().await.unwrap();
        assert!(isolation.unreachable_from_inside.iter().any(|a| a.starts_with("172.17.")), "{isolation:?}");

        let container = sandbox.create_container(sanitised).await.unwrap();
        sandbox.start(&container).await.unwrap();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        let ready = sandbox.wait_ready(&container, false, deadline, &secrets).await.unwrap();
        assert_eq!(ready, Ok(Ready::Running));
        let run = |argv: &[&str]| ExecCommand {
            argv: argv.iter().map(|&a| a.to_owned()).collect(),
            ..Default::default()
        };
        let said = sandbox
            .exec(&container, &run(&["cat", "/data/restored"]), Duration::from_secs(10))
            .await
            .unwrap();
        assert_eq!((said.exit_code, said.stdout.as_slice()), (Some(0), &b"yes"[..]));
        // No outside name is resolved, and the refusal is quick.
        let started = Instant::now();
        let said = sandbox
            .exec(&container, &run(&["nslookup", "example.com"]), Duration::from_secs(30))
            .await
            .unwrap();
        assert_ne!(said.exit_code, Some(0), "{}", String::from_utf8_lossy(&said.stdout));
        assert!(started.elapsed() < Duration::from_secs(29), "the resolver hangs");
        let missing =
            sandbox.exec(&container, &run(&["no-such-program"]), Duration::from_secs(10)).await.unwrap();
        assert!(matches!(missing.exit_code, Some(126 | 127)), "{missing:?}");
        let endless =
            sandbox.exec(&container, &run(&["sleep", "60"]), Duration::from_millis(300)).await.unwrap();
        assert_eq!(endless.exit_code, None);
        assert!(sandbox.accepts_tcp(&container, 8080, Duration::from_secs(2)).await.unwrap());
        assert!(!sandbox.accepts_tcp(&container, 8081, Duration::from_secs(2)).await.unwrap());
        // The original is unchanged.
        assert_eq!(state(&play.name("web")), "running");
        let cleared = sandbox.tear_down().await.unwrap();
        assert!(cleared.leftovers.is_empty(), "{cleared:?}");
        assert_eq!(cleared.removed_objects, 5, "{cleared:?}");
    });
    assert_eq!(scratch_objects(&id), "");
    assert!(!docker(&["logs", &play.name("web")]).is_empty());
}
