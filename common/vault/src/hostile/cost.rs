//! The cost of hostile objects for their readers: each verb runs in a separate process over a repository on disk, and
//! is compared with the same verb over the same repository without them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::SignedDuration;
use lifeboat_core::Sha256Digest;
use lifeboat_core::clock::{Clock, SystemClock};
use lifeboat_store::{Location, OpenOptions, Settings, Store};
use lifeboat_testkit::{context, noise};
use minicbor::Encoder;

use super::{Member, files};
use crate::error::VaultError;
use crate::format::FORMAT_VERSION;
use crate::format::compression::compress;
use crate::format::condemnation::{Condemnation, Loss, MOST_OBJECTS};
use crate::format::floor::Floor;
use crate::format::frame::MIN_SEALED_FRAME;
use crate::format::frame_set::RunFrames;
use crate::format::index::{
    CONTENTS_CHUNKS, Contents, FrameContents, FrameLocation, Locations, PackLocations, RunContents,
    split_contents,
};
use crate::format::layout::{self, cap};
use crate::format::manifest::{self, MOST_STREAMS, Part, Predicate, RunRecord, Seen, StreamRecord};
use crate::format::name::MAX_NAME;
use crate::format::pack::MAX_PLAIN;
use crate::format::seal::Purpose;
use crate::format::signed::{self, Pen, Place};
use crate::hostile::crafted::{Crafted, recovery_key};
use crate::ids::{ChunkId, RunId, WriterId, to_cbor};
use crate::keys::GroupView;
use crate::keys::keeper_key::KeeperKey;
use crate::keys::key_file::WriterKey;
use crate::maintenance::check::{CheckOptions, Maintenance, ReadData, Shard};
use crate::maintenance::prune::{PruneOptions, prune};
use crate::repository::access::Session;
use crate::repository::open::Repository;
use crate::repository::pins::PinFile;
use crate::repository::recovery_session::RecoverySession;
use crate::restore::open::OpenSnapshot;
use crate::snapshots::snapshot::{Listing, Snapshot};
use crate::tree::TargetFolder;

const MIB: u64 = 1 << 20;

/// Set for a process that runs one verb: the verb and the folder, separated by a blank.
const TASK: &str = "LIFEBOAT_COST_OF";

/// The cost of a verb: the peak memory of the process, and its processor time.
#[derive(Debug, Clone, Copy)]
struct Cost {
    peak_bytes: u64,
    millis: u64,
}

const VERBS: [&str; 5] = ["list", "check", "prune", "restore", "backup"];

/// A repository on disk with three snapshots of two groups, and the keys to it.
struct OnDisk {
    crafted: Crafted,
    keeper: KeeperKey,
    /// A run of the first writer.
    run: RunId,
    /// The first writer's newest snapshot, which is its second.
    newest: Sha256Digest,
    /// The files of the repository are below `store`, the keys beside it.
    home: tempfile::TempDir,
}

impl OnDisk {
    async fn new() -> Self {
        let crafted = Crafted::with_floor(Floor { days: 0, snapshots: 1 }).await;
        let other = crafted.add_writer().await;
        let keeper = crafted.add_keeper().await;
        let mut newest = None;
        for (key, seed) in [(&crafted.writer, 0), (&other, 1), (&crafted.writer, 2)] {
            newest = Some(crafted.back_up(key, &files(seed)).await.unwrap());
        }
        let newest = newest.unwrap();
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("writer.key"), crafted.writer.to_text()).unwrap();
        fs::write(home.path().join("keeper.key"), keeper.to_text()).unwrap();
        fs::write(home.path().join("recovery.key"), &crafted.recovery).unwrap();
        let run = *Member::writer(&crafted.writer).frames(&crafted).await.keys().next().unwrap();
        let made = Self { crafted, keeper, run, newest, home };
        made.crafted.write_to(&made.home.path().join("store"));
        made
    }

    fn store(&self, key: &str, bytes: &[u8]) -> PathBuf {
        let path = self.home.path().join("store").join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn store_all(&self, objects: &[Stored]) -> Vec<PathBuf> {
        objects.iter().map(|(key, bytes)| self.store(key, bytes)).collect()
    }

    fn member(&self) -> Member {
        Member::writer(&self.crafted.writer)
    }

    /// The cost of a verb, on a copy if the verb changes what is stored.
    fn cost_of(&self, verb: &str) -> Cost {
        let test = std::thread::current().name().unwrap().to_owned();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &test, "--include-ignored", "--nocapture"]);
        command.env(TASK, format!("{verb} {}", self.home.path().display()));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let figures = said.lines().find_map(|line| line.split_once("COST ")).map(|(_, figures)| figures);
        let figures =
            figures.unwrap_or_else(|| panic!("{verb}: {said}{}", String::from_utf8_lossy(&output.stderr)));
        let (peak, millis) = figures.split_once(' ').unwrap();
        Cost { peak_bytes: peak.parse().unwrap(), millis: millis.trim().parse().unwrap() }
    }
}

