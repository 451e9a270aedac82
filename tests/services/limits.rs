//! What scratch containers may do and use, tried from inside: system calls, memory and processes together, links of an
//! image; and drills that reach the limits of their host.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use libtest_mimic::Trial;
use lifeboat_core::clock::{Clock, SystemClock};
use lifeboat_core::random::OsEntropy;
use lifeboat_core::{Fault as _, Kind};
use lifeboat_docker::definitions::{ContainerParts, Definitions, ImageParts};
use lifeboat_docker::ownership::MachineKey;
use lifeboat_docker::scratch::sanitise::{Limits, Setting, sanitise};
use lifeboat_docker::scratch::{ExecCommand, ExecOutput, Sandbox, Together};
use lifeboat_docker::{Engine, EngineError};
use lifeboat_report::Report as _;
use lifeboat_report::drill::{DrillReport, Verdict};
use lifeboat_report::restore::DifferenceLine;
use lifeboat_restore::rehearsal::{
    DrillOptions, Grounds, Plan, PointError, RecoveryPoint, RestoredVolume, SnapshotVolume, SourceKind,
    rehearse,
};
use lifeboat_tests::gate::trials_with;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::docker::{Docker, Playground, docker, eventually, runtime};
use crate::sandbox::{Sweep, TOGETHER, owner, proven, scratch_objects};

pub(crate) fn trials() -> Vec<Trial> {
    let found = Docker::find();
    let test = trials_with(found);
    vec![
        test("limits::system_calls_that_reach_past_a_container_fail", calls),
        test("limits::all_containers_of_a_drill_share_memory_and_processes", together),
        test("limits::one_container_has_no_network_at_all", alone),
        test("limits::an_entry_point_that_was_cleared_stays_cleared", cleared),
        test("limits::an_image_leads_no_path_into_the_system", links),
        test("limits::a_start_that_hangs_in_the_engine_is_cleared_away", hangs),
        test("limits::a_drill_ends_at_its_deadline_or_when_the_disk_fills", ends),
        test("limits::volumes_of_fixed_size_fill_and_the_host_keeps_its_disk", fixed),
    ]
}

/// The load address of such a program, and the size of its headers (System V ABI, ELF-64).
const LOAD: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;

/// A program of a few machine instructions that makes one system call and ends with its error number, or with another
/// code if it succeeds. x86-64 (System V ABI; Linux, `arch/x86/entry`).
fn caller(number: u32, arguments: [u64; 3]) -> Vec<u8> {
    let mut code = vec![0xb8];
    code.extend(number.to_le_bytes()); // mov eax, number
    for (opcode, argument) in [[0x48, 0xbf], [0x48, 0xbe], [0x48, 0xba]].iter().zip(arguments) {
        code.extend(opcode); // mov rdi, rsi, rdx
        code.extend(argument.to_le_bytes());
    }
    // xor r10, r10; xor r8, r8; xor r9, r9; syscall; mov edi, eax; neg edi; mov eax, 60 (exit); syscall
    code.extend([0x4d, 0x31, 0xd2, 0x4d, 0x31, 0xc0, 0x4d, 0x31, 0xc9, 0x0f, 0x05]);
    code.extend([0x89, 0xc7, 0xf7, 0xdf, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]);
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for word in [LOAD + HEADERS, 64, 0] {
        elf.extend(word.to_le_bytes()); // e_entry, e_phoff, e_shoff
    }
    elf.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 64, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]); // p_type: load; p_flags: read and execute
    let size = HEADERS + code.len() as u64;
    for word in [0, LOAD, LOAD, size, size, 0x1000] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(code);
    elf
}

/// A container that waits, with a volume at `/data`.
fn waiting(found: &Docker) -> (ContainerParts, ImageParts) {
    let image = docker(&["inspect", "--format", "{{.Id}}", &found.busybox]);
    let document = json!({
        "Id": "d".repeat(64), "Name": "/waiting", "Image": image,
        "Config": {"Image": found.busybox, "Cmd": ["sleep", "600"]},
        "HostConfig": {"NetworkMode": "bridge"},
        "NetworkSettings": {"Networks": {"bridge": {}}},
        "Mounts": [{"Type": "volume", "Name": "data", "Destination": "/data", "RW": true}],
    });
    let parts = ContainerParts::from_document(&document, None).unwrap();
    let image = ImageParts { id: image, ..Default::default() };
    (parts, image)
}

