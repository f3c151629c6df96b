//! The model can fail: with a rule switched off for all honest validators it finds what the rule is there to prevent.
//!
//! Searches go through every order of votes in two views, smallest states first: what they find is as short as can be.
//! Two blocks in the first view and one for each parent in the second suffice.
//! Each test pins how many votes it takes, first to break any property, then to break agreement itself.

use super::{ALL, Ballots, Broken, HONEST, Model, Rule, Subjects};

impl Model {
    /// An order in which the votes of a state can be cast, in words.
    fn story(&self, target: Ballots) -> Vec<String> {
        let mut votes = Vec::new();
        assert!(self.find_order([0; HONEST], target, &mut votes), "a state that was reached has an order");
        votes.into_iter().map(|(signer, vote)| format!("validator {signer} {}", self.name(vote))).collect()
    }

    fn find_order(&self, reached: Ballots, target: Ballots, votes: &mut Vec<(usize, Subjects)>) -> bool {
        if reached == target {
            return true;
        }
        let certificates = self.certificates(reached);
        for signer in 0..HONEST {
            for vote in (1..=self.views).flat_map(|view| self.enabled(view, reached[signer], certificates)) {
                if target[signer] & vote != 0 {
                    let mut further = reached;
                    further[signer] |= vote;
                    votes.push((signer, vote));
                    if self.find_order(further, target, votes) {
                        return true;
                    }
                    votes.pop();
                }
            }
        }
        false
    }

    fn name(&self, vote: Subjects) -> String {
        let (bit, count) = (usize::try_from(vote.trailing_zeros()).unwrap(), self.blocks.len());
        if bit >= 2 * count {
            return format!("nullifies view {}", bit - 2 * count + 1);
        }
        let verb = if bit < count { "notarizes" } else { "finalizes" };
        let (block, mut text) = (self.blocks[bit % count], String::new());
        let mut at = Some(block);
        while let Some(block) = at {
            let which = if block.is_second { 'b' } else { 'a' };
            text = format!("/{}{which}{text}", block.view);
            at = block.parent.map(|parent| self.blocks[parent]);
        }
        format!("{verb} {text} in view {}", block.view)
    }
}

/// Asserts that without the rule, the given property breaks after so many votes, and no sooner.
fn assert_breaks(model: &Model, sought: &[Broken], expected: Broken, votes: u32) {
    let search = model.search(sought);
    let (ballots, broken) = search.broken.unwrap();
    let story = model.story(ballots);
    println!("without {:?}: {broken:?} after {} states:\n  {}", model.off, search.states, story.join("\n  "));
    let cast: u32 = ballots.iter().map(|ballot| ballot.count_ones()).sum();
    assert_eq!((broken, cast), (expected, votes), "without {:?}", model.off);
}

fn assert_rule_is_needed(rule: Rule, first: Broken, votes: u32, votes_to_disagree: u32) {
    let model = Model::with_blocks(&[2, 1], Some(rule));
    assert_breaks(&model, ALL, first, votes);
    assert_breaks(&model, &[Broken::Agreement], Broken::Agreement, votes_to_disagree);
}

#[test]
fn r5_off_uncertified_parent_breaks_agreement() {
    assert_rule_is_needed(Rule::Parent, Broken::Agreement, 8, 8);
}

#[test]
fn r5_off_gap_without_nullification_breaks_agreement() {
    assert_rule_is_needed(Rule::Gaps, Broken::Agreement, 8, 8);
}

#[test]
fn r6_off_notarize_twice_breaks_one_notarization_a_view() {
    assert_rule_is_needed(Rule::NotarizeOnce, Broken::TwoNotarized, 4, 10);
}

#[test]
fn r9_off_finalize_without_notarization_breaks_agreement() {
    assert_rule_is_needed(Rule::FinalizeNotarized, Broken::Agreement, 4, 4);
}

#[test]
fn r9_off_finalize_after_nullify_breaks_agreement() {
    assert_rule_is_needed(Rule::FinalizeNotAfterNullify, Broken::NullifiedAndFinalized, 6, 10);
}

#[test]
fn r10_off_nullify_after_finalize_breaks_agreement() {
    assert_rule_is_needed(Rule::NullifyNotAfterFinalize, Broken::NullifiedAndFinalized, 6, 10);
}

#[test]
fn quorum_one_lower_breaks_everything() {
    assert_rule_is_needed(Rule::Quorum, Broken::TwoNotarized, 2, 4);
}

#[test]
fn r8_off_wrong_roots_are_finalized() {
    let model = Model::with_blocks(&[2, 1], Some(Rule::Certify)).with_wrong_roots();
    assert_breaks(&model, ALL, Broken::WrongRoot, 4);
}

/// Two halves of rules that safety does not rest on: R6 already gives a view one notarized block to finalize, and a
/// notarization of a nullified view is legal. They keep votes from being wasted, and evidence (R17) counts on the first.
#[test]
fn r6_r9_off_halves_that_only_save_votes_break_nothing() {
    for rule in [Rule::FinalizeOnce, Rule::NotarizeNotAfterNullify] {
        assert_eq!(Model::with_blocks(&[2, 1], Some(rule)).search(ALL).broken, None);
        assert_eq!(Model::with_blocks(&[2, 2, 2], Some(rule)).search_by_view().broken, None);
    }
}
