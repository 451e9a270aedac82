//! `key`: lists and changes who may do what in a repository.

mod list;
mod remove;
mod sheet;

use std::path::{Path, PathBuf};

use lifeboat_report::members::{ExportReport, FloorReport, KeyAddedReport, PublicKeyLine, RotatedReport};
use lifeboat_shell::{
    Failure, Outcome, RecoveryFlags, RepositoryFlags, SessionFlags, Ui, describe, passphrase_for,
};
use lifeboat_vault::{Floor, GroupId, MemberName, Members, Membership, RecoverySession, write_private};

use crate::floor::{FloorFlags, lowering};

/// List, add and remove recovery recipients, backup hosts and keepers
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lifeboat-backup key list --writer-key /etc/lifeboat/writer.key
  lifeboat-backup key add writer web-2.key --identity safe-1.key
  lifeboat-backup key add keeper keeper.key --identity safe-1.key
  lifeboat-backup key add recovery safe-3.key --identity safe-1.key
  lifeboat-backup key add recipient age1pq1… --identity safe-1.key
  lifeboat-backup key remove 3f9a12c0 --identity safe-1.key
  lifeboat-backup key sheet recovery-sheet.html --identity safe-1.key")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: KeyVerb,
}

#[derive(Debug, clap::Subcommand)]
enum KeyVerb {
    /// Show who may do what
    #[command(after_help = "Example:
  lifeboat-backup key list -r /srv/backups --writer-key /etc/lifeboat/writer.key")]
    List(ListArgs),
    /// Add a recovery key, a backup host or a keeper
    #[command(after_help = "Examples:
  lifeboat-backup key add writer web-2.key --name web-2 -r /srv/backups --identity safe-1.key
  lifeboat-backup key add recovery safe-3.key -r /srv/backups --identity safe-1.key")]
    Add(AddArgs),
    /// Remove a recipient, a backup host or a keeper
    ///
    /// On a terminal it says whose key it is and asks first. It protects what is written from now on. A removed recipient
    /// could read everything until now and may have copies; a removed host's snapshots stay, up to the newest one or up to --last.
    #[command(after_help = "Example:
  lifeboat-backup key remove 3f9a12c0 -r /srv/backups --identity safe-1.key")]
    Remove(remove::RemoveArgs),
    /// Seal what is written from now on to a new data identity
    #[command(after_help = "Example:
  lifeboat-backup key rotate -r /srv/backups --identity safe-1.key")]
    Rotate(ChangeArgs),
    /// Set for how many days, and how many, snapshots are kept whatever is asked
    ///
    /// What is not given stays as it is. Lowering either is asked about first; without a terminal it takes --yes.
    #[command(after_help = "Example:
  lifeboat-backup key floor --floor-days 14 -r /srv/backups --identity safe-1.key")]
    Floor(FloorArgs),
    /// Print the public keys: with them anyone can check who made a snapshot
    #[command(after_help = "Example:
  lifeboat-backup key export -r /srv/backups --writer-key /etc/lifeboat/writer.key")]
    Export(ListArgs),
    /// Write the recovery sheet: a page to print and keep with a recovery key
    ///
    /// It says where the repository lies, its fingerprint, and the commands that bring back and check what the newest
    /// snapshots hold. It holds no secret, and names hosts, volumes and folders. A recovery key knows them all; a writer
    /// key knows its group's, without the paths of folders. Make a new one when what is backed up changes.
    #[command(after_help = "Example:
  lifeboat-backup key sheet recovery-sheet.html -r /srv/backups --identity safe-1.key")]
    Sheet(sheet::SheetArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    repository: RepositoryFlags,
    #[command(flatten)]
    keys: SessionFlags,
}

/// That something is meant, said beforehand.
#[derive(Debug, clap::Args)]
struct Confirmation {
    /// Do not ask whether it is meant
    #[arg(long)]
    yes: bool,
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
    /// Make one more recovery key, which reads everything
    #[command(after_help = "Example:
  lifeboat-backup key add recovery safe-3.key -r /srv/backups --identity safe-1.key")]
    Recovery {
        /// Where to write the recovery key
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        name: NameFlag,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Let the holder of a public key recover everything
    #[command(after_help = "Example:
  lifeboat-backup key add recipient age1pq1… -r /srv/backups --identity safe-1.key")]
    Recipient {
        /// An age recipient, an SSH public key, or `passphrase`
        #[arg(value_name = "R")]
        recipient: String,
        #[command(flatten)]
        name: NameFlag,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Enrol a backup host
    #[command(after_help = "Example:
  lifeboat-backup key add writer web-2.key --name web-2 -r /srv/backups --identity safe-1.key")]
    Writer {
        /// Where to write the host's writer key
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Deduplicate against the hosts of this group, which then trust each other to store what they say
        /// [default: a group of its own]
        #[arg(long, value_name = "G")]
        group: Option<String>,
        #[command(flatten)]
        name: NameFlag,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Enrol a keeper, who checks and prunes and reads no path and no content
    #[command(after_help = "Example:
  lifeboat-backup key add keeper keeper.key -r /srv/backups --identity safe-1.key")]
    Keeper {
        /// Where to write the keeper key
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        name: NameFlag,
        #[command(flatten)]
        change: ChangeArgs,
    },
}

/// What people call a new member.
#[derive(Debug, clap::Args)]
struct NameFlag {
    /// What people call it: `key list` shows the name, and `key remove` takes it
    #[arg(long, value_name = "N")]
    name: Option<MemberName>,
}

#[derive(Debug, clap::Args)]
struct FloorArgs {
    #[command(flatten)]
    floor: FloorFlags,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    change: ChangeArgs,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    match args.verb {
        KeyVerb::List(args) => {
            let session = args.keys.open(&args.repository).await?;
            ui.report(&list::list(&session, ui).await);
        }
        KeyVerb::Add(args) => add(args.what, ui).await?,
        KeyVerb::Remove(args) => remove::remove(args, ui).await?,
        KeyVerb::Rotate(args) => {
            let restorer = args.open().await?;
            let passphrase = passphrase_for(&restorer)?;
            let epoch = Membership::of(&restorer, &ui.context()).rotate(passphrase.as_ref()).await?;
            ui.report(&RotatedReport { epoch });
        }
        KeyVerb::Floor(args) => {
            if args.floor.is_empty() {
                return Err(Failure::usage(
                    "no floor was given",
                    "give --floor-days DAYS, --floor-snapshots N, or both; `key list` shows what is in force",
                ));
            }
            let restorer = args.change.open().await?;
            let before = restorer.session().repository().roster().floor();
            let floor = args.floor.over(before);
            if let Some(consequence) = lowering(before, floor) {
                ui.confirm(&consequence, args.confirmation.yes)?;
            }
            Membership::of(&restorer, &ui.context()).set_floor(floor).await?;
            ui.report(&FloorReport { floor_days: floor.days, floor_snapshots: floor.snapshots });
        }
        KeyVerb::Sheet(args) => ui.report(&sheet::write(&args).await?),
        KeyVerb::Export(args) => {
            let session = args.keys.open(&args.repository).await?;
            let roster = session.repository().roster();
            let members = Members::of(roster);
            ui.report(&ExportReport {
                repository: session.repository().id().to_string(),
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
    async fn open(&self) -> Result<RecoverySession, Failure> {
        self.keys.open(&self.repository).await
    }
}

async fn add(what: NewMember, ui: &Ui) -> Result<(), Failure> {
    let report = |(role, id), name: Option<MemberName>, file: Option<&PathBuf>, group| KeyAddedReport {
        role,
        id,
        name: name.map(String::from),
        file: file.map(|file| file.display().to_string()),
        group,
    };
    let added = match what {
        NewMember::Recovery { file, name: NameFlag { name }, change } => {
            see_that_it_is_free(&file)?;
            let restorer = change.open().await?;
            let location = describe::lasting_location(restorer.session().repository());
            let keep = |text: &str| write_private(&file, text);
            let added = Membership::of(&restorer, &ui.context())
                .add_recovery_key(&location, name.clone(), keep)
                .await;
            let recipient = added.inspect_err(|_| drop(std::fs::remove_file(&file)))?;
            report(("recovery key", recipient.id()), name, Some(&file), None)
        }
        NewMember::Recipient { recipient, name: NameFlag { name }, change } => {
            let mut recipient = lifeboat_shell::recipient(&recipient)?;
            recipient.prepare()?;
            Membership::of(&change.open().await?, &ui.context())
                .add_recipient(&recipient, name.clone())
                .await?;
            report(("recipient", recipient.id()), name, None, None)
        }
        NewMember::Writer { file, group, name: NameFlag { name }, change } => {
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
            let added = Membership::of(&restorer, &ui.context()).add_writer(group, name.clone(), keep).await;
            let key = added.inspect_err(|_| drop(std::fs::remove_file(&file)))?;
            let group = Some(key.group_id().to_string());
            report(("writer", key.writer.to_string()), name, Some(&file), group)
        }
        NewMember::Keeper { file, name: NameFlag { name }, change } => {
            see_that_it_is_free(&file)?;
            let restorer = change.open().await?;
            advise_on_floor(&restorer, ui);
            let keep = |key: &lifeboat_vault::KeeperKey| write_private(&file, &key.to_text());
            let added = Membership::of(&restorer, &ui.context()).add_keeper(name.clone(), keep).await;
            let key = added.inspect_err(|_| drop(std::fs::remove_file(&file)))?;
            report(("keeper", key.keeper.to_string()), name, Some(&file), None)
        }
    };
    ui.report(&added);
    Ok(())
}

/// Warns someone who adds a key that can be stolen if the floor is zero days; a floor that somebody chose stays as it
/// is.
fn advise_on_floor(restorer: &RecoverySession, ui: &Ui) {
    if restorer.session().repository().roster().floor().days == 0 {
        ui.warn(&format!(
            "the retention floor has no days, so a thief of this key can have snapshots forgotten at once; \
             `lifeboat-backup key floor --floor-days {}` keeps the younger ones",
            Floor::USUAL_DAYS
        ));
    }
}

/// Refuses an existing file before anything is changed; it is never removed.
fn see_that_it_is_free(file: &Path) -> Result<(), Failure> {
    if file.symlink_metadata().is_ok() {
        return Err(Failure::usage(
            format!("{} already exists, and key files are never overwritten", file.display()),
            "name a new file",
        ));
    }
    Ok(())
}
