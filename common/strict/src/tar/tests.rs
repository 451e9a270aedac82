use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::*;
use crate::Fault;

/// A header with its checksum, followed by its content.
fn entry(kind: u8, name: &[u8], link: &[u8], content: &[u8]) -> Vec<u8> {
    shaped(kind, name, link, content, |_| {})
}

fn shaped(kind: u8, name: &[u8], link: &[u8], content: &[u8], shape: impl FnOnce(&mut [u8; 512])) -> Vec<u8> {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    shape(&mut block);
    block[148..156].copy_from_slice(b"        ");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let padding = vec![0; content.len().div_ceil(512) * 512 - content.len()];
    [&block[..], content, &padding].concat()
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    entry(b'0', name.as_bytes(), b"", content)
}

fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest + 1..rest + 20).find(|length| length.to_string().len() + rest == *length).unwrap();
    format!("{length} {key}={value}\n").into_bytes()
}

fn open(entries: &[Vec<u8>]) -> io::Result<Archive> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&entries.concat()).unwrap();
    file.write_all(&[0; 1024]).unwrap();
    Archive::of(file)
}

fn refused(entries: &[Vec<u8>]) -> (Fault, String) {
    let error = open(entries).unwrap_err();
    let refusal = refusal(&error).unwrap();
    (refusal.fault, refusal.reason.clone())
}

#[test]
fn what_tar_programs_write_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    fs::create_dir_all(folder.path().join("tree/a").join("d".repeat(120))).unwrap();
    for name in ["tree/one", &format!("tree/a/{long}")] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    symlink(format!("a/{long}"), folder.path().join("tree/link")).unwrap();
    fs::hard_link(folder.path().join("tree/one"), folder.path().join("tree/two")).unwrap();
    for form in ["gnu", "pax", "oldgnu"] {
        for what in [".", "a", "one"] {
            let path = folder.path().join("it.tar");
            let made = Command::new("tar")
                .args(["-C", "tree", &format!("--format={form}"), "-cf", "it.tar", what])
                .current_dir(&folder)
                .status()
                .unwrap();
            assert!(made.success());
            let archive = Archive::open(&path).unwrap();
            if what == "one" {
                assert_eq!(archive.read("one", 99).unwrap(), b"tree/one");
                continue;
            }
            let name = format!("a/{long}");
            assert_eq!(archive.read(&name, 999).unwrap(), format!("tree/{name}").as_bytes(), "{form} {what}");
            if what == "." {
                assert_eq!(archive.read("two", 99).unwrap(), b"tree/one");
                assert_eq!(archive.read("link", 999).unwrap(), format!("tree/{name}").as_bytes());
            }
        }
    }
}

