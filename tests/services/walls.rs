//! The barriers around a sandbox under attack: each alone, both removed, and from inside a container that a hostile
//! snapshot defines.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use lifeboat_core::random::OsEntropy;
use lifeboat_docker::definitions::{ContainerParts, ImageParts};
use lifeboat_docker::ownership::{MachineKey, Ownership};
use lifeboat_docker::scratch::sanitise::{Limits, Setting, sanitise};
use lifeboat_docker::scratch::{ExecCommand, Isolation, Sandbox};
use lifeboat_docker::{Engine, EngineError};
use lifeboat_tests::command::run;
use lifeboat_tests::gate::{interpreter, trial, trials_with};
use serde_json::json;

use crate::docker::{Docker, Playground, docker, eventually, runtime};
use crate::sandbox::{FILTERS, Sweep, TOGETHER, owner, proven, rules_of, scratch_objects};

pub(crate) fn trials() -> Vec<Trial> {
    let found = Docker::find();
    let test = trials_with(found.clone());
    let with_python = found.clone().and_then(|docker| Ok((docker, interpreter()?)));
    let outside = trial("walls::a_machine_outside_hears_nothing", with_python, |(docker, python)| {
        outside(&docker, &python);
        Ok(())
    });
    vec![
        outside,
        test("walls::without_both_every_way_out_is_heard", neither),
        test("walls::the_packet_filter_alone_lets_no_packet_in", filter_alone),
        test("walls::the_bridge_alone_lets_in_what_only_root_can_send", bridge_alone),
        test("walls::a_hostile_container_reaches_nothing_and_fallen_walls_are_seen", hostile),
        test("walls::what_containers_say_to_each_other_is_not_tracked_by_the_host", untracked),
        test("walls::a_wall_that_cannot_be_set_ends_the_drill_before_it_begins", no_filter),
        test("walls::an_image_is_asked_for_by_id_or_digest_only", images),
        test("walls::are_set_again_where_another_rule_came_before_them", overtaken),
    ]
}

fn bridge(owner: &Ownership) -> String {
    format!("lb-{}", &owner.id.to_string()[..12])
}

/// Makes the host look like one that does not guard the bridge.
fn undo_settings(owner: &Ownership) {
    let set = |setting: &str, value: &str| {
        fs::write(format!("/proc/sys/net/{}", setting.replace("BR", &bridge(owner))), value).unwrap();
    };
    set("ipv4/conf/BR/arp_ignore", "0");
    set("ipv4/conf/BR/rp_filter", "0");
    set("ipv4/conf/BR/forwarding", "1");
    // Skip the wait for others with the same address.
    set("ipv6/conf/BR/accept_dad", "0");
    set("ipv6/conf/BR/disable_ipv6", "0");
}

fn undo_filter(owner: &Ownership) {
    let id = owner.id.to_string();
    for (program, table) in FILTERS {
        let listed = Command::new(program).args(["-t", table, "-S"]).output().unwrap();
        for line in String::from_utf8_lossy(&listed.stdout).lines().filter(|line| line.contains(&id)) {
            let rule = line.replace('"', "");
            let words = rule.split(' ').skip(1);
            let mut undo = Command::new(program);
            undo.args(["-w", "-t", table, "-D"]).args(words);
            assert!(undo.status().unwrap().success(), "{line}");
        }
    }
    assert_eq!(rules_of(&id), "");
}

/// The result of the proof for a sandbox after `change`.
fn proof(found: &Docker, change: impl Fn(&Ownership)) -> Result<Isolation, EngineError> {
    let owner = owner(Duration::from_mins(10), &MachineKey::random(&OsEntropy));
    let _sweep = Sweep(found, owner.clone());
    runtime().block_on(async {
        let engine = found.engine().await.unwrap();
        let mut sandbox = engine.sandbox(owner.clone(), TOGETHER).await.unwrap();
        assert!(!rules_of(&owner.id.to_string()).is_empty());
        change(&owner);
        let shown = sandbox.prove_isolation().await;
        let cleared = sandbox.tear_down().await.unwrap();
        assert!(cleared.leftovers.is_empty(), "{cleared:?}");
        assert_eq!(scratch_objects(&owner.id), "", "rules and objects are gone");
        shown
    })
}

