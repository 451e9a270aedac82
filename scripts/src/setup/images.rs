//! Images for the tests, made from Debian's packages and pushed to the registry on loopback.
//!
//! An imported image has no repository digest until it is pushed; the push gives it one.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::part::{Outcome, Ready};
use super::state::State;
use super::{packages, registry};
use crate::problem::Problem;
use crate::process::{ask, privileged, run};

pub(crate) const POSTGRES: &str = "lifeboat-test/postgres:15";
pub(crate) const BUSYBOX: &str = "lifeboat-test/busybox:1";

/// How an image is made from a file system. Its hash is a label of the image, so a changed recipe rebuilds it.
#[derive(Hash)]
struct Recipe {
    image: &'static str,
    config: &'static [&'static str],
    stop_signal: Option<&'static str>,
    entrypoint: &'static str,
    /// Folders for the service's user, who starts it and may not create them.
    dirs: &'static [&'static str],
}

const POSTGRES_RECIPE: Recipe = Recipe {
    image: POSTGRES,
    config: &[
        "ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "ENV LANG=C.UTF-8",
        "ENV PGDATA=/var/lib/postgresql/data",
        "EXPOSE 5432",
        "USER postgres",
        "HEALTHCHECK --interval=1s --timeout=5s --retries=60 CMD [\"pg_isready\", \"--quiet\", \"--host=127.0.0.1\"]",
        "ENTRYPOINT [\"/usr/local/bin/postgres-entrypoint\"]",
        "CMD [\"postgres\"]",
    ],
    // As in the official image: SIGINT ends connections and shuts down in order, SIGTERM would wait for them.
    stop_signal: Some("SIGINT"),
    entrypoint: include_str!("../../postgres-entrypoint"),
    dirs: &["/var/lib/postgresql/data", "/run/postgresql"],
};

const BUSYBOX_RECIPE: Recipe = Recipe {
    image: BUSYBOX,
    config: &["ENV PATH=/bin", "CMD [\"sh\"]"],
    stop_signal: None,
    entrypoint: "",
    dirs: &[],
};

const RECIPE_LABEL: &str = "lifeboat.recipe";

pub(super) fn ensure_postgres(state: &State) -> Outcome {
    ensure(state, &POSTGRES_RECIPE, |dir, tar| {
        let keyring = Path::new("/usr/share/keyrings/debian-archive-keyring.gpg");
        if !keyring.exists() {
            packages::ensure(state, &[("debian-archive-keyring", "debian-archive-keyring")])?;
        }
        packages::ensure(state, &[("mmdebstrap", "mmdebstrap")])?;
        let entrypoint = Path::new(env!("CARGO_MANIFEST_DIR")).join("postgres-entrypoint");
        let mut build = privileged("mmdebstrap");
        // Sockets go to a folder in /run, which would be emptied.
        build.args(["--mode=root", "--variant=minbase", "--include=postgresql-15", "--skip=cleanup/run"]);
        for left_out in ["doc", "man", "locale"] {
            build.arg(format!("--dpkgopt=path-exclude=/usr/share/{left_out}/*"));
        }
        build.arg(format!("--customize-hook=copy-in '{}' /usr/local/bin", entrypoint.display()));
        for dir in POSTGRES_RECIPE.dirs {
            let make = format!("install -d -o postgres -g postgres -m 700 {dir}");
            build.arg(format!("--customize-hook=chroot \"$1\" {make}"));
        }
        build.arg("bookworm").arg(tar);
        build.env("TMPDIR", dir);
        run(&mut build, &state.log("postgres-image"))
    })
}

pub(super) fn ensure_busybox(state: &State) -> Outcome {
    ensure(state, &BUSYBOX_RECIPE, |dir, tar| {
        let (package, root) = (dir.join("package"), dir.join("root"));
        packages::unpack(state, "busybox-static", &package)?;
        busybox_root(&package.join("bin/busybox"), &root)?;
        let mut pack = Command::new("tar");
        pack.args(["--owner=0", "--group=0", "--numeric-owner", "--create", "--file"]);
        pack.arg(tar).arg("--directory").arg(&root).arg(".");
        run(&mut pack, &state.log("busybox-image"))
    })
}

/// Makes the image unless the engine has it, and pushes it unless the registry has it.
fn ensure(state: &State, recipe: &Recipe, make: impl FnOnce(&Path, &Path) -> Result<(), Problem>) -> Outcome {
    let image = recipe.image;
    let (name, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
    let log = state.log(&format!("{}-image", name.rsplit('/').next().unwrap_or(name)));

    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    let hash = format!("{:016x}", hasher.finish());
    let noted = inspect(image, &format!("{{{{index .Config.Labels \"{RECIPE_LABEL}\"}}}}"));
    let is_here = noted.is_some_and(|noted| noted == hash);
    if !is_here {
        let scratch = state.scratch(&format!("image-{}", name.replace('/', "-")))?;
        let tar = scratch.path().join("root.tar");
        make(scratch.path(), &tar)?;
        let mut import = Command::new("docker");
        import.args(["import", "--change", &format!("LABEL {RECIPE_LABEL}={hash}")]);
        for line in recipe.config {
            import.args(["--change", line]);
        }
        run(import.arg(&tar).arg(image), &log)?;
        if let Some(signal) = recipe.stop_signal {
            set_stop_signal(image, signal, &log)?;
        }
    }
    let digests = inspect(image, "{{.RepoDigests}}").unwrap_or_default();
    if !digests.contains(&format!("{}/{name}@", registry::PLAIN)) || !registry::holds(name, tag) {
        let pushed = format!("{}/{image}", registry::PLAIN);
        run(Command::new("docker").args(["tag", image, &pushed]), &log)?;
        run(Command::new("docker").args(["push", "--quiet", &pushed]), &log)?;
    }
    Ok(Ready::installed_or_found(!is_here, image))
}

fn inspect(image: &str, format: &str) -> Option<String> {
    ask("docker", &["image", "inspect", "--format", format, image])
}

/// `docker import` cannot set the signal, but committing a container can, and the container need not run for it.
fn set_stop_signal(image: &str, signal: &str, log: &Path) -> Result<(), Problem> {
    let container = ask("docker", &["create", "--stop-signal", signal, image])
        .ok_or_else(|| Problem::new(format!("docker does not create a container of {image}")))?;
    let committed = run(Command::new("docker").args(["commit", &container, image]), log);
    run(Command::new("docker").args(["rm", &container]), log)?;
    committed
}

/// A file system with one static program under all of its names.
fn busybox_root(busybox: &Path, root: &Path) -> Result<(), Problem> {
    let applets = ask(&busybox.to_string_lossy(), &["--list"])
        .ok_or_else(|| Problem::new("busybox does not run on this machine"))?;
    let fill = || {
        for dir in ["bin", "dev", "etc", "proc", "root", "sys", "tmp"] {
            fs::create_dir_all(root.join(dir))?;
        }
        fs::copy(busybox, root.join("bin/busybox"))?;
        for applet in applets.lines().filter(|&applet| applet != "busybox") {
            symlink("busybox", root.join("bin").join(applet))?;
        }
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
        )?;
        fs::write(root.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")
    };
    fill().map_err(|error| Problem::io("cannot fill", root, &error))
}
