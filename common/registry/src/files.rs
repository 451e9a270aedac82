//! The files of a layout: in a folder, or in an archive as `docker save` and `skopeo` write them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Component, Path, PathBuf};

use lifeboat_core::Sha256Digest;
use lifeboat_core::limits::{read_capped, read_file_capped};

/// How many files an archive may hold.
const MAX_FILES: usize = 1 << 16;

/// How many links in a row are followed to a member.
const MAX_LINKS: usize = 4;

/// Where the files of a layout are.
#[derive(Debug)]
pub(crate) enum Files {
    /// In a folder.
    Folder(PathBuf),
    /// In a tar archive.
    Archive(PathBuf),
}

impl Files {
    /// A folder or an archive, whatever lies at `path`.
    pub(crate) fn at(path: &Path) -> Self {
        if path.is_file() { Self::Archive(path.to_owned()) } else { Self::Folder(path.to_owned()) }
    }

    pub(crate) fn is_archive(&self) -> bool {
        matches!(self, Self::Archive(_))
    }

    /// The path of a file, for messages.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.join(name),
            Self::Archive(archive) => archive.clone(),
        }
    }

    /// Reads a file of at most `cap` bytes.
    pub(crate) fn read(&self, name: &str, cap: u64) -> io::Result<Vec<u8>> {
        match self {
            Self::Folder(folder) => read_file_capped(&folder.join(name), cap),
            Self::Archive(archive) => {
                let (file, size) = open_member(archive, name)?;
                read_capped(file.take(size), cap)
            }
        }
    }

    /// The digest of a file of any size.
    pub(crate) fn digest(&self, name: &str) -> io::Result<Sha256Digest> {
        match self {
            Self::Folder(folder) => Sha256Digest::of_reader(File::open(folder.join(name))?),
            Self::Archive(archive) => {
                let (file, size) = open_member(archive, name)?;
                Sha256Digest::of_reader(file.take(size))
            }
        }
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        match self {
            Self::Folder(folder) => folder.join(name).exists(),
            Self::Archive(archive) => members(archive).is_ok_and(|members| members.contains_key(name)),
        }
    }

    /// Keeps other writers of this house out until the file is dropped.
    pub(crate) fn lock(&self) -> io::Result<File> {
        let file = File::open(match self {
            Self::Folder(folder) => folder.join("oci-layout"),
            Self::Archive(archive) => archive.clone(),
        })?;
        file.lock()?;
        Ok(file)
    }

    /// Writes files in this order; each is there whole or not at all. An archive is written anew.
    pub(crate) fn write(&self, changes: &[(String, Vec<u8>)]) -> io::Result<()> {
        match self {
            Self::Folder(folder) => {
                for (name, bytes) in changes {
                    write_atomically(&folder.join(name), bytes)?;
                }
                Ok(())
            }
            Self::Archive(archive) => rewrite(archive, changes),
        }
    }
}

/// A member of an archive.
#[derive(Debug)]
enum Member {
    /// Where its content begins, and how long it is.
    File(u64, u64),
    /// The name that it stands for; none where that lies outside of the archive.
    Link(Option<String>),
}

/// The members of an archive that are files or stand for files.
fn members(archive: &Path) -> io::Result<BTreeMap<String, Member>> {
    let mut members = BTreeMap::new();
    let mut reader = tar::Archive::new(File::open(archive)?);
    for entry in reader.entries_with_seek()? {
        let entry = entry?;
        let path = entry.path()?;
        let kind = entry.header().entry_type();
        let member = if kind.is_file() {
            Member::File(entry.raw_file_position(), entry.size())
        } else if kind.is_symlink() || kind.is_hard_link() {
            // A symbolic link begins where it lies, a hard link at the archive's root.
            let folder = path.parent().filter(|_| kind.is_symlink()).unwrap_or(Path::new(""));
            Member::Link(entry.link_name()?.and_then(|target| normalise(&folder.join(target))))
        } else {
            continue;
        };
        let name = path.to_string_lossy().trim_start_matches("./").to_owned();
        if members.len() >= MAX_FILES {
            return Err(invalid(format!("the archive holds more than {MAX_FILES} files")));
        }
        // Which of the two counts depends on who unpacks it.
        if members.insert(name.clone(), member).is_some() {
            return Err(invalid(format!("the archive holds `{}` twice", name.escape_default())));
        }
    }
    Ok(members)
}

