//! `key remove`: says whose key it is, asks, and takes it off the roster.

use lifeboat_report::members::KeyRemovedReport;
use lifeboat_shell::{Failure, Ui, describe, passphrase_for};
use lifeboat_vault::{Listing, Members, Membership, RecoverySession, Removed, WriterId};

use super::list::newest_of;
use super::{ChangeArgs, Confirmation};

#[derive(Debug, clap::Args)]
pub(super) struct RemoveArgs {
    /// The id, the first digits of it, or the name, as `key list` shows them
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
    confirmation: Confirmation,
    #[command(flatten)]
    change: ChangeArgs,
}

pub(super) async fn remove(args: RemoveArgs, ui: &Ui) -> Result<(), Failure> {
    let restorer = args.change.open().await?;
    let consequence = match Membership::of(&restorer, &ui.context()).member(&args.id)? {
        Removed::Writer(id, _) => of_writer(&restorer, id, args.last).await?,
        Removed::Recipient(id) => of_recipient(&restorer, &id),
        Removed::Keeper(id) => {
            format!(
                "this removes keeper {id}: nothing more is forgotten or deleted because it asked for that"
            )
        }
    };
    // A script names the key on purpose; a person may have mistyped it.
    if ui.can_ask() {
        ui.confirm(&consequence, args.confirmation.yes)?;
    }
    let passphrase = passphrase_for(&restorer)?;
    let removed = Membership::of(&restorer, &ui.context())
        .remove(&args.id, args.last, args.single_recipient, passphrase.as_ref())
        .await?;
    ui.report(&match removed {
        Removed::Recipient(id) => KeyRemovedReport { role: "recipient", id, last: None },
        Removed::Writer(id, last) => KeyRemovedReport { role: "writer", id: id.to_string(), last },
        Removed::Keeper(id) => KeyRemovedReport { role: "keeper", id: id.to_string(), last: None },
    });
    Ok(())
}

async fn of_writer(restorer: &RecoverySession, id: WriterId, last: Option<u64>) -> Result<String, Failure> {
    let listing = Listing::read(restorer.session()).await?;
    let whose = match newest_of(&listing, id) {
        Some(newest) => format!(
            "writer {id} of host {}, whose last snapshot is number {} of {:.0}",
            newest.host(),
            newest.sequence(),
            newest.time()
        ),
        None => format!("writer {id}, which has no snapshot"),
    };
    let up_to = last.map(|last| format!(" and its snapshots after number {last} no longer count"));
    Ok(format!("this removes {whose}: it can back up no more{}", up_to.unwrap_or_default()))
}

fn of_recipient(restorer: &RecoverySession, id: &str) -> String {
    let recipients = Members::of(restorer.session().repository().roster()).recipients;
    let kind = recipients.iter().find(|recipient| recipient.id == id).map(describe::listed_recipient);
    let kind = kind.map(|line| format!(" ({})", line.kind)).unwrap_or_default();
    format!(
        "this removes recovery key {id}{kind}: it cannot read what is written from now on, and {} can",
        match recipients.len() - 1 {
            1 => "one other key".to_owned(),
            others => format!("{others} others"),
        }
    )
}
