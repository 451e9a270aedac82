//! `check`: is everything there, whole, and restorable?

use std::time::Instant;

use lifeboat_core::random::{Entropy, OsEntropy};
use lifeboat_report::check::{CheckReport, ClosedGroup, DamageLine, ReadDataLine, UnreadLine};
use lifeboat_shell::{Failure, Outcome, RepositoryFlags, SessionFlags, Ui};
use lifeboat_vault::check::{CheckOptions, Damage, Findings, ReadData, Sample, Shard};

/// Check the repository for damage
///
/// Looks at every object: its hash, its signature, and whether what it refers to is there. A writer key opens the
/// index of its own group, a keeper key that of all groups; with a recovery key and --read-data every frame is opened
/// as well, and every chunk compared with the index.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  lifeboat-backup check -r s3://bucket/backups --keeper-key keeper.key\n  \
                  lifeboat-backup check --read-data=5%\n  lifeboat-backup check --read-data --shard 1/4\n\n\
                  Exit codes: 0 no damage, 1 damage, 3 something could not be read"
)]
pub(crate) struct Args {
    #[command(flatten)]
    repository: RepositoryFlags,
    #[command(flatten)]
    keys: SessionFlags,
    /// Read packs whole: all of them, or a random share such as 5%
    #[arg(long, value_name = "N%", num_args = 0..=1, require_equals = true, default_missing_value = "100%")]
    read_data: Option<String>,
    /// Draw the packs that a report with this seed names
    #[arg(long, value_name = "N", requires = "read_data")]
    seed: Option<u64>,
    /// Check one of N parts of the repository, such as 1/4
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let read_data = match &args.read_data {
        Some(text) => read_data(text, args.seed, &OsEntropy)?,
        None => ReadData::Sizes,
    };
    let shard = args.shard.unwrap_or(Shard::WHOLE);
    let began = Instant::now();
    let (maintenance, key) = args.keys.maintenance(&args.repository, ui).await?;
    let findings = maintenance.check(CheckOptions { read_data, shard }).await?;
    let report = CheckReport {
        location: maintenance.location().to_owned(),
        key: key.to_owned(),
        shard: (!shard.is_whole()).then(|| shard.to_string()),
        read_data: read_data_line(read_data),
        elapsed_seconds: began.elapsed().as_secs_f64(),
        ..report_of(findings)
    };
    ui.report(&report);
    Ok(match (report.damage.is_empty(), report.unread.is_empty()) {
        (false, _) => Outcome::Negative,
        (true, false) => Outcome::Incomplete,
        (true, true) => Outcome::Done,
    })
}

fn read_data(text: &str, seed: Option<u64>, entropy: &dyn Entropy) -> Result<ReadData, Failure> {
    let percent = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    match percent {
        Some(100.0) => Ok(ReadData::All),
        Some(percent) if percent > 0.0 && percent < 100.0 => {
            // Readers of JSON may hold numbers as doubles, which are exact up to 2^53.
            let seed = seed.unwrap_or_else(|| u64::from_le_bytes(entropy.array()) >> 11);
            Ok(ReadData::Sample(Sample { percent, seed }))
        }
        _ => Err(Failure::usage(
            format!("`{}` is not a share of the packs", text.escape_debug()),
            "give a share above 0 % and at most 100 %, such as --read-data=5%, or --read-data alone for all",
        )),
    }
}

fn read_data_line(read_data: ReadData) -> ReadDataLine {
    let (mode, sample) = match read_data {
        ReadData::Sizes => ("sizes", None),
        ReadData::Sample(sample) => ("sample", Some(sample)),
        ReadData::All => ("all", None),
    };
    ReadDataLine {
        mode: mode.to_owned(),
        percent: sample.map(|sample| sample.percent),
        seed: sample.map(|sample| sample.seed),
    }
}

/// One finding in the form that reports show.
pub(crate) fn damage_line(damage: Damage) -> DamageLine {
    DamageLine {
        object: damage.key,
        kind: damage.kind.to_string(),
        reason: damage.reason,
        snapshots: damage.snapshots,
        mend: damage.remedy.to_string(),
    }
}

fn report_of(findings: Findings) -> CheckReport {
    let unread = findings.unread.into_iter();
    CheckReport {
        location: String::new(),
        key: String::new(),
        shard: None,
        read_data: read_data_line(ReadData::Sizes),
        objects: findings.objects,
        snapshots: findings.snapshots,
        packs: findings.packs,
        packs_read: findings.packs_read,
        read_bytes: findings.read_bytes,
        frames_opened: findings.frames_opened,
        damage: findings.damage.into_iter().map(damage_line).collect(),
        unread: unread.map(|unread| UnreadLine { object: unread.key, reason: unread.reason }).collect(),
        closed_groups: findings
            .closed
            .into_iter()
            .map(|(group, objects)| ClosedGroup { group: group.to_string(), objects })
            .collect(),
        notes: findings.notes,
        elapsed_seconds: 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_packs_are_read_and_odd_ones_refused() {
        assert_eq!(read_data("100%", None, &OsEntropy).unwrap(), ReadData::All);
        assert!(
            matches!(read_data("0.5%", None, &OsEntropy).unwrap(), ReadData::Sample(Sample { percent, .. }) if (percent - 0.5).abs() < 1e-9)
        );
        for bad in ["", "%", "5", "0%", "-5%", "101%", "NaN%", "inf%", "five%"] {
            assert!(read_data(bad, None, &OsEntropy).is_err(), "{bad}");
        }
    }
}
