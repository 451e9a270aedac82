//! `stats`: what a repository holds, and how much it saves.

use lifeboat_report::statistics::{CapturedLine, ObjectLine, StatisticsReport};
use lifeboat_shell::{Failure, Outcome, RepositoryFlags, SessionFlags, Ui};
use lifeboat_vault::{Statistics, Total};

/// Tell what a repository holds, and how much deduplication and compression save
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  lifeboat-backup stats -r s3://bucket/backups --writer-key /etc/lifeboat/writer.key"
)]
pub(crate) struct Args {
    #[command(flatten)]
    repository: RepositoryFlags,
    #[command(flatten)]
    keys: SessionFlags,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let (session, _) = args.keys.open_to_read(&args.repository).await?;
    let statistics = Statistics::read(&session, &ui.context()).await?;
    let captured = |total: &Total| CapturedLine {
        snapshots: total.snapshots,
        items: total.items,
        data_bytes: total.data_bytes,
    };
    let objects = statistics.objects.iter().map(|(kind, count)| ObjectLine {
        kind: kind.to_string(),
        objects: count.objects,
        stored_bytes: count.stored_bytes,
    });
    let stored = statistics.stored();
    let report = StatisticsReport {
        location: session.repository().location().to_owned(),
        hosts: statistics.hosts.iter().cloned().collect(),
        newest: captured(&statistics.newest),
        all: captured(&statistics.all),
        objects: objects.collect(),
        object_count: stored.objects,
        stored_bytes: stored.stored_bytes,
        deduplication_ratio: statistics.deduplication_ratio(),
        compression_ratio: statistics.compression_ratio(),
        hidden_groups: statistics.hidden_groups,
        unreadable: statistics.unreadable.iter().map(ToString::to_string).collect(),
    };
    ui.report(&report);
    Ok(if report.unreadable.is_empty() { Outcome::Done } else { Outcome::Negative })
}
