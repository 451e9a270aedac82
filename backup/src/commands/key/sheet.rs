//! `key sheet`: works out which commands restore what the newest snapshots hold, and writes them on a page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use lifeboat_core::clock::{Clock, SystemClock};
use lifeboat_core::text::path_text;
use lifeboat_report::sheet::{RecoverySheet, SettingLine, SheetStep, shell_word};
use lifeboat_shell::{Failure, describe};
use lifeboat_vault::{
    Listing, Members, NamedStream, OpenSnapshot, RecoverySession, Snapshot, StreamKind, VaultError, WriterId,
};

use super::ListArgs;

/// How many of a host's snapshots of folders are opened, at most, to learn the folders' paths.
const MOST_OPENED: usize = 16;

#[derive(Debug, clap::Args)]
pub(super) struct SheetArgs {
    /// Where to write the page, such as recovery-sheet.html
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    list: ListArgs,
}

/// Makes the page and writes it.
pub(super) async fn write(args: &SheetArgs) -> Result<RecoverySheet, Failure> {
    let ListArgs { repository: flags, keys } = &args.list;
    let (session, restorer) = keys.open_to_read(flags).await?;
    let repository = session.repository();
    let listing = Listing::read(&session).await?;
    let writers = Members::of(repository.roster()).writers.into_iter();
    let removed = writers.filter(|writer| writer.removed.is_some()).map(|writer| writer.id).collect();
    let mut notes = Vec::new();
    if !listing.unreadable.is_empty() {
        notes.push(
            "Some snapshots could not be read when this page was made; `lifeboat-backup check` says why.",
        );
    }
    if restorer.is_none() {
        notes.push(
            "This page was not made with a recovery key: it has the snapshots that the key at hand shows, and no paths of \
             folders.",
        );
    }
    let mut sheet = RecoverySheet {
        location: describe::lasting_location(repository),
        settings: repository
            .store()
            .settings()
            .iter()
            .map(|(name, value)| SettingLine { name: (*name).to_owned(), value: value.clone() })
            .collect(),
        credentials: repository
            .store()
            .credential_variables()
            .iter()
            .map(|name| (*name).to_owned())
            .collect(),
        repository: repository.id().to_string(),
        recipients: Members::of(repository.roster())
            .recipients
            .iter()
            .map(describe::listed_recipient)
            .collect(),
        steps: steps(&listing, &removed, restorer.as_ref()).await?,
        notes: notes.into_iter().map(str::to_owned).collect(),
        made_at: SystemClock.now(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        file: args.file.display().to_string(),
    };
    let ids = listing.snapshots.iter().map(Snapshot::short_id).collect::<BTreeSet<_>>();
    let has_id = |line: &String| line.split(' ').any(|word| ids.contains(word));
    if sheet.steps.iter().any(|step| step.commands.iter().any(has_id)) {
        sheet.notes.push(
            "A snapshot that is named by digits was the newest of its kind when this page was made: `lifeboat-restore list` \
             shows those that came since. Tags would tell them apart (`lifeboat-backup run --tag`)."
                .to_owned(),
        );
    }
    if flags.allow_http {
        let commands =
            sheet.steps.iter_mut().flat_map(|step| step.commands.iter_mut().chain(&mut step.instead));
        commands.filter(|line| line.starts_with("lifeboat-")).for_each(|line| line.push_str(" --allow-http"));
        sheet.notes.push("The storage speaks plain HTTP: every command needs --allow-http.".to_owned());
    }
    std::fs::write(&args.file, sheet.html()).map_err(|error| {
        Failure::usage(format!("{} cannot be written: {error}", args.file.display()), "name another file")
    })?;
    Ok(sheet)
}

/// A stream as people know it: two with one name on one host are the same data at two times.
type Known = (String, String);

/// One step for each thing that was ever captured, from the newest snapshot that holds it.
async fn steps(
    listing: &Listing,
    removed: &BTreeSet<WriterId>,
    restorer: Option<&RecoverySession>,
) -> Result<Vec<SheetStep>, Failure> {
    let mut hosts: BTreeMap<&str, Vec<&Snapshot>> = BTreeMap::new();
    for snapshot in listing.snapshots.iter().rev() {
        hosts.entry(snapshot.host()).or_default().push(snapshot);
    }
    let mut steps = Vec::new();
    let mut taken = BTreeSet::new();
    for (host, mut snapshots) in hosts {
        // For a host that was enrolled again, `latest` means its new writer's.
        snapshots.sort_by_key(|snapshot| removed.contains(&snapshot.writer()));
        let mut seen: BTreeSet<Known> = BTreeSet::new();
        let mut of_folders: Vec<(&Snapshot, Option<Folders>)> = Vec::new();
        let mut opened = 0;
        for snapshot in snapshots {
            let has_folders = snapshot.streams().any(|stream| stream.kind == StreamKind::Path);
            let is_opened = has_folders && opened < MOST_OPENED;
            opened += usize::from(is_opened);
            let mut writer = Writer { listing, snapshot, host, taken: &mut taken, steps: &mut steps };
            for stream in snapshot.streams() {
                let is_new = |seen: &mut BTreeSet<Known>| {
                    seen.insert((stream.kind.to_string(), stream.name.to_owned()))
                };
                match stream.kind {
                    StreamKind::Volume if is_new(&mut seen) => writer.volume(stream.name),
                    StreamKind::Stdin if is_new(&mut seen) => writer.stdin(stream.name),
                    StreamKind::Volume | StreamKind::Stdin | StreamKind::Path => {}
                }
            }
            let folders = match restorer {
                Some(restorer) if is_opened => Some(Folders::of(restorer, snapshot).await?),
                None if has_folders => None,
                _ => continue,
            };
            let known = match &folders {
                Some(folders) => folders.known(),
                None => vec![("path".to_owned(), snapshot.tags().join(" "))],
            };
            let fresh = known.into_iter().filter(|known| seen.insert(known.clone())).count();
            if fresh > 0 {
                of_folders.push((snapshot, folders));
            }
        }
        for (snapshot, folders) in &of_folders {
            let mut writer = Writer { listing, snapshot, host, taken: &mut taken, steps: &mut steps };
            let others =
                of_folders.iter().map(|(other, _)| *other).filter(|other| other.id() != snapshot.id());
            writer.folders(folders.as_ref(), &others.collect::<Vec<_>>());
        }
    }
    Ok(steps)
}

/// The folders of a snapshot, as a recovery key shows them.
struct Folders {
    named: Vec<NamedStream>,
    paths: Vec<String>,
}

impl Folders {
    async fn of(restorer: &RecoverySession, snapshot: &Snapshot) -> Result<Self, Failure> {
        let opened = OpenSnapshot::open(restorer, snapshot.clone()).await;
        let opened = match opened {
            Ok(opened) => opened,
            Err(VaultError::Object(_)) => return Ok(Self { named: Vec::new(), paths: Vec::new() }),
            Err(error) => return Err(error.into()),
        };
        let named = opened.named_streams().await?;
        let mut paths = Vec::new();
        for stream in named.iter().filter(|stream| stream.kind == StreamKind::Path) {
            let origin = match opened.origin(stream.index).await {
                Ok(origin) => origin,
                Err(error @ (VaultError::Store(_) | VaultError::Interrupted)) => return Err(error.into()),
                // A damaged stream has only its name.
                Err(_) => None,
            };
            paths.push(origin.map_or_else(|| stream.name.clone(), |path| path.display().to_string()));
        }
        Ok(Self { named, paths })
    }

    fn known(&self) -> Vec<Known> {
        self.paths.iter().map(|path| ("path".to_owned(), path.clone())).collect()
    }
}

/// Writes the steps of one snapshot.
struct Writer<'a> {
    listing: &'a Listing,
    snapshot: &'a Snapshot,
    host: &'a str,
    /// Targets that other steps use.
    taken: &'a mut BTreeSet<String>,
    steps: &'a mut Vec<SheetStep>,
}

