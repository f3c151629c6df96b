use super::BURNT_PERMILLE_MAX;

/// Why fee parameters are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FeeParametersError {
    /// More than everything would be burnt.
    #[error("burnt_permille is {0}, at most {BURNT_PERMILLE_MAX} is possible")]
    BurntShare(u16),
    /// A price so high that a large transaction's fee is no u128.
    #[error("{field} is {actual}, at most 2^64 - 1 is possible")]
    Price {
        /// The parameter.
        field: &'static str,
        /// Its value.
        actual: u128,
    },
}
