//! Waits until a scratch container is up, and collects its output if it is not.

use std::time::Duration;

use bollard::query_parameters::LogsOptions;
use futures::StreamExt;
use serde_json::Value;
use tokio::time::Instant;

use super::Sandbox;
use crate::EngineError;
use crate::document::{list, some_text, text};
use crate::redaction::redacted;

/// How often a container's state is polled. Health events can be missed; the state cannot.
const POLL: Duration = Duration::from_millis(250);

/// How many of a container's last lines are kept.
const LOG_LINES: usize = 40;

/// How much of a log is read before secrets are removed from it, in lines and bytes.
const READ_LINES: usize = 2000;
const READ_BYTES: usize = 256 << 10;

/// The longest log that is kept, in bytes.
const LOG_BYTES: usize = 8 << 10;

/// A container that is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// Its health check passes.
    Healthy,
    /// It is running, and has no health check.
    Running,
    /// It ran to completion with exit code 0, as its dependants expect.
    Completed,
}

/// A container that is not up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotReady {
    /// Why, in words.
    pub reason: String,
    /// Its last lines.
    pub log: String,
}

impl Sandbox {
    /// Waits until the container `id` is up, or the deadline has passed. `completes` says that it is expected to run to
    /// completion.
    ///
    /// # Errors
    ///
    /// The engine's; the inner result says that the container is not up. `secrets` are removed from its output.
    pub async fn wait_ready(
        &self,
        id: &str,
        completes: bool,
        deadline: Instant,
        secrets: &[String],
    ) -> Result<Result<Ready, NotReady>, EngineError> {
        loop {
            let document = self.engine.container_document(id).await?;
            let reason = match readiness(&document["State"], completes, secrets) {
                Readiness::Up(ready) => return Ok(Ok(ready)),
                Readiness::Down(reason) => Some(reason),
                Readiness::NotYet(_) if Instant::now() < deadline => None,
                Readiness::NotYet(reason) => Some(format!("{reason} when its time was up")),
            };
            if let Some(reason) = reason {
                let log = self.last_lines(id, secrets).await;
                return Ok(Err(NotReady { reason: redacted(&reason, secrets), log }));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether the container `id` is still up, for the end of a stability window.
    pub async fn still_up(
        &self,
        id: &str,
        was: Ready,
        secrets: &[String],
    ) -> Result<Result<(), NotReady>, EngineError> {
        let document = self.engine.container_document(id).await?;
        let fallen = match (was, readiness(&document["State"], was == Ready::Completed, secrets)) {
            (_, Readiness::Up(now)) if now == was => return Ok(Ok(())),
            (_, Readiness::Down(reason) | Readiness::NotYet(reason)) => reason,
            (_, Readiness::Up(_)) => "it changed its state".to_owned(),
        };
        let log = self.last_lines(id, secrets).await;
        Ok(Err(NotReady { reason: redacted(&fallen, secrets), log }))
    }

    /// The container's last lines without `secrets`, if available. Reads more than it keeps, because a secret with many
    /// lines is only found whole.
    async fn last_lines(&self, id: &str, secrets: &[String]) -> String {
        let mut is_cut = false;
        let tail = READ_LINES.to_string();
        let options = LogsOptions { stdout: true, stderr: true, tail, ..Default::default() };
        let mut pieces = self.engine.client().logs(id, Some(options));
        let mut log = Vec::new();
        while let Some(Ok(piece)) = pieces.next().await {
            log.extend_from_slice(&piece.into_bytes());
            // The last bytes matter most; a line may be endless.
            if log.len() > 2 * READ_BYTES {
                log.drain(..log.len() - READ_BYTES);
                is_cut = true;
            }
        }
        let start = log.len().saturating_sub(READ_BYTES);
        is_cut |= start > 0;
        let read = String::from_utf8_lossy(&log[start..]);
        ending(&redacted(whole_lines(&read, is_cut), secrets)).to_owned()
    }
}

/// The last lines of a log that are kept.
fn ending(log: &str) -> &str {
    let first = log.trim_end_matches('\n').rmatch_indices('\n').nth(LOG_LINES - 1);
    let lines = first.map_or(log, |(at, _)| &log[at + 1..]);
    &lines[lines.ceil_char_boundary(lines.len().saturating_sub(LOG_BYTES))..]
}

#[derive(Debug, PartialEq, Eq)]
enum Readiness {
    Up(Ready),
    NotYet(String),
    Down(String),
}

/// The lines of a log, without the first one if its beginning is missing: it may contain part of a secret, which would
/// not be recognised.
fn whole_lines(log: &str, is_cut: bool) -> &str {
    if is_cut { log.split_once('\n').map_or("", |(_, rest)| rest) } else { log }
}

fn readiness(state: &Value, completes: bool, secrets: &[String]) -> Readiness {
    let code = state["ExitCode"].as_i64().unwrap_or(0);
    match state["Status"].as_str().unwrap_or_default() {
        "running" => {
            let health = &state["Health"];
            match health["Status"].as_str() {
                _ if completes => Readiness::NotYet("it still ran".to_owned()),
                None | Some("" | "none") => Readiness::Up(Ready::Running),
                Some("healthy") => Readiness::Up(Ready::Healthy),
                Some(status) => {
                    // Unhealthy is not final: a database that recovers after a crash becomes healthy late.
                    let last = list(&health["Log"]).last().map(|entry| text(&entry["Output"]));
                    let said = redacted(last.unwrap_or_default().trim(), secrets);
                    let said: String = said.chars().take(300).collect();
                    let said =
                        if said.is_empty() { said } else { format!(", its health check said: {said}") };
                    Readiness::NotYet(format!("it was {status}{said}"))
                }
            }
        }
        "exited" | "dead" if completes && code == 0 => Readiness::Up(Ready::Completed),
        "exited" | "dead" => {
            let why = if state["OOMKilled"] == true { ", killed for want of memory" } else { "" };
            let error = some_text(&state["Error"]).map(|e| format!(": {e}")).unwrap_or_default();
            Readiness::Down(format!("it ended with exit code {code}{why}{error}"))
        }
        other => Readiness::NotYet(format!("it was {other}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn readiness_follows_health_and_exit() {
        let up = |state: Value, completes| readiness(&state, completes, &[]);
        assert_eq!(up(json!({"Status": "running"}), false), Readiness::Up(Ready::Running));
        assert_eq!(
            up(json!({"Status": "running", "Health": {"Status": "healthy"}}), false),
            Readiness::Up(Ready::Healthy)
        );
        assert!(matches!(up(json!({"Status": "running"}), true), Readiness::NotYet(_)));
        assert_eq!(up(json!({"Status": "exited", "ExitCode": 0}), true), Readiness::Up(Ready::Completed));
        assert!(matches!(up(json!({"Status": "exited", "ExitCode": 0}), false), Readiness::Down(_)));
        let starting =
            json!({"Status": "running", "Health": {"Status": "unhealthy", "Log": [{"Output": "no\n"}]}});
        assert_eq!(
            up(starting, false),
            Readiness::NotYet("it was unhealthy, its health check said: no".to_owned())
        );
        let killed = json!({"Status": "exited", "ExitCode": 137, "OOMKilled": true});
        assert_eq!(
            up(killed, false),
            Readiness::Down("it ended with exit code 137, killed for want of memory".to_owned())
        );
    }

    #[test]
    fn what_is_cut_shows_no_part_of_a_secret() {
        let secret = "x".repeat(290);
        let state = json!({"Status": "running", "Health": {"Status": "unhealthy", "Log": [{"Output": format!("{}{secret}", "-".repeat(200))}]}});
        let Readiness::NotYet(said) = readiness(&state, false, &[secret]) else { panic!() };
        assert!(said.ends_with("[redacted]") && !said.contains('x'), "{said}");
        assert_eq!(whole_lines("cret\nline\n", true), "line\n");
        assert_eq!(whole_lines("cret", true), "");
        assert_eq!(whole_lines("line", false), "line");
        let log = (0..100).map(|number| number.to_string()).collect::<Vec<_>>().join("\n") + "\n";
        assert!(ending(&log).starts_with("60\n61\n") && ending(&log).ends_with("99\n"), "{}", ending(&log));
        assert_eq!(ending("one\n"), "one\n");
        assert_eq!(ending(&"é".repeat(LOG_BYTES)).len(), LOG_BYTES);
    }
}
