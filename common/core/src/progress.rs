//! How long work tells how far it has come. Libraries report here; only the shell draws.

/// What is being counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown with binary prefixes.
    Bytes,
    /// Things without a size of their own: files, objects, checks.
    Items,
}

/// The ear of a long operation. Every method may be called from any thread and must return at once.
pub trait Progress: Send + Sync {
    /// A new phase begins; `total` is given when it is known.
    fn phase(&self, name: &str, unit: Unit, total: Option<u64>);
    /// `amount` more of the phase's unit is done.
    fn advance(&self, amount: u64);
    /// Something that the user should hear about now, although the work goes on.
    fn warn(&self, message: &str);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn phase(&self, _name: &str, _unit: Unit, _total: Option<u64>) {}
    fn advance(&self, _amount: u64) {}
    fn warn(&self, _message: &str) {}
}
