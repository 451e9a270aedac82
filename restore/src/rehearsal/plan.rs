//! The plan of a drill: a TOML file, version 1. Unknown keys are refused, because a check that was misspelt must not
//! count as one that passed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::SignedDuration;
use lifeboat_core::{Fault, Kind, Sha256Digest};
use regex::Regex;
use serde::{Deserialize, Deserializer};

/// The version that this code reads.
const VERSION: u32 = 1;

/// The allowed size of a disk for a drill's volumes, in MiB: what ext4 needs for itself, up to a little less than 16
/// TiB.
const DISK_MIB: std::ops::RangeInclusive<u64> = 8..=16_000_000;

/// What a drill does and expects.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The longest time in which the application should be running again.
    pub rto: Option<Duration>,
    /// The maximum age of the newest snapshot.
    pub rpo: Option<Duration>,
    /// How long all services together may take to come up.
    pub boot_timeout: Duration,
    /// How long they must then stay up.
    pub stability: Duration,
    /// How long the drill may take, including its clean-up.
    pub deadline: Duration,
    /// The runtime that starts the scratch containers, such as `runsc`; `None` for the engine's default.
    pub runtime: Option<String>,
    /// The services whose programs may gain rights, as set-user-id programs do.
    pub may_win_rights: BTreeSet<String>,
    /// The memory that one scratch container may use, in bytes; `None` for half of the host's. All together get half of
    /// the host's, or this if it is more.
    pub memory_bytes: Option<u64>,
    /// The processes and threads that all scratch containers may have together.
    pub processes: u64,
    /// The size of the file system for the drill's volumes, in bytes; `None` for the engine's own folder.
    pub volumes_bytes: Option<u64>,
    /// Environment variables that are changed, by service.
    pub env: BTreeMap<String, BTreeMap<String, String>>,
    /// The checks of the running copy, in this order.
    pub checks: Vec<Check>,
    /// The hash of the file, if there was one.
    pub sha256: Option<Sha256Digest>,
}

/// A check of the running copy.
#[derive(Debug, Clone)]
pub struct Check {
    /// Its name, for people.
    pub name: String,
    /// The service to check: a compose service, or a container's name.
    pub service: String,
    /// How long it may be retried.
    pub timeout: Duration,
    /// What it does.
    pub action: Action,
}

/// What a check does.
#[derive(Debug, Clone)]
pub enum Action {
    /// Runs a command in the service's container.
    Exec {
        /// The program and its arguments.
        command: Vec<String>,
        /// The user inside the container.
        user: Option<String>,
        /// The exit code that is expected.
        exit: i64,
        /// The expected standard output, if any.
        stdout: Option<Expectation>,
        /// Declares that it proves something about the data, whatever it reads.
        proves_data: bool,
    },
    /// Queries a database with its own client in the service's container.
    Sql {
        /// The kind of database.
        engine: SqlEngine,
        /// The user of the database.
        user: String,
        /// The database.
        database: String,
        /// The query; it should change nothing.
        query: String,
        /// The expected rows, as the client prints them: columns separated by tabs, rows by newlines.
        rows: String,
        /// Declares that it proves something about the data, whatever it reads.
        proves_data: bool,
        /// The variable of the container's environment that holds the password.
        password_env: Option<String>,
        /// The user inside the container that runs the client.
        run_as: Option<String>,
    },
    /// Connects from inside the scratch network.
    Tcp {
        /// The port.
        port: u16,
    },
}

/// What an output is expected to be.
#[derive(Debug, Clone)]
pub enum Expectation {
    /// This text, ignoring a final newline.
    Equals(String),
    /// A text that contains this one.
    Contains(String),
    /// A text that this expression matches somewhere.
    Matches(Regex),
}

/// Supported databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SqlEngine {
    /// `PostgreSQL`, by `psql`.
    Postgres,
    /// `MySQL` or `MariaDB`, by `mysql`.
    Mysql,
}

