//! Signatures by an identity, made by the real cosign with a real Fulcio, Rekor 2 and timestamp authority that this
//! test starts on loopback, and verified here offline.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use lifeboat_tests::command::{Output, run};
use lifeboat_tests::gate::{Missing, listening, setting, trial};
use lifeboat_tests::http::{Answer, serve};
use serde_json::Value;

use super::{Bench, SBOM, says};

pub(super) const IDENTITY: &str = "ann@example.com";

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (kind, variable) in
        [("tag", "LIFEBOAT_TEST_REGISTRY"), ("referrers", "LIFEBOAT_TEST_REFERRERS_REGISTRY")]
    {
        let needs =
            || Ok::<_, Missing>((listening(variable)?, setting("LIFEBOAT_TEST_COSIGN")?, Programs::found()?));
        let name = format!("supply_chain::keyless::{kind}");
        trials.push(trial(&name, needs(), |(address, cosign, programs)| {
            whole(&Bench::new(&address, Some(cosign))?, &programs)
        }));
    }
    trials
}

pub(super) struct Programs {
    fulcio: String,
    rekor: String,
    timestamp: String,
}

impl Programs {
    pub(super) fn found() -> Result<Self, Missing> {
        Ok(Self {
            fulcio: setting("LIFEBOAT_TEST_FULCIO")?,
            rekor: setting("LIFEBOAT_TEST_REKOR")?,
            timestamp: setting("LIFEBOAT_TEST_TIMESTAMP_SERVER")?,
        })
    }
}

/// A process that ends with the test.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path, program: &str, args: &[&str], port: u16) -> Result<Service, Failed> {
    let log = fs::File::create(folder.join(format!("{port}.log")))?;
    let child = Command::new(program)
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let service = Service(child);
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if began.elapsed() > Duration::from_mins(1) {
            let log = fs::read_to_string(folder.join(format!("{port}.log")))?;
            return Err(format!("{program} does not listen at {port}: {log}").into());
        }
        // A port of another process offers no event to wait for.
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(service)
}

/// An unused port below those that the system assigns automatically: other tests use those, and one of them could get
/// it before the service that it is meant for.
fn free_port() -> Result<u16, Failed> {
    static NEXT: AtomicU16 = AtomicU16::new(21_000);
    let mut ports = std::iter::repeat_with(|| NEXT.fetch_add(1, Ordering::Relaxed)).take(1000);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).ok_or_else(|| "no port is free".into())
}

fn shell(folder: &Path, script: &str) -> Result<String, Failed> {
    let said = run(Command::new("sh").args(["-ec", script]).current_dir(folder));
    if said.code == Some(0) {
        Ok(said.stdout.trim().to_owned())
    } else {
        Err(format!("{script}: {said:?}").into())
    }
}

/// An issuer of identities, and a token from it for Ann.
pub(super) fn issuer(folder: &Path) -> Result<(String, String), Failed> {
    const URL_SAFE: &str = "base64 -w0 | tr '+/' '-_' | tr -d '='";
    shell(folder, "openssl genrsa -out issuer.pem 2048 2>/dev/null")?;
    let modulus = shell(
        folder,
        &format!(
            "openssl rsa -in issuer.pem -noout -modulus | cut -d= -f2 | sed 's/../\\\\x&/g' | xargs -0 env printf '%b' | head -c 256 | {URL_SAFE}"
        ),
    )?;
    let jwks = format!(
        r#"{{"keys":[{{"kty":"RSA","alg":"RS256","use":"sig","kid":"1","n":"{modulus}","e":"AQAB"}}]}}"#
    );
    let (send, receive) = std::sync::mpsc::channel::<String>();
    let own = Mutex::new((None, receive));
    let address = serve(move |_, path| {
        let mut own = own.lock().expect("one request at a time");
        if own.0.is_none() {
            own.0 = own.1.recv().ok();
        }
        let url = own.0.clone().unwrap_or_default();
        match path {
            "/.well-known/openid-configuration" => Answer::new(
                200,
                format!(
                    r#"{{"issuer":"{url}","jwks_uri":"{url}/keys","authorization_endpoint":"{url}/a","token_endpoint":"{url}/t","response_types_supported":["code"],"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["RS256"]}}"#
                ),
            )
            .header("Content-Type", "application/json"),
            "/keys" => Answer::new(200, jwks.clone()).header("Content-Type", "application/json"),
            _ => Answer::new(404, ""),
        }
    });
    let url = format!("http://{address}");
    send.send(url.clone())?;
    let token = shell(
        folder,
        &format!(
            r#"now=$(date +%s)
            head=$(printf '{{"alg":"RS256","kid":"1","typ":"JWT"}}' | {URL_SAFE})
            body=$(printf '{{"iss":"{url}","sub":"ann","email":"{IDENTITY}","email_verified":true,"aud":"sigstore","iat":%d,"exp":%d}}' "$now" $((now + 3000)) | {URL_SAFE})
            signature=$(printf '%s.%s' "$head" "$body" | openssl dgst -sha256 -sign issuer.pem -binary | {URL_SAFE})
            printf '%s.%s.%s' "$head" "$body" "$signature""#
        ),
    )?;
    Ok((url, token))
}