/// In a process that was started for one verb: runs it, and reports its cost.
async fn run_if_asked() -> bool {
    let Ok(task) = std::env::var(TASK) else { return false };
    let (verb, home) = task.split_once(' ').unwrap();
    let outcome = run(verb, Path::new(home)).await;
    if let Err(error) = outcome {
        println!("{verb}: {error}");
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("COST {} {}", kib << 10, processor_millis());
    true
}

/// The processor time of this process so far. Other processes on the machine hardly affect it.
fn processor_millis() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // The fields after the program's name in brackets; utime and stime are numbers 14 and 15, in hundredths of a
    // second.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum()
}

async fn run(verb: &str, home: &Path) -> Result<(), VaultError> {
    let read = |name: &str| fs::read_to_string(home.join(name)).unwrap();
    let writer = WriterKey::parse(&read("writer.key")).unwrap();
    let keeper = KeeperKey::parse(&read("keeper.key")).unwrap();
    let location = Location::parse(home.join("store").to_str().unwrap()).unwrap();
    let settings = Settings::default();
    let open = || Store::open(&location, &settings, OpenOptions::default());
    let repository =
        || async { Repository::open(open().await.unwrap(), &writer.repository, PinFile::none()).await };
    match verb {
        "list" => drop(Listing::read(&Session::for_keeper(repository().await?, &keeper).await?).await?),
        "check" => {
            let session = Session::for_keeper(repository().await?, &keeper).await?;
            let maintenance = Maintenance::new(session, context());
            maintenance.check(CheckOptions { read_data: ReadData::Sizes, shard: Shard::WHOLE }).await?;
        }
        "prune" => {
            let session = Session::for_keeper(repository().await?, &keeper).await?;
            let options = PruneOptions { grace: SignedDuration::from_hours(24 * 8), dry_run: true };
            prune(&session, &options, &context()).await?;
        }
        "restore" => {
            let key = recovery_key(&read("recovery.key"));
            let restorer =
                RecoverySession::open(open().await.unwrap(), &key, None, |_| PinFile::none()).await?;
            let listing = Listing::read(restorer.session()).await?;
            // The newest honest one of the group under attack, which needs both of its runs.
            let is_it = |snapshot: &Snapshot| snapshot.writer() == writer.writer && snapshot.sequence() == 1;
            let snapshot = listing.snapshots.into_iter().find(is_it).unwrap();
            let open = OpenSnapshot::open(&restorer, snapshot).await?;
            let target = tempfile::tempdir().unwrap();
            let to = TargetFolder::take(target.path())?;
            open.restore(0, to, &context()).await?;
        }
        "backup" => _ = super::back_up(repository().await?, &writer, &files(5), &context()).await?,
        other => panic!("{other}"),
    }
    Ok(())
}

/// An object of a purpose whose body is `cbor`, either padded so that readers accept it, or unchanged.
fn sealed(member: &Member, purpose: Purpose, cbor: Vec<u8>, is_padded: bool) -> Vec<u8> {
    let place = Place { purpose, repository: &member.repository, group: member.view.id };
    let pen = Pen { signer: member.signer, key: &member.key };
    let compressed = if is_padded { signed::compressed(cbor) } else { compress(&cbor) };
    signed::seal(place, pen, &member.view.index_key, &compressed)
}

/// As many elements as fill a body up to the limit of what readers accept from an object, padding included.
fn most(bytes_an_element: u64) -> u64 {
    (MAX_PLAIN as u64 * 6 / 7 - (64 << 10)) / bytes_an_element
}

/// The start of the body of a contents object of one run, up to its frames.
fn contents_up_to_frames(frames: u64) -> Vec<u8> {
    let mut e = Encoder::new(Vec::new());
    e.map(1).unwrap().u8(0).unwrap().array(1).unwrap();
    e.map(3).unwrap().u8(0).unwrap().bytes(&[9; 16]).unwrap();
    e.u8(2).unwrap().bytes(&[7; 32]).unwrap();
    e.u8(1).unwrap().array(frames).unwrap();
    e.into_writer()
}

fn frames_without_chunks(count: u64) -> Vec<u8> {
    let mut body = contents_up_to_frames(count);
    (0..count).for_each(|_| body.extend([0x82, 0, 0x80]));
    body
}