#[test]
fn what_the_tar_crate_writes_is_read() {
    for make in [tar::Header::new_gnu, tar::Header::new_ustar, tar::Header::new_old] {
        let mut builder = tar::Builder::new(tempfile::tempfile().unwrap());
        for (name, content) in [("a", &b"one"[..]), ("b/c", b"two"), (&"long/".repeat(60), b"")] {
            let mut header = make();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_entry_type(if content.is_empty() {
                tar::EntryType::Directory
            } else {
                tar::EntryType::Regular
            });
            builder.append_data(&mut header, name, content).unwrap();
        }
        let archive = Archive::of(builder.into_inner().unwrap()).unwrap();
        assert_eq!(archive.read("b/c", 9).unwrap(), b"two");
        assert_eq!(archive.read("./b//c", 9).unwrap(), b"two");
        assert_eq!(archive.read("b/c", 2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(archive.read("x", 9).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(archive.digest("a").unwrap(), Sha256Digest::of(b"one"));
    }
}

#[test]
fn names_that_can_be_taken_for_another_refuse_the_archive() {
    let evil = || file("x", b"evil");
    for (name, said) in [
        ("a", "the archive holds `a` twice"),
        ("./a", "the archive holds `./a` twice"),
        (".//a", "the archive holds `.//a` twice"),
        ("x/../a", "the name `x/../a` leads out of the archive"),
        ("/a", "the name `/a` leads out of the archive"),
        ("../a", "the name `../a` leads out of the archive"),
        ("a/", "`a/` has the name of a folder and is none"),
        ("a/b", "`a/b` is in `a`, which is not a folder"),
        ("", "`` is not the name of a file"),
        ("./", "`./` is not the name of a file"),
    ] {
        for entries in [[file("a", b"good"), file(name, b"evil")], [file(name, b"evil"), file("a", b"good")]]
        {
            let (_, reason) = refused(&entries);
            // Which of the two comes second depends on the order.
            let is_same =
                reason == said || (said.ends_with("twice") && reason == "the archive holds `a` twice");
            assert!(is_same, "{name}: {reason}");
        }
    }
    let (fault, _) = refused(&[file("a", b""), file("./a", b"")]);
    assert_eq!(fault, Fault::Ambiguous);
    // The content of a folder that is a link ends up elsewhere.
    let link = entry(b'2', b"f", b".", b"");
    assert_eq!(refused(&[link, file("f/a", b"evil")]).1, "`f/a` is in `f`, which is not a folder");
    assert_eq!(
        refused(&[entry(b'5', b"f/", b"", b""), entry(b'5', b"f", b"", b"")]).1,
        "the archive holds `f` twice"
    );
    // Other names with the same prefix sort between the two.
    let between = [file("a", b""), file("a-b", b""), file("a.b", b""), file("a/b", b"evil"), file("a0", b"")];
    assert_eq!(refused(&between).1, "`a/b` is in `a`, which is not a folder");
    open(&[file("a-b", b""), file("a.b/c", b""), file("a/b", b""), file("a0", b"")]).unwrap();
    open(&[entry(b'5', b"./", b"", b""), evil()]).unwrap();
}

#[test]
fn entries_that_programs_read_in_different_ways_refuse_the_archive() {
    for kind in [b'S', b'7', b'Z', b'3', b'4', b'6', b'D', b'M', b'V', b'N'] {
        let (fault, reason) = refused(&[file("a", b"good"), entry(kind, b"a", b"", b"")]);
        assert_eq!(fault, Fault::Ambiguous);
        assert!(reason.contains("which programs read in different ways or not at all"), "{reason}");
    }
    let pax = |records: &[Vec<u8>]| entry(b'x', b"pax", b"", &records.concat());
    let global = |records: &[Vec<u8>]| entry(b'g', b"pax_global_header", b"", &records.concat());
    for (name, entries) in [
        (
            "sparse",
            vec![pax(&[record("GNU.sparse.name", "a"), record("GNU.sparse.major", "1")]), file("b", b"")],
        ),
        ("two paths", vec![pax(&[record("path", "a"), record("path", "b")]), file("c", b"")]),
        ("two headers", vec![pax(&[record("path", "a")]), pax(&[record("path", "b")]), file("c", b"")]),
        (
            "long name and path",
            vec![entry(b'L', b"././@LongLink", b"", b"a\0"), pax(&[record("path", "b")]), file("c", b"")],
        ),
        ("global path", vec![global(&[record("path", "a")]), file("b", b"")]),
        ("global size", vec![global(&[record("size", "1")]), file("b", b"")]),
        ("global name", vec![entry(b'g', b"./b", b"", &record("comment", "x")), file("b", b"")]),
        (
            "global between",
            vec![pax(&[record("path", "a")]), global(&[record("comment", "x")]), file("b", b"")],
        ),
        ("a link's name on a file", vec![pax(&[record("linkpath", "a")]), file("b", b"")]),
        ("nothing after", vec![pax(&[record("path", "a")])]),
        ("a link with content", vec![entry(b'2', b"a", b"b", b"content")]),
        ("a folder with content", vec![entry(b'5', b"a", b"", b"content")]),
        ("star", vec![shaped(b'0', b"a", b"", b"", |block| block[508..].copy_from_slice(b"tar\0"))]),
        (
            "unknown form",
            vec![shaped(b'0', b"a", b"", b"", |block| block[257..265].copy_from_slice(b"tartar00"))],
        ),
        (
            "prefix in GNU's form",
            vec![shaped(b'0', b"a", b"", b"", |block| {
                block[257..265].copy_from_slice(b"ustar  \0");
                block[345..348].copy_from_slice(b"evi");
            })],
        ),
        ("negative size", vec![shaped(b'0', b"a", b"", b"", |block| block[124..136].fill(0xff))]),
        ("not UTF-8", vec![entry(b'0', b"\xff", b"", b"")]),
        ("after the end", vec![file("a", b""), vec![0; 1024], file("a", b"")]),
        ("after one empty block", vec![file("a", b""), vec![0; 512], file("a", b"")]),
    ] {
        let error = open(&entries).unwrap_err();
        assert!(refusal(&error).is_some(), "{name}: {error}");
    }
}

#[test]
fn wherever_an_archive_is_cut_off_it_is_told_from_a_disk_that_does_not_read() {
    let whole = [
        entry(b'x', b"pax", b"", &record("path", "a/name")),
        file("short", b"content"),
        entry(b'L', b"././@LongLink", b"", &[&[b'n'; 600][..], &[0]].concat()),
        file("cut", b"x"),
        entry(b'2', b"link", b"short", b""),
    ]
    .concat();
    for length in 0..whole.len() {
        let mut cut = tempfile::tempfile().unwrap();
        cut.write_all(&whole[..length]).unwrap();
        match Archive::of(cut) {
            // Between two members the cut cannot be detected.
            Ok(_) => assert_eq!(length % 512, 0, "{length}"),
            Err(error) => assert!(refusal(&error).is_some(), "{length}: {error}"),
        }
    }
}

/// Bytes that no program reads could hold an archive in another format.
#[test]
fn bytes_that_mean_nothing_are_none() {
    let with = |shape: fn(&mut [u8; 512])| refused(&[shaped(b'0', b"a", b"", b"x", shape)]).1;
    for (shape, said) in [
        ((|b| b[50] = b'x') as fn(&mut [u8; 512]), "after the end of the text `a`"),
        (|b| b[200] = b'x', "after the end of the text ``"),
        (|b| b[290] = b'x', "after the end of the text ``"),
        (|b| b[320] = b'x', "after the end of the text ``"),
        (|b| b[400] = b'x', "after the end of the text ``"),
        (|b| b[505] = b'x', "something behind it"),
        (|b| b[100..108].copy_from_slice(b"BZh91AY&"), "the mode of `a` is not a number"),
        (|b| b[108..116].copy_from_slice(b"12x45670"), "the owner of `a` is not a number"),
        (|b| b[116..124].copy_from_slice(b"\x80\x01xxxxxx"), "the group of `a` is not a number"),
        (|b| b[136..148].copy_from_slice(b"1234567890ab"), "the time of `a` is not a number"),
        (|b| b[329..337].copy_from_slice(b"xxxxxxxx"), "the device number of `a` is none"),
    ] {
        assert!(with(shape).contains(said), "{said}: {}", with(shape));
    }
    let numbers: [fn(&mut [u8; 512]); 3] = [
        |b| b[136..148].copy_from_slice(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        |b| b[108..116].copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff"),
        |b| b[329..337].copy_from_slice(b"0000000\0"),
    ];
    for shape in numbers {
        open(&[shaped(b'0', b"a", b"", b"x", shape)]).unwrap();
    }
    let mut padded = file("a", b"x");
    padded[600] = b'x';
    assert!(refused(&[padded]).1.contains("follows after the end of `a`"));
}

#[test]
fn what_begins_as_a_compressed_file_is_no_archive() {
    for (name, format) in [
        (&b"BZh91AY&SY"[..], "bzip2"),
        (b"P*M\x18", "zstd"),
        (b"_*M\x18", "zstd"),
        (b"LZIP", "lzip"),
        (b"PK\x03\x04", "zip"),
        (b"\x1f\x8b", "gzip"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\x04\x22\x4d\x18", "lz4"),
    ] {
        let (fault, said) = refused(&[entry(b'0', name, b"", b"x")]);
        assert!(fault == Fault::Ambiguous && said.contains(&format!("{format} compressed")), "{said}");
    }
    open(&[file("P*M", b"x"), file("BZh", b"y")]).unwrap();
}

#[test]
fn records_are_heeded() {
    let records = [
        record("path", "real"),
        record("size", "4"),
        record("mtime", "1.5"),
        record("SCHILY.xattr.user.a", "b"),
    ];
    let pax = entry(b'x', b"pax", b"", &records.concat());
    let member =
        shaped(b'0', b"other", b"", b"good", |block| block[124..136].copy_from_slice(b"00000000000\0"));
    let global = entry(b'g', b"pax_global_header", b"", &record("comment", "a commit"));
    let archive = open(&[global, pax, member, file("next", b"more")]).unwrap();
    assert_eq!(archive.read("real", 9).unwrap(), b"good");
    assert_eq!(archive.read("next", 9).unwrap(), b"more");
    assert!(!archive.contains("other"));
    assert_eq!(archive.names().collect::<Vec<_>>(), ["next", "real"]);
}

#[test]
fn links_are_followed_where_every_program_finds_the_same() {
    let symbolic = |name: &str, target: &str| entry(b'2', name.as_bytes(), target.as_bytes(), b"");
    let hard = |name: &str, target: &str| entry(b'1', name.as_bytes(), target.as_bytes(), b"");
    let read = |link: Vec<u8>, more: &[Vec<u8>], name: &str| {
        let all = [&[file("layers/a/layer.tar", b"layer"), link][..], more].concat();
        open(&all).unwrap().read(name, 9)
    };
    let good = |link, more: &[Vec<u8>], name| assert_eq!(read(link, more, name).unwrap(), b"layer");
    good(symbolic("layers/b", "a/layer.tar"), &[], "layers/b");
    good(symbolic("layers/b/x", "./.././a//layer.tar"), &[], "layers/b/x");
    good(hard("x", "layers/a/layer.tar"), &[], "x");
    good(symbolic("y", "z"), &[symbolic("z", "layers/a/layer.tar")], "y");
    for (link, more, name) in [
        (symbolic("x", "/layers/a/layer.tar"), vec![], "x"),
        (symbolic("x", "../layers/a/layer.tar"), vec![], "x"),
        (symbolic("x", "absent"), vec![], "x"),
        (symbolic("x", "x"), vec![], "x"),
        (symbolic("x", "layers/a"), vec![], "x"),
        (hard("layers/x", "../layers/a/layer.tar"), vec![], "layers/x"),
        (hard("layers/x", "a/layer.tar"), vec![], "layers/x"),
        // The folder on the path is a link, and `..` after it leads somewhere unexpected.
        (symbolic("x", "d/../layers/a/layer.tar"), vec![symbolic("d", "layers")], "x"),
        (symbolic("x", "d/layer.tar"), vec![symbolic("d", "layers/a")], "x"),
        // One file from the root, another from the link's folder.
        (hard("f/x", "layers/a/layer.tar"), vec![file("f/layers/a/layer.tar", b"evil")], "f/x"),
        // When unpacked, the hard link is a symbolic link in another folder.
        (hard("f/x", "s"), vec![symbolic("s", "layers/a/layer.tar")], "f/x"),
    ] {
        let error = read(link, &more, name).unwrap_err();
        assert!(refusal(&error).is_some(), "{name} {more:?}: {error}");
    }
}

#[test]
fn an_archive_that_is_cut_or_damaged_is_refused() {
    let whole = [file("a", &[1; 700]), file("b", b"two")].concat();
    for length in [1, 511, 513, 600, 1200, 1500, 1537, whole.len() - 100] {
        assert!(open_raw(&whole[..length]).is_err(), "{length}");
    }
    for place in [0, 100, 124, 148, 156, 257, 340, 500] {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        assert!(open_raw(&damaged).is_err(), "{place}");
    }
    assert!(open_raw(b"no archive").is_err());
    assert!(open_raw(&[b'x'; 4096]).is_err());
    assert_eq!(open_raw(b"").unwrap().names().count(), 0);
}

fn open_raw(bytes: &[u8]) -> io::Result<Archive> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Archive::of(file)
}

#[test]
fn an_archive_is_read_from_the_file_that_was_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.tar");
    fs::write(&path, [file("a", b"good"), vec![0; 1024]].concat()).unwrap();
    let archive = Archive::open(&path).unwrap();
    fs::write(folder.path().join("other"), [file("a", b"evil"), vec![0; 1024]].concat()).unwrap();
    fs::rename(folder.path().join("other"), &path).unwrap();
    assert_eq!(archive.read("a", 9).unwrap(), b"good");
}

#[test]
fn what_is_kept_is_kept_byte_for_byte() {
    let long = "n".repeat(150);
    let named = [entry(b'x', b"pax", b"", &record("path", &long)), file("short", b"one")].concat();
    let entries = [file("a", b"1"), named.clone(), file("b", b"2"), file("c", &[3; 600])];
    let archive = open(&entries).unwrap();
    let kept = |left_out: &[&str]| {
        let mut bytes = Vec::new();
        archive.without(left_out).read_to_end(&mut bytes).unwrap();
        bytes
    };
    assert_eq!(kept(&[]), entries.concat());
    assert_eq!(kept(&["b"]), [&entries[0][..], &named, &entries[3]].concat());
    assert_eq!(kept(&["a", &long]), [&entries[2][..], &entries[3]].concat());
}

proptest::proptest! {
    /// Any bytes are either accepted or refused.
    #[test]
    fn damaged_archives_are_read_or_refused(
        changes in proptest::collection::vec((0_usize..4096, proptest::num::u8::ANY), 0..6),
        length in 0_usize..4096,
    ) {
        let pax = entry(b'x', b"pax", b"", &record("path", "long/name"));
        let mut bytes = [pax, file("a", b"good"), entry(b'2', b"l", b"long/name", b""), vec![0; 1024]].concat();
        for (place, byte) in changes {
            let place = place % bytes.len();
            bytes[place] = byte;
            // The checksum is corrected, so that more than the checksum is tested.
            let start = place / 512 * 512;
            let block = &mut bytes[start..start + 512];
            block[148..156].copy_from_slice(b"        ");
            let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        bytes.truncate(length);
        if let Ok(archive) = open_raw(&bytes) {
            for name in archive.names().map(str::to_owned).collect::<Vec<_>>() {
                let _ = archive.read(&name, 1 << 20);
            }
        }
    }
}

/// Compresses bytes with gzip.
fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_gzip_packed_has_the_digest_of_what_it_unpacks_to() {
    let layer = b"layer ".repeat(10_000);
    let two = [packed(&layer[..100]), packed(&layer[100..])].concat();
    let archive = open(&[
        file("packed", &packed(&layer)),
        file("two", &two),
        file("plain", &layer),
        file("empty", b""),
        file("cut", &packed(&layer)[..40]),
        file("garbage", &[&packed(&layer)[..], b"more"].concat()),
    ]);
    let archive = archive.unwrap();
    let expected = Some(Sha256Digest::of(&layer));
    assert_eq!(archive.unpacked_digest("packed").unwrap(), expected);
    assert_eq!(archive.unpacked_digest("packed").unwrap(), expected, "it is remembered");
    assert_eq!(archive.digest("packed").unwrap(), Sha256Digest::of(&packed(&layer)), "apart from this");
    assert_eq!(archive.unpacked_digest("two").unwrap(), expected, "as all who load images do");
    assert_eq!(archive.unpacked_digest("plain").unwrap(), None);
    assert_eq!(archive.unpacked_digest("empty").unwrap(), None);
    for name in ["cut", "garbage"] {
        let error = archive.unpacked_digest(name).unwrap_err();
        assert!(refusal(&error).unwrap().reason.contains("cannot be unpacked"), "{name}: {error}");
    }
}

#[test]
fn a_bomb_is_not_unpacked_to_its_end() {
    // 300 MB of zeros.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    io::copy(&mut io::repeat(0).take(300 << 20), &mut encoder).unwrap();
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    let archive = open(&[file("bomb", &bomb)]).unwrap();
    let error = archive.unpacked_digest("bomb").unwrap_err();
    assert!(refusal(&error).unwrap().reason.contains("more than 256 times"), "{error}");
    // Nor may many members, each of which would be accepted alone.
    let packed = packed(&vec![0; 30 << 20]);
    let members: Vec<_> = (0..6).map(|number| file(&format!("layer-{number}"), &packed)).collect();
    let archive = open(&members).unwrap();
    let unpacked: Vec<bool> =
        (0..6).map(|number| archive.unpacked_digest(&format!("layer-{number}")).is_ok()).collect();
    assert!(unpacked[0] && !unpacked[5], "{unpacked:?}");
}