fn reached(shown: Result<Isolation, EngineError>) -> Vec<String> {
    match shown {
        Err(EngineError::NotIsolated { reached }) => reached,
        Err(EngineError::WallFell { faults }) => {
            assert!(!faults.is_empty());
            Vec::new()
        }
        other => panic!("fallen walls go unseen: {other:?}"),
    }
}

fn neither(found: &Docker) {
    let ways = [
        "by ARP",
        "by IPv6",
        "a broadcast)",
        "a broadcast from 0.0.0.0",
        "a broadcast of a plain socket",
        "UDP for 172.17.0.1",
        "from 198.51.100.7",
        "with IPv6 switched on",
        "a multicast over IPv6",
    ];
    let mut heard: Vec<String> = Vec::new();
    let is_heard = |heard: &[String], way: &str| heard.iter().any(|said| said.contains(way));
    // An IPv6 address takes its time on a busy machine, so a way that is not noticed at once is tried again.
    for _ in 0..3 {
        heard.extend(reached(proof(found, |owner| {
            undo_settings(owner);
            undo_filter(owner);
        })));
        if ways.iter().all(|way| is_heard(&heard, way)) {
            break;
        }
    }
    for way in ways {
        assert!(is_heard(&heard, way), "{way} is not heard: {heard:#?}");
    }
    assert!(proof(found, |_| ()).is_ok());
}

/// The engine inserts its own rules first whenever it creates a network: here a rule is inserted before those of a
/// sandbox while they are being set.
fn overtaken(found: &Docker) {
    let owner = owner(Duration::from_mins(10), &MachineKey::random(&OsEntropy));
    let _sweep = Sweep(found, owner.clone());
    let id = owner.id.to_string();
    let filter = |how: &str| {
        let rule = ["FORWARD", "-i", "lb-nobody", "-m", "comment", "--comment", &id[..8], "-j", "ACCEPT"];
        assert!(Command::new("/usr/sbin/iptables").args(["-w", how]).args(rule).status().unwrap().success());
    };
    std::thread::scope(|scope| {
        let overtakes = scope.spawn(|| {
            eventually("a rule of the sandbox is set", || rules_of(&id).contains("FORWARD"));
            filter("-I");
        });
        runtime().block_on(async {
            let engine = found.engine().await.unwrap();
            let sandbox = engine.sandbox(owner.clone(), TOGETHER).await;
            overtakes.join().unwrap();
            filter("-D");
            let cleared = sandbox.unwrap().tear_down().await.unwrap();
            assert!(cleared.leftovers.is_empty(), "{cleared:?}");
        });
    });
    assert_eq!(rules_of(&id), "");
}

fn filter_alone(found: &Docker) {
    let reached = reached(proof(found, undo_settings));
    // ARP does not go over IP: it reveals where the host is, but nothing follows from that.
    assert!(reached.iter().all(|said| said.contains("by ARP")), "{reached:#?}");
}

fn bridge_alone(found: &Docker) {
    let reached = reached(proof(found, undo_filter));
    // A sender of 0.0.0.0 needs a packet socket, which no container of a sandbox can open.
    assert!(reached.iter().all(|said| said.contains("0.0.0.0")), "{reached:#?}");
}

/// A container that asks for everything that could let it out.
fn wants_out(found: &Docker) -> (ContainerParts, ImageParts) {
    let image = docker(&["inspect", "--format", "{{.Id}}", &found.busybox]);
    let document = json!({
        "Id": "c".repeat(64), "Name": "/hostile", "Image": image,
        "Config": {"Image": found.busybox, "Cmd": ["sleep", "600"], "WorkingDir": "/proc/self/fd/7"},
        "HostConfig": {
            "NetworkMode": "bridge", "Privileged": true, "CapAdd": ["NET_RAW", "NET_ADMIN", "SYS_NICE", "SYS_ADMIN"],
            "Sysctls": {"net.ipv6.conf.all.disable_ipv6": "0", "net.ipv6.conf.eth0.disable_ipv6": "0",
                "net.core.somaxconn": "99"},
            "Ulimits": [{"Name": "core", "Soft": -1, "Hard": -1}, {"Name": "nice", "Soft": 40, "Hard": 40},
                {"Name": "nofile", "Soft": 999, "Hard": 999}],
            "SecurityOpt": ["no-new-privileges:false"],
        },
        "NetworkSettings": {"Networks": {"bridge": {}}},
        "Mounts": [],
    });
    let image = ImageParts { id: image, ..Default::default() };
    (ContainerParts::from_document(&document, None).unwrap(), image)
}

