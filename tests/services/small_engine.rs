//! Drills with an engine whose own disk is small, separate from the engine of all other tests.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use libtest_mimic::Trial;
use lifeboat_tests::gate::trials_with;
use tempfile::TempDir;

use crate::docker::{Docker, docker, eventually};
use crate::loop_disk::LoopDisk;

pub(crate) fn trials() -> Vec<Trial> {
    let test = trials_with(Docker::find());
    vec![
        test("small_engine::a_copy_that_fills_the_engines_disk_ends_the_drill_and_the_engine_answers", fills),
        test("small_engine::a_disk_that_the_engine_would_not_see_is_refused", unseen),
    ]
}

/// A second engine on this machine, with its data on a separate disk.
struct SmallEngine {
    process: Child,
    host: String,
    folder: TempDir,
    bridge: String,
    _disk: LoopDisk,
}

/// How many engines were started: each has its own bridge.
static STARTED: AtomicU8 = AtomicU8::new(0);

fn ip(args: &[&str]) {
    let done = Command::new("/usr/sbin/ip").args(args).output().unwrap();
    assert!(done.status.success(), "ip {args:?}: {done:?}");
}

impl SmallEngine {
    /// Starts it with the command prefix `how`.
    fn start(how: &[&str], bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::create_dir(at("data")).unwrap();
        let disk = LoopDisk::new(bytes);
        disk.mount(at("data").as_ref());
        let host = format!("unix://{}", at("socket"));
        // Without its own bridge it would use the other engine's, and with none it would remove it.
        let number = STARTED.fetch_add(1, Ordering::SeqCst) % 4;
        let bridge = format!("lbt{}-{number}", std::process::id());
        let address = format!("203.0.113.{}/26", 64 * number + 1);
        ip(&["link", "add", &bridge, "type", "bridge"]);
        ip(&["addr", "add", &address, "dev", &bridge]);
        let log = fs::File::create(at("log")).unwrap();
        let (program, before) = match how {
            [program, before @ ..] => (*program, [before, &["dockerd"]].concat()),
            [] => ("dockerd", Vec::new()),
        };
        let process = Command::new(program)
            .args(before)
            .args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--pidfile", &at("pid")])
            .args(["--host", &host, "--bridge", &bridge, "--iptables=false"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let engine = Self { process, host, folder, bridge, _disk: disk };
        eventually("the second engine answers", || engine.ask(&["version"]).status.success());
        engine
    }

    fn ask(&self, args: &[&str]) -> std::process::Output {
        Command::new("docker").env("DOCKER_HOST", &self.host).args(args).output().unwrap()
    }

    /// Loads an image of the other engine.
    fn load(&self, image: &str) {
        let archive = self.folder.path().join("image.tar").display().to_string();
        docker(&["save", "--output", &archive, image]);
        self.docker(&["load", "--input", &archive]);
    }

    fn docker(&self, args: &[&str]) -> String {
        let output = self.ask(args);
        assert!(output.status.success(), "docker {args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for SmallEngine {
    fn drop(&mut self) {
        // This also ends its containers and its containerd.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
        ip(&["link", "delete", &self.bridge]);
    }
}

fn fills(found: &Docker) {
    let engine = SmallEngine::start(&[], 1200 << 20);
    engine.load(&found.busybox);
    let copy =
        "if test -e /data/again; then dd if=/dev/zero of=/all bs=1M; fi; touch /data/again; exec sleep 600";
    let run = ["run", "--detach", "--name", "app", "--volume", "data:/data", "--network", "none"];
    engine.docker(&[&run[..], &[&found.busybox, "sh", "-c", copy]].concat());
    eventually("the container has begun", || engine.docker(&["exec", "app", "ls", "/data"]) == "again");
    let small = Docker { host: engine.host.clone(), busybox: found.busybox.clone() };
    let repo = small.repo();
    repo.backup(["run", "--volume", "data", "--mode", "pause"]).expect_code(0);
    let plan = repo.path("plan.toml");
    fs::write(&plan, "version = 1\nstability = \"60s\"\n").unwrap();
    let said = repo.restore(["rehearse", "latest", "--json", "--plan", plan.to_str().unwrap()]);
    let said = said.expect_code(3).json();
    assert_eq!(said["verdict"], "could-not-verify", "{said}");
    assert!(said["reason"].as_str().unwrap().contains("192 MiB must stay free"), "{said}");
    assert_eq!(said["leftovers"], serde_json::json!([]), "{said}");
    // The application itself goes on running, and has room again.
    assert_eq!(engine.docker(&["ps", "--all", "--format", "{{.Names}} {{.State}}"]), "app running");
    engine.docker(&["exec", "app", "sh", "-c", "dd if=/dev/zero of=/data/more bs=1M count=100"]);
}

fn unseen(found: &Docker) {
    let engine = SmallEngine::start(&["unshare", "--mount"], 700 << 20);
    engine.load(&found.busybox);
    let run = ["run", "--detach", "--name", "app", "--volume", "data:/data", "--network", "none"];
    engine.docker(&[&run[..], &[&found.busybox, "sh", "-c", "touch /data/here; exec sleep 600"]].concat());
    eventually("the container has begun", || engine.docker(&["exec", "app", "ls", "/data"]) == "here");
    let alone = Docker { host: engine.host.clone(), busybox: found.busybox.clone() };
    let repo = alone.repo();
    repo.backup(["run", "--volume", "data", "--mode", "pause"]).expect_code(0);
    let plan = repo.path("plan.toml");
    fs::write(&plan, "version = 1\n[limits]\nvolumes_mib = 64\n").unwrap();
    let rehearse = ["rehearse", "latest", "--plan", plan.to_str().unwrap()];
    let said = repo.restore(rehearse).expect_code(2);
    assert!(said.stderr.contains("a mount namespace of its own"), "{said:?}");
    let odd = repo.path("x").with_file_name(OsStr::from_bytes(b"state\xff"));
    let said = lifeboat_tests::command::run(repo.restore_command(rehearse).arg("--state-dir").arg(&odd));
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.stderr.contains("not UTF-8"), "{said:?}");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("lifeboat-rehearsal"), "nothing is left mounted: {mounts}");
}