/// The services of an instance, and their addresses.
pub(super) struct Instance {
    pub(super) fulcio: String,
    pub(super) timestamp: String,
    _services: Vec<Service>,
}

/// Starts the services and writes `trusted_root.json` and `signing_config.json`.
pub(super) fn instance(bench: &Bench, programs: &Programs, issuer: &str) -> Result<Instance, Failed> {
    let folder = bench.path("");
    let (fulcio, rekor, timestamp) = (free_port()?, free_port()?, free_port()?);
    let ports: Vec<String> =
        (0..4).map(|_| free_port().map(|port| port.to_string())).collect::<Result<_, _>>()?;
    let config = format!(
        r#"oidc-issuers: {{"{issuer}": {{issuer-url: "{issuer}", client-id: sigstore, type: email}}}}"#
    );
    fs::write(bench.path("fulcio.yaml"), config)?;
    let port = fulcio.to_string();
    let args = [
        "serve",
        "--ca=ephemeralca",
        "--ct-log-url=",
        "--config-path=fulcio.yaml",
        "--host=127.0.0.1",
        "--port",
        &port,
        "--grpc-host=127.0.0.1",
        "--grpc-port",
        &ports[0],
        "--metrics-port",
        &ports[1],
    ];
    let mut services = vec![start(&folder, &programs.fulcio, &args, fulcio)?];
    shell(
        &folder,
        "openssl genpkey -algorithm ed25519 -out rekor.pem; openssl pkey -in rekor.pem -pubout -out rekor.pub",
    )?;
    let port = rekor.to_string();
    let args = [
        "serve",
        "--http-address=127.0.0.1",
        "--http-port",
        &port,
        "--grpc-address=127.0.0.1",
        "--grpc-port",
        &ports[2],
        "--hostname=127.0.0.1",
        "--storage-dir=log",
        "--signer-filepath=rekor.pem",
        "--checkpoint-interval=1s",
        "--http-metrics-port",
        &ports[3],
    ];
    services.push(start(&folder, &programs.rekor, &args, rekor)?);
    let port = timestamp.to_string();
    let args = [
        "serve",
        "--host=127.0.0.1",
        "--port",
        &port,
        "--timestamp-signer=memory",
        "--disable-ntp-monitoring",
    ];
    services.push(start(&folder, &programs.timestamp, &args, timestamp)?);
    let get = |port: u16, path: &str, file: &str| {
        shell(
            &folder,
            &format!("curl -sSf --retry 10 --retry-all-errors http://127.0.0.1:{port}{path} -o {file}"),
        )
    };
    get(fulcio, "/api/v1/rootCert", "fulcio.pem")?;
    get(timestamp, "/api/v1/timestamp/certchain", "tsa.pem")?;
    let start = "start-time=2020-01-01T00:00:00Z";
    let root = [
        format!("--fulcio=url=http://127.0.0.1:{fulcio},certificate-chain=fulcio.pem,{start}"),
        format!("--rekor=url=http://127.0.0.1:{rekor},public-key=rekor.pub,{start},origin=127.0.0.1"),
        format!("--tsa=url=http://127.0.0.1:{timestamp}/api/v1/timestamp,certificate-chain=tsa.pem,{start}"),
    ];
    let root: Vec<&str> = root.iter().map(String::as_str).collect();
    bench
        .cosign(&[&["trusted-root", "create", "--out=trusted_root.json"][..], &root].concat())
        .expect_code(0);
    let owned = "operator=test";
    let config = [
        format!("--fulcio=url=http://127.0.0.1:{fulcio},api-version=1,{start},{owned}"),
        format!("--rekor=url=http://127.0.0.1:{rekor},api-version=2,{start},{owned}"),
        format!("--tsa=url=http://127.0.0.1:{timestamp}/api/v1/timestamp,api-version=1,{start},{owned}"),
        format!("--oidc-provider=url={issuer},api-version=1,{start},{owned}"),
    ];
    let config: Vec<&str> = config.iter().map(String::as_str).collect();
    let args =
        ["signing-config", "create", "--out=signing_config.json", "--rekor-config=ANY", "--tsa-config=ANY"];
    bench.cosign(&[&args[..], &config].concat()).expect_code(0);
    Ok(Instance {
        fulcio: format!("http://127.0.0.1:{fulcio}"),
        timestamp: format!("http://127.0.0.1:{timestamp}/api/v1/timestamp"),
        _services: services,
    })
}