/// Distinct bytes that compress or do not, of one element.
fn digest(number: u64, is_noise: bool) -> Sha256Digest {
    if is_noise { Sha256Digest::of(&number.to_le_bytes()) } else { Sha256Digest::from_bytes([0; 32]) }
}

fn frames_of_one_chunk(is_noise: bool) -> Vec<u8> {
    let frames = (0..most(42)).map(|n| FrameContents {
        ordinal: u32::try_from(n).unwrap(),
        chunks: vec![ChunkId(*digest(n, is_noise).as_bytes())],
    });
    let run = RunContents { run: RunId::from_bytes([9; 16]), frames: frames.collect(), commitment: [7; 32] };
    to_cbor(&Contents { runs: vec![run] })
}

fn many_runs() -> Vec<u8> {
    let runs = (0..most(57)).map(|n| RunContents {
        run: RunId::from_bytes(u128::from(n).to_be_bytes()),
        frames: Vec::new(),
        commitment: [0; 32],
    });
    to_cbor(&Contents { runs: runs.collect() })
}

/// Frames of one run side by side in a pack that is large enough, or each in a separate pack.
fn many_places(run: RunId, is_noise: bool, of_one_pack: bool) -> Vec<u8> {
    let frame = |n: u64| FrameLocation {
        ordinal: u32::try_from(n).unwrap(),
        offset: if of_one_pack { n * u64::from(MIN_SEALED_FRAME) } else { 0 },
        length: MIN_SEALED_FRAME,
        hash: digest(n, is_noise),
        chunk_bytes: 0,
    };
    let packs = if of_one_pack {
        let frames = (0..most(51)).map(frame).collect();
        vec![PackLocations { pack: Sha256Digest::of(b"large"), frames, size: 1 << 40 }]
    } else {
        let pack = |n| PackLocations { pack: digest(n, true), frames: vec![frame(n)], size: 1 << 20 };
        (0..most(90)).map(pack).collect()
    };
    to_cbor(&Locations { run, packs })
}

fn losses(runs: u64, bytes: usize) -> Vec<u8> {
    let frames = (0..runs).map(|n| RunFrames {
        run: RunId::from_bytes(u128::from(n).to_be_bytes()),
        frames: vec![0xFF; bytes].into(),
    });
    to_cbor(&Loss { frames: frames.collect() })
}

fn condemned_names(count: u64, name: &str) -> Vec<u8> {
    let objects = vec![name.to_owned(); usize::try_from(count).unwrap()];
    to_cbor(&Condemnation { frames: Vec::new(), objects, avoid_only: None })
}

/// An object's name and bytes.
type Stored = (String, Vec<u8>);

type Plant = fn(&OnDisk, u64) -> Vec<Stored>;

/// This many objects of the index with one body, each named after its own hash; the sealed bytes differ.
fn index_objects(disk: &OnDisk, count: u64, purpose: Purpose, cbor: &[u8], is_padded: bool) -> Vec<Stored> {
    let member = match purpose {
        Purpose::Condemnation => Member::keeper(&disk.keeper, &GroupView::from(&disk.crafted.writer.group)),
        _ => disk.member(),
    };
    let group = member.view.id;
    let object = |_| {
        let bytes = sealed(&member, purpose, cbor.to_vec(), is_padded);
        let hash = Sha256Digest::of(&bytes);
        let key = match purpose {
            Purpose::Contents => layout::contents_object(group, &hash),
            Purpose::Locations => layout::locations_object(group, disk.run, &hash),
            Purpose::Loss => layout::loss(group, &hash),
            Purpose::Condemnation => layout::condemnation(member.signer, group, &hash),
            other => panic!("{other:?}"),
        };
        (key, bytes)
    };
    (0..count).map(object).collect()
}

/// This many snapshots after the writer's last one, with one part and manifests that differ from an honest one by
/// `change`.
fn snapshots(disk: &OnDisk, count: u64, part: &Part, change: impl Fn(&mut Predicate)) -> Vec<Stored> {
    let (key, member) = (&disk.crafted.writer, disk.member());
    let cbor = to_cbor(part);
    let mut previous = disk.newest;
    let mut objects = Vec::new();
    for sequence in 2..2 + count {
        let part = sealed(&member, Purpose::Part, cbor.clone(), true);
        let hash = Sha256Digest::of(&part);
        let mut predicate = Predicate {
            format: FORMAT_VERSION,
            repository: key.repository,
            group: key.group.id,
            writer: key.writer,
            sequence,
            previous: Some(previous),
            time: SystemClock.now(),
            roster: 0,
            part_bytes: part.len() as u64,
            incomplete: false,
            contents: Vec::new(),
            seen: Vec::new(),
        };
        change(&mut predicate);
        let (manifest, id) = manifest::sign(predicate, &hash, &key.signing_key);
        previous = id;
        objects.push((layout::part(key.group.id, &hash), part));
        objects.push((layout::snapshot(key.writer, sequence), manifest));
    }
    objects
}

