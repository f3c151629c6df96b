//! A bounded model check of the voting rules: four validators of equal power, one of them a villain, three views.
//!
//! # What is modelled
//! The state is what the three honest validators signed, and nothing else. A step is one more vote of one of them.
//! - *The villain* signs everything at any time. So a certificate exists as soon as a quorum less one honest vote is there.
//! - *The network* delivers any certificate to anyone at any time, or never. So a vote may be cast if the rules allow it to
//!   somebody who holds *some* of the certificates that exist. What rules demand (R1, R5, R8, R9) must exist; what they
//!   forbid because of something seen (R4, R9 and R5 on the last finalized view, R10 on the current view) forbids nothing
//!   here: the validator may not have seen it. What they forbid because of one's own votes (R6, R9, R10) does.
//! - *Leaders* all equivocate: two blocks for every view and every parent. A leader that shows one block is a special case.
//! - *Blocks* are (view, parent, which of the two). One search makes every second block fail its execution (R8).
//!
//! Whatever honest validators can sign under the rules, they can sign here; the model allows more, so what it never reaches
//! they never reach.
//!
//! # What is not
//! Messages, fetching, time, liveness, restarts (a vote is never forgotten: the journal's promise), unequal power, epochs.
//! Runs of the real engine cover these.
//!
//! # What is checked in every state
//! One notarized block a view; no view both nullified and finalized; of two finalized blocks one is the other's ancestor;
//! nothing that fails its execution is finalized. Each of these, once broken, stays broken, so no interim state is missed.
//!
//! # How it stays small
//! Every step adds one vote, so states of different size differ: a breadth-first search keeps two sizes at a time. Honest
//! validators are interchangeable: a state is their ballots in order. The two blocks of a parent are interchangeable while
//! both execute: the one voted for first is the first. [`Model::search_by_view`] reduces the order of steps: a vote depends
//! on certificates of its own and lower views and on its signer's ballot in its own view alone, so every set of votes is
//! also reached view by view, and of the views that are over only the certificates matter.

use std::collections::BTreeSet;

mod rules_off;

/// The honest validators: four less the villain.
const HONEST: usize = 3;

/// States of one size are thinned out when there are so many, to bound memory.
const CROWD: usize = 1 << 22;

/// A set of votes or certificates, one bit for each subject.
type Subjects = u64;

/// What each honest validator signed, in ascending order.
type Ballots = [Subjects; HONEST];

/// A rule, or part of one, that can be switched off for all honest validators together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// R5: the parent is certified or finalized.
    Parent,
    /// R5: all views between parent and proposal are nullified.
    Gaps,
    /// R6: one notarize a view.
    NotarizeOnce,
    /// R6: no notarize after nullify.
    NotarizeNotAfterNullify,
    /// R8: only what executes to its roots is a parent or finalized.
    Certify,
    /// R9: a notarization is held.
    FinalizeNotarized,
    /// R9: one finalize a view.
    FinalizeOnce,
    /// R9: no finalize after nullify.
    FinalizeNotAfterNullify,
    /// R10: no nullify after finalize.
    NullifyNotAfterFinalize,
    /// Three of four make a certificate, not two.
    Quorum,
}

/// What must never be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    TwoNotarized,
    NullifiedAndFinalized,
    Agreement,
    WrongRoot,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    view: usize,
    parent: Option<usize>,
    is_second: bool,
    /// Itself and all below it, as their notarize subjects.
    lineage: Subjects,
}

/// The blocks there can be and the rules in force.
#[derive(Debug)]
struct Model {
    views: usize,
    blocks: Vec<Block>,
    /// Blocks that do not execute to their roots.
    wrong: Subjects,
    off: Option<Rule>,
}

/// What a search found.
#[derive(Debug)]
struct Search {
    states: usize,
    /// The most states of one size.
    widest: usize,
    /// Every set of certificates reached.
    certificates: BTreeSet<Subjects>,
    /// One of the smallest states that break something.
    broken: Option<(Ballots, Broken)>,
}

impl Model {
    fn new(views: usize) -> Self {
        Self::with_blocks(&[2, 2, 2][..views], None)
    }

