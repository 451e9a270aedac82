//! Runs that end before their snapshot: the data that they stored is not stored again, and a prune removes what is
//! unused.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lifeboat_tests::repository::Yard;

use crate::BINARIES;

const FILES: u64 = 150;
const FILE_BYTES: u64 = 2 << 20;

/// A tree of files that do not compress.
fn plant(folder: &Path) {
    fs::create_dir(folder).unwrap();
    for number in 0..FILES {
        let file = fs::File::create(folder.join(number.to_string())).unwrap();
        let filled = Command::new("head")
            .args(["-c", &FILE_BYTES.to_string(), "/dev/urandom"])
            .stdout(file)
            .status()
            .unwrap();
        assert!(filled.success());
    }
}

/// The bytes of all packs, including those that are being written.
fn pack_bytes(yard: &Yard) -> u64 {
    let mut total = 0;
    let mut folders = vec![Path::new(&yard.location).join("packs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => folders.push(entry.path()),
                Ok(found) => total += found.len(),
                Err(_) => {}
            }
        }
    }
    total
}

/// Starts a run and interrupts it when it has stored some packs.
fn interrupt(yard: &Yard, tree: &Path, signal: &str) {
    let before = pack_bytes(yard);
    let mut command = yard.backup_command(["run".as_ref(), "--path".as_ref(), tree.as_os_str()]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while pack_bytes(yard) < before + (14 << 20) {
        assert!(Instant::now() < deadline, "the run stores nothing");
        assert!(child.try_wait().unwrap().is_none(), "the run is over before it is interrupted");
        std::thread::sleep(Duration::from_millis(5));
    }
    let asked = Instant::now();
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let code = child.wait().unwrap().code();
    if signal == "-KILL" {
        assert_eq!(code, None);
    } else {
        assert_eq!(code, Some(130));
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    }
}

fn marks(yard: &Yard) -> usize {
    let runs = yard.objects("runs");
    runs.iter().filter(|path| path.extension().is_some_and(|end| end == "end")).count()
}

#[test]
fn five_interrupted_runs_cost_little_more_than_the_tree() {
    let yard = Yard::in_folder(BINARIES);
    let tree = yard.path("tree");
    plant(&tree);
    for number in 1..=5 {
        interrupt(&yard, &tree, "-INT");
        assert_eq!(marks(&yard), number, "each says that it is over");
    }
    yard.snapshot(&tree).expect_code(0);
    let (stored, whole) = (pack_bytes(&yard), FILES * FILE_BYTES);
    assert!(stored * 10 <= whole * 12, "{stored} bytes are stored of {whole}");
    yard.backup(["check"]).expect_code(0);
    let back = yard.path("back");
    yard.restore(["path", "latest", "--to", back.to_str().unwrap()]).expect_code(0);
    assert_eq!(fs::read(back.join("7")).unwrap(), fs::read(tree.join("7")).unwrap());
}

#[test]
fn what_a_killed_run_left_goes_once_the_next_has_marked_its_end() {
    let yard = Yard::in_folder(BINARIES);
    let keeper = yard.add_keeper();
    let (tree, small) = (yard.path("tree"), yard.path("small"));
    plant(&tree);
    fs::create_dir(&small).unwrap();
    fs::write(small.join("file"), "content").unwrap();
    interrupt(&yard, &tree, "-KILL");
    assert_eq!(marks(&yard), 0);
    let prune = || yard.as_keeper(["prune", "--grace", "0s", "--keeper-key", &keeper]).expect_code(0);
    prune();
    assert!(pack_bytes(&yard) >= 14 << 20, "it may be under way");
    yard.snapshot(&small).expect_code(0);
    assert_eq!(marks(&yard), 1, "the run is known to be dead");
    // A file that was being written stays until it is old, because its writer may be slow.
    let is_staged = |path: &std::path::PathBuf| path.to_string_lossy().contains('#');
    for path in yard.objects("packs").into_iter().filter(is_staged) {
        let aged = Command::new("touch").args(["-d", "2 hours ago"]).arg(path).status().unwrap();
        assert!(aged.success());
    }
    prune();
    assert!(pack_bytes(&yard) < 1 << 20, "{:?}", yard.objects("packs"));
    assert_eq!(marks(&yard), 0);
    yard.backup(["check", "--read-data"]).expect_code(0);
}