/// A part that needs very many frames, and states for each how many of its chunks it uses.
fn many_needs() -> Part {
    let count = usize::try_from(most(9) * 8).unwrap();
    let record = RunRecord {
        run: RunId::from_bytes([9; 16]),
        commitment: [0; 32],
        frames: vec![0xFF; count / 8].into(),
        used: vec![1; count],
    };
    Part { runs: vec![record], ..Part::of_nothing() }
}

/// A part with the most streams, with the longest names.
fn many_streams() -> Part {
    let stream = |number| StreamRecord::of_nothing(&format!("{number:0>MAX_NAME$}"));
    let count = MOST_STREAMS.min(usize::try_from(most(360)).unwrap());
    Part { streams: (0..count).map(stream).collect(), ..Part::of_nothing() }
}

const ROWS: &[(&str, Plant)] = &[
    ("contents of frames without chunks, a few kilobytes", |disk, count| {
        index_objects(disk, count, Purpose::Contents, &frames_without_chunks(89 << 20), false)
    }),
    ("contents of frames without chunks", |disk, count| {
        index_objects(disk, count, Purpose::Contents, &frames_without_chunks(most(3)), true)
    }),
    ("contents of frames of one chunk", |disk, count| {
        index_objects(disk, count, Purpose::Contents, &frames_of_one_chunk(false), true)
    }),
    ("contents of frames of one chunk, incompressible", |disk, count| {
        index_objects(disk, count, Purpose::Contents, &frames_of_one_chunk(true), true)
    }),
    ("contents of many runs", |disk, count| {
        index_objects(disk, count, Purpose::Contents, &many_runs(), true)
    }),
    ("places in one pack", |disk, count| {
        index_objects(disk, count, Purpose::Locations, &many_places(disk.run, false, true), true)
    }),
    ("places in one pack, incompressible", |disk, count| {
        index_objects(disk, count, Purpose::Locations, &many_places(disk.run, true, true), true)
    }),
    ("places in packs of their own", |disk, count| {
        index_objects(disk, count, Purpose::Locations, &many_places(disk.run, true, false), true)
    }),
    ("losses of many runs", |disk, count| {
        index_objects(disk, count, Purpose::Loss, &losses(most(22), 1), true)
    }),
    ("losses of all frames", |disk, count| {
        index_objects(disk, count, Purpose::Loss, &losses(1, 16 << 20), true)
    }),
    ("condemnations of names", |disk, count| {
        index_objects(disk, count, Purpose::Condemnation, &condemned_names(most(1), ""), true)
    }),
    ("condemnations of long names", |disk, count| {
        let cbor = condemned_names(MOST_OBJECTS as u64, &"x".repeat(150));
        index_objects(disk, count, Purpose::Condemnation, &cbor, true)
    }),
    ("parts of many tags", |disk, count| {
        let part =
            Part { tags: vec![String::new(); usize::try_from(most(1)).unwrap()], ..Part::of_nothing() };
        snapshots(disk, count, &part, |_| ())
    }),
    ("parts of many frames", |disk, count| snapshots(disk, count, &many_needs(), |_| ())),
    ("parts of many streams", |disk, count| snapshots(disk, count, &many_streams(), |_| ())),
    ("manifests of many contents objects", |disk, count| {
        let contents: Vec<_> = (0..cap::MANIFEST * 3 / 4 / 68).map(|n| digest(n, true)).collect();
        snapshots(disk, count, &Part::of_nothing(), |predicate| predicate.contents = contents.clone())
    }),
    ("manifests that saw many writers", |disk, count| {
        let seen = |n: u64| Seen {
            writer: WriterId::from_bytes(u128::from(n).to_be_bytes()),
            sequence: n,
            snapshot: digest(n, true),
        };
        let seen: Vec<_> = (0..cap::MANIFEST * 3 / 4 / 160).map(seen).collect();
        snapshots(disk, count, &Part::of_nothing(), |predicate| predicate.seen = seen.clone())
    }),
];

/// How many of each are stored: one, and some that are read one after the other.
fn counts() -> [u64; 2] {
    let is_long = std::env::var_os("LIFEBOAT_LONG").is_some_and(|value| !value.is_empty());
    [1, if is_long { 100 } else { 6 }]
}

