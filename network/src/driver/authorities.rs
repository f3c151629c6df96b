//! Validators tell where they are and look for each other: authority records in Kademlia.
//!
//! A validator puts its record at the nodes nearest to its place, again after waits that double, since some of them may not
//! be in the epoch yet or may go. It looks for the records of those it has no link with. Every node of the chain keeps
//! records, one for each validator at most, and forgets them with the epoch.

use super::Driver;
use crate::authority::{self, Rejection};
use crate::book::Role;
use crate::event::Offence;
use crate::record;
use crate::timers::Timer;
use cairn_primitives::PublicKey;
use cairn_primitives::authority::Refusal;
use libp2p::PeerId;
use libp2p::kad::store::RecordStore;
use libp2p::kad::{Quorum, Record};
use parity_scale_codec::Encode;
use std::time::{Duration, Instant};

/// The wait before a record is put for the second time and looked for again; it doubles.
const WAIT_FIRST: Duration = Duration::from_secs(1);

/// The longest wait between two times of putting the record.
const PUBLISH_WAIT_MAX: Duration = Duration::from_mins(10);

/// The longest wait between two searches.
const SEARCH_WAIT_MAX: Duration = Duration::from_mins(1);

/// For how long a record is kept that is not put again.
pub(crate) const RECORD_TTL: Duration = Duration::from_mins(60);

/// Records looked for at a time; those with the longest search behind them wait for the next round.
const SEARCHED_MAX: usize = 16;

/// How often this node has put its record, and looked for others', in this epoch.
#[derive(Debug, Default)]
pub(super) struct Efforts {
    published: u32,
    searched: u32,
    /// The last key looked for: the next round goes on behind it.
    last: Option<PublicKey>,
}

/// The wait after so many times.
fn wait(times: u32, limit: Duration) -> Duration {
    WAIT_FIRST.saturating_mul(2_u32.saturating_pow(times.min(16))).min(limit)
}

impl Driver {
    /// Begins to tell and to look, at the start, in a new epoch and after a change of address.
    pub(super) fn renew_efforts(&mut self) {
        self.efforts = Efforts { last: self.efforts.last, ..Efforts::default() };
        for timer in [Timer::Publish, Timer::Search] {
            if self.validators.is_validator() && !self.config.reserved_only {
                self.timers.set(timer, Instant::now() + WAIT_FIRST);
            } else {
                self.timers.cancel(timer);
            }
        }
    }

    /// Forgets the records of other epochs than the present one.
    pub(super) fn forget_records(&mut self) {
        let (known, genesis) = (&self.validators, self.config.genesis);
        let is_current =
            |place: &_, bytes: &[u8]| known.authorities.check(place, bytes, &genesis, &known.validators).is_ok();
        self.swarm.behaviour_mut().kad.store_mut().retain(|place, record| is_current(place, &record.value));
    }

    pub(super) fn publish_record(&mut self) {
        let Some(record) = self.validators.record() else { return };
        let place = authority::place(&self.config.genesis, &record.statement.key);
        let value = record.encode();
        if let Err(error) = self.swarm.behaviour_mut().kad.put_record(Record::new(place, value), Quorum::One) {
            tracing::debug!(%error, "the authority record was not put");
        }
        let delay = wait(self.efforts.published, PUBLISH_WAIT_MAX);
        self.efforts.published = self.efforts.published.saturating_add(1);
        self.timers.set(Timer::Publish, Instant::now() + delay);
    }

    /// Looks for the records of validators without a link.
    pub(super) fn search_records(&mut self) {
        let missing = self.validators.missing();
        let after = self.efforts.last.map_or(0, |last| missing.partition_point(|key| *key <= last));
        let round: Vec<_> = missing.iter().cycle().skip(after).take(missing.len().min(SEARCHED_MAX)).copied().collect();
        for key in &round {
            let place = authority::place(&self.config.genesis, key);
            self.swarm.behaviour_mut().kad.get_record(place);
        }
        self.efforts.last = round.last().copied();
        let delay = wait(self.efforts.searched, SEARCH_WAIT_MAX);
        self.efforts.searched = self.efforts.searched.saturating_add(1);
        self.timers.set(Timer::Search, Instant::now() + delay);
    }