    /// A model with so many blocks for each parent in view 1, 2 and so on: one or two.
    fn with_blocks(blocks_per_parent: &[usize], off: Option<Rule>) -> Self {
        let views = blocks_per_parent.len();
        let mut blocks: Vec<Block> = Vec::new();
        for (view, per_parent) in (1..).zip(blocks_per_parent) {
            let parents = std::iter::once(None).chain((0..blocks.len()).map(Some)).collect::<Vec<_>>();
            for parent in parents {
                for which in 0..*per_parent {
                    let below = parent.map_or(0, |parent| blocks[parent].lineage);
                    let lineage = below | 1 << blocks.len();
                    blocks.push(Block { view, parent, is_second: which > 0, lineage });
                }
            }
        }
        assert!(2 * blocks.len() + views <= 64, "one bit for each subject");
        Self { views, blocks, wrong: 0, off }
    }

    /// The same where every second block fails its execution.
    fn with_wrong_roots(mut self) -> Self {
        self.wrong =
            (0..self.blocks.len()).filter(|block| self.blocks[*block].is_second).fold(0, |all, b| all | 1 << b);
        self
    }

    const fn notarize(block: usize) -> Subjects {
        1 << block
    }

    fn finalize(&self, block: usize) -> Subjects {
        1 << (self.blocks.len() + block)
    }

    fn nullify(&self, view: usize) -> Subjects {
        1 << (2 * self.blocks.len() + view - 1)
    }

