//! Runs the plan's checks against the running copy.

use std::collections::BTreeMap;
use std::time::Duration;

use lifeboat_core::Sha256Digest;
use lifeboat_docker::EngineError;
use lifeboat_docker::redaction::redacted;
use lifeboat_docker::scratch::{ExecCommand, Sandbox};
use lifeboat_report::drill::DrilledCheck;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::plan::{Action, Check, Expectation, SqlEngine};
use super::stop::cancellable;

/// The pause between attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// How long one attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(3);

/// How much of an output the report shows, in characters.
const SHOWN: usize = 400;

/// The running copy of a service, as checks need it.
#[derive(Clone)]
pub(super) struct Target {
    /// The scratch container's id.
    pub(super) id: String,
    /// Its environment, for passwords.
    pub(super) env: BTreeMap<String, String>,
}

/// One attempt.
struct Attempt {
    passed: bool,
    problem: Option<String>,
    output: Option<Vec<u8>>,
}

/// Tries `check` until it passes or its time is up.
pub(super) async fn run(
    sandbox: &Sandbox,
    check: &Check,
    targets: &BTreeMap<String, Target>,
    secrets: &[String],
    cancel: &CancellationToken,
) -> Result<DrilledCheck, EngineError> {
    let started = Instant::now();
    let deadline = started + check.timeout;
    let mut attempts = 0;
    // An earlier attempt's answer says more than the fact that a later one ran out of time.
    let mut answered = None;
    let last = loop {
        attempts += 1;
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(200));
        let attempt = if let Some(target) = targets.get(&check.service) {
            cancellable(cancel, attempt(sandbox, check, target, left, secrets)).await??
        } else {
            let known: Vec<&str> = targets.keys().map(String::as_str).collect();
            let problem = format!("no service has this name; there are: {}", known.join(", "));
            break Attempt { passed: false, problem: Some(problem), output: None };
        };
        let cut_off = Instant::now() >= deadline;
        if attempt.passed || Instant::now() + PAUSE >= deadline {
            break if attempt.passed || !cut_off { attempt } else { answered.unwrap_or(attempt) };
        }
        answered = Some(attempt);
        cancellable(cancel, tokio::time::sleep(PAUSE)).await?;
    };
    let text = last.output.as_deref().map(String::from_utf8_lossy);
    let shown = text.as_deref().map(|text| redacted(text, secrets));
    // From the hash of an output that contains a secret, the secret could be guessed.
    let is_whole = text.as_deref() == shown.as_deref();
    Ok(DrilledCheck {
        name: check.name.clone(),
        kind: kind(&check.action).to_owned(),
        service: check.service.clone(),
        action: redacted(&action(&check.action), secrets),
        expected: redacted(&expected(&check.action), secrets),
        proves_data: check.proves_data(),
        passed: last.passed,
        attempts,
        elapsed_seconds: started.elapsed().as_secs_f64(),
        output: shown.map(|text| cut(&text, SHOWN)),
        output_sha256: last
            .output
            .as_deref()
            .filter(|_| is_whole)
            .map(|output| Sha256Digest::of(output).to_string()),
        problem: last.problem.map(|problem| redacted(&problem, secrets)),
    })
}

/// The start of a text. Secrets must have been removed already: half a secret would not be recognised.
fn cut(redacted: &str, most: usize) -> String {
    redacted.chars().take(most).collect()
}

async fn attempt(
    sandbox: &Sandbox,
    check: &Check,
    target: &Target,
    left: Duration,
    secrets: &[String],
) -> Result<Attempt, EngineError> {
    match &check.action {
        Action::Tcp { port } => {
            let passed = sandbox.accepts_tcp(&target.id, *port, left.min(CONNECT)).await?;
            let problem =
                (!passed).then(|| format!("port {port} accepts no connection from inside the network"));
            Ok(Attempt { passed, problem, output: None })
        }
        Action::Exec { command, user, exit, stdout, .. } => {
            let command = ExecCommand { argv: command.clone(), user: user.clone(), env: Vec::new() };
            ask(sandbox, target, &command, (*exit, stdout.as_ref()), left, secrets).await
        }
        Action::Sql { rows, .. } => {
            let command = client(&check.action, target);
            let rows = Expectation::Equals(rows.clone());
            ask(sandbox, target, &command, (0, Some(&rows)), left, secrets).await
        }
    }
}

