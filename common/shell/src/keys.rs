//! The flags that name keys, and opening repositories with them.

use std::path::{Path, PathBuf};

use clap::Args;
use lifeboat_core::random::OsEntropy;
use lifeboat_store::Store;
use lifeboat_vault::check::Maintenance;
use lifeboat_vault::{
    KeeperKey, NotARepositoryId, Passphrase, PinFile, Recipient, RecoveryKey, RecoveryKeyFile,
    RecoverySession, Repository, RepositoryId, Session, VaultError, WriterKey,
};

use crate::{Failure, RepositoryFlags, Ui, ask, passphrase, state_folder};

/// Names a passphrase in place of a recipient or of an identity's file.
const PASSPHRASE: &str = "passphrase";

/// The key to list snapshots with: whichever there is.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Keys")]
#[expect(clippy::doc_markdown, reason = "these are the words of --help")]
pub struct SessionFlags {
    /// This host's writer key [env: LIFEBOAT_WRITER_KEY]
    #[arg(long, value_name = "FILE")]
    pub writer_key: Option<PathBuf>,
    /// A keeper key [env: LIFEBOAT_KEEPER_KEY]
    #[arg(long, value_name = "FILE")]
    pub keeper_key: Option<PathBuf>,
    /// A recovery key, where this is not a backup host; `passphrase` for a passphrase [env: LIFEBOAT_IDENTITY]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// The repository's id, where the recovery key does not name it
    #[arg(long, value_name = "ID")]
    pub root: Option<String>,
}

/// The key to read snapshots with.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Keys")]
pub struct RecoveryFlags {
    /// A recovery key: a file that `lifeboat-backup init` wrote, any age identity or SSH private key, or `passphrase`
    ///
    /// The passphrase, also that of a file which is locked by one, comes from `LIFEBOAT_PASSPHRASE` or is asked on the
    /// terminal.
    #[arg(long, value_name = "FILE", env = "LIFEBOAT_IDENTITY", hide_env_values = true)]
    pub identity: Option<PathBuf>,
    /// The repository's id, where the recovery key does not name it
    #[arg(long, value_name = "ID")]
    pub root: Option<String>,
}

/// What a command does with a repository. A command that only reads accepts storage that was rolled back to an older
/// state: a listing reports that, and snapshots can be read by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Read,
    Change,
}

/// The key that a command uses.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Chosen {
    Identity(PathBuf),
    Keeper(PathBuf),
    Writer(PathBuf),
}

/// Of several keys, the one that sees most: the recovery key, then the keeper key. A key on the command line takes
/// precedence over all in the environment, even if it sees less.
fn choose(given: [Option<PathBuf>; 3], environment: [Option<PathBuf>; 3]) -> Option<Chosen> {
    let of = |[identity, keeper, writer]: [Option<PathBuf>; 3]| {
        let identity = identity.map(Chosen::Identity);
        identity.or_else(|| keeper.map(Chosen::Keeper)).or_else(|| writer.map(Chosen::Writer))
    };
    of(given).or_else(|| of(environment))
}