    fn blocks_of(&self, view: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.blocks.len()).filter(move |block| self.blocks[*block].view == view)
    }

    fn notarizes_of(&self, view: usize) -> Subjects {
        self.blocks_of(view).fold(0, |all, block| all | Self::notarize(block))
    }

    fn finalizes_of(&self, view: usize) -> Subjects {
        self.notarizes_of(view) << self.blocks.len()
    }

    fn holds(&self, rule: Rule) -> bool {
        self.off != Some(rule)
    }

    /// The certificates that exist: a quorum less the villain's vote.
    fn certificates(&self, [a, b, c]: Ballots) -> Subjects {
        if self.holds(Rule::Quorum) { a & b | b & c | a & c } else { a | b | c }
    }

    /// R8: whether a block and all below it execute to their roots.
    fn executes(&self, block: usize) -> bool {
        !self.holds(Rule::Certify) || self.blocks[block].lineage & self.wrong == 0
    }

    /// R8, R14: whether somebody can hold the block certified or finalized.
    fn may_be_parent(&self, block: usize, certificates: Subjects) -> bool {
        certificates & (Self::notarize(block) | self.finalize(block)) != 0 && self.executes(block)
    }

    /// R1: whether somebody can be in the view.
    fn may_be_in(&self, view: usize, certificates: Subjects) -> bool {
        let below = view - 1;
        below == 0
            || certificates & self.nullify(below) != 0
            || self.blocks_of(below).any(|block| self.may_be_parent(block, certificates))
    }

    /// R5: whether the ancestry of a block can be complete for somebody.
    fn has_ancestry(&self, block: usize, certificates: Subjects) -> bool {
        let Block { view, parent, .. } = self.blocks[block];
        let parent_view = parent.map_or(0, |parent| self.blocks[parent].view);
        let is_parent_ready = parent.is_none_or(|parent| self.may_be_parent(parent, certificates));
        let are_gaps_closed = (parent_view + 1..view).all(|gap| certificates & self.nullify(gap) != 0);
        (is_parent_ready || !self.holds(Rule::Parent)) && (are_gaps_closed || !self.holds(Rule::Gaps))
    }

    /// The votes in a view that a validator with these votes may cast while these certificates exist.
    fn enabled(&self, view: usize, own: Subjects, certificates: Subjects) -> Vec<Subjects> {
        if !self.may_be_in(view, certificates) {
            return Vec::new();
        }
        let nullify = self.nullify(view);
        let (notarized, finalized) = (own & self.notarizes_of(view) != 0, own & self.finalizes_of(view) != 0);
        let has_nullified = own & nullify != 0;
        let may_notarize = (!notarized || !self.holds(Rule::NotarizeOnce))
            && (!has_nullified || !self.holds(Rule::NotarizeNotAfterNullify));
        let may_finalize = (!finalized || !self.holds(Rule::FinalizeOnce))
            && (!has_nullified || !self.holds(Rule::FinalizeNotAfterNullify));
        let may_nullify = !finalized || !self.holds(Rule::NullifyNotAfterFinalize);
        let mut votes = Vec::new();
        for block in self.blocks_of(view) {
            if may_notarize && self.has_ancestry(block, certificates) {
                votes.push(Self::notarize(block)); // R6
            }
            let is_notarized = certificates & Self::notarize(block) != 0 || !self.holds(Rule::FinalizeNotarized);
            if may_finalize && is_notarized && self.executes(block) {
                votes.push(self.finalize(block)); // R9
            }
        }
        if may_nullify {
            votes.push(nullify); // R10
        }
        votes.retain(|vote| own & vote == 0);
        votes
    }

    /// Whether the vote names the second of two blocks that are alike before anybody voted for the first.
    fn is_renamed(&self, vote: Subjects, ballots: Ballots) -> bool {
        let bit = usize::try_from(vote.trailing_zeros()).unwrap();
        if bit >= 2 * self.blocks.len() || self.wrong != 0 {
            return false;
        }
        let block = bit % self.blocks.len();
        let first = |block: usize| Self::notarize(block) | self.finalize(block);
        self.blocks[block].is_second && ballots.iter().all(|ballot| ballot & first(block - 1) == 0)
    }

    /// All states one vote further, by votes in these views, with `held` besides the certificates of the ballots.
    fn steps(&self, ballots: Ballots, held: Subjects, views: std::ops::RangeInclusive<usize>, next: &mut Vec<Ballots>) {
        let certificates = self.certificates(ballots) | held;
        for (signer, own) in ballots.into_iter().enumerate() {
            if signer > 0 && ballots[signer - 1] == own {
                continue; // Another one just like it was looked at.
            }
            for vote in views.clone().flat_map(|view| self.enabled(view, own, certificates)) {
                if !self.is_renamed(vote, ballots) {
                    let mut further = ballots;
                    further[signer] |= vote;
                    further.sort_unstable();
                    next.push(further);
                }
            }
        }
    }

    /// Whether the certificates break a property.
    fn breaks(&self, property: Broken, certificates: Subjects) -> bool {
        match property {
            Broken::TwoNotarized => {
                (1..=self.views).any(|view| (certificates & self.notarizes_of(view)).count_ones() > 1)
            }
            Broken::NullifiedAndFinalized => (1..=self.views)
                .any(|view| certificates & self.nullify(view) != 0 && certificates & self.finalizes_of(view) != 0),
            Broken::Agreement => {
                let finalized = |block: &usize| certificates & self.finalize(*block) != 0;
                let finalized: Vec<_> = (0..self.blocks.len()).filter(finalized).collect();
                let is_above = |block: usize, other: usize| self.blocks[block].lineage & Self::notarize(other) != 0;
                let is_torn = |block, other| !is_above(block, other) && !is_above(other, block);
                finalized.iter().any(|block| finalized.iter().any(|other| is_torn(*block, *other)))
            }
            Broken::WrongRoot => (0..self.blocks.len())
                .any(|block| certificates & self.finalize(block) != 0 && self.blocks[block].lineage & self.wrong != 0),
        }
    }

    /// Every order of every vote, until something breaks in one of the ways looked for.
    fn search(&self, sought: &[Broken]) -> Search {
        self.search_from(0, 1..=self.views, sought)
    }

    fn search_from(&self, held: Subjects, views: std::ops::RangeInclusive<usize>, sought: &[Broken]) -> Search {
        let mut level = vec![[0; HONEST]];
        let mut search = Search { states: 0, widest: 0, certificates: BTreeSet::new(), broken: None };
        let mut seen: Vec<Subjects> = Vec::new();
        while !level.is_empty() {
            search.states += level.len();
            search.widest = search.widest.max(level.len());
            seen.clear();
            seen.extend(level.iter().map(|ballots| self.certificates(*ballots) | held));
            seen.sort_unstable();
            seen.dedup();
            search.certificates.extend(&seen);
            let is_sought = |certificates| sought.iter().copied().find(|broken| self.breaks(*broken, certificates));
            if seen.iter().any(|certificates| is_sought(*certificates).is_some()) {
                let broken = level
                    .iter()
                    .find_map(|ballots| is_sought(self.certificates(*ballots) | held).map(|broken| (*ballots, broken)));
                return Search { broken, ..search };
            }
            let (mut next, mut crowded) = (Vec::new(), CROWD);
            for ballots in level {
                self.steps(ballots, held, views.clone(), &mut next);
                if next.len() > crowded {
                    next.sort_unstable();
                    next.dedup();
                    crowded = CROWD.max(2 * next.len());
                }
            }
            next.sort_unstable();
            next.dedup();
            level = next;
        }
        search
    }

    /// View by view, with only the certificates of the views before.
    fn search_by_view(&self) -> Search {
        let mut all = Search { states: 0, widest: 0, certificates: BTreeSet::from([0]), broken: None };
        for view in 1..=self.views {
            for held in std::mem::take(&mut all.certificates) {
                let found = self.search_from(held, view..=view, ALL);
                all.states += found.states;
                all.widest = all.widest.max(found.widest);
                all.certificates.extend(found.certificates);
                all.broken = all.broken.or(found.broken);
            }
        }
        all
    }
}

