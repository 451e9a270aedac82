//! `key`: who may do what in a repository, and changing it.

use std::path::{Path, PathBuf};

use lifeboat_core::clock::{Clock, SystemClock};
use lifeboat_core::random::OsEntropy;
use lifeboat_report::members::{
    ExportReport, FloorReport, KeeperLine, KeyAddedReport, KeyListReport, KeyRemovedReport, PublicKeyLine,
    RotatedReport, WriterLine,
};
use lifeboat_report::sheet::RecoverySheet;
use lifeboat_shell::{
    Failure, Outcome, RecoveryFlags, RepositoryFlags, Ui, ViewerFlags, describe, passphrase_for,
};
use lifeboat_vault::{Floor, GroupId, Members, Removed, Repository, Restorer, Roster, write_private};

/// List, add and remove recovery recipients, backup hosts and keepers
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lifeboat-backup key list --writer-key /etc/lifeboat/writer.key
  lifeboat-backup key add writer web-2.key --identity safe-1.key
  lifeboat-backup key add keeper keeper.key --identity safe-1.key
  lifeboat-backup key add recipient age1pq1… --identity safe-1.key
  lifeboat-backup key remove 3f9a12c0 --identity safe-1.key")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: KeyVerb,
}

#[derive(Debug, clap::Subcommand)]
enum KeyVerb {
    /// Show who may do what
    List(ListArgs),
    /// Add a recovery recipient, a backup host or a keeper
    Add(AddArgs),
    /// Remove a recipient, a backup host or a keeper
    ///
    /// It protects what is written from now on. A removed recipient could read everything until now and may have
    /// copies; a removed host's snapshots stay, up to the newest one or up to --last.
    Remove(RemoveArgs),
    /// Seal what is written from now on to a new data identity
    Rotate(ChangeArgs),
    /// Set for how many days, and how many, snapshots are kept whatever is asked
    Floor(FloorArgs),
    /// Print the public keys: with them anyone can check who made a snapshot
    Export(ListArgs),
    /// Write the recovery sheet: a page to print and keep with a recovery key
    ///
    /// It says where the repository lies, its fingerprint, and the steps to bring it back, also without Lifeboat. It
    /// holds no secret.
    Sheet(SheetArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    repository: RepositoryFlags,
    #[command(flatten)]
    keys: ViewerFlags,
}

#[derive(Debug, clap::Args)]
struct SheetArgs {
    /// Where to write the page, such as recovery-sheet.html
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, clap::Args)]
struct ChangeArgs {
    #[command(flatten)]
    repository: RepositoryFlags,
    #[command(flatten)]
    keys: RecoveryFlags,
}

#[derive(Debug, clap::Args)]
struct AddArgs {
    #[command(subcommand)]
    what: NewMember,
}

#[derive(Debug, clap::Subcommand)]
enum NewMember {
    /// Let the holder of a public key recover everything
    Recipient {
        /// An age recipient, an SSH public key, or `passphrase`
        #[arg(value_name = "R")]
        recipient: String,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Enrol a backup host
    Writer {
        /// Where to write the host's writer key
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Deduplicate against the hosts of this group, which then trust each other to store what they say
        /// [default: a group of its own]
        #[arg(long, value_name = "G")]
        group: Option<String>,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Enrol a keeper, who checks and prunes and reads no path and no content
    Keeper {
        /// Where to write the keeper key
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        change: ChangeArgs,
    },
}

#[derive(Debug, clap::Args)]
struct RemoveArgs {
    /// The id, or the first digits of it, as `key list` shows it
    #[arg(value_name = "ID")]
    id: String,
    /// Of a backup host: the sequence of its last snapshot that is to count; must be given where the host's history is
    /// not whole [default: the newest]
    #[arg(long, value_name = "SEQ")]
    last: Option<u64>,
    /// Accept that losing the one recovery key that is left loses everything
    #[arg(long)]
    single_recipient: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, clap::Args)]
struct FloorArgs {
    #[command(flatten)]
    floor: NewFloor,
    #[command(flatten)]
    change: ChangeArgs,
}

/// What is not given stays as it is.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct NewFloor {
    /// Keep every snapshot for this many days
    #[arg(long, value_name = "DAYS")]
    days: Option<u32>,
    /// Keep this many of every host's newest snapshots
    #[arg(long, value_name = "N")]
    snapshots: Option<u32>,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    match args.verb {
        KeyVerb::List(args) => {
            let viewer = args.keys.open(&args.repository).await?;
            ui.report(&list(viewer.repository().location(), viewer.repository().roster()));
        }
        KeyVerb::Add(args) => add(args.what, ui).await?,
        KeyVerb::Remove(args) => remove(args, ui).await?,
        KeyVerb::Rotate(args) => {
            let restorer = args.open().await?;
            let passphrase = passphrase_for(&restorer)?;
            let epoch = restorer.rotate(passphrase.as_ref(), &SystemClock, &OsEntropy).await?;
            ui.report(&RotatedReport { epoch });
        }
        KeyVerb::Floor(args) => {
            let restorer = args.change.open().await?;
            let before = restorer.viewer().repository().roster().floor();
            let floor = Floor {
                days: args.floor.days.unwrap_or(before.days),
                snapshots: args.floor.snapshots.unwrap_or(before.snapshots),
            };
            restorer.set_floor(floor, &SystemClock).await?;
            ui.report(&FloorReport { floor_days: floor.days, floor_snapshots: floor.snapshots });
        }
        KeyVerb::Sheet(args) => {
            let viewer = args.list.keys.open(&args.list.repository).await?;
            ui.report(&write_sheet(&args.file, viewer.repository())?);
        }
        KeyVerb::Export(args) => {
            let viewer = args.keys.open(&args.repository).await?;
            let roster = viewer.repository().roster();
            let members = roster.members();
            ui.report(&ExportReport {
                repository: viewer.repository().id().to_string(),
                root: roster.root_key_pem(),
                writers: members
                    .writers
                    .iter()
                    .map(|w| PublicKeyLine { id: w.id.to_string(), public_key: w.pem() })
                    .collect(),
            });
        }
    }
    Ok(Outcome::Done)
}

