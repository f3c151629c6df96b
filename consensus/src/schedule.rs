//! Who leads which view: round-robin weighted by power, over a permutation shuffled once per epoch.

#[cfg(test)]
mod rigged;

use cairn_primitives::hash::sha256_concat;
use cairn_primitives::{Hash, ValidatorIndex, ValidatorSet, View};

/// The most turns in one cycle; larger powers are scaled down to it, and everybody keeps at least one turn.
const CYCLE_TURNS_MAX: u64 = 1024;

/// The leaders of an epoch.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// The leaders of views 1, 2, … of each cycle; never empty.
    cycle: Vec<ValidatorIndex>,
}

impl Schedule {
    /// Draws the schedule from a seed that everybody knows and nobody can choose after seeing the set.
    pub(crate) fn new(set: &ValidatorSet, seed: &Hash) -> Self {
        let order = shuffle(set.indices().collect(), seed);
        let turns = turns(set);
        let total: u64 = turns.iter().fold(0, |sum, turns| sum.saturating_add(*turns));
        // Smooth weighted round-robin: every turn each validator earns its weight, the richest leads and pays the total.
        let weight = |index: ValidatorIndex| i128::from(turns.get(index.position()).copied().unwrap_or(1));
        let mut credit = vec![0i128; order.len()];
        let mut cycle = Vec::new();
        for _ in 0..total {
            let mut richest: Option<(usize, i128)> = None;
            for (place, (index, credit)) in order.iter().zip(&mut credit).enumerate() {
                *credit = credit.saturating_add(weight(*index));
                if richest.is_none_or(|(_, most)| *credit > most) {
                    richest = Some((place, *credit));
                }
            }
            let Some((place, _)) = richest else { break };
            if let (Some(index), Some(credit)) = (order.get(place), credit.get_mut(place)) {
                *credit = credit.saturating_sub(i128::from(total));
                cycle.push(*index);
            }
        }
        Self { cycle }
    }

    /// The leader of a view, counted from 1.
    pub(crate) fn leader(&self, view: View) -> ValidatorIndex {
        let turns = u64::try_from(self.cycle.len()).unwrap_or(u64::MAX);
        let turn = view.0.saturating_sub(1).checked_rem(turns).unwrap_or(0);
        let leader = usize::try_from(turn).ok().and_then(|turn| self.cycle.get(turn));
        leader.copied().unwrap_or_default()
    }
}

/// The turns of each validator in one cycle, in proportion to its power.
fn turns(set: &ValidatorSet) -> Vec<u64> {
    let divisor = set.validators().iter().fold(0, |divisor, validator| gcd(divisor, validator.power.0)).max(1);
    let total = set.total_power().0.checked_div(divisor).unwrap_or(1);
    set.validators()
        .iter()
        .map(|validator| {
            let power = validator.power.0.checked_div(divisor).unwrap_or(1);
            if total <= CYCLE_TURNS_MAX {
                return power;
            }
            let scaled = u128::from(power).saturating_mul(u128::from(CYCLE_TURNS_MAX)).checked_div(u128::from(total));
            scaled.and_then(|turns| u64::try_from(turns).ok()).unwrap_or(1).max(1)
        })
        .collect()
}

const fn gcd(mut a: u64, mut b: u64) -> u64 {
    while let Some(rest) = a.checked_rem(b) {
        a = b;
        b = rest;
    }
    a
}

/// Fisher and Yates with numbers drawn from the seed.
fn shuffle(mut order: Vec<ValidatorIndex>, seed: &Hash) -> Vec<ValidatorIndex> {
    for last in (1..order.len()).rev() {
        let place = u64::try_from(last).unwrap_or(u64::MAX);
        let draw = sha256_concat(&[b"cairn/leaders/1", &seed.0, &place.to_le_bytes()]);
        let number = draw.0.iter().take(8).fold(0u64, |number, byte| (number << 8) | u64::from(*byte));
        let other = number.checked_rem(place.saturating_add(1)).and_then(|other| usize::try_from(other).ok());
        order.swap(last, other.unwrap_or(0));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_primitives::{Power, PublicKey, Validator};

    fn set(powers: &[u64]) -> ValidatorSet {
        let validators = powers.iter().zip(1u8..);
        ValidatorSet::new(
            validators.map(|(power, key)| Validator { key: PublicKey([key; 32]), power: Power(*power) }).collect(),
        )
        .unwrap()
    }

    fn leaders(schedule: &Schedule, views: u64) -> Vec<u16> {
        (1..=views).map(|view| schedule.leader(View(view)).0).collect()
    }

    #[test]
    fn leader_equal_power_takes_turns_in_a_permutation() {
        let schedule = Schedule::new(&set(&[5; 7]), &Hash([1; 32]));
        let mut first = leaders(&schedule, 7);
        assert!(leaders(&schedule, 14).ends_with(&first), "the second cycle repeats the first");
        first.sort_unstable();
        assert_eq!(first, [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn leader_other_seed_gives_other_order() {
        let orders: std::collections::BTreeSet<_> =
            (0..20).map(|seed| leaders(&Schedule::new(&set(&[1; 7]), &Hash([seed; 32])), 7)).collect();
        assert!(orders.len() > 15, "{} different orders of 20", orders.len());
    }

    #[test]
    fn leader_unequal_power_leads_in_proportion() {
        let schedule = Schedule::new(&set(&[600, 300, 100]), &Hash::ZERO);
        let turns = leaders(&schedule, 1000);
        assert_eq!([0, 1, 2].map(|index| turns.iter().filter(|turn| **turn == index).count()), [600, 300, 100]);
        assert_eq!(turns.windows(3).filter(|window| window == &[0, 0, 0]).count(), 0, "turns are spread");
    }

    #[test]
    fn leader_tiny_power_beside_huge_power_still_leads() {
        let schedule = Schedule::new(&set(&[1 << 50, 1]), &Hash::ZERO);
        assert!(leaders(&schedule, 1025).contains(&1));
    }
}