/// The file that a variable names.
fn named_by(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

impl SessionFlags {
    fn chosen(&self) -> Option<Chosen> {
        let given = [&self.identity, &self.keeper_key, &self.writer_key].map(Clone::clone);
        let environment = ["LIFEBOAT_IDENTITY", "LIFEBOAT_KEEPER_KEY", "LIFEBOAT_WRITER_KEY"].map(named_by);
        choose(given, environment)
    }

    /// Opens a repository to check or repair it, with the key that [`SessionFlags::open`] would use, and returns whose
    /// key it is.
    pub async fn maintenance(
        &self,
        repository: &RepositoryFlags,
        ui: &Ui,
    ) -> Result<(Maintenance, &'static str), Failure> {
        let context = ui.context();
        match self.chosen() {
            Some(Chosen::Identity(identity)) => {
                let (restorer, key) =
                    open_with_identity(&identity, self.root.as_deref(), repository, Purpose::Change).await?;
                Ok((Maintenance::with_recovery_key(restorer, key, context), "recovery"))
            }
            Some(Chosen::Writer(writer_key)) => {
                let key = WriterKey::read(&writer_key)?;
                let repository = open_repository(repository, &key.repository).await?;
                Ok((Maintenance::with_writer_key(repository, &key, context)?, "writer"))
            }
            _ => Ok((Maintenance::new(self.open(repository).await?, context), "keeper")),
        }
    }

    /// Opens a repository with the key that is given.
    pub async fn open(&self, repository: &RepositoryFlags) -> Result<Session, Failure> {
        Ok(self.opened(repository, Purpose::Change).await?.0)
    }

    /// The same for a command that changes nothing there. If the key is a recovery key, also returns what reads
    /// everything.
    pub async fn open_to_read(
        &self,
        repository: &RepositoryFlags,
    ) -> Result<(Session, Option<RecoverySession>), Failure> {
        self.opened(repository, Purpose::Read).await
    }

    async fn opened(
        &self,
        repository: &RepositoryFlags,
        purpose: Purpose,
    ) -> Result<(Session, Option<RecoverySession>), Failure> {
        match self.chosen() {
            Some(Chosen::Identity(identity)) => {
                let root = self.root.as_deref();
                let (restorer, _) = open_with_identity(&identity, root, repository, purpose).await?;
                Ok((restorer.session().clone(), Some(restorer)))
            }
            Some(Chosen::Keeper(keeper_key)) => {
                let key = KeeperKey::read(&keeper_key)?;
                let repository = opened_for(repository, &key.repository, purpose).await?;
                Ok((Session::for_keeper(repository, &key).await?, None))
            }
            Some(Chosen::Writer(writer_key)) => {
                let key = WriterKey::read(&writer_key)?;
                let repository = opened_for(repository, &key.repository, purpose).await?;
                Ok((Session::for_writer(repository, &key)?, None))
            }
            None => Err(Failure::usage(
                "no key was given",
                "give --writer-key, --keeper-key or --identity FILE (or LIFEBOAT_WRITER_KEY, LIFEBOAT_KEEPER_KEY, \
                 LIFEBOAT_IDENTITY)",
            )),
        }
    }
}

impl RecoveryFlags {
    /// Opens a repository to read everything in it.
    pub async fn open(&self, repository: &RepositoryFlags) -> Result<RecoverySession, Failure> {
        self.opened(repository, Purpose::Change).await
    }

    /// The same for a command that changes nothing there.
    pub async fn open_to_read(&self, repository: &RepositoryFlags) -> Result<RecoverySession, Failure> {
        self.opened(repository, Purpose::Read).await
    }

    async fn opened(
        &self,
        repository: &RepositoryFlags,
        purpose: Purpose,
    ) -> Result<RecoverySession, Failure> {
        let (restorer, _) =
            open_with_identity(self.named()?, self.root.as_deref(), repository, purpose).await?;
        Ok(restorer)
    }

    fn named(&self) -> Result<&Path, Failure> {
        self.identity.as_deref().ok_or_else(|| {
            Failure::usage(
                "no recovery key was given; a writer key cannot read backups back",
                "give --identity FILE (or LIFEBOAT_IDENTITY), a recovery key that `lifeboat-backup init` wrote",
            )
        })
    }
}

/// Parses a recipient from the command line: an age recipient, an SSH public key, or `passphrase`, which is then taken
/// from the environment or the terminal.
pub fn recipient(text: &str) -> Result<Recipient, Failure> {
    if text == PASSPHRASE {
        return Ok(Recipient::of_passphrase(&passphrase::new("the new recipient")?, &OsEntropy));
    }
    Ok(text.parse()?)
}

/// Reads the recovery key that `--identity` names, and unlocks it with the passphrase from the environment or the
/// terminal if necessary.
pub fn recovery_key(identity: &Path) -> Result<RecoveryKey, Failure> {
    if identity == Path::new(PASSPHRASE) {
        return Ok(RecoveryKey::of_passphrase(&passphrase::existing("the repository")?));
    }
    let mut file = RecoveryKeyFile::read(identity)?;
    if file.is_locked() {
        file = file.unlock(&passphrase::existing(&identity.display().to_string())?)?;
    }
    Ok(file.key(&ask::plugin_dialog())?)
}

/// The passphrase, if one of the recipients is a passphrase: a new data identity is wrapped to it as well.
pub fn passphrase_for(restorer: &RecoverySession) -> Result<Option<Passphrase>, Failure> {
    restorer.has_passphrase().then(|| passphrase::existing("the repository")).transpose()
}

async fn open_with_identity(
    identity: &Path,
    root: Option<&str>,
    repository: &RepositoryFlags,
    purpose: Purpose,
) -> Result<(RecoverySession, RecoveryKey), Failure> {
    let root: Option<RepositoryId> = match root {
        Some(text) => Some(text.parse().map_err(NotARepositoryId)?),
        None => None,
    };
    let key = recovery_key(identity)?;
    let store = repository.open_or(key.location.as_deref()).await?;
    let root = match (key.repository, root) {
        (None, None) => Some(confirmed_root(&store).await?),
        (Some(named), Some(root)) if named != root => {
            return Err(Failure::refused(
                format!("the recovery key is for repository {named}, and `--root` names {root}"),
                "give the key of the repository that you mean, or leave --root out",
            ));
        }
        (_, root) => root,
    };
    let opened = match purpose {
        Purpose::Read => RecoverySession::open_to_read(store, &key, root, pins_of).await,
        Purpose::Change => RecoverySession::open(store, &key, root, pins_of).await,
    };
    let is_by_key = key.repository.is_some();
    let restorer = opened.map_err(|error| if is_by_key { error.into() } else { not_the_root(error) })?;
    Ok((restorer, key))
}

/// Neither the key nor the command line says which repository is meant, so a person has to.
async fn confirmed_root(store: &Store) -> Result<RepositoryId, Failure> {
    if !ask::is_possible() {
        return Err(VaultError::UnboundIdentity.into());
    }
    let found = Repository::probe(store).await?;
    let question = format!(
        "This key does not say which repository it belongs to, and anyone could have put one in its place.\n\
         At {} lies repository\n  {found}\nIs this the id on your recovery sheet or in another key file?",
        store.name()
    );
    match ask::yes(&question) {
        Ok(true) => Ok(found),
        Ok(false) => Err(Failure::refused(
            format!("repository {found} was not confirmed"),
            "name the right one with --root ID, or give its right location",
        )),
        Err(error) => Err(Failure::usage(
            format!("no answer could be read from the terminal: {error}"),
            "name the repository with --root ID",
        )),
    }
}

/// The state folder holds what this machine has seen of a repository.
fn pins_of(repository: &RepositoryId) -> PinFile {
    PinFile::in_state_folder(&state_folder(), repository)
}

/// Opens the repository that a key names.
pub async fn open_repository(
    flags: &RepositoryFlags,
    expected: &RepositoryId,
) -> Result<Repository, Failure> {
    opened_for(flags, expected, Purpose::Change).await
}

async fn opened_for(
    flags: &RepositoryFlags,
    expected: &RepositoryId,
    purpose: Purpose,
) -> Result<Repository, Failure> {
    let (store, pins) = (flags.open().await?, pins_of(expected));
    Ok(match purpose {
        Purpose::Read => Repository::open_to_read(store, expected, pins).await?,
        Purpose::Change => Repository::open(store, expected, pins).await?,
    })
}

/// Opens a repository by the id that the user gives, for those who hold none of its keys. Without an id, opens any
/// repository, and warns about that.
pub async fn open_public_repository(
    flags: &RepositoryFlags,
    root: Option<&str>,
    ui: &Ui,
) -> Result<Repository, Failure> {
    let store = flags.open().await?;
    let root = if let Some(text) = root {
        text.parse().map_err(NotARepositoryId)?
    } else {
        ui.warn("no --root was given: anyone could have made this repository");
        Repository::probe(&store).await?
    };
    Repository::open(store, &root, pins_of(&root)).await.map_err(not_the_root)
}

/// The same failure, if the repository was named by `--root` and not by a key.
fn not_the_root(error: VaultError) -> Failure {
    match error {
        VaultError::OtherRepository { store, expected, found } => Failure::refused(
            format!("`--root` names repository {expected}, and {store} holds repository {found}"),
            "compare both with the recovery sheet or a key file; if `--root` and the location are right, someone has put \
             another repository in its place",
        ),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_command_line_names_comes_before_the_environment() {
        let some = |name: &str| Some(PathBuf::from(name));
        let all = || [some("i"), some("k"), some("w")];
        let (identity, keeper, writer) =
            (Chosen::Identity("i".into()), Chosen::Keeper("k".into()), Chosen::Writer("w".into()));
        for (given, environment, chosen) in [
            ([None, None, None], [None, None, None], None),
            ([None, None, None], all(), Some(&identity)),
            ([None, None, None], [None, some("k"), some("w")], Some(&keeper)),
            ([None, None, some("w")], all(), Some(&writer)),
            ([None, some("k"), some("w")], all(), Some(&keeper)),
            (all(), [None, None, None], Some(&identity)),
        ] {
            assert_eq!(choose(given, environment).as_ref(), chosen);
        }
    }
}