pub(crate) async fn created(
    engine: &Engine,
    sandbox: &Sandbox,
    (parts, image): &(ContainerParts, ImageParts),
    is_alone: bool,
) -> Result<String, EngineError> {
    let image = engine.resolve_image(parts, Some(image)).await.unwrap();
    let network = sandbox.network().to_owned();
    let restored = BTreeMap::from([("data".to_owned(), sandbox.owner().volume_name("data"))]);
    let setting = Setting {
        owner: sandbox.owner(),
        network: &network,
        restored: &restored,
        containers: &BTreeMap::new(),
        limits: Limits { memory_bytes: 1 << 30, nano_cpus: 1_000_000_000, processes: 512 },
        walls: &sandbox.walls(None),
        is_alone,
        may_win_rights: false,
        env: &BTreeMap::new(),
    };
    sandbox.create_container(sanitise(parts, &image, &setting)).await
}

async fn ask(sandbox: &Sandbox, id: &str, argv: &[&str]) -> ExecOutput {
    let argv = argv.iter().map(|&word| word.to_owned()).collect();
    let command = ExecCommand { argv, ..Default::default() };
    sandbox.exec(id, &command, Duration::from_mins(2)).await.unwrap()
}

/// Runs `work` in a sandbox of its own.
pub(crate) fn in_sandbox(found: &Docker, together: Together, work: impl AsyncFnOnce(&Engine, &Sandbox)) {
    let owner = owner(Duration::from_mins(10), &MachineKey::random(&OsEntropy));
    let _sweep = Sweep(found, owner.clone());
    runtime().block_on(async {
        let (engine, sandbox) = proven(found, &owner, together).await;
        sandbox.volume("data").await.unwrap();
        work(&engine, &sandbox).await;
        sandbox.prove_again().await.unwrap();
        let cleared = sandbox.tear_down().await.unwrap();
        assert!(cleared.leftovers.is_empty(), "{cleared:?}");
    });
    assert_eq!(scratch_objects(&owner.id), "");
}

/// `EPERM`, `ENOSYS`, `EAFNOSUPPORT`.
const REFUSED: i64 = 1;
const NO_SUCH_CALL: i64 = 38;
const NO_SUCH_FAMILY: i64 = 97;

/// System calls, each with the expected error number; `None` for those that work.
const CALLS: &[(&str, u32, [u64; 3], Option<i64>)] = &[
    ("vsock", 41, [40, 1, 0], Some(NO_SUCH_FAMILY)),
    ("packet", 41, [17, 2, 0], Some(NO_SUCH_FAMILY)),
    ("raw-packet", 41, [17, 3, 0x300], Some(NO_SUCH_FAMILY)),
    ("alg", 41, [38, 5, 0], Some(NO_SUCH_FAMILY)),
    ("xdp", 41, [44, 3, 0], Some(NO_SUCH_FAMILY)),
    ("netlink-audit", 41, [16, 3, 9], Some(REFUSED)),
    ("netlink-route", 41, [16, 3, 0], None),
    ("unix", 41, [1, 1, 0], None),
    ("inet", 41, [2, 1, 0], None),
    ("inet6", 41, [10, 1, 0], None),
    ("io-uring", 425, [8, 0, 0], Some(REFUSED)),
    ("ptrace", 101, [0, 0, 0], Some(REFUSED)),
    ("new-users", 272, [0x1000_0000, 0, 0], Some(REFUSED)),
    ("clone-of-users", 56, [0x1000_0011, 0, 0], Some(REFUSED)),
    ("clone3", 435, [0, 0, 0], Some(NO_SUCH_CALL)),
    ("keyctl", 250, [0, 0, 0], Some(REFUSED)),
    ("bpf", 321, [0, 0, 0], Some(REFUSED)),
    ("userfaultfd", 323, [0, 0, 0], Some(REFUSED)),
    ("mount", 165, [0, 0, 0], Some(REFUSED)),
    ("perf", 298, [0, 0, 0], Some(REFUSED)),
    ("open-by-handle", 304, [0, 0, 0], Some(REFUSED)),
    ("no-random-addresses", 135, [0x4_0000, 0, 0], Some(REFUSED)),
];