/// Why a plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It is not TOML, or has unknown keys or invalid values.
    #[error("the plan cannot be read")]
    Syntax(#[source] Box<toml::de::Error>),
    /// It is of another version.
    #[error("the plan is of version {found}, and this program reads version {VERSION}")]
    Version {
        /// The version in the plan.
        found: u32,
    },
    /// The size of the disk is out of range.
    #[error("`volumes_mib` must lie between {} and {}", DISK_MIB.start(), DISK_MIB.end())]
    Disk,
    /// A check that makes no sense.
    #[error("check `{check}` cannot be used: {reason}")]
    Check {
        /// Its name, or its number.
        check: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Fault for PlanError {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn advice(&self) -> Option<String> {
        if let Self::Disk = self {
            return Some(
                "give what the application needs for all its volumes, such as `volumes_mib = 20480`"
                    .to_owned(),
            );
        }
        Some("a plan begins with `version = 1`; each check is a `[[check]]` with `kind`, `service` and what its kind needs".to_owned())
    }
}

impl Default for Plan {
    /// The plan if none is given: everything must come up and stay up. No check proves anything about the data, so such
    /// a drill is never verified.
    fn default() -> Self {
        Self {
            rto: None,
            rpo: None,
            boot_timeout: Duration::from_mins(5),
            stability: Duration::from_secs(5),
            deadline: Duration::from_hours(24),
            runtime: None,
            may_win_rights: BTreeSet::new(),
            memory_bytes: None,
            processes: 4096,
            volumes_bytes: None,
            env: BTreeMap::new(),
            checks: Vec::new(),
            sha256: None,
        }
    }
}

impl Plan {
    /// Reads a plan.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let file: File = toml::from_str(text).map_err(|error| PlanError::Syntax(Box::new(error)))?;
        if file.version != VERSION {
            return Err(PlanError::Version { found: file.version });
        }
        let default = Self::default();
        let bytes = |mib: u64| mib.saturating_mul(1 << 20);
        if file.limits.volumes_mib.is_some_and(|mib| !DISK_MIB.contains(&mib)) {
            return Err(PlanError::Disk);
        }
        let mut checks = Vec::new();
        for (place, raw) in file.check.into_iter().enumerate() {
            checks.push(raw.check(place)?);
        }
        Ok(Self {
            rto: file.targets.rto.map(|d| d.0),
            rpo: file.targets.rpo.map(|d| d.0),
            boot_timeout: file.timeout.map_or(default.boot_timeout, |d| d.0),
            stability: file.stability.map_or(default.stability, |d| d.0),
            deadline: file.deadline.map_or(default.deadline, |d| d.0),
            runtime: file.runtime,
            may_win_rights: file
                .services
                .iter()
                .filter(|(_, service)| service.new_privileges)
                .map(|(name, _)| name.clone())
                .collect(),
            memory_bytes: file.limits.memory_mib.map(bytes),
            processes: file.limits.processes.unwrap_or(default.processes),
            volumes_bytes: file.limits.volumes_mib.map(bytes),
            env: file.services.into_iter().map(|(name, service)| (name, service.env)).collect(),
            checks,
            sha256: Some(Sha256Digest::of(text.as_bytes())),
        })
    }
}

impl Expectation {
    /// Whether `output` is as expected, ignoring the newline that most programs add.
    pub fn is_met(&self, output: &str) -> bool {
        let output = output.strip_suffix('\n').unwrap_or(output);
        match self {
            Self::Equals(text) => output == text,
            Self::Contains(text) => output.contains(text.as_str()),
            Self::Matches(expression) => expression.is_match(output),
        }
    }
}

/// A duration as people write it: `15m`, `1h 30m`, `24h`.
struct Friendly(Duration);

impl<'de> Deserialize<'de> for Friendly {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let refuse =
            || serde::de::Error::custom(format!("`{text}` is not a duration such as `90s`, `15m` or `24h`"));
        let duration: SignedDuration = text.parse().map_err(|_| refuse())?;
        Duration::try_from(duration).map(Self).map_err(|_| refuse())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    timeout: Option<Friendly>,
    stability: Option<Friendly>,
    deadline: Option<Friendly>,
    runtime: Option<String>,
    #[serde(default)]
    targets: Targets,
    #[serde(default)]
    limits: LimitsTable,
    #[serde(default)]
    #[expect(dead_code, reason = "there is one policy so far; naming it is checked by its type")]
    signatures: Signatures,
    #[serde(default)]
    services: BTreeMap<String, ServiceTable>,
    #[serde(default)]
    check: Vec<RawCheck>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Targets {
    rto: Option<Friendly>,
    rpo: Option<Friendly>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    memory_mib: Option<u64>,
    processes: Option<u64>,
    volumes_mib: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signatures {
    #[serde(default)]
    #[expect(dead_code, reason = "see the field of the plan")]
    policy: SignaturePolicy,
}

/// The requirements on the images' signatures.
#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SignaturePolicy {
    /// None; the report says how each image was pinned.
    #[default]
    Report,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceTable {
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    new_privileges: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum CheckKind {
    Exec,
    Sql,
    Tcp,
}

/// A number or a text: a count may be written as either.
#[derive(Deserialize)]
#[serde(untagged)]
enum Cell {
    Text(String),
    Whole(i64),
    Truth(bool),
}

impl Cell {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Whole(number) => number.to_string(),
            Self::Truth(truth) => truth.to_string(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCheck {
    name: Option<String>,
    kind: CheckKind,
    service: String,
    timeout: Option<Friendly>,
    command: Option<Vec<String>>,
    run_as: Option<String>,
    exit: Option<i64>,
    equals: Option<String>,
    contains: Option<String>,
    matches: Option<String>,
    proves_data: Option<bool>,
    engine: Option<SqlEngine>,
    user: Option<String>,
    database: Option<String>,
    query: Option<String>,
    expect: Option<Cell>,
    rows: Option<Vec<Vec<Cell>>>,
    password_env: Option<String>,
    port: Option<u16>,
}

impl RawCheck {
    fn check(mut self, place: usize) -> Result<Check, PlanError> {
        let name = self.name.take().unwrap_or_else(|| format!("check {}", place + 1));
        let timeout = self.timeout.take().map_or(Duration::from_secs(30), |timeout| timeout.0);
        let service = std::mem::take(&mut self.service);
        let action = match self.kind {
            CheckKind::Exec => self.exec(),
            CheckKind::Sql => self.sql(),
            CheckKind::Tcp => self.tcp(),
        };
        match action {
            Ok(action) => Ok(Check { name, service, timeout, action }),
            Err(reason) => Err(PlanError::Check { check: name, reason }),
        }
    }

    /// Refuses fields of another kind of check, which would otherwise be ignored.
    fn refuse(strangers: &[(&str, bool)], kind: &str) -> Result<(), String> {
        match strangers.iter().find(|(_, given)| *given) {
            Some((key, _)) => Err(format!("`{key}` means nothing to a check of kind `{kind}`")),
            None => Ok(()),
        }
    }

    fn of_exec(&self) -> [(&'static str, bool); 5] {
        [
            ("command", self.command.is_some()),
            ("exit", self.exit.is_some()),
            ("equals", self.equals.is_some()),
            ("contains", self.contains.is_some()),
            ("matches", self.matches.is_some()),
        ]
    }

    fn of_sql(&self) -> [(&'static str, bool); 7] {
        [
            ("engine", self.engine.is_some()),
            ("user", self.user.is_some()),
            ("database", self.database.is_some()),
            ("query", self.query.is_some()),
            ("expect", self.expect.is_some()),
            ("rows", self.rows.is_some()),
            ("password_env", self.password_env.is_some()),
        ]
    }

    fn exec(self) -> Result<Action, String> {
        Self::refuse(&self.of_sql(), "exec")?;
        Self::refuse(&[("port", self.port.is_some())], "exec")?;
        let command = self
            .command
            .filter(|command| !command.is_empty())
            .ok_or("it needs a `command`, a list of texts")?;
        let mut expectations = Vec::new();
        expectations.extend(self.equals.map(Expectation::Equals));
        expectations.extend(self.contains.map(Expectation::Contains));
        if let Some(expression) = self.matches {
            let compiled = Regex::new(&expression)
                .map_err(|error| format!("`matches` is not an expression: {error}"))?;
            expectations.push(Expectation::Matches(compiled));
        }
        if expectations.len() > 1 {
            return Err("give one of `equals`, `contains` and `matches`".to_owned());
        }
        Ok(Action::Exec {
            command,
            user: self.run_as,
            exit: self.exit.unwrap_or(0),
            stdout: expectations.pop(),
            proves_data: self.proves_data.unwrap_or(false),
        })
    }

    fn sql(self) -> Result<Action, String> {
        Self::refuse(&self.of_exec(), "sql")?;
        Self::refuse(&[("port", self.port.is_some())], "sql")?;
        let engine = self.engine.ok_or("it needs an `engine`: `postgres` or `mysql`")?;
        let rows = match (self.expect, self.rows) {
            (Some(value), None) => value.text(),
            (None, Some(rows)) => {
                let row = |row: Vec<Cell>| row.into_iter().map(Cell::text).collect::<Vec<_>>().join("\t");
                rows.into_iter().map(row).collect::<Vec<_>>().join("\n")
            }
            _ => return Err("it needs either `expect`, the one value, or `rows`".to_owned()),
        };
        let default_user = match engine {
            SqlEngine::Postgres => "postgres",
            SqlEngine::Mysql => "root",
        };
        let user = self.user.unwrap_or_else(|| default_user.to_owned());
        Ok(Action::Sql {
            engine,
            database: self.database.unwrap_or_else(|| user.clone()),
            user,
            query: self.query.ok_or("it needs a `query`")?,
            rows,
            proves_data: self.proves_data.unwrap_or(false),
            password_env: self.password_env,
            run_as: self.run_as,
        })
    }

    fn tcp(self) -> Result<Action, String> {
        Self::refuse(&self.of_sql(), "tcp")?;
        Self::refuse(&[("proves_data", self.proves_data.is_some())], "tcp")?;
        Self::refuse(&self.of_exec(), "tcp")?;
        Self::refuse(&[("run_as", self.run_as.is_some())], "tcp")?;
        let port = self.port.filter(|&port| port > 0).ok_or("it needs a `port`")?;
        Ok(Action::Tcp { port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        version = 1
        timeout = "10m"
        stability = "3s"
        deadline = "2h"
        runtime = "runsc"
        [targets]
        rto = "15m"
        rpo = "1h 30m"
        [limits]
        memory_mib = 512
        [signatures]
        policy = "report"
        [services.web.env]
        MAIL = "off"
        [services.db]
        new_privileges = true
        [[check]]
        name = "orders"
        kind = "sql"
        service = "db"
        engine = "postgres"
        database = "shop"
        query = "select count(*) from orders"
        expect = 100000
        [[check]]
        kind = "exec"
        service = "web"
        command = ["cat", "/version"]
        matches = "^2\\."
        timeout = "5s"
        [[check]]
        kind = "tcp"
        service = "web"
        port = 8080
    "#;

    #[test]
    fn a_whole_plan_is_read() {
        let plan = Plan::parse(WHOLE).unwrap();
        assert_eq!((plan.rto, plan.rpo), (Some(Duration::from_mins(15)), Some(Duration::from_mins(90))));
        assert_eq!(plan.memory_bytes, Some(512 << 20));
        assert_eq!(plan.env["web"]["MAIL"], "off");
        assert_eq!((plan.deadline, plan.runtime.as_deref()), (Duration::from_hours(2), Some("runsc")));
        assert_eq!(plan.may_win_rights.iter().map(String::as_str).collect::<Vec<_>>(), ["db"]);
        assert!(
            matches!(&plan.checks[0].action, Action::Sql { rows, user, .. } if rows == "100000" && user == "postgres")
        );
        assert_eq!(plan.checks.iter().map(Check::proves_data).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(plan.checks[1].name, "check 2");
        assert!(plan.sha256.is_some());
    }

    #[test]
    fn what_no_plan_has_is_refused_with_its_name() {
        for (text, word) in [
            ("version = 2", "version 2"),
            ("version = 1\nretries = 3", "retries"),
            ("version = 1\nstability = \"soon\"", "soon"),
            ("version = 1\n[signatures]\npolicy = \"maybe\"", "maybe"),
            ("version = 1\n[[check]]\nkind = \"ping\"\nservice = \"a\"", "ping"),
            ("version = 1\n[[check]]\nkind = \"tcp\"\nservice = \"a\"", "port"),
            ("version = 1\n[[check]]\nkind = \"tcp\"\nservice = \"a\"\nport = 1\nquery = \"x\"", "query"),
            ("version = 1\n[[check]]\nkind = \"exec\"\nservice = \"a\"\ncommand = []", "command"),
            (
                "version = 1\n[[check]]\nkind = \"exec\"\nservice = \"a\"\ncommand = [\"x\"]\nequals = \"a\"\ncontains = \"b\"",
                "one of",
            ),
            (
                "version = 1\n[[check]]\nkind = \"exec\"\nservice = \"a\"\ncommand = [\"x\"]\nmatches = \"(\"",
                "expression",
            ),
            (
                "version = 1\n[[check]]\nkind = \"sql\"\nservice = \"a\"\nengine = \"postgres\"\nquery = \"q\"",
                "expect",
            ),
        ] {
            let error = Plan::parse(text).unwrap_err();
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            assert!(format!("{error} {source}").contains(word), "{word}: {error} {source}");
            assert_eq!(error.kind(), Kind::Usage);
        }
    }

    #[test]
    fn expectations_ignore_one_line_end_and_nothing_else() {
        assert!(Expectation::Equals("5".into()).is_met("5\n"));
        assert!(
            !Expectation::Equals("5".into()).is_met(" 5\n")
                && !Expectation::Equals("5".into()).is_met("5\n\n")
        );
        assert!(Expectation::Contains("b".into()).is_met("abc"));
        assert!(Expectation::Matches(Regex::new("^a.c$").unwrap()).is_met("abc\n"));
    }
}