async fn started(engine: &Engine, sandbox: &Sandbox, found: &Docker) -> String {
    let (parts, image) = wants_out(found);
    let image = engine.resolve_image(&parts, Some(&image)).await.unwrap();
    let network = sandbox.network().to_owned();
    let setting = Setting {
        owner: sandbox.owner(),
        network: &network,
        restored: &BTreeMap::new(),
        containers: &BTreeMap::new(),
        limits: Limits { memory_bytes: 64 << 20, nano_cpus: 1_000_000_000, processes: 64 },
        walls: &sandbox.walls(None),
        is_alone: false,
        may_win_rights: false,
        env: &BTreeMap::new(),
    };
    let sanitised = sanitise(&parts, &image, &setting);
    for said in ["NET_RAW", "disable_ipv6=0", "the limit nice", "the limit core", "working folder"] {
        assert!(sanitised.removed.iter().any(|line| line.contains(said)), "{said}: {:?}", sanitised.removed);
    }
    let id = sandbox.create_container(sanitised).await.unwrap();
    sandbox.start(&id).await.unwrap();
    id
}

fn hostile(found: &Docker) {
    let owner = owner(Duration::from_mins(10), &MachineKey::random(&OsEntropy));
    let _sweep = Sweep(found, owner.clone());
    runtime().block_on(async {
        let (engine, sandbox) = proven(found, &owner, TOGETHER).await;
        let id = started(&engine, &sandbox, found).await;
        let ask = async |script: &str| {
            let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
            let command = ExecCommand { argv, ..Default::default() };
            let said = sandbox.exec(&id, &command, Duration::from_secs(20)).await.unwrap();
            String::from_utf8_lossy(&said.stdout).trim().to_owned()
        };
        assert_eq!(ask("grep NoNewPrivs /proc/self/status | tr -d '\\t'").await, "NoNewPrivs:1");
        // Bit 13 is NET_RAW, 12 NET_ADMIN, 27 MKNOD, 29 AUDIT_WRITE, 31 SETFCAP, 23 SYS_NICE.
        let bounding = ask("grep CapBnd /proc/self/status | cut -f2").await;
        let bounding = u64::from_str_radix(&bounding, 16).unwrap();
        for bit in [12, 13, 21, 23, 27, 29, 31] {
            assert_eq!(bounding & (1 << bit), 0, "capability {bit} in {bounding:x}");
        }
        assert_eq!(ask("grep -v ' lo$' /proc/net/if_inet6; pwd; ulimit -c; ulimit -n").await, "/\n0\n999");
        assert_eq!(ask("cat /proc/sys/net/core/somaxconn").await, "99");
        let own = fs::read_to_string("/proc/net/fib_trie").unwrap();
        assert!(own.contains("172.17.0.1"));
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(ask(&format!("nc -w 2 172.17.0.1 {port} </dev/null && echo reached")).await, "");
        assert!(listener.accept().is_err(), "the host is reached");

        let again = sandbox.prove_again().await.unwrap();
        assert_eq!(again.networks, 2, "the probe's and the container's");

        // Somebody enables IPv6 in the container's own network.
        let pid = docker(&["inspect", "--format", "{{.State.Pid}}", &id]);
        let inside = |script: &str| {
            assert!(Command::new("nsenter").args(["-t", &pid, "-n", "sh", "-c", script]).status().unwrap().success());
        };
        inside("echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad; echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6");
        let error = sandbox.prove_again().await.unwrap_err();
        assert!(error.to_string().contains("an IPv6 network"), "{error}");
        inside("echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6");
        sandbox.prove_again().await.unwrap();

        // The firewall is flushed in the meantime.
        undo_filter(&owner);
        let error = sandbox.prove_again().await.unwrap_err();
        assert!(matches!(error, EngineError::WallFell { .. } | EngineError::NotIsolated { .. }), "{error}");
        let cleared = sandbox.tear_down().await.unwrap();
        assert!(cleared.leftovers.is_empty(), "{cleared:?}");
    });
    assert_eq!(scratch_objects(&owner.id), "");
}