/// Whatever a member stores costs no more memory than 32 times its bytes and 16 MiB, and a second for each MiB; and
/// many of them no more than 256 MiB.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "an attack: scripts/test runs it"]
async fn no_object_costs_out_of_proportion_to_its_size() {
    if run_if_asked().await {
        return;
    }
    let disk = OnDisk::new().await;
    let mut clean = BTreeMap::new();
    for verb in VERBS {
        clean.insert(verb, disk.cost_of(verb));
    }
    let mut broken = Vec::new();
    let only = std::env::var("LIFEBOAT_COST_ROWS").unwrap_or_default();
    for (what, plant) in ROWS.iter().filter(|(what, _)| what.starts_with(&only)) {
        for count in counts() {
            let objects = plant(&disk, count);
            let stored: u64 = objects.iter().map(|(_, bytes)| bytes.len() as u64).sum();
            let paths = disk.store_all(&objects);
            drop(objects);
            for verb in VERBS {
                let (cost, clean) = (disk.cost_of(verb), clean[verb]);
                let more = cost.peak_bytes.saturating_sub(clean.peak_bytes);
                let memory = if count == 1 { (32 * stored + 16 * MIB).min(256 * MIB) } else { 256 * MIB };
                let millis = cost.millis.saturating_sub(clean.millis);
                let time = 1000 * stored.div_ceil(MIB);
                let row = format!(
                    "{verb}, {count} × {what}: {} KiB stored, {} of {} MiB, {millis} of {time} ms",
                    stored >> 10,
                    more >> 20,
                    memory >> 20
                );
                eprintln!("{row}");
                if more > memory || millis > time {
                    broken.push(row);
                }
            }
            for path in paths {
                fs::remove_file(path).unwrap();
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Contents of this many chunks, 16 per frame, in the objects that a run would write; and the locations of these
/// frames.
fn known_chunks(disk: &OnDisk, chunks: u64) -> (Vec<Stored>, Vec<Stored>) {
    const OF_A_FRAME: u64 = 16;
    let frames = chunks / OF_A_FRAME;
    let list = |n: u64| FrameContents {
        ordinal: u32::try_from(n).unwrap(),
        chunks: (0..OF_A_FRAME)
            .map(|slot| ChunkId(*digest(n * OF_A_FRAME + slot, true).as_bytes()))
            .collect(),
    };
    let run = RunContents { run: disk.run, frames: (0..frames).map(list).collect(), commitment: [7; 32] };
    let contents = split_contents([run], CONTENTS_CHUNKS)
        .into_iter()
        .flat_map(|contents| index_objects(disk, 1, Purpose::Contents, &to_cbor(&contents), true))
        .collect();
    let pack = noise(77, usize::try_from(frames * u64::from(MIN_SEALED_FRAME)).unwrap());
    let hash = Sha256Digest::of(&pack);
    let frame = |n: u64| FrameLocation {
        ordinal: u32::try_from(n).unwrap(),
        offset: n * u64::from(MIN_SEALED_FRAME),
        length: MIN_SEALED_FRAME,
        hash: digest(n, true),
        chunk_bytes: 0,
    };
    let located =
        PackLocations { pack: hash, frames: (0..frames).map(frame).collect(), size: pack.len() as u64 };
    let locations = to_cbor(&Locations { run: disk.run, packs: vec![located] });
    let mut places = index_objects(disk, 1, Purpose::Locations, &locations, true);
    places.push((layout::pack(disk.crafted.writer.group.id, &hash), pack));
    (contents, places)
}

/// A backup loads the chunks whose frames are in existing packs, and takes 80 bytes for each.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "an attack: scripts/test runs it"]
async fn a_backup_takes_little_memory_for_each_chunk_and_none_for_chunks_without_a_place() {
    if run_if_asked().await {
        return;
    }
    let chunks = 1 << 20;
    let disk = OnDisk::new().await;
    let clean = disk.cost_of("backup").peak_bytes;
    let (contents, places) = known_chunks(&disk, chunks);
    disk.store_all(&contents);
    let unplaced = disk.cost_of("backup").peak_bytes;
    disk.store_all(&places);
    let placed = disk.cost_of("backup").peak_bytes;
    let figures = format!("clean {clean}, unplaced {unplaced}, placed {placed} bytes");
    eprintln!("{figures}");
    assert!(unplaced.saturating_sub(clean) < 80 * MIB, "{figures}");
    assert!(placed.saturating_sub(unplaced) < 80 * chunks, "{figures}");
    assert!(placed - unplaced > 20 * chunks, "the chunks are loaded: {figures}");
}
