//! Runs that end before their snapshot: the data that they stored is not stored again, and a prune removes what is
//! unused.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lifeboat_tests::repository::TestRepository;

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
fn pack_bytes(repo: &TestRepository) -> u64 {
    let mut total = 0;
    let mut folders = vec![Path::new(&repo.location).join("packs")];
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
fn interrupt(repo: &TestRepository, tree: &Path, signal: &str) {
    let before = pack_bytes(repo);
    let mut command = repo.backup_command(["run".as_ref(), "--path".as_ref(), tree.as_os_str()]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while pack_bytes(repo) < before + (14 << 20) {
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

fn marks(repo: &TestRepository) -> usize {
    let runs = repo.objects("runs");
    runs.iter().filter(|path| path.extension().is_some_and(|end| end == "end")).count()
}

#[test]
fn five_interrupted_runs_cost_little_more_than_the_tree() {
    let repo = TestRepository::in_folder(BINARIES);
    let tree = repo.path("tree");
    plant(&tree);
    for number in 1..=5 {
        interrupt(&repo, &tree, "-INT");
        assert_eq!(marks(&repo), number, "each says that it is over");
    }
    repo.snapshot(&tree).expect_code(0);
    let (stored, whole) = (pack_bytes(&repo), FILES * FILE_BYTES);
    assert!(stored * 10 <= whole * 12, "{stored} bytes are stored of {whole}");
    repo.backup(["check"]).expect_code(0);
    let back = repo.path("back");
    repo.restore(["path", "latest", "--to", back.to_str().unwrap()]).expect_code(0);
    assert_eq!(fs::read(back.join("7")).unwrap(), fs::read(tree.join("7")).unwrap());
}

#[test]
fn what_a_killed_run_left_goes_once_the_next_has_marked_its_end() {
    let repo = TestRepository::in_folder(BINARIES);
    let keeper = repo.add_keeper();
    let (tree, small) = (repo.path("tree"), repo.path("small"));
    plant(&tree);
    fs::create_dir(&small).unwrap();
    fs::write(small.join("file"), "content").unwrap();
    interrupt(&repo, &tree, "-KILL");
    assert_eq!(marks(&repo), 0);
    let prune = || repo.as_keeper(["prune", "--grace", "0s", "--keeper-key", &keeper]).expect_code(0);
    prune();
    assert!(pack_bytes(&repo) >= 14 << 20, "it may be under way");
    repo.snapshot(&small).expect_code(0);
    assert_eq!(marks(&repo), 1, "the run is known to be dead");
    // A file that was being written stays until it is old, because its writer may be slow.
    let is_staged = |path: &std::path::PathBuf| path.to_string_lossy().contains('#');
    for path in repo.objects("packs").into_iter().filter(is_staged) {
        let aged = Command::new("touch").args(["-d", "2 hours ago"]).arg(path).status().unwrap();
        assert!(aged.success());
    }
    prune();
    assert!(pack_bytes(&repo) < 1 << 20, "{:?}", repo.objects("packs"));
    assert_eq!(marks(&repo), 0);
    repo.backup(["check", "--read-data"]).expect_code(0);
}