/// The kernel keeps an entry for each connection, even between containers if bridged packets go through the packet
/// filter, and the whole host has a limited number of them.
fn untracked(found: &Docker) {
    let owner = owner(Duration::from_mins(10), &MachineKey::random(&OsEntropy));
    let _sweep = Sweep(found, owner.clone());
    runtime().block_on(async {
        let (engine, sandbox) = proven(found, &owner, TOGETHER).await;
        let id = started(&engine, &sandbox, found).await;
        let form = "{{range .Containers}}{{.Name}} {{.IPv4Address}}\n{{end}}";
        let listed = docker(&["network", "inspect", "--format", form, sandbox.network()]);
        let address = |is_hostile: bool| {
            let row = listed.lines().find(|row| row.contains("hostile") == is_hostile).unwrap();
            row.rsplit(' ').next().unwrap().split('/').next().unwrap().to_owned()
        };
        let (own, probe) = (address(true), address(false));
        let pid = docker(&["inspect", "--format", "{{.State.Pid}}", &id]);
        let rows = || {
            // The entry of an unanswered packet stays for half a minute.
            let send = format!("echo word > /dev/udp/{probe}/9");
            let mut inside = Command::new("nsenter");
            inside.args(["-t", &pid, "-n", "bash", "-c", &send]);
            assert!(inside.status().unwrap().success());
            let table = fs::read_to_string("/proc/net/nf_conntrack").unwrap();
            table.lines().filter(|row| row.contains(&format!("src={own} dst={probe} "))).count()
        };
        assert_eq!(rows(), 0);
        undo_filter(&owner);
        assert_eq!(rows(), 1, "the table shows such connections");
        sandbox.tear_down().await.unwrap();
    });
}

/// A machine next to this host, in a network namespace; this host forwards to it.
struct Outside {
    namespace: String,
    before: Vec<(String, String)>,
}

fn ip(args: &str) {
    let done = Command::new("/usr/sbin/ip").args(args.split(' ')).output().unwrap();
    assert!(done.status.success(), "ip {args}: {done:?}");
}

impl Outside {
    fn new(rp_filter: &str, with_ipv6: bool) -> Self {
        let namespace = format!("lbt{}", std::process::id());
        let mut made = Self { namespace, before: Vec::new() };
        let name = made.namespace.clone();
        ip(&format!("netns add {name}"));
        ip(&format!("link add {name} type veth peer name outside netns {name}"));
        for (setting, value) in [
            (format!("ipv4/conf/{name}/rp_filter"), rp_filter),
            ("ipv4/conf/all/rp_filter".to_owned(), rp_filter),
            ("ipv4/conf/all/forwarding".to_owned(), "1"),
            ("ipv6/conf/all/forwarding".to_owned(), "1"),
            (format!("ipv6/conf/{name}/disable_ipv6"), if with_ipv6 { "0" } else { "1" }),
        ] {
            let path = format!("/proc/sys/net/{setting}");
            made.before.push((path.clone(), fs::read_to_string(&path).unwrap()));
            fs::write(path, value).unwrap();
        }
        ip(&format!("addr add 198.51.100.1/24 dev {name}"));
        ip(&format!("link set {name} up"));
        ip(&format!("-n {name} addr add 198.51.100.7/24 dev outside"));
        ip(&format!("-n {name} link set outside up"));
        ip(&format!("-n {name} route add default via 198.51.100.1"));
        if with_ipv6 {
            ip(&format!("addr add 2001:db8:77::1/64 dev {name} nodad"));
            ip(&format!("-n {name} addr add 2001:db8:77::7/64 dev outside nodad"));
        }
        made
    }