fn calls(found: &Docker) {
    in_sandbox(found, TOGETHER, async |engine, sandbox| {
        let folder = docker(&[
            "volume",
            "inspect",
            "--format",
            "{{.Mountpoint}}",
            &sandbox.owner().volume_name("data"),
        ]);
        for (name, number, arguments, _) in CALLS {
            let path = Path::new(&folder).join(name);
            fs::write(&path, caller(*number, *arguments)).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let id = created(engine, sandbox, &waiting(found), false).await.unwrap();
        sandbox.start(&id).await.unwrap();
        for (name, .., expected) in CALLS {
            let code = ask(sandbox, &id, &[&format!("/data/{name}")]).await.exit_code.unwrap();
            match expected {
                Some(errno) => assert_eq!(code, *errno, "{name}"),
                // The number of a file, negated.
                None => assert!((200..256).contains(&code), "{name}: {code}"),
            }
        }
    });
}

fn together(found: &Docker) {
    let little = Together { memory_bytes: 64 << 20, processes: 24, containers: 4 };
    let takes = ["sh", "-c", "head -c 100000000 /dev/zero | tail -c 90000000 | wc -c"];
    let forks = ["sh", "-c", "for n in $(seq 60); do sleep 9 & done; wait; echo all"];
    in_sandbox(found, TOGETHER, async |engine, sandbox| {
        let id = created(engine, sandbox, &waiting(found), false).await.unwrap();
        sandbox.start(&id).await.unwrap();
        let said = ask(sandbox, &id, &takes).await;
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "90000000", "{said:?}");
        assert_eq!(ask(sandbox, &id, &forks).await.exit_code, Some(0));
    });
    // Each container alone may use far more.
    in_sandbox(found, little, async |engine, sandbox| {
        let id = created(engine, sandbox, &waiting(found), false).await.unwrap();
        sandbox.start(&id).await.unwrap();
        let said = ask(sandbox, &id, &forks).await;
        assert!(String::from_utf8_lossy(&said.stderr).contains("fork"), "{said:?}");
        let said = ask(sandbox, &id, &takes).await;
        assert_ne!(String::from_utf8_lossy(&said.stdout).trim(), "90000000", "{said:?}");
    });
}

fn alone(found: &Docker) {
    in_sandbox(found, TOGETHER, async |engine, sandbox| {
        let (mut parts, image) = waiting(found);
        parts.hostname = Some("pg-primary".to_owned());
        parts.cmd = Some(["sh", "-c", "httpd -p 8080 -h /; exec sleep 600"].map(str::to_owned).to_vec());
        let id = created(engine, sandbox, &(parts, image), true).await.unwrap();
        sandbox.start(&id).await.unwrap();
        let said = ask(sandbox, &id, &["sh", "-c", "ls /sys/class/net; cat /etc/resolv.conf"]).await;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert_eq!(said.lines().next(), Some("lo"), "{said}");
        assert!(said.contains("192.0.2.1") && said.matches("nameserver").count() == 1, "{said}");
        // It finds itself under its original names, and checks reach it.
        for name in ["pg-primary", "waiting"] {
            let said = ask(
                sandbox,
                &id,
                &["sh", "-c", &format!("wget -q -O /dev/null http://{name}:8080/etc/hosts")],
            )
            .await;
            assert_eq!(said.exit_code, Some(0), "{name}: {said:?}");
        }
        assert!(sandbox.accepts_tcp(&id, 8080, Duration::from_secs(2)).await.unwrap());
        assert!(!sandbox.accepts_tcp(&id, 8081, Duration::from_secs(2)).await.unwrap());
        // Once something is running, nothing more is created: the engine would fill its volumes by path.
        let error = created(engine, sandbox, &waiting(found), false).await.unwrap_err();
        assert!(error.to_string().contains("could be led astray"), "{error}");
    });
}