/// The timestamp authority serves its metrics at a fixed port, so only one can run at a time.
pub(super) static ALONE: Mutex<()> = Mutex::new(());

fn whole(bench: &Bench, programs: &Programs) -> Result<(), Failed> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (url, token) = issuer(&bench.path(""))?;
    let _instance = instance(bench, programs, &url)?;
    let image = bench.repository.image("1.0", "an image");
    let reference = bench.pinned(image);
    let by = [
        "--signing-config=signing_config.json",
        "--trusted-root=trusted_root.json",
        "--identity-token",
        &token,
    ];
    let there = ["--allow-http-registry", "-y", &reference];
    bench.cosign(&[&["sign"], &by[..], &there].concat()).expect_code(0);
    fs::write(bench.path("sbom.json"), SBOM)?;
    let attest = ["attest", "--type=spdxjson", "--predicate=sbom.json"];
    bench.cosign(&[&attest, &by[..], &there].concat()).expect_code(0);
    fs::write(bench.path("file"), "content")?;
    bench.cosign(&[&["sign-blob", "--bundle=file.json", "-y"], &by[..], &["file"]].concat()).expect_code(0);

    let ann = ["--certificate-identity", IDENTITY, "--certificate-oidc-issuer", &url];
    let root = ["--trusted-root", "trusted_root.json"];
    // Loopback has no certificate transparency log; without one, nothing verifies unless a flag permits that.
    let verify =
        |flags: &[&str]| -> Output { bench.verify(&[&["image", &reference], &root, flags].concat()) };
    let lax = ["--insecure-ignore-sct"];
    let said = verify(&[&ann[..], &lax, &["--json"]].concat()).expect_code(0);
    let report: Value = serde_json::from_str(&said.stdout)?;
    let found = &report["accepted"][0];
    assert_eq!((found["identity"].as_str(), found["issuer"].as_str()), (Some(IDENTITY), Some(url.as_str())));
    assert_eq!((found["log_entries"].as_u64(), found["timestamps"].as_u64()), (Some(1), Some(1)));
    let steps: Vec<&str> =
        found["steps"].as_array().ok_or("steps")?.iter().filter_map(|step| step["name"].as_str()).collect();
    let expected = [
        "format",
        "timestamp",
        "certificate",
        "log inclusion",
        "log entry",
        "signature",
        "identity",
        "statement",
        "subject",
        "predicate type",
    ];
    assert_eq!(steps, expected);
    says(&verify(&ann).expect_code(1), "signed certificate timestamp");
    let other = |identity: &str, issuer: &str| {
        verify(
            &[&["--certificate-identity", identity, "--certificate-oidc-issuer", issuer][..], &lax].concat(),
        )
    };
    says(&other("eve@example.com", &url).expect_code(1), "it was signed by ann@example.com");
    other(IDENTITY, "https://accounts.example.com").expect_code(1);
    let pattern = |identity: &str| {
        let flags =
            ["--certificate-identity-regexp", identity, "--certificate-oidc-issuer-regexp", "http://127.*"];
        verify(&[&flags[..], &lax].concat())
    };
    pattern(".*@example\\.com").expect_code(0);
    // A pattern matches all of an identity or nothing.
    pattern("example\\.com").expect_code(1);
    pattern("ann@example").expect_code(1);
    // The time is when the authority saw it.
    verify(&[&ann[..], &lax, &["--min-time", "2020-01-01T00:00:00Z"]].concat()).expect_code(0);
    says(
        &verify(&[&ann[..], &lax, &["--min-time", "2100-01-01T00:00:00Z"]].concat()).expect_code(1),
        "before 2100",
    );
    // Another trusted root, and then keys only.
    let public_good = bench.verify(&[&["image", &reference], &ann[..], &lax].concat()).expect_code(1);
    says(&public_good, "not of a log that Sigstore's public-good instance knows");
    says(&verify(&["--key", "release.pub"]).expect_code(1), "only keys were given");

    let attestation = |kind: &str, flags: &[&str]| {
        bench.verify(&[&["attestation", &reference, "--type", kind][..], &root, flags, &lax].concat())
    };
    attestation("spdxjson", &ann).expect_code(0);
    attestation("cyclonedx", &ann).expect_code(1);
    let blob = |file: &str, flags: &[&str]| {
        bench.verify(&[&["blob", file, "--bundle", "file.json"][..], &root, flags, &lax].concat())
    };
    blob("file", &ann).expect_code(0);
    blob("sbom.json", &ann).expect_code(1);
    // A key and an identity are two signers.
    bench.sign(&["image", &reference, "--key", "release.key"]).expect_code(0);
    let both = [&ann[..], &lax, &["--key", "release.pub", "--threshold", "2"]].concat();
    verify(&both).expect_code(0);
    verify(&[&ann[..], &lax, &["--key", "other.pub", "--threshold", "2"]].concat()).expect_code(1);
    Ok(())
}
