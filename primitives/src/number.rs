//! Numbers of the chain, one type each, so that a height is never taken for a view.

use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, TypeInfo,
        )]
        pub struct $name(pub $inner);

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self(0);

            /// The number after this one; stays at the largest number, which no chain reaches.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            /// The number before this one; zero stays zero.
            #[must_use]
            pub const fn previous(self) -> Self {
                Self(self.0.saturating_sub(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// The number of a block: 0 for genesis, one more than the parent's for every other.
    Height(u32)
}
number! {
    /// The number of a validator set's term; 0 for the set of the genesis.
    Epoch(u64)
}
number! {
    /// One attempt by one leader to get a block finalized; starts at 1 in each epoch, 0 stands for the epoch's genesis.
    View(u64)
}
number! {
    /// Voting power.
    Power(u64)
}
number! {
    /// Milliseconds since the Unix epoch.
    TimestampMs(u64)
}