impl Writer<'_> {
    fn volume(&mut self, name: &str) {
        let (which, to) = (self.which(StreamKind::Volume, Some(name), &[]), self.target(name));
        let (volume, to) = (shell_word(name), shell_word(&to));
        let commands = vec![
            self.folder(),
            format!("lifeboat-restore volume {which} --to-dir {to}"),
            format!("lifeboat-restore diff {which} {to}"),
        ];
        let instead = vec![format!("lifeboat-restore volume {which} --to {volume}")];
        self.push(format!("volume {name}"), commands, instead);
    }

    fn stdin(&mut self, name: &str) {
        let (which, to) = (self.which(StreamKind::Stdin, Some(name), &[]), self.target(name));
        let commands = vec![self.folder(), format!("lifeboat-restore dump {which} > {}", shell_word(&to))];
        self.push(format!("stream {name}"), commands, Vec::new());
    }

    /// `others` are the newest snapshots of other folders of the host.
    fn folders(&mut self, folders: Option<&Folders>, others: &[&Snapshot]) {
        let streams: Vec<_> = self.snapshot.streams().collect();
        let which = self.which(StreamKind::Path, None, others);
        let named: Vec<&NamedStream> = folders
            .iter()
            .flat_map(|folders| &folders.named)
            .filter(|stream| stream.kind == StreamKind::Path)
            .collect();
        let is_alone = streams.iter().filter(|stream| stream.kind != StreamKind::Volume).count() == 1;
        let to = self.target(match &named[..] {
            [only] if is_alone => &only.name,
            _ => "folders",
        });
        let mut commands =
            vec![self.folder(), format!("lifeboat-restore path {which} --to {}", shell_word(&to))];
        for stream in named {
            let to = if is_alone { to.clone() } else { format!("{to}/{}", stream.name) };
            let (to, name) = (shell_word(&to), shell_word(&stream.name));
            commands.push(format!("lifeboat-restore diff {which} {to} --with={name}"));
        }
        let what = match folders.map(|folders| &folders.paths[..]) {
            Some([only]) => format!("folder {only}"),
            Some(paths @ [_, ..]) => format!("folders {}", paths.join(", ")),
            _ => "folders".to_owned(),
        };
        self.push(what, commands, Vec::new());
    }

    fn push(&mut self, what: String, commands: Vec<String>, instead: Vec<String>) {
        self.steps.push(SheetStep {
            host: self.host.to_owned(),
            what,
            taken_at: self.snapshot.time(),
            incomplete: self.snapshot.is_incomplete(),
            commands,
            instead,
        });
    }

    /// The words that name the snapshot now and, if possible, its successors: the latest of the host that holds this
    /// stream, or that holds anything of the kind, with the snapshot's tags if `others` hold something else of the
    /// kind.
    fn which(&self, kind: StreamKind, stream: Option<&str>, others: &[&Snapshot]) -> String {
        let of_stream =
            stream.map_or_else(String::new, |stream| format!(":{}", path_text(stream.as_bytes())));
        let is_meant = |tags: &[String]| {
            let found = self.listing.latest_with(kind, stream, Some(self.host), tags);
            found.is_ok_and(|found| found.is_some_and(|found| found.id() == self.snapshot.id()))
                && !others.iter().any(|other| other.is_of(None, tags))
        };
        let latest = shell_word(&format!("latest{of_stream}"));
        let flags = format!("--kind {kind} --host={}", shell_word(self.host));
        if is_meant(&[]) {
            return format!("{latest} {flags}");
        }
        let tags = self.snapshot.tags();
        if !tags.is_empty() && is_meant(tags) {
            let tags: Vec<String> = tags.iter().map(|tag| format!("--tag={}", shell_word(tag))).collect();
            return format!("{latest} {flags} {}", tags.join(" "));
        }
        format!("{} --kind {kind}", shell_word(&format!("{}{of_stream}", self.snapshot.short_id())))
    }

    /// The folder that contains the host's targets.
    fn folder(&self) -> String {
        format!("mkdir -p {}", shell_word(&format!("restored/{}", plain(self.host))))
    }

    /// A restore target that no other step uses.
    fn target(&mut self, name: &str) -> String {
        let base = format!("restored/{}/{}", plain(self.host), plain(name));
        let numbered = (2_u32..).map(|number| format!("{base}-{number}"));
        let path = std::iter::once(base.clone()).chain(numbered).find(|path| !self.taken.contains(path));
        let path = path.unwrap_or(base);
        self.taken.insert(path.clone());
        path
    }
}

/// Turns a name into one path component that needs no quoting.
fn plain(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    if plain.trim_matches('.').is_empty() || plain.starts_with('-') { format!("_{plain}") } else { plain }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn names_become_parts_of_paths() {
        for (name, part) in
            [("shop_db", "shop_db"), ("a/b c", "a_b_c"), ("..", "_.."), ("-x", "_-x"), ("", "_"), ("ü", "_")]
        {
            assert_eq!(plain(name), part, "{name}");
        }
    }
}
