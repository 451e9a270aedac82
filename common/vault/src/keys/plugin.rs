//! age's plugins: programs `age-plugin-NAME` on the PATH with keys elsewhere, in hardware or a service.

use std::collections::HashSet;
use std::sync::Arc;

use age::plugin::{IdentityPluginV1, RecipientPluginV1, ResolveError};
use age::secrecy::SecretString;
use age::{Callbacks, DecryptError, EncryptError};
use age_core::format::{FileKey, Stanza};

use super::Passphrase;

/// A plugin's dialog with the user. Every answer may be refused, and then the plugin must do without.
pub trait PluginDialog: Send + Sync {
    /// Shows a message of the plugin, such as a request to touch a hardware key.
    fn tell(&self, plugin_says: &str);
    /// Asks to choose between two answers: `Some(true)` is the first one. `no` may be missing.
    fn choose(&self, plugin_says: &str, yes: &str, no: Option<&str>) -> Option<bool>;
    /// Asks for a line.
    fn ask(&self, plugin_says: &str) -> Option<String>;
    /// Asks for a line that is not displayed while it is typed, such as a PIN.
    fn ask_secret(&self, plugin_says: &str) -> Option<Passphrase>;
}

/// No user is present: messages of plugins go to the log, and their questions get no answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoDialog;

impl PluginDialog for NoDialog {
    fn tell(&self, plugin_says: &str) {
        tracing::info!("a plugin says: {plugin_says}");
    }

    fn choose(&self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
        None
    }

    fn ask(&self, _: &str) -> Option<String> {
        None
    }

    fn ask_secret(&self, _: &str) -> Option<Passphrase> {
        None
    }
}

#[derive(Clone)]
struct Dialog(Arc<dyn PluginDialog>);

impl Callbacks for Dialog {
    fn display_message(&self, message: &str) {
        self.0.tell(message);
    }

    fn confirm(&self, message: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        self.0.choose(message, yes, no)
    }

    fn request_public_string(&self, description: &str) -> Option<String> {
        self.0.ask(description)
    }

    fn request_passphrase(&self, description: &str) -> Option<SecretString> {
        self.0.ask_secret(description).map(|answer| answer.secret())
    }
}

/// A recipient of a plugin. The program is looked up when it is needed, so that recipients can be listed anywhere.
pub(super) struct Recipient(pub(super) age::plugin::Recipient);

impl age::Recipient for Recipient {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let recipients = std::slice::from_ref(&self.0);
        RecipientPluginV1::new(self.0.plugin(), recipients, &[], Dialog(Arc::new(NoDialog)))
            .map_err(EncryptError::PluginResolve)?
            .wrap_file_key(file_key)
    }
}

/// The identity of a plugin, whose program must exist.
pub(super) fn identity(
    identity: &age::plugin::Identity,
    dialog: &Arc<dyn PluginDialog>,
) -> Result<Box<dyn age::Identity + Send + Sync>, String> {
    let dialog = Dialog(Arc::clone(dialog));
    IdentityPluginV1::new(identity.plugin(), std::slice::from_ref(identity), dialog)
        .map(|plugin| Box::new(plugin) as _)
        .map_err(|error| unresolved(&error))
}

pub(super) fn unresolved(error: &ResolveError) -> String {
    match error {
        ResolveError::MissingPlugin { binary_name } => {
            format!("its plugin `{binary_name}` is not on the PATH; install it")
        }
        error => error.to_string(),
    }
}

/// Why a plugin could not wrap.
pub(super) fn refusal(error: &EncryptError) -> String {
    match error {
        EncryptError::PluginResolve(error) => unresolved(error),
        error => one_line(&error.to_string()),
    }
}

/// A plugin's error message; `None` for errors that only mean that a file is not for this identity.
pub(super) fn complaint(error: &DecryptError) -> Option<String> {
    match error {
        DecryptError::Plugin(_) | DecryptError::PluginResolve(_) => Some(one_line(&error.to_string())),
        DecryptError::Io(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {
            Some(one_line(&error.to_string()))
        }
        _ => None,
    }
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}
