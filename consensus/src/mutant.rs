//! Deliberate bugs, one for each rule that safety rests on, to prove that the simulator finds what it is made to find.
//!
//! They exist only with the feature `mutants`, which nothing but the simulator's mutation check turns on; without it
//! [`is_on`] is the constant `false`. One bug at most is on in a process.

/// A deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// R4, R6: a second proposal of the leader is notarized as well.
    NotarizeTwice = 1,
    /// R9: a proposal is voted final as soon as it is verified, without a notarization.
    FinalizeUnnotarized,
    /// R9: a view is finalized although it was given up.
    FinalizeAfterNullify,
    /// R10: with a view the one before it is given up as well, although it was voted final.
    NullifyAfterFinalize,
    /// R8, R9: a notarized block is voted final without having been executed.
    FinalizeUncertified,
    /// R5: views between a proposal and its parent need no nullification.
    SkipNullifications,
    /// R16: every vote counts twice.
    CountTwice,
    /// R16: signatures of votes are not verified.
    TrustSignatures,
    /// Durability: messages leave before the records of their turn are synced. A bug of the driver.
    SendBeforeSync,
    /// Durability: a restarted validator does not know its votes. A bug of the driver.
    ForgetVotes,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::NotarizeTwice,
        Self::FinalizeUnnotarized,
        Self::FinalizeAfterNullify,
        Self::NullifyAfterFinalize,
        Self::FinalizeUncertified,
        Self::SkipNullifications,
        Self::CountTwice,
        Self::TrustSignatures,
        Self::SendBeforeSync,
        Self::ForgetVotes,
    ];

    /// The rules that it breaks.
    #[must_use]
    pub const fn rules(self) -> &'static str {
        match self {
            Self::NotarizeTwice => "R4, R6",
            Self::FinalizeUnnotarized | Self::FinalizeAfterNullify => "R9",
            Self::NullifyAfterFinalize => "R10",
            Self::FinalizeUncertified => "R8, R9",
            Self::SkipNullifications => "R5",
            Self::CountTwice | Self::TrustSignatures => "R16",
            Self::SendBeforeSync | Self::ForgetVotes => "durability",
        }
    }
}

#[cfg(feature = "mutants")]
static ON: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// Turns a bug on in the whole process, or all of them off.
#[cfg(feature = "mutants")]
pub fn set(mutant: Option<Mutant>) {
    ON.store(mutant.map_or(0, |mutant| mutant as u8), std::sync::atomic::Ordering::SeqCst);
}

/// Whether a bug is on.
#[cfg(feature = "mutants")]
#[must_use]
pub fn is_on(mutant: Mutant) -> bool {
    ON.load(std::sync::atomic::Ordering::Relaxed) == mutant as u8
}

/// Whether any bug is on.
#[cfg(feature = "mutants")]
pub(crate) fn is_any_on() -> bool {
    ON.load(std::sync::atomic::Ordering::Relaxed) != 0
}

/// Whether any bug is on: never, in a build without the feature `mutants`.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn is_any_on() -> bool {
    false
}

/// Whether a bug is on: never, in a build without the feature `mutants`.
#[cfg(not(feature = "mutants"))]
#[must_use]
pub const fn is_on(_mutant: Mutant) -> bool {
    false
}
