//! Volumes through the binaries: what a run of a real engine's volume leaves out.

use libtest_mimic::Trial;
use lifeboat_tests::command;
use lifeboat_tests::gate::trial;
use lifeboat_tests::repository::{Binaries, Yard};
use serde_json::Value;

use crate::docker::{Docker, Playground, docker};

const BINARIES: Binaries =
    Binaries { backup: env!("CARGO_BIN_EXE_tested-backup"), restore: env!("CARGO_BIN_EXE_tested-restore") };

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("volumes::patterns_and_caches_are_left_out_of_volumes_too", Docker::find(), |docker| {
        left_out(&docker);
        Ok(())
    })]
}

fn left_out(parts: &Docker) {
    let play = Playground::new();
    let volume = play.volume("data");
    let mount = format!("{volume}:/data");
    let fill = "cd /data && mkdir -p keep cache && echo kept > keep/a && echo gone > keep/b.tmp && echo again > cache/x \
                && echo 'Signature: 8a477f597d28d172789f06886806bc55' > cache/CACHEDIR.TAG";
    docker(&["run", "--rm", "--volume", &mount, &parts.busybox, "sh", "-c", fill]);

    let yard = Yard::in_folder(BINARIES);
    let args = ["run", "--volume", &volume, "--exclude", "*.tmp", "--exclude-caches", "--json"];
    let said = command::run(yard.backup_command(args).env("DOCKER_HOST", &parts.host)).expect_code(0);
    let document: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(document["left_out"], serde_json::json!({"items": 1, "cache_folders": 1, "mount_points": 0}));

    let target = yard.path("target");
    yard.restore(["volume", "latest", &volume, "--to-dir", target.to_str().unwrap()]).expect_code(0);
    assert_eq!(std::fs::read_to_string(target.join("keep/a")).unwrap(), "kept\n");
    assert!(target.join("cache/CACHEDIR.TAG").exists());
    assert!(!target.join("keep/b.tmp").exists() && !target.join("cache/x").exists());
}
