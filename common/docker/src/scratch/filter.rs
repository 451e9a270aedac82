//! The second barrier: packet filter rules on the host that drop every packet between a sandbox's bridge and the host,
//! or any other network of the host's.
//!
//! One more rule keeps traffic between containers out of the host's connection table, which a container could fill:
//! then the host's own services would get no new connections (netfilter, `nf_conntrack: table full, dropping packet`).
//!
//! Each rule has a comment with the rehearsal's name, its date and this machine's mark, by which [`left`] finds it.

use std::collections::BTreeMap;
use std::path::Path;

use super::host_program;
use crate::EngineError;
use crate::ownership::{EXPIRES_LABEL, MARK_LABEL, Ownership, REHEARSAL_LABEL, ScratchKind};

/// The programs, each with the address family that it filters.
const PROGRAMS: [(&str, Family); 2] = [("iptables", Family::V4), ("ip6tables", Family::V6)];

/// How long another program may hold the filter's lock, in seconds.
const LOCK_SECONDS: &str = "10";

/// How often rules are set again if the engine's own came before them.
const RAISES: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

/// The rules of one sandbox.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    bridge: String,
    comment: String,
}

/// A rule that a rehearsal has set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeftRule {
    /// The program that lists it, and the rule in that program's form.
    pub(super) line: String,
    /// The rehearsal's name.
    pub(super) name: String,
    /// The content of its comment, as labels.
    pub(super) labels: BTreeMap<String, String>,
}

fn cannot(reason: String) -> EngineError {
    EngineError::WallMissing {
        wall: "packet filter",
        reason,
        advice:
            "install `iptables` with `ip6tables` (Debian: the package iptables), on a kernel with the tables \
                 `filter` and `raw`, and run as root on the engine's host; nothing was restored"
                .to_owned(),
    }
}

/// Whether the kernel has IPv6 at all; if not, there is nothing to filter.
fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

fn programs() -> impl Iterator<Item = &'static str> {
    PROGRAMS.into_iter().filter(|(_, family)| *family == Family::V4 || has_ipv6()).map(|(program, _)| program)
}

/// Runs a program that must succeed; returns its output.
async fn call(program: &str, args: &[&str]) -> Result<String, EngineError> {
    let waiting = [&["-w", LOCK_SECONDS], args].concat();
    host_program::call(program, &waiting, &args.join(" ")).await.map_err(cannot)
}

/// The tables of the packet filter that have our rules.
const TABLES: [&str; 2] = ["filter", "raw"];

/// One rule of a sandbox.
struct Rule<'a> {
    table: &'static str,
    chain: &'static str,
    /// Its match and action.
    words: Vec<&'a str>,
}

/// The rules that isolate `bridge`, and the one that disables connection tracking for its packets. Traffic between the
/// sandbox's containers passes, even if bridged packets go through the filter.
fn rules<'a>(bridge: &'a str, comment: &'a str) -> Vec<Rule<'a>> {
    let rule = |table, chain, matches: &[&'a str], target: &[&'a str]| Rule {
        table,
        chain,
        words: [matches, &["-m", "comment", "--comment", comment, "-j"], target].concat(),
    };
    vec![
        rule("filter", "INPUT", &["-i", bridge], &["DROP"]),
        rule("filter", "OUTPUT", &["-o", bridge], &["DROP"]),
        rule("filter", "FORWARD", &["-i", bridge, "!", "-o", bridge], &["DROP"]),
        rule("filter", "FORWARD", &["!", "-i", bridge, "-o", bridge], &["DROP"]),
        rule("raw", "PREROUTING", &["-i", bridge], &["CT", "--notrack"]),
    ]
}

/// The words of a listed rule, without the quotation marks that some versions put around a comment.
fn words(line: &str) -> Vec<&str> {
    line.split_ascii_whitespace().map(|word| word.trim_matches('"')).collect()
}

