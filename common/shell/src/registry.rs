//! The flags for access to registries.

use clap::Args;

/// How the registry is spoken to.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Registry")]
pub struct RegistryFlags {
    /// Speak plain HTTP to the registry, also where it is not on loopback
    #[arg(long)]
    pub allow_http: bool,
    /// Show the registry's credentials to this token service as well, over TLS; give it again for more
    ///
    /// Credentials go to the registry and to token services in its own registered domain. A registry whose token service
    /// is elsewhere needs this. On this machine, it also allows a token service on another port than the registry's.
    #[arg(
        long = "allow-realm",
        value_name = "HOST[:PORT]",
        env = "LIFEBOAT_ALLOW_REALM",
        value_delimiter = ','
    )]
    pub allowed_realms: Vec<String>,
}
