//! Who is at rest while volumes are read, and how they come back: what depends on another one, what lives in another one's
//! network, and what cannot be stopped at all.

use libtest_mimic::Trial;
use lifeboat_tests::gate::trials_with;

use crate::docker::{Docker, Playground, docker, eventually, state};

pub(crate) fn trials() -> Vec<Trial> {
    let test = trials_with(Docker::find());
    vec![
        test("at_rest::what_needs_a_healthy_service_starts_when_it_is", healthy),
        test("at_rest::what_does_not_stay_up_is_said_and_the_snapshot_stored", falling),
        test("at_rest::what_lives_in_the_network_of_another_comes_back_with_it", sharing),
        test("at_rest::what_cannot_be_stopped_is_left_running_and_said", left_running),
    ]
}

/// A database that is ready a while after its start, with a health check, and a program that ends when it starts before that.
/// `condition` is what Compose was told.
fn database_and_program(found: &Docker, play: &Playground, condition: &str) -> (String, String) {
    let (volume, prefix) = (play.volume("data"), &play.prefix);
    let mount = format!("{volume}:/data");
    let compose = |service: &str, more: &str| {
        let labels = [
            format!("com.docker.compose.project={prefix}"),
            format!("com.docker.compose.service={service}"),
            format!("com.docker.compose.depends_on={more}"),
        ];
        labels.into_iter().flat_map(|label| ["--label".to_owned(), label]).collect::<Vec<_>>()
    };
    let run = |name: &str, labels: &[String], options: &[&str], script: &str| {
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let container = ["--volume", &mount, &found.busybox, "sh", "-c", script];
        play.run(name, &[&labels[..], options, &container].concat())
    };
    let database = run(
        "db",
        &compose("db", ""),
        &["--health-cmd", "test -e /data/ready", "--health-interval", "500ms", "--health-retries", "30"],
        "trap 'rm /data/ready; exit 0' TERM; touch /data/kept; sleep 2; touch /data/ready; while true; do sleep 0.1; done",
    );
    let health = || docker(&["inspect", "--format", "{{.State.Health.Status}}", &database]);
    eventually("the database is healthy", || health() == "healthy");
    let program = run(
        "app",
        &compose("app", &format!("db:{condition}:false")),
        &[],
        "test -e /data/ready || exit 7; trap 'exit 0' TERM; while true; do sleep 0.1; done",
    );
    eventually("the program runs", || state(&program) == "running");
    (database, program)
}

fn healthy(found: &Docker) {
    let (play, yard) = (Playground::new(), found.yard());
    let (database, program) = database_and_program(found, &play, "service_healthy");
    let said = yard.backup(["run", "--project", &play.prefix, "--dry-run"]).expect_code(0);
    let would = format!("would be at rest: {}, {}", play.name("app"), play.name("db"));
    assert!(said.stdout.contains(&would), "{said:?}");
    let said = yard.backup(["run", "--project", &play.prefix]).expect_code(0);
    assert!(!said.stderr.contains("WARNING"), "{said:?}");
    assert_eq!((state(&database).as_str(), state(&program).as_str()), ("running", "running"));
}

fn falling(found: &Docker) {
    let (play, yard) = (Playground::new(), found.yard());
    let (database, program) = database_and_program(found, &play, "service_started");
    let said = yard.backup(["run", "--project", &play.prefix, "--json"]).expect_code(3);
    assert_eq!((state(&database).as_str(), state(&program).as_str()), ("running", "exited"));
    let report: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let trouble = report["troubles"][0].as_str().unwrap();
    assert!(trouble.contains(&play.name("app")) && trouble.contains("exit code 7"), "{trouble}");
    assert!(said.stderr.contains("does not stay up"), "{said:?}");
    yard.backup(["show", "latest"]).expect_code(0);

    // What the engine starts again and again is not up either, whatever moment one looks at.
    docker(&["rm", "--force", &database, &program]);
    let volume = play.volume("other");
    let script =
        "test -e /data/once && exit 7; touch /data/once; trap 'exit 0' TERM; while true; do sleep 0.1; done";
    let mount = format!("{volume}:/data");
    let options = ["--restart", "always", "--volume", &mount, &found.busybox, "sh", "-c", script];
    let looping = play.run("looping", &options);
    eventually("it has written", || docker(&["exec", &looping, "sh", "-c", "ls /data"]).contains("once"));
    let said = yard.backup(["run", "--volume", &volume]).expect_code(3);
    assert!(said.stderr.contains("exit code 7"), "{said:?}");
}

fn sharing(found: &Docker) {
    let (play, yard) = (Playground::new(), found.yard());
    let volume = play.volume("data");
    let provider = play.run_writer(found, "vpn", &volume, &[]);
    let sharer = play.run(
        "behind",
        &[
            "--network",
            &format!("container:{provider}"),
            &found.busybox,
            "sh",
            "-c",
            "trap 'exit 0' TERM; while true; do sleep 0.1; done",
        ],
    );
    let has_network = || docker(&["exec", &sharer, "cat", "/proc/net/dev"]).contains("eth0");
    assert!(has_network());
    let said = yard.backup(["run", "--volume", &volume]).expect_code(0);
    assert!(said.stdout.contains(&format!("{}, {}", play.name("behind"), play.name("vpn"))), "{said:?}");
    assert!(has_network(), "it lives in the network that its provider has now");
    // Who is frozen keeps its network.
    let started = || docker(&["inspect", "--format", "{{.State.StartedAt}}", &sharer]);
    let before = started();
    yard.backup(["run", "--volume", &volume, "--mode", "pause"]).expect_code(0);
    assert_eq!(started(), before);
}

fn left_running(found: &Docker) {
    let (play, yard) = (Playground::new(), found.yard());
    let (kept, lost) = (play.volume("a"), play.volume("b"));
    let ordinary = play.run_writer(found, "ordinary", &kept, &[]);
    let orchestrated = play.run_writer(found, "task", &lost, &["--label", "com.docker.swarm.task.id=x"]);
    let fleeting = play.run_writer(found, "fleeting", &lost, &["--rm"]);
    let started = |id: &str| docker(&["inspect", "--format", "{{.State.StartedAt}}", id]);
    let before = [&ordinary, &orchestrated, &fleeting].map(|id| started(id));
    let said = yard.backup(["run", "--volume", &kept, "--volume", &lost, "--json"]).expect_code(3);
    let after = [&ordinary, &orchestrated, &fleeting].map(|id| started(id));
    assert_eq!(before.iter().zip(&after).map(|(b, a)| b == a).collect::<Vec<_>>(), [false, true, true]);
    for word in [&play.name("task"), &play.name("fleeting"), "--mode pause"] {
        assert!(said.stderr.contains(word), "{word}: {said:?}");
    }
    let report: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let consistencies: Vec<_> =
        report["streams"].as_array().unwrap().iter().map(|s| s["consistency"].as_str().unwrap()).collect();
    assert_eq!(consistencies, ["stopped", "live"]);
    assert_eq!(report["left_running"].as_array().unwrap().len(), 2);
    // With nothing that could be read at rest, nothing is done at all.
    let said = yard.backup(["run", "--volume", &lost]).expect_code(2);
    assert!(said.stderr.contains("cannot be stopped"), "{said:?}");
    assert_eq!(after, [&ordinary, &orchestrated, &fleeting].map(|id| started(id)));
}