/// `--entrypoint ""`: the engine records no entry point for the container, but its image has one.
fn cleared(found: &Docker) {
    let name = format!("lifeboat-test-entry:{}", std::process::id());
    let made = docker(&["create", &found.busybox]);
    let script =
        format!("docker export {made} | docker import --change 'ENTRYPOINT [\"/bin/false\"]' - {name}");
    let imported = Command::new("sh").env("DOCKER_HOST", &found.host).args(["-c", &script]).output().unwrap();
    assert!(imported.status.success(), "{imported:?}");
    docker(&["rm", &made]);
    let id = docker(&["inspect", "--format", "{{.Id}}", &name]);
    in_sandbox(found, TOGETHER, async |engine, sandbox| {
        let (mut parts, mut image) = waiting(found);
        (parts.image_id, image.id) = (id.clone(), id.clone());
        assert_eq!(parts.entrypoint, None);
        let container = created(engine, sandbox, &(parts, image), false).await.unwrap();
        sandbox.start(&container).await.unwrap();
        assert_eq!(ask(sandbox, &container, &["echo", "up"]).await.stdout, b"up\n");
    });
    docker(&["rmi", &name]);
}

/// A pipe in place of a file that the runtime reads: the runtime waits there for ever, and the engine with it.
fn hangs(found: &Docker) {
    let owner = owner(Duration::from_mins(10), &MachineKey::random(&OsEntropy));
    let _sweep = Sweep(found, owner.clone());
    runtime().block_on(async {
        let (engine, sandbox) = proven(found, &owner, TOGETHER).await;
        let volume = sandbox.volume("data").await.unwrap();
        let pipe = volume.directory.join("passwd");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let (mut parts, image) = waiting(found);
        "/etc".clone_into(&mut parts.mounts[0].destination);
        let id = created(&engine, &sandbox, &(parts, image), false).await.unwrap();
        let start = tokio::time::timeout(Duration::from_secs(3), sandbox.start(&id)).await;
        assert!(start.is_err(), "the start waits: {start:?}");
        let began = std::time::Instant::now();
        let cleared = sandbox.tear_down().await.unwrap();
        assert!(cleared.leftovers.is_empty(), "{cleared:?}");
        assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    });
    assert_eq!(scratch_objects(&owner.id), "");
}

fn links(found: &Docker) {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/proc/self", folder.path().join("way")).unwrap();
    std::os::unix::fs::symlink("way", folder.path().join("app")).unwrap();
    fs::create_dir(folder.path().join("fine")).unwrap();
    let name = format!("lifeboat-test-links:{}", std::process::id());
    let script = format!("tar -C '{}' -c . | docker import - {name}", folder.path().display());
    let imported = Command::new("sh").env("DOCKER_HOST", &found.host).args(["-c", &script]).output().unwrap();
    assert!(imported.status.success(), "{imported:?}");
    let id = docker(&["inspect", "--format", "{{.Id}}", &name]);
    in_sandbox(found, TOGETHER, async |engine, sandbox| {
        let (mut parts, mut image) = waiting(found);
        (parts.image_id, image.id) = (id.clone(), id.clone());
        for (folder, leads) in
            [("/app/fd/7", true), ("/fine", false), ("/app", true), ("/fine/../way/fd", true)]
        {
            parts.working_dir = folder.to_owned();
            match created(engine, sandbox, &(parts.clone(), image.clone()), false).await {
                Err(error) => {
                    let said = error.to_string();
                    assert!(
                        leads && said.contains("/proc/self") && said.contains("belongs to the system"),
                        "{said}"
                    );
                }
                Ok(_) => assert!(!leads, "{folder}"),
            }
            // The next one has the same name.
            docker(&["rm", "--force", &sandbox.owner().container_name("waiting")]);
        }
        // Mount targets count as well, even the engine's own.
        "/".clone_into(&mut parts.working_dir);
        "/app/attr".clone_into(&mut parts.mounts[0].destination);
        let error = created(engine, sandbox, &(parts, image), false).await.unwrap_err();
        assert!(error.to_string().contains("/app/attr"), "{error}");
    });
    docker(&["rmi", &name]);
}

