//! Which heights belong to which epoch.

use crate::number::{Epoch, Height};

/// The rule that cuts the chain into epochs of equal length: epoch e holds the blocks after its *opening* block, at
/// height e · length, up to and including its *closing* block, at height (e + 1) · length, which opens the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochSchedule {
    /// Blocks per epoch; 0 for a chain that stays in epoch 0 for ever.
    length: u32,
}

impl EpochSchedule {
    /// Epochs of `length` blocks; 0 for one epoch without end.
    #[must_use]
    pub const fn new(length: u32) -> Self {
        Self { length }
    }

    /// Blocks per epoch; 0 for one epoch without end.
    #[must_use]
    pub const fn length(self) -> u32 {
        self.length
    }

    /// The epoch in which the block of a height is proposed; genesis counts as epoch 0.
    #[must_use]
    pub fn epoch_of(self, height: Height) -> Epoch {
        Epoch(u64::from(height.0.saturating_sub(1).checked_div(self.length).unwrap_or(0)))
    }

    /// The height of the block that opens an epoch; `None` where no height reaches it.
    #[must_use]
    pub fn opening(self, epoch: Epoch) -> Option<Height> {
        if epoch == Epoch::ZERO {
            return Some(Height::ZERO);
        }
        let height = epoch.0.checked_mul(u64::from(self.length)).filter(|height| *height > 0)?;
        u32::try_from(height).ok().map(Height)
    }

    /// The height of the block that closes an epoch; `None` for an epoch without end.
    #[must_use]
    pub fn closing(self, epoch: Epoch) -> Option<Height> {
        self.opening(epoch.next()).filter(|_| self.length > 0)
    }

    /// Whether the block of a height closes its epoch.
    #[must_use]
    pub fn is_closing(self, height: Height) -> bool {
        height > Height::ZERO && height.0.checked_rem(self.length) == Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::EpochSchedule;
    use crate::number::{Epoch, Height};

    #[test]
    fn each_height_lies_between_opening_and_closing_of_its_epoch() {
        for length in [1, 2, 7] {
            let schedule = EpochSchedule::new(length);
            for height in (1..50).map(Height) {
                let epoch = schedule.epoch_of(height);
                let (opening, closing) = (schedule.opening(epoch).unwrap(), schedule.closing(epoch).unwrap());
                assert!(opening < height && height <= closing, "{height} {epoch}");
                assert_eq!(schedule.is_closing(height), height == closing);
                assert_eq!(schedule.opening(epoch.next()), Some(closing));
            }
        }
    }

    #[test]
    fn schedule_without_length_is_one_epoch() {
        let schedule = EpochSchedule::new(0);
        assert_eq!((schedule.epoch_of(Height(u32::MAX)), schedule.closing(Epoch::ZERO)), (Epoch::ZERO, None));
        assert!(!schedule.is_closing(Height(10)));
        assert_eq!(schedule.opening(Epoch(1)), None);
    }

    #[test]
    fn epoch_beyond_the_last_height_has_no_opening() {
        assert_eq!(EpochSchedule::new(u32::MAX).opening(Epoch(2)), None);
    }
}