impl ChangeArgs {
    async fn open(&self) -> Result<Restorer, Failure> {
        self.keys.open(&self.repository).await
    }
}

async fn add(what: NewMember, ui: &Ui) -> Result<(), Failure> {
    let report = match what {
        NewMember::Recipient { recipient, change } => {
            let mut recipient = lifeboat_shell::recipient(&recipient)?;
            recipient.prepare()?;
            change.open().await?.add_recipient(&recipient, &SystemClock).await?;
            KeyAddedReport { role: "recipient", id: recipient.id(), file: None, group: None }
        }
        NewMember::Writer { file, group, change } => {
            see_that_it_is_free(&file)?;
            let group: Option<GroupId> = match group {
                Some(text) => Some(text.parse().map_err(|error| {
                    Failure::usage(format!("{error}"), "see `lifeboat-backup key list` for the groups")
                })?),
                None => None,
            };
            let restorer = change.open().await?;
            advise_on_floor(&restorer, ui);
            let keep = |key: &lifeboat_vault::WriterKey| write_private(&file, &key.to_text());
            let added = restorer.add_writer(group, &SystemClock, &OsEntropy, keep).await;
            let key = added.inspect_err(|_| drop(std::fs::remove_file(&file)))?;
            let group = Some(key.group_id().to_string());
            KeyAddedReport { role: "writer", id: key.writer.to_string(), file: Some(shown(&file)), group }
        }
        NewMember::Keeper { file, change } => {
            see_that_it_is_free(&file)?;
            let restorer = change.open().await?;
            advise_on_floor(&restorer, ui);
            let keep = |key: &lifeboat_vault::KeeperKey| write_private(&file, &key.to_text());
            let added = restorer.add_keeper(&SystemClock, &OsEntropy, keep).await;
            let key = added.inspect_err(|_| drop(std::fs::remove_file(&file)))?;
            KeyAddedReport {
                role: "keeper",
                id: key.keeper.to_string(),
                file: Some(shown(&file)),
                group: None,
            }
        }
    };
    ui.report(&report);
    Ok(())
}

async fn remove(args: RemoveArgs, ui: &Ui) -> Result<(), Failure> {
    let restorer = args.change.open().await?;
    let passphrase = passphrase_for(&restorer)?;
    let removed = restorer
        .remove(&args.id, args.last, args.single_recipient, passphrase.as_ref(), &SystemClock, &OsEntropy)
        .await?;
    ui.report(&match removed {
        Removed::Recipient(id) => KeyRemovedReport { role: "recipient", id, last: None },
        Removed::Writer(id, last) => KeyRemovedReport { role: "writer", id: id.to_string(), last },
        Removed::Keeper(id) => KeyRemovedReport { role: "keeper", id: id.to_string(), last: None },
    });
    Ok(())
}

/// A floor of no days is left as someone set it, and who adds a key that can be stolen is warned.
fn advise_on_floor(restorer: &Restorer, ui: &Ui) {
    if restorer.viewer().repository().roster().floor().days == 0 {
        ui.warn(&format!(
            "the retention floor has no days, so a thief of this key can have snapshots forgotten at once; \
             `lifeboat-backup key floor --days {}` keeps the younger ones",
            Floor::USUAL_DAYS
        ));
    }
}

/// An existing file is refused before anything is changed, and never removed.
fn see_that_it_is_free(file: &Path) -> Result<(), Failure> {
    if file.symlink_metadata().is_ok() {
        return Err(Failure::usage(
            format!("{} exists already, and key files are never overwritten", file.display()),
            "name a new file",
        ));
    }
    Ok(())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn write_sheet(file: &Path, repository: &Repository) -> Result<RecoverySheet, Failure> {
    let recipients = repository.roster().members().recipients;
    let sheet = RecoverySheet {
        location: repository.location().to_owned(),
        repository: repository.id().to_string(),
        recipients: recipients.iter().map(describe::listed_recipient).collect(),
        made_at: SystemClock.now(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        file: shown(file),
    };
    std::fs::write(file, sheet.html()).map_err(|error| {
        Failure::usage(format!("{} cannot be written: {error}", file.display()), "name another file")
    })?;
    Ok(sheet)
}

fn list(location: &str, roster: &Roster) -> KeyListReport {
    let Members { roster, recipients, writers, keepers, epoch, floor } = roster.members();
    KeyListReport {
        location: location.to_owned(),
        roster,
        epoch,
        floor_days: floor.days,
        floor_snapshots: floor.snapshots,
        recipients: recipients.iter().map(describe::listed_recipient).collect(),
        writers: writers
            .into_iter()
            .map(|writer| WriterLine {
                id: writer.id.to_string(),
                group: writer.group.to_string(),
                is_removed: writer.removed.is_some(),
                last: writer.removed.flatten(),
            })
            .collect(),
        keepers: keepers
            .into_iter()
            .map(|keeper| KeeperLine { id: keeper.id.to_string(), is_removed: keeper.removed })
            .collect(),
    }
}