/// Compares the listing (`-S`) of a table with the rules that should be in it. `first` also requires that no other rule
/// precedes ours in its chain.
fn faults(table: &str, listing: &str, bridge: &str, comment: &str, first: bool) -> Vec<String> {
    let lines: Vec<Vec<&str>> = listing.lines().map(words).collect();
    let mut faults = Vec::new();
    for Rule { chain, words, .. } in rules(bridge, comment).into_iter().filter(|rule| rule.table == table) {
        let wanted: Vec<&str> = ["-A", chain].into_iter().chain(words).collect();
        let Some(place) = lines.iter().position(|line| *line == wanted) else {
            faults.push(format!("the rule of {chain} is not there"));
            continue;
        };
        let mut others = lines[..place].iter().filter(|line| line.starts_with(&["-A", chain]));
        if first && others.any(|line| read_comment(line).is_none()) {
            faults.push(format!("another rule of {chain} stands before ours"));
        }
    }
    faults
}

/// Parses the comment of one of our rules: name, date, mark.
fn read_comment(line: &[&str]) -> Option<(String, BTreeMap<String, String>)> {
    let place = line.iter().position(|word| *word == "--comment")?;
    let mut parts = line.get(place + 1)?.split('/');
    let (name, expires, mark) = (parts.next()?, parts.next()?, parts.next()?);
    let id = name.strip_prefix("lifeboat-")?;
    let labels = [(REHEARSAL_LABEL, id), (EXPIRES_LABEL, expires), (MARK_LABEL, mark)];
    Some((name.to_owned(), labels.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()))
}

impl Filter {
    pub(super) fn new(owner: &Ownership) -> Self {
        let name = owner.network_name();
        let mark = owner.mark(ScratchKind::Filter, &name);
        Self { bridge: owner.bridge_name(), comment: format!("{name}/{}/{mark}", owner.expires) }
    }

    /// Checks that rules can be set at all, before anything is created.
    pub(super) async fn available() -> Result<(), EngineError> {
        for program in programs() {
            for table in TABLES {
                call(program, &["-t", table, "-S"]).await?;
            }
        }
        Ok(())
    }

    /// Sets the rules before all others, and verifies them. The engine inserts its own rules first whenever it creates
    /// a network, so ours are set again if that happens in the meantime.
    pub(super) async fn raise(&self) -> Result<(), EngineError> {
        self.set("-I").await?;
        for _ in 0..RAISES {
            if self.look(true).await?.is_empty() {
                return Ok(());
            }
            self.set("-D").await?;
            self.set("-I").await?;
        }
        let faults = self.look(true).await?;
        if faults.is_empty() { Ok(()) } else { Err(cannot(faults.join(", "))) }
    }

    /// Inserts each rule before all others (`-I`), or deletes it (`-D`).
    async fn set(&self, how: &str) -> Result<(), EngineError> {
        for program in programs() {
            for Rule { table, chain, words } in rules(&self.bridge, &self.comment) {
                call(program, &[&["-t", table, how, chain], &words[..]].concat()).await?;
            }
        }
        Ok(())
    }

    /// The rules that are missing.
    pub(super) async fn faults(&self) -> Result<Vec<String>, EngineError> {
        self.look(false).await
    }

    async fn look(&self, first: bool) -> Result<Vec<String>, EngineError> {
        let mut found = Vec::new();
        for program in programs() {
            for table in TABLES {
                let listing = call(program, &["-t", table, "-S"]).await?;
                let faults = faults(table, &listing, &self.bridge, &self.comment, first);
                found.extend(faults.into_iter().map(|fault| format!("{program}: {fault}")));
            }
        }
        Ok(found)
    }
}

/// The rules that rehearsals have set and that still exist. A host without a packet filter has none.
pub(super) async fn left() -> Result<Vec<LeftRule>, EngineError> {
    let mut left = Vec::new();
    for program in programs() {
        for table in TABLES {
            // A user who may not list rules, because it is not root, has not set any either.
            let Ok(listing) = call(program, &["-t", table, "-S"]).await else { continue };
            left.extend(left_in(program, table, &listing));
        }
    }
    Ok(left)
}