const ALL: &[Broken] = &[Broken::TwoNotarized, Broken::NullifiedAndFinalized, Broken::Agreement, Broken::WrongRoot];

/// Set to search every order of every vote in three views: 14 million states, 20 s of CPU, under 1.3 GiB.
const FULL: &str = "CAIRN_TEST_MODEL_FULL";

fn assert_safe(name: &str, search: &Search) {
    let (states, widest, sets) = (search.states, search.widest, search.certificates.len());
    println!("{name}: {states} states, at most {widest} of one size, {sets} sets of certificates");
    assert_eq!(search.broken, None, "{name}");
}

#[test]
fn model_three_views_view_by_view_breaks_nothing() {
    let search = Model::new(3).search_by_view();
    assert_safe("three views, view by view", &search);
    assert_eq!(search.states, 10_351);
    let wrong = Model::new(3).with_wrong_roots().search_by_view();
    assert_safe("three views, view by view, wrong roots", &wrong);
    assert_eq!(wrong.states, 6_377);
}

#[test]
fn model_two_views_in_every_order_breaks_nothing_and_reaches_the_same_certificates() {
    for (model, states) in [(Model::new(2), 26_888), (Model::new(2).with_wrong_roots(), 26_471)] {
        let search = model.search(ALL);
        assert_safe("two views, every order", &search);
        assert_eq!(search.states, states);
        assert_eq!(search.certificates, model.search_by_view().certificates);
    }
}

#[test]
fn model_three_views_in_every_order_breaks_nothing_and_reaches_the_same_certificates() {
    if std::env::var_os(FULL).is_none() {
        return; // The reduced search covers it; this one shows that the reduction loses nothing.
    }
    let model = Model::new(3);
    let search = model.search(ALL);
    assert_safe("three views, every order", &search);
    assert_eq!(search.states, 14_337_018);
    assert_eq!(search.certificates, model.search_by_view().certificates);
}

/// The search does reach what a chain is for: three finalized blocks in a row, and finality after each mix of nullified
/// views. A model that does nothing is safe, too.
#[test]
fn model_reaches_finality_in_every_view_and_over_every_gap() {
    let model = Model::new(3);
    let reached = model.search_by_view().certificates;
    let finalized = |certificates: Subjects, view: usize| certificates & model.finalizes_of(view) != 0;
    let nullified = |certificates: Subjects, view: usize| certificates & model.nullify(view) != 0;
    for fates in 0..8u32 {
        let is_final = |view: usize| fates & 1 << (view - 1) != 0;
        let fits = |certificates: &&Subjects| {
            (1..=3).all(|view| {
                finalized(**certificates, view) == is_final(view) && nullified(**certificates, view) != is_final(view)
            })
        };
        assert!(reached.iter().any(|certificates| fits(&certificates)), "fates {fates:03b}");
    }
}