/// An endless snapshot: each of its restores writes until it is stopped.
struct Endless {
    /// The bytes of one write.
    piece: Vec<u8>,
}

impl RecoveryPoint for Endless {
    fn snapshot_id(&self) -> String {
        "endless".to_owned()
    }

    fn taken_at(&self) -> Timestamp {
        SystemClock.now()
    }

    fn consistency(&self) -> Option<lifeboat_vault::Consistency> {
        None
    }

    fn volumes(&self) -> Vec<SnapshotVolume> {
        // It claims to be empty.
        vec![SnapshotVolume { name: "/data".to_owned(), kind: SourceKind::Folder, files: 0, bytes: 0 }]
    }

    fn definitions(&self) -> Result<Option<Definitions>, PointError> {
        Ok(None)
    }

    fn restore_volume(
        &self,
        _: &str,
        to: &Path,
        cancel: &CancellationToken,
    ) -> Result<RestoredVolume, PointError> {
        let mut files = 0;
        while !cancel.is_cancelled() {
            if let Err(source) = fs::write(to.join(files.to_string()), &self.piece) {
                return Err(lifeboat_vault::VaultError::Target { path: to.to_owned(), source }.into());
            }
            files += 1;
            std::thread::yield_now();
        }
        Err(lifeboat_vault::VaultError::Interrupted.into())
    }

    fn compare_volume(
        &self,
        _: &str,
        _: &Path,
        _: &CancellationToken,
    ) -> Result<Vec<DifferenceLine>, PointError> {
        Ok(Vec::new())
    }
}

/// A separate file system in memory, with this size and room for this many files.
struct Mount(PathBuf);

impl Mount {
    fn new(options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "lifeboat-test"]).arg(&folder).status();
        assert!(mounted.unwrap().success(), "{options}");
        Self(folder)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

/// Drills `point` with folders below `scratch`.
fn drill(
    point: Endless,
    plan: &Plan,
    scratch: &Path,
    cancel: &CancellationToken,
) -> Result<DrillReport, Kind> {
    let state = tempfile::tempdir().unwrap();
    let grounds = Grounds::open(state.path(), Some(scratch), &OsEntropy).unwrap();
    let options = DrillOptions {
        plan,
        engine: Err("there is none in this test"),
        grounds: &grounds,
        context: &lifeboat_core::Context { cancel: cancel.clone(), ..lifeboat_testkit::context() },
    };
    let report = runtime().block_on(rehearse(Arc::new(point), &options)).map_err(|error| error.kind());
    assert_eq!(fs::read_dir(scratch).unwrap().count(), 0, "nothing is left");
    report
}

fn ends(_: &Docker) {
    let never = CancellationToken::new();
    let patient = Plan { deadline: Duration::from_mins(5), ..Plan::default() };
    for (options, piece, said) in [
        ("size=600m", vec![7; 1 << 20], "must stay free"),
        ("size=600m,nr_inodes=3000", Vec::new(), "has room for only"),
    ] {
        let mount = Mount::new(options);
        let report = drill(Endless { piece }, &patient, &mount.0, &never).unwrap();
        assert_eq!(report.verdict, Verdict::CouldNotVerify, "{options}: {}", report.text());
        assert!(report.reason.contains(said), "{options}: {}", report.reason);
    }
    let mount = Mount::new("size=600m");
    let hasty = Plan { deadline: Duration::from_secs(1), ..Plan::default() };
    let report = drill(Endless { piece: Vec::new() }, &hasty, &mount.0, &never).unwrap();
    assert_eq!(report.verdict, Verdict::CouldNotVerify);
    assert!(report.reason.contains("longer than the 1 seconds"), "{}", report.reason);
    // If the user stops it, the error is different.
    let asked = CancellationToken::new();
    asked.cancel();
    let kind = drill(Endless { piece: Vec::new() }, &patient, &mount.0, &asked).unwrap_err();
    assert_eq!(kind, Kind::Interrupted);
}