fn left_in(program: &str, table: &str, listing: &str) -> Vec<LeftRule> {
    listing
        .lines()
        .filter_map(|line| {
            let words = words(line);
            let (name, labels) = read_comment(&words).filter(|_| words.first() == Some(&"-A"))?;
            Some(LeftRule { line: format!("{program} -t {table} {}", words.join(" ")), name, labels })
        })
        .collect()
}

/// Removes a rule that [`left`] has found.
pub(super) async fn remove(line: &str) -> Result<(), EngineError> {
    let mut words = line.split(' ');
    let program = words.next().unwrap_or_default();
    let args: Vec<&str> = words.map(|word| if word == "-A" { "-D" } else { word }).collect();
    call(program, &args).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRIDGE: &str = "lb-0123456789ab";
    const COMMENT: &str = "lifeboat-0123456789abcdef/2026-01-01T00:00:00Z/ffff";

    fn listing() -> String {
        let ours = rules(BRIDGE, COMMENT).into_iter().filter(|rule| rule.table == "filter");
        let ours = ours.map(|Rule { chain, words, .. }| {
            format!("-A {chain} {}\n", words.join(" ").replace(COMMENT, &format!("\"{COMMENT}\"")))
        });
        let ours: String = ours.collect();
        format!("-P INPUT ACCEPT\n-N DOCKER\n{ours}-A FORWARD -j DOCKER-USER\n-A INPUT -p tcp -j ACCEPT\n")
    }

    #[test]
    fn a_rule_that_is_missing_or_stands_behind_anothers_is_a_fault() {
        assert_eq!(faults("filter", &listing(), BRIDGE, COMMENT, true), [""; 0]);
        let without_input: String = listing()
            .lines()
            .filter(|l| !l.starts_with("-A INPUT -i"))
            .fold(String::new(), |all, l| all + l + "\n");
        assert_eq!(
            faults("filter", &without_input, BRIDGE, COMMENT, true),
            ["the rule of INPUT is not there"]
        );
        assert_eq!(faults("filter", "", BRIDGE, COMMENT, false).len(), 4, "the filter was flushed");
        assert_eq!(faults("raw", "", BRIDGE, COMMENT, false), ["the rule of PREROUTING is not there"]);
        let behind = format!("-A INPUT -s 10.0.0.0/8 -j ACCEPT\n{}", listing());
        assert_eq!(
            faults("filter", &behind, BRIDGE, COMMENT, true),
            ["another rule of INPUT stands before ours"]
        );
        assert_eq!(faults("filter", &behind, BRIDGE, COMMENT, false), [""; 0]);
        let sibling = format!(
            "-A INPUT -i lb-ffffffffffff -m comment --comment lifeboat-ffffffffffffffff/x/y -j DROP\n{}",
            listing()
        );
        assert_eq!(faults("filter", &sibling, BRIDGE, COMMENT, true), [""; 0]);
        assert_eq!(
            faults("filter", &listing(), "lb-000000000000", COMMENT, true).len(),
            4,
            "another bridge's rules"
        );
    }

    #[test]
    fn rules_of_rehearsals_are_found_by_their_comment_and_no_others() {
        let others = "-A INPUT -m comment --comment \"lifeboat\" -j DROP\n-A INPUT -j ACCEPT\n";
        let left = left_in("iptables", "filter", &(listing() + others));
        assert_eq!(left.len(), 4);
        assert_eq!(left[0].name, "lifeboat-0123456789abcdef");
        assert_eq!(left[0].labels[EXPIRES_LABEL], "2026-01-01T00:00:00Z");
        assert!(
            left[0].line.starts_with("iptables -t filter -A INPUT -i lb-0123456789ab -m comment"),
            "{}",
            left[0].line
        );
    }
}
