//! What a simulation shows to be let make a mistake that production code must not be able to make. Knows no mistake.

/// Opens the ways past a check that exist for deliberate bugs alone. `tests/tidy` sees to it that nothing of the server names this module,
/// so no input and no setting leads there; a cargo feature would do the same, at the price of building everything twice.
#[derive(Debug, Clone, Copy)]
pub struct Mistake(());

impl Mistake {
    /// To be called by tests that then expect to fail.
    #[must_use]
    pub fn on_purpose() -> Self {
        Self(())
    }
}