    /// A record that was looked for.
    pub(super) fn handle_record_found(&mut self, from: Option<PeerId>, record: &Record) {
        if self.take_record(from, record) == Verdict::New && self.validators.is_validator() {
            self.try_dial_authority(record);
        }
    }

    /// A record that a peer wants kept here.
    pub(super) fn handle_record_put(&mut self, from: PeerId, record: Record) {
        let store = self.swarm.behaviour_mut().kad.store_mut();
        let is_known = store.get(&record.key).is_some_and(|known| known.value == record.value);
        if is_known || self.take_record(Some(from), &record) != Verdict::Refused {
            let store = self.swarm.behaviour_mut().kad.store_mut();
            if let Err(error) = store.put(record) {
                tracing::debug!(%error, "an authority record was not kept");
            }
        }
    }

    /// Checks a record and notes what it says.
    fn take_record(&mut self, from: Option<PeerId>, record: &Record) -> Verdict {
        let known = &self.validators;
        let checked = known.authorities.check(&record.key, &record.value, &self.config.genesis, &known.validators);
        let (authority, peer) = match checked {
            Ok(checked) => checked,
            Err(rejection) => {
                self.handle_rejection(from, &rejection);
                return Verdict::Refused;
            }
        };
        self.metrics.records.with_label_values(&["accepted"]).inc();
        let said = &authority.statement;
        if self.validators.own_key() == Some(said.key) {
            if peer != self.local {
                tracing::error!(%peer, "{}", Refusal::OwnKey);
            }
            return Verdict::Own;
        }
        if let Some(before) = self.validators.authorities.note(said.key, said.sequence, peer) {
            self.demote(&before);
        }
        Verdict::New
    }

    /// A peer whose consensus key another node holds now, or that is none any more.
    pub(super) fn demote(&mut self, peer: &PeerId) {
        self.book.demote(peer);
        if self.book.role(peer).is_none_or(|role| role < Role::Reserved) {
            self.swarm.behaviour_mut().limits.remove_peer_id(peer);
        }
    }

    fn handle_rejection(&mut self, from: Option<PeerId>, rejection: &Rejection) {
        tracing::debug!(?from, %rejection, "an authority record was not taken");
        let label = if rejection.is_offence() { "malformed" } else { "refused" };
        self.metrics.records.with_label_values(&[label]).inc();
        if let Some(peer) = from.filter(|_| rejection.is_offence()) {
            self.report(peer, Offence::Malformed);
        }
    }

    /// Dials a validator whose record was found.
    fn try_dial_authority(&mut self, found: &Record) {
        let known = &self.validators;
        let checked = known.authorities.check(&found.key, &found.value, &self.config.genesis, &known.validators);
        let Ok((authority, peer)) = checked else { return };
        if !self.book.learn(peer, record::addresses(&authority), Role::Validator) {
            return;
        }
        // Places for ordinary peers may be taken; a validator needs none of them.
        self.swarm.behaviour_mut().limits.bypass_peer_id(&peer);
        if !self.peers.contains_key(&peer) {
            self.timers.set_if_unset(Timer::Dial(peer), Instant::now());
        }
    }
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It holds, and is another validator's.
    New,
    /// It holds, and is of this node's key.
    Own,
    Refused,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_limit() {
        assert_eq!(wait(0, SEARCH_WAIT_MAX), WAIT_FIRST);
        assert_eq!(wait(3, SEARCH_WAIT_MAX), 8 * WAIT_FIRST);
        assert_eq!(wait(u32::MAX, SEARCH_WAIT_MAX), SEARCH_WAIT_MAX);
    }
}
