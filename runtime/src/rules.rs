//! The versions of the rules that this binary has, and which of them hold at which height.
//!
//! ```text
//! height:   1 … 99    │ 100 …                       the chain spec: { "height": 100, "spec_version": 4 }
//! rules:    3         │ 4
//!              block 99 carries RuntimeEnvironmentUpdated: what is asked at it is told by rules 4
//! ```
//! Rules change between two blocks and nowhere else. What a block does depends on the rules at its height; what clients ask
//! *at* a block is about the next one, so it is answered by the rules of the next height.

use cairn_primitives::Height;
use std::sync::Arc;

/// A version of the rules that this binary executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rules {
    /// The first ones.
    V3,
    /// With `Utility.force_batch`.
    V4,
}

impl Rules {
    /// All, oldest first.
    pub const ALL: [Self; 2] = [Self::V3, Self::V4];
    /// Those of a chain spec that names none: it is older than the second ones.
    pub const FIRST: Self = Self::V3;
    /// Those that new chains begin with.
    pub const NEWEST: Self = Self::V4;

    /// The version of the rules: part of every signed payload, so it changes with every change of meaning.
    #[must_use]
    pub const fn spec_version(self) -> u32 {
        match self {
            Self::V3 => 3,
            Self::V4 => 4,
        }
    }

    /// The version of call indices and transaction extensions: part of every signed payload.
    #[must_use]
    pub const fn transaction_version(self) -> u32 {
        match self {
            Self::V3 | Self::V4 => 2,
        }
    }

    /// The rules of a version, if this binary has them.
    #[must_use]
    pub fn from_spec_version(version: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|rules| rules.spec_version() == version)
    }
}

/// A change of the rules at a height fixed in advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// The first height under the new rules.
    pub height: Height,
    /// Their version; this binary may not have them.
    pub spec_version: u32,
}

/// Rules that this binary does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "rules {} hold from block {} on, and this binary has rules up to {}: install a version of cairn that has them",
    .0.spec_version, .0.height, Rules::NEWEST.spec_version()
)]
pub struct UnknownRules(
    /// From when on they hold.
    pub Upgrade,
);

/// Which rules hold at which height; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesSchedule {
    first: Rules,
    upgrades: Arc<[Upgrade]>,
}

impl Default for RulesSchedule {
    /// The newest rules for ever.
    fn default() -> Self {
        Self::new(Rules::NEWEST, Vec::new())
    }
}

impl RulesSchedule {
    /// The rules of block 1 and their changes, which are put in order of height.
    #[must_use]
    pub fn new(first: Rules, mut upgrades: Vec<Upgrade>) -> Self {
        upgrades.sort_by_key(|upgrade| upgrade.height);
        Self { first, upgrades: upgrades.into() }
    }

    /// The rules of the block at `height`.
    ///
    /// # Errors
    /// This binary does not have them.
    pub fn at(&self, height: Height) -> Result<Rules, UnknownRules> {
        let Some(upgrade) = self.last_change(height) else { return Ok(self.first) };
        Rules::from_spec_version(upgrade.spec_version).ok_or(UnknownRules(upgrade))
    }

    /// The change that brought the rules of the block at `height`; none where they are the first ones.
    #[must_use]
    pub fn last_change(&self, height: Height) -> Option<Upgrade> {
        self.upgrades.iter().rev().copied().find(|upgrade| upgrade.height <= height)
    }

    /// The rules by which is told what clients ask at the block of `height`: those of the next one.
    ///
    /// # Errors
    /// This binary does not have them.
    pub fn after(&self, height: Height) -> Result<Rules, UnknownRules> {
        self.at(height.next())
    }

    /// Whether the block at `height` is the last one under its rules.
    #[must_use]
    pub fn change_after(&self, height: Height) -> bool {
        self.upgrades.iter().any(|upgrade| upgrade.height == height.next())
    }

    /// The last height that has the rules of `height`; the highest there is where no change is fixed.
    #[must_use]
    pub fn last_like(&self, height: Height) -> Height {
        let next = self.upgrades.iter().find(|upgrade| upgrade.height > height);
        next.map_or(Height(u32::MAX), |upgrade| Height(upgrade.height.0.saturating_sub(1)))
    }

    /// Whether all changes are more than `distance` blocks below `height`: nobody is under other rules than those of now,
    /// neither who is ahead, as far as that may be, nor who is a little behind.
    #[must_use]
    pub fn are_settled(&self, height: Height, distance: u32) -> bool {
        self.upgrades.iter().all(|upgrade| upgrade.height.0.saturating_add(distance) < height.0)
    }

    /// The changes, in order of height.
    #[must_use]
    pub fn upgrades(&self) -> &[Upgrade] {
        &self.upgrades
    }

    /// The first change to rules that this binary does not have.
    #[must_use]
    pub fn first_unknown(&self) -> Option<Upgrade> {
        self.upgrades.iter().copied().find(|upgrade| Rules::from_spec_version(upgrade.spec_version).is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule() -> RulesSchedule {
        let upgrade = |height, spec_version| Upgrade { height: Height(height), spec_version };
        RulesSchedule::new(Rules::V3, vec![upgrade(200, 9), upgrade(100, 4)])
    }

    #[test]
    fn rules_change_between_two_blocks() {
        let schedule = schedule();
        for (height, at, after) in [
            (0, Rules::V3, Rules::V3),
            (98, Rules::V3, Rules::V3),
            (99, Rules::V3, Rules::V4),
            (100, Rules::V4, Rules::V4),
        ] {
            assert_eq!((schedule.at(Height(height)), schedule.after(Height(height))), (Ok(at), Ok(after)), "{height}");
            assert_eq!(schedule.change_after(Height(height)), at != after, "{height}");
        }
        assert_eq!((schedule.last_like(Height(5)), schedule.last_like(Height(99))), (Height(99), Height(99)));
        assert_eq!((schedule.last_like(Height(100)), schedule.last_like(Height(200))), (Height(199), Height(u32::MAX)));
    }

    #[test]
    fn rules_that_are_not_here_are_told_with_their_height() {
        let schedule = schedule();
        let unknown = Upgrade { height: Height(200), spec_version: 9 };
        assert_eq!(schedule.first_unknown(), Some(unknown));
        assert_eq!(schedule.at(Height(199)), Ok(Rules::V4));
        assert_eq!(schedule.after(Height(199)), Err(UnknownRules(unknown)));
        assert_eq!(schedule.at(Height(u32::MAX)), Err(UnknownRules(unknown)));
        let told = UnknownRules(unknown).to_string();
        assert!(told.contains("rules 9 hold from block 200") && told.contains("up to 4"), "{told}");
    }

    #[test]
    fn rules_are_settled_some_time_after_the_last_change() {
        let schedule = RulesSchedule::new(Rules::V3, vec![Upgrade { height: Height(100), spec_version: 4 }]);
        // Whoever begins far below the change meets what was signed under the rules above it.
        for (height, expected) in [(1, false), (100, false), (110, false), (111, true), (100_000, true)] {
            assert_eq!(schedule.are_settled(Height(height), 10), expected, "{height}");
        }
        assert!(RulesSchedule::default().are_settled(Height(1), 10));
    }

    #[test]
    fn versions_of_rules_are_found_by_their_number() {
        for rules in Rules::ALL {
            assert_eq!(Rules::from_spec_version(rules.spec_version()), Some(rules));
        }
        assert_eq!(Rules::from_spec_version(2), None);
        assert_eq!((Rules::ALL.first(), Rules::ALL.last()), (Some(&Rules::FIRST), Some(&Rules::NEWEST)));
    }
}
