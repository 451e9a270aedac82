//! A real S3 server: its address, and requests besides a store's, made with curl.

use std::io::Write as _;
use std::process::{Command, Stdio};

use lifeboat_core::Sha256Digest;

use crate::gate::{Missing, listening, setting};

/// A server, a bucket on it, and keys with all rights.
#[derive(Debug, Clone)]
pub struct S3 {
    /// Its URL.
    pub endpoint: String,
    /// The bucket that `scripts/setup` made.
    pub bucket: String,
    region: String,
    keys: Keys,
}

/// Credentials.
#[derive(Debug, Clone)]
pub struct Keys {
    access_key: String,
    secret_key: String,
    session: Option<String>,
}

/// A status and a body.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: String,
    /// The body of the answer.
    pub body: String,
}

impl S3 {
    /// The server in the variables with the prefix `name`, such as `LIFEBOAT_TEST_S3`.
    pub fn find(name: &str) -> Result<Self, Missing> {
        let of = |part: &str| setting(&format!("{name}_{part}"));
        let keys =
            Keys { access_key: of("ACCESS_KEY_ID")?, secret_key: of("SECRET_ACCESS_KEY")?, session: None };
        let (bucket, region) = (of("BUCKET")?, of("REGION")?);
        Ok(Self { endpoint: listening(&format!("{name}_ENDPOINT"))?, bucket, region, keys })
    }

    /// The variables that select it for a store, with all rights.
    pub fn variables(&self) -> Vec<(String, String)> {
        self.variables_with(&self.keys)
    }

    /// The same with other keys.
    pub fn variables_with(&self, keys: &Keys) -> Vec<(String, String)> {
        let mut variables = vec![
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_REGION", self.region.clone()),
            ("AWS_ACCESS_KEY_ID", keys.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", keys.secret_key.clone()),
        ];
        variables.extend(keys.session.clone().map(|session| ("AWS_SESSION_TOKEN", session)));
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Keys for an hour with only the rights in an IAM policy (JSON).
    ///
    /// # Panics
    ///
    /// When the server returns none.
    pub fn keys_with_policy(&self, policy: &str) -> Keys {
        let form = [
            ("Action", "AssumeRole"),
            ("Version", "2011-06-15"),
            ("DurationSeconds", "3600"),
            ("Policy", policy),
        ];
        let mut arguments = vec!["--request".to_owned(), "POST".to_owned()];
        arguments.extend(
            form.iter().flat_map(|(name, value)| ["--data-urlencode".to_owned(), format!("{name}={value}")]),
        );
        let answer = self.curl("sts", "/", arguments);
        let field = |name: &str| {
            let found =
                answer.body.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once('<'));
            found.unwrap_or_else(|| panic!("no {name} in {answer:?}")).0.to_owned()
        };
        Keys {
            access_key: field("AccessKeyId"),
            secret_key: field("SecretAccessKey"),
            session: Some(field("SessionToken")),
        }
    }

    /// Creates a bucket with Object Lock enabled, whose objects cannot be removed for a day, unless it exists.
    ///
    /// # Panics
    ///
    /// When the server does not create it.
    pub fn make_locked_bucket(&self, bucket: &str) {
        let path = format!("/{bucket}");
        let made = self.request("PUT", &path, &["x-amz-bucket-object-lock-enabled: true"], "");
        assert!(["200", "409"].contains(&made.status.as_str()), "{made:?}");
        let rule = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
                    <Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
        let set = self.request("PUT", &format!("{path}?object-lock="), &[], rule);
        assert_eq!(set.status, "200", "{set:?}");
    }

    /// Sends a signed request.
    ///
    /// # Panics
    /// When curl does not run.
    pub fn request(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        let hash = format!("x-amz-content-sha256: {}", Sha256Digest::of(body.as_bytes()));
        let mut arguments = vec!["--request".to_owned(), method.to_owned(), "--header".to_owned(), hash];
        arguments.extend(headers.iter().flat_map(|header| ["--header".to_owned(), (*header).to_owned()]));
        if !body.is_empty() {
            arguments.extend(["--data-binary".to_owned(), body.to_owned()]);
        }
        self.curl("s3", path, arguments)
    }

    fn curl(&self, service: &str, path: &str, arguments: Vec<String>) -> Answer {
        let mut curl = Command::new("curl")
            .args(["--silent", "--config", "-", "--max-time", "20", "--write-out", "\n%{http_code}"])
            .args(arguments)
            .arg(format!("{}{path}", self.endpoint))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("curl runs");
        let Keys { access_key, secret_key, .. } = &self.keys;
        let signing = format!(
            "aws-sigv4 = \"aws:amz:{}:{service}\"\nuser = \"{access_key}:{secret_key}\"\n",
            self.region
        );
        curl.stdin
            .take()
            .expect("it was piped")
            .write_all(signing.as_bytes())
            .expect("curl reads its settings");
        let output = curl.wait_with_output().expect("curl ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap_or(("", &text));
        Answer { status: status.to_owned(), body: body.to_owned() }
    }
}