    /// What the machine receives while `work` runs, in order.
    fn hears(&self, python: &Path, word: &str, work: impl FnOnce()) -> Vec<String> {
        let mut listener = Command::new("/usr/sbin/ip")
            .args(["netns", "exec", &self.namespace])
            .arg(python)
            .args([FRAMES, "hear", word])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(listener.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        work();
        // This host's own packet comes last.
        let socket = UdpSocket::bind("198.51.100.1:0").unwrap();
        socket.send_to(format!("{word} end").as_bytes(), "198.51.100.7:4001").unwrap();
        let heard: Vec<String> = lines.map(|line| line.unwrap()).collect();
        assert!(listener.wait().unwrap().success());
        heard
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        for (path, value) in self.before.iter().rev() {
            let _ = fs::write(path, value);
        }
        let _ = Command::new("/usr/sbin/ip").args(["netns", "del", &self.namespace]).status();
    }
}

/// The attacker's frames.
const FRAMES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/services/walls/frames.py");

fn outside(found: &Docker, python: &Path) {
    let hosts: Vec<String> = ["172.17.0.1", "198.51.100.1"].map(str::to_owned).to_vec();
    for (rp_filter, with_ipv6, has_walls) in [("0", true, true), ("2", false, true), ("0", true, false)] {
        let outside = Outside::new(rp_filter, with_ipv6);
        let owner = owner(Duration::from_mins(10), &MachineKey::random(&OsEntropy));
        let _sweep = Sweep(found, owner.clone());
        runtime().block_on(async {
            let (engine, sandbox) = proven(found, &owner, TOGETHER).await;
            let id = started(&engine, &sandbox, found).await;
            if !has_walls {
                undo_settings(&owner);
                undo_filter(&owner);
            }
            let pid = docker(&["inspect", "--format", "{{.State.Pid}}", &id]);
            let mac = fs::read_to_string(format!("/sys/class/net/{}/address", bridge(&owner))).unwrap();
            let word = format!("lifeboat-{}", owner.id);
            let heard = outside.hears(python, &word, || {
                let mut send = Command::new("nsenter");
                send.args(["-t", &pid, "-n"])
                    .arg(python)
                    .args([FRAMES, "send", mac.trim(), &word])
                    .args(&hosts);
                assert!(send.status().unwrap().success());
            });
            if has_walls {
                assert_eq!(heard, ["end"], "rp_filter {rp_filter}, IPv6 {with_ipv6}");
            } else {
                assert!(heard.len() > 1, "without the walls the machine outside hears: {heard:?}");
            }
            sandbox.tear_down().await.unwrap();
        });
    }
}

fn no_filter(found: &Docker) {
    let play = Playground::new();
    let volume = play.volume("data");
    play.run_writer(found, "app", &volume, &[]);
    let repo = found.repo();
    repo.backup(["run", "--volume", &volume, "--mode", "pause"]).expect_code(0);

    // A host whose `iptables` does not work, as seen by this process only.
    let plain = repo.restore_command(["rehearse", "latest"]);
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "sh",
        "-c",
        "mount --bind /bin/false \"$(readlink -f /usr/sbin/iptables)\" && exec \"$@\"",
        "sh",
    ]);
    command.arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let said = run(&mut command).expect_code(2);
    for word in ["packet filter", "iptables", "install", "nothing was restored"] {
        assert!(said.stderr.contains(word), "{word}: {}", said.stderr);
    }
    let left = docker(&["volume", "ls", "--quiet", "--filter", "name=lifeboat-"]);
    assert!(!left.contains(&volume), "{left}");
    assert_eq!(fs::read_dir(repo.path("state/lifeboat/drills")).unwrap().count(), 0);
}

fn images(found: &Docker) {
    let (parts, image) = wants_out(found);
    runtime().block_on(async {
        let engine = found.engine().await.unwrap();
        assert_eq!(engine.resolve_image(&parts, Some(&image)).await.unwrap().parts.id, parts.image_id);
        // A tag, a search of the engine's, and the like, in place of an id and of a digest.
        for asked in [
            found.busybox.as_str(),
            "search?term=127.0.0.1:19999/x&limit=1&x=",
            "get?names=busybox&x=",
            "..",
            "busybox",
        ] {
            let mut parts = parts.clone();
            asked.clone_into(&mut parts.image_id);
            let image = ImageParts { digests: vec![asked.to_owned()], ..image.clone() };
            let error = engine.resolve_image(&parts, Some(&image)).await.unwrap_err();
            assert!(matches!(error, EngineError::ImageMissing { .. }), "{asked}: {error:?}");
        }
    });
}