/// The path without `.` and `..`; `None` if it leads out of the archive.
fn normalise(path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => drop(parts.pop()?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Opens a member. Archives of `docker save` hold a layer once, and links to it for every other image that has it.
fn open_member(archive: &Path, name: &str) -> io::Result<(File, u64)> {
    let members = members(archive)?;
    let mut found = members.get(name).ok_or(io::ErrorKind::NotFound)?;
    for _ in 0..=MAX_LINKS {
        match found {
            Member::File(position, size) => {
                let mut file = File::open(archive)?;
                file.seek(SeekFrom::Start(*position))?;
                return Ok((file, *size));
            }
            Member::Link(target) => {
                found = target.as_ref().and_then(|target| members.get(target)).ok_or_else(|| {
                    invalid(format!(
                        "`{}` is a link to what the archive does not hold",
                        name.escape_default()
                    ))
                })?;
            }
        }
    }
    Err(invalid(format!("`{}` is a link that leads from link to link", name.escape_default())))
}

fn rewrite(archive: &Path, changes: &[(String, Vec<u8>)]) -> io::Result<()> {
    members(archive)?;
    let folder = archive.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let target = tempfile::Builder::new().prefix(".lifeboat-").tempfile_in(folder)?;
    let mut builder = tar::Builder::new(target);
    let mut reader = tar::Archive::new(File::open(archive)?);
    for entry in reader.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let name = path.to_string_lossy().trim_start_matches("./").to_owned();
        if changes.iter().any(|(changed, _)| *changed == name) {
            continue;
        }
        let mut header = entry.header().clone();
        if let Some(target) = entry.link_name()?.map(std::borrow::Cow::into_owned) {
            builder.append_link(&mut header, &path, target)?;
        } else {
            builder.append_data(&mut header, &path, &mut entry)?;
        }
    }
    for (name, bytes) in changes {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        builder.append_data(&mut header, name, &bytes[..])?;
    }
    let file = builder.into_inner()?;
    file.as_file().set_permissions(fs::metadata(archive)?.permissions())?;
    file.as_file().sync_all()?;
    file.persist(archive).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = path.parent().expect("the files of a layout lie in folders");
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".lifeboat-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    // Temporary files are private; the files of a layout are as readable as those beside them.
    let mode = fs::metadata(path)
        .or_else(|_| fs::metadata(folder))
        .map_or(0o644, |m| m.permissions().mode() & 0o666);
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(members: &[(&str, &[u8])]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.tar");
        let mut builder = tar::Builder::new(File::create(&path).unwrap());
        for (name, bytes) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            builder.append_data(&mut header, name, *bytes).unwrap();
        }
        builder.into_inner().unwrap();
        (folder, path)
    }

    #[test]
    fn an_archive_is_read_like_a_folder_and_written_anew() {
        let (_folder, path) = archive(&[("a", b"one"), ("b/c", b"two")]);
        let files = Files::at(&path);
        assert_eq!(files.read("b/c", 3).unwrap(), b"two");
        assert_eq!(files.read("b/c", 2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(files.read("x", 9).unwrap_err().kind(), io::ErrorKind::NotFound);
        files.write(&[("a".to_owned(), b"three".to_vec()), ("d".to_owned(), b"four".to_vec())]).unwrap();
        assert_eq!(files.read("a", 9).unwrap(), b"three");
        assert_eq!(files.read("b/c", 9).unwrap(), b"two");
        assert_eq!(files.digest("d").unwrap(), Sha256Digest::of(b"four"));
    }

    /// An archive of a file `layers/a/layer.tar`, and of links: kind, name, target.
    fn linked(links: &[(tar::EntryType, &str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let (folder, path) = archive(&[("layers/a/layer.tar", b"layer")]);
        let bytes = fs::read(&path).unwrap();
        let mut builder = tar::Builder::new(Vec::new());
        for (kind, name, target) in links {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(0);
            builder.append_link(&mut header, name, target).unwrap();
        }
        let links = builder.into_inner().unwrap();
        // The links come first: what they stand for may come later.
        let links = &links[..links.len() - 1024];
        fs::write(&path, [links, &bytes].concat()).unwrap();
        (folder, path)
    }

    #[test]
    fn links_within_the_archive_are_followed() {
        use tar::EntryType::{Link, Symlink};
        let (_folder, path) = linked(&[
            (Symlink, "layers/b/layer.tar", "../a/layer.tar"),
            (Symlink, "layers/c/layer.tar", "./../b/layer.tar"),
            (Link, "d", "layers/a/layer.tar"),
        ]);
        let files = Files::at(&path);
        for name in ["layers/a/layer.tar", "layers/b/layer.tar", "layers/c/layer.tar", "d"] {
            assert_eq!(files.read(name, 9).unwrap(), b"layer", "{name}");
            assert_eq!(files.digest(name).unwrap(), Sha256Digest::of(b"layer"), "{name}");
        }
        // Written anew, they are the same.
        files.write(&[("more".to_owned(), b"more".to_vec())]).unwrap();
        assert_eq!(files.read("layers/c/layer.tar", 9).unwrap(), b"layer");
    }

    #[test]
    fn links_that_lead_out_or_nowhere_are_refused() {
        use tar::EntryType::{Link, Symlink};
        let secret = tempfile::NamedTempFile::new().unwrap();
        let outside = secret.path().to_str().unwrap();
        for (kind, name, target) in [
            (Symlink, "x", outside),
            (Symlink, "a/x", "../../layers/a/layer.tar"),
            (Symlink, "x", "absent"),
            (Symlink, "x", "x"),
            (Symlink, "x", "layers/a"),
            (Link, "layers/x", "../layers/a/layer.tar"),
            (Link, "layers/x", "a/layer.tar"),
        ] {
            let (_folder, path) = linked(&[(kind, name, target)]);
            let error = Files::at(&path).read(name, 9).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{name} -> {target}: {error}");
            // What else the archive holds is none the worse.
            assert_eq!(Files::at(&path).read("layers/a/layer.tar", 9).unwrap(), b"layer");
        }
        let (_folder, path) = linked(&[(Symlink, "x", "y"), (Symlink, "y", "x")]);
        let error = Files::at(&path).digest("x").unwrap_err().to_string();
        assert_eq!(error, "`x` is a link that leads from link to link");
        // A link beside a file of the same name is two things at once.
        let (_folder, path) = linked(&[(Symlink, "layers/a/layer.tar", "b")]);
        let error = Files::at(&path).read("layers/a/layer.tar", 9).unwrap_err().to_string();
        assert!(error.ends_with("twice"), "{error}");
    }

    #[test]
    fn an_archive_with_a_file_twice_is_refused() {
        let (_folder, path) = archive(&[("a", b"one"), ("a", b"two")]);
        assert_eq!(Files::at(&path).read("a", 9).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
