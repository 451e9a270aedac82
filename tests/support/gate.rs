//! Gates for tests that need a real service: without it a test is *ignored* with the reason in its name, or fails where
//! services are required (`CI`, `LIFEBOAT_REQUIRE_SERVICES`).

use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

/// Why a service cannot be used.
#[derive(Debug, Clone)]
pub struct Missing(pub String);

/// A trial that runs `test` with the service when it is there.
pub fn trial<S: Send + 'static>(
    name: &str,
    service: Result<S, Missing>,
    test: impl FnOnce(S) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    match service {
        Ok(service) => {
            let name = name.to_owned();
            Trial::test(name.clone(), move || {
                let began = Instant::now();
                let result = test(service);
                note_time(&name, began.elapsed());
                result
            })
        }
        Err(Missing(reason)) if services_are_required() => Trial::test(name, move || {
            Err(Failed::from(format!("a service that is required here is missing: {reason}")))
        }),
        Err(Missing(reason)) => skipped(name, reason),
    }
}

/// Appends `SECONDS NAME` to the file that `scripts/test` names, if it does: this harness does not report times.
fn note_time(name: &str, time: Duration) {
    let Some(path) = std::env::var_os("LIFEBOAT_TEST_TIMES") else { return };
    let line = format!("{:.3} {name}\n", time.as_secs_f64());
    let file = File::options().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file of times can be written");
}

/// A trial that is ignored, with the reason.
pub fn skipped(name: &str, reason: impl Into<String>) -> Trial {
    Trial::test(name, || Ok(())).with_kind(reason.into()).with_ignored_flag(true)
}

/// The folder outside of this project that the variable `name` names. If it is not set, the folder's content is not
/// needed.
pub fn corpus(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Makes trials from functions that need one service.
pub fn trials_with<S: Clone + Send + 'static>(service: Result<S, Missing>) -> impl Fn(&str, fn(&S)) -> Trial {
    move |name, test| {
        trial(name, service.clone(), move |service| {
            test(&service);
            Ok(())
        })
    }
}

/// Whether a missing service fails a test instead of ignoring it.
pub fn services_are_required() -> bool {
    ["CI", "LIFEBOAT_REQUIRE_SERVICES"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()))
}

/// The value of an environment variable written by `scripts/setup`, such as the address of a test registry.
pub fn setting(name: &str) -> Result<String, Missing> {
    std::env::var(name).map_err(|_| Missing(format!("{name} is not set; run scripts/setup")))
}

/// The Python with the packages of the programs that the tests compare with.
pub fn interpreter() -> Result<PathBuf, Missing> {
    let python = PathBuf::from(setting("LIFEBOAT_TEST_PYTHON")?);
    if python.exists() {
        return Ok(python);
    }
    Err(Missing(format!("{} is not there; run scripts/setup", python.display())))
}

/// The `host:port` in the variable `name`, if something listens there.
pub fn listening(name: &str) -> Result<String, Missing> {
    let address = setting(name)?;
    let socket = address
        .trim_start_matches("http://")
        .parse()
        .map_err(|_| Missing(format!("{name} is `{address}`, not an address and port")))?;
    TcpStream::connect_timeout(&socket, Duration::from_secs(2))
        .map_err(|error| Missing(format!("nothing listens at {address} ({error})")))?;
    Ok(address)
}