/// A copy that fills its volume when it is started for the second time, and one that only prints what it finds.
fn fixed(found: &Docker) {
    let play = Playground::new();
    let volume = play.volume("data");
    let mount = format!("{volume}:/data");
    let fills = "if test -e /data/again; then dd if=/dev/zero of=/data/all bs=1M; fi; touch /data/again; exec sleep 600";
    play.run("fills", &["--volume", &mount, &found.busybox, "sh", "-c", fills]);
    let repo = found.repo();
    let again = || docker(&["exec", &play.name("fills"), "sh", "-c", "ls /data"]) == "again";
    eventually("the container has begun", again);
    repo.backup(["run", "--volume", &volume, "--mode", "pause"]).expect_code(0);
    let drill = |plan: &str| {
        fs::write(repo.path("plan.toml"), format!("version = 1\n{plan}")).unwrap();
        let plan = repo.path("plan.toml");
        let said = repo.restore(["rehearse", "latest", "--json", "--plan", plan.to_str().unwrap()]);
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let state = repo.path("state").display().to_string();
        assert!(!mounts.contains(&state), "{mounts}");
        let loops = Command::new("losetup").arg("--all").output().unwrap();
        assert!(!String::from_utf8_lossy(&loops.stdout).contains(&state), "{loops:?}");
        assert_eq!(fs::read_dir(repo.path("state/lifeboat/rehearsals")).unwrap().count(), 0);
        said
    };
    let said = drill("stability = \"60s\"\n[limits]\nvolumes_mib = 96\n").expect_code(3).json();
    assert_eq!(said["verdict"], "could-not-verify", "{said}");
    let reason = said["reason"].as_str().unwrap();
    assert!(reason.contains("/volumes") && reason.contains("1 MiB must stay free"), "{reason}");

    // A container that does not fill it works as anywhere.
    let holds = play.volume("holds");
    play.run_writer(found, "holds", &holds, &[]);
    repo.backup(["run", "--volume", &holds, "--mode", "pause"]).expect_code(0);
    let service = play.name("holds");
    let check = |command: &str, equals: &str| {
        format!(
            "[[check]]\nname = \"x\"\nkind = \"exec\"\nservice = \"{service}\"\n\
             command = [\"sh\", \"-c\", \"{command}\"]\nequals = \"{equals}\"\n"
        )
    };
    let checks = [
        check("cat /data/said", "here"),
        check("grep -c ' /data .*nosuid.*nodev' /proc/mounts", "1"),
        check("test $(df -Pk /data | tail -1 | tr -s ' ' | cut -d' ' -f2) -lt 100000 && echo small", "small"),
    ];
    let plan = format!("stability = \"1s\"\n[limits]\nvolumes_mib = 96\n{}", checks.concat());
    let said = drill(&plan);
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    // If the disk cannot hold the snapshot, this is reported before anything is written to it.
    let big = play.volume("big");
    let fill = "dd if=/dev/zero of=/data/all bs=1M count=90; touch /data/done; exec sleep 600";
    play.run("big", &["--volume", &format!("{big}:/data"), &found.busybox, "sh", "-c", fill]);
    eventually("it is written", || docker(&["exec", &play.name("big"), "ls", "/data"]).contains("done"));
    repo.backup(["run", "--volume", &big, "--mode", "pause"]).expect_code(0);
    let said = drill("[limits]\nvolumes_mib = 64\n").expect_code(3).json();
    assert!(said["reason"].as_str().unwrap().contains("64 MiB together"), "{said}");
    assert_eq!(said["volumes"].as_array().map(Vec::len), Some(0), "{said}");
}