async fn ask(
    sandbox: &Sandbox,
    target: &Target,
    command: &ExecCommand,
    (exit, stdout): (i64, Option<&Expectation>),
    left: Duration,
    secrets: &[String],
) -> Result<Attempt, EngineError> {
    let said = match sandbox.exec(&target.id, command, left).await {
        Ok(said) => said,
        // The engine does not run commands in a container that has ended or is just starting.
        Err(EngineError::Answer { message, .. }) => {
            return Ok(Attempt { passed: false, problem: Some(message), output: None });
        }
        Err(error) => return Err(error),
    };
    let text = String::from_utf8_lossy(&said.stdout);
    let problem = match said.exit_code {
        None => Some("it was not done when its time was up".to_owned()),
        Some(code) if code != exit => {
            let stderr = String::from_utf8_lossy(&said.stderr);
            // The error for a missing program comes on standard output.
            let words = if stderr.trim().is_empty() { text.trim() } else { stderr.trim() };
            Some(format!("it ended with exit code {code}: {}", cut(&redacted(words, secrets), SHOWN)))
        }
        Some(_) if said.truncated && stdout.is_some() => {
            Some("its output is too long to be judged".to_owned())
        }
        Some(_) => match stdout {
            Some(expectation) if !expectation.is_met(&text) => {
                Some(format!("the answer was “{}”", cut(&redacted(text.trim(), secrets), 80)))
            }
            _ => None,
        },
    };
    Ok(Attempt { passed: problem.is_none(), problem, output: Some(said.stdout) })
}

/// The database's own client, set to print bare rows. The password is passed in the environment, never as an argument.
fn client(action: &Action, target: &Target) -> ExecCommand {
    let Action::Sql { engine, user, database, query, password_env, run_as, .. } = action else {
        return ExecCommand::default();
    };
    let password = password_env.as_ref().and_then(|name| target.env.get(name));
    let (argv, variable) = match engine {
        SqlEngine::Postgres => (
            vec![
                "psql".to_owned(),
                "--no-psqlrc".to_owned(),
                "--quiet".to_owned(),
                "--no-align".to_owned(),
                "--tuples-only".to_owned(),
                "--no-password".to_owned(),
                "--field-separator=\t".to_owned(),
                "--set=ON_ERROR_STOP=1".to_owned(),
                format!("--username={user}"),
                format!("--dbname={database}"),
                format!("--command={query}"),
            ],
            "PGPASSWORD",
        ),
        SqlEngine::Mysql => (
            vec![
                "mysql".to_owned(),
                "--no-defaults".to_owned(),
                "--batch".to_owned(),
                "--skip-column-names".to_owned(),
                format!("--user={user}"),
                format!("--database={database}"),
                format!("--execute={query}"),
            ],
            "MYSQL_PWD",
        ),
    };
    let env = password.map(|password| format!("{variable}={password}")).into_iter().collect();
    ExecCommand { argv, user: run_as.clone(), env }
}

fn kind(action: &Action) -> &'static str {
    match action {
        Action::Exec { .. } => "exec",
        Action::Sql { .. } => "sql",
        Action::Tcp { .. } => "tcp",
    }
}

fn action(action: &Action) -> String {
    match action {
        Action::Exec { command, .. } => command.join(" "),
        Action::Sql { query, .. } => query.clone(),
        Action::Tcp { port } => format!("connect to port {port}"),
    }
}

fn expected(action: &Action) -> String {
    match action {
        Action::Exec { exit, stdout: None, .. } => format!("exit code {exit}"),
        Action::Exec { exit, stdout: Some(stdout), .. } => {
            let output = match stdout {
                Expectation::Equals(text) => format!("output “{text}”"),
                Expectation::Contains(text) => format!("output with “{text}”"),
                Expectation::Matches(expression) => format!("output that matches {expression}"),
            };
            if *exit == 0 { output } else { format!("exit code {exit}, {output}") }
        }
        Action::Sql { rows, .. } if rows.contains(['\n', '\t']) => "the given rows".to_owned(),
        Action::Sql { rows, .. } => format!("the value {rows}"),
        Action::Tcp { .. } => "a connection".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_an_argument() {
        let action = Action::Sql {
            engine: SqlEngine::Mysql,
            user: "root".into(),
            database: "shop".into(),
            query: "select 1".into(),
            proves_data: false,
            rows: "1".into(),
            password_env: Some("MYSQL_ROOT_PASSWORD".into()),
            run_as: None,
        };
        let env = BTreeMap::from([("MYSQL_ROOT_PASSWORD".to_owned(), "hunter2".to_owned())]);
        let command = client(&action, &Target { id: String::new(), env });
        assert!(command.argv.iter().all(|argument| !argument.contains("hunter2")));
        assert_eq!(command.env, ["MYSQL_PWD=hunter2"]);
    }
}
