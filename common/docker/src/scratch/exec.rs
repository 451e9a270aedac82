//! Running a command inside a scratch container.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use futures::StreamExt;

use super::Sandbox;
use crate::EngineError;

/// The most output that is kept from each stream, in bytes.
const OUTPUT_BYTES: usize = 1 << 20;

/// A command to run.
#[derive(Debug, Clone, Default)]
pub struct ExecCommand {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The user inside the container; `None` for the container's own.
    pub user: Option<String>,
    /// Environment variables besides the container's, as `NAME=value`.
    pub env: Vec<String>,
}

/// The output of a command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecOutput {
    /// Its exit code; `None` if it had not ended in time.
    pub exit_code: Option<i64>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// Whether there was more output than was kept.
    pub truncated: bool,
}

impl Sandbox {
    /// Runs `command` in the container `id` for at most `timeout`. A command that is not done by then is
    /// abandoned; it ends with the sandbox, because the engine cannot stop it alone.
    pub async fn exec(
        &self,
        id: &str,
        command: &ExecCommand,
        timeout: Duration,
    ) -> Result<ExecOutput, EngineError> {
        let mut said = ExecOutput::default();
        match tokio::time::timeout(timeout, self.exec_to_end(id, command, &mut said)).await {
            Ok(result) => result.map(|()| said),
            Err(_) => Ok(said),
        }
    }

    async fn exec_to_end(
        &self,
        id: &str,
        command: &ExecCommand,
        said: &mut ExecOutput,
    ) -> Result<(), EngineError> {
        let client = self.engine.client();
        let config = ExecConfig {
            cmd: Some(command.argv.clone()),
            user: command.user.clone(),
            env: Some(command.env.clone()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let exec = client
            .create_exec(id, config)
            .await
            .map_err(EngineError::call(format!("run `{}`", command.argv.first().map_or("", String::as_str))))?
            .id;
        let started = client
            .start_exec(&exec, None::<StartExecOptions>)
            .await
            .map_err(EngineError::call("start a command"))?;
        if let StartExecResults::Attached { mut output, input: _input } = started {
            while let Some(piece) = output.next().await {
                let piece = piece.map_err(EngineError::call("give a command's output"))?;
                let target = match &piece {
                    LogOutput::StdErr { .. } => &mut said.stderr,
                    _ => &mut said.stdout,
                };
                let bytes = piece.into_bytes();
                let room = OUTPUT_BYTES.saturating_sub(target.len());
                target.extend_from_slice(&bytes[..bytes.len().min(room)]);
                said.truncated |= bytes.len() > room;
            }
        }
        // The exit code is available only after the stream has ended.
        let ended =
            client.inspect_exec(&exec).await.map_err(EngineError::call("tell how a command ended"))?;
        said.exit_code = ended.exit_code;
        Ok(())
    }
}
