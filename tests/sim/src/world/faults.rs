//! What goes wrong with machines and streams, and how machines start.

use super::{Event, World};
use crate::check::Failure;
use crate::disk::WriteFault;
use crate::liveness;
use crate::node::{Joining, Node, is_empty};
use crate::plan::{FaultKind, Machine};
use cairn_primitives::Height;

/// How long until a broken stream is noticed, or a new one stands, at most, in milliseconds, on top of a delay.
const NOTICED_MS_MAX: u64 = 100;

impl World {
    pub(super) fn plan_start(&mut self, at: Machine, at_ms: u64) {
        if !self.hosts[at].is_start_planned && !self.hosts[at].is_out {
            self.hosts[at].is_start_planned = true;
            self.plan_at(at_ms, Event::Start { at });
        }
    }

    /// A process opens what is on the disk of its machine.
    pub(super) fn start(&mut self, at: Machine) -> Result<(), Failure> {
        let host = &mut self.hosts[at];
        host.is_start_planned = false;
        if host.is_up() || host.is_out {
            return Ok(());
        }
        host.disk.reopen();
        host.life += 1;
        let life = host.life;
        host.born_ms = self.now_ms;
        host.wake_ms = None;
        host.writing_until_ms = 0;
        host.is_turn_planned = false;
        host.is_ledger_planned = false;
        host.gossip_seen.clear();
        host.links.iter_mut().for_each(|link| *link = None);
        host.reachable.clear();
        let failed = |error: anyhow::Error| Failure::new("node ended", format!("node {at}: {error:#}"));
        let joins = self.setup.plan.joiner() == Some(at) && !self.hosts[at].begins_with_blocks;
        if joins && is_empty(&self.hosts[at].disk).map_err(failed)? {
            self.note(at, &format_args!("starts its life {life} without a chain"));
            let host = &mut self.hosts[at];
            host.joining = Some(Joining::open(&self.setup, &host.disk, &mut host.files, life));
            self.plan_in(1 + at as u64 % 7, Event::SyncTick { at, life });
            self.relink_all();
            return Ok(());
        }
        self.note(at, &format_args!("starts its life {life}"));
        let mut effects = Vec::new();
        let opened = Node::open(&self.setup, at, &self.hosts[at].disk, self.clock(at), &mut effects);
        let outcome = match opened {
            Ok(mut node) => {
                node.begin_life(life);
                self.checker.opened(at, node.reader())?;
                self.hosts[at].has_joined |= node.reader().lowest_block().is_ok_and(|lowest| lowest > Height::ZERO);
                self.hosts[at].node = Some(node);
                Ok(())
            }
            Err(error) => Err(error),
        };
        self.plan_in(1 + at as u64 % 7, Event::SyncTick { at, life });
        self.plan_in(500, Event::PoolTick { at, life });
        self.relink_all();
        self.after(at, 0, effects, outcome)
    }

    /// A process ended by itself: as its disk wanted it, or because something is wrong.
    pub(super) fn ended(&mut self, at: Machine, error: &anyhow::Error) -> Result<(), Failure> {
        let fault = self.hosts[at].disk.ended_by();
        if fault.is_none() && self.setup.plan.villain_of(at).is_none() {
            return Err(Failure::new("node ended", format!("node {at}: {error:#}")));
        }
        let down_ms = self.hosts[at].down_ms;
        let is_power = matches!(fault, Some(WriteFault::PowerLossBefore | WriteFault::PowerLossAfter));
        self.note(at, &format_args!("ends: {fault:?}"));
        if is_power {
            self.lose_power(at);
        }
        // A villain whose own node breaks down stays down.
        self.kill(at, fault.map(|_| down_ms))
    }

    fn lose_power(&mut self, at: Machine) {
        let unsynced = self.hosts[at].disk.unsynced_count();
        let kept = self.rng.index(unsynced + 1);
        self.note(at, &format_args!("keeps {kept} of {unsynced} writes that were not synced"));
        self.hosts[at].disk.lose_power(kept);
    }

    /// A process is gone; it starts again after `down_ms`, if at all.
    pub(super) fn kill(&mut self, at: Machine, down_ms: Option<u64>) -> Result<(), Failure> {
        self.crashes += u64::from(self.hosts[at].is_up());
        self.note(at, &"is down");
        self.hosts[at].paused_until_ms = 0;
        self.stop(at, down_ms);
        Ok(())
    }

    /// Ends a process; it starts again after `down_ms`, if at all.
    pub(super) fn stop(&mut self, at: Machine, down_ms: Option<u64>) {
        self.hosts[at].node = None;
        self.hosts[at].joining = None;
        self.relink_all();
        if let Some(down_ms) = down_ms {
            self.plan_start(at, self.now_ms + down_ms);
        }
    }

    pub(super) fn fault(&mut self, number: usize) -> Result<(), Failure> {
        let kind = self.setup.plan.faults[number].kind.clone();
        let machine = kind.machine().unwrap_or(0);
        if machine >= self.hosts.len() {
            return Ok(());
        }
        self.note(machine, &format_args!("fault {number}: {kind:?}"));
        match kind {
            FaultKind::Partition { groups, is_one_way, breaks_streams, for_ms } => {
                self.network.begin_partition(number, &groups, is_one_way, breaks_streams);
                self.plan_in(for_ms, Event::Heal(number));
                self.relink_all();
            }
            FaultKind::PowerLoss { machine, down_ms } => {
                if self.hosts[machine].is_up() {
                    self.lose_power(machine);
                    return self.kill(machine, Some(down_ms));
                }
            }
            FaultKind::LoseRecord { machine, down_ms } => {
                self.hosts[machine].disk.lose_vote_record();
                self.checker.forgets(machine);
                if self.hosts[machine].is_up() {
                    self.lose_power(machine);
                    return self.kill(machine, Some(down_ms));
                }
            }
            FaultKind::Kill { machine, down_ms } => {
                if self.hosts[machine].is_up() {
                    return self.kill(machine, Some(down_ms));
                }
            }
            FaultKind::Write { machine, after, fault, down_ms } => {
                self.hosts[machine].disk.arm(after, fault);
                self.hosts[machine].down_ms = down_ms;
            }
            FaultKind::Pause { machine, for_ms } => {
                let until_ms = &mut self.hosts[machine].paused_until_ms;
                *until_ms = (*until_ms).max(self.now_ms + for_ms);
            }
            FaultKind::ClockJump { machine, by_ms } => {
                let skew = &mut self.hosts[machine].skew_ms;
                *skew = skew.saturating_add(by_ms).clamp(-liveness::SKEW_MS_MAX, liveness::SKEW_MS_MAX);
            }
        }
        Ok(())
    }

    /// Every machine looks at its streams, some time from now.
    pub(super) fn relink_all(&mut self) {
        for at in 0..self.hosts.len() {
            for peer in 0..self.hosts.len() {
                if self.wanted_link(at, peer) != self.hosts[at].links[peer] {
                    let after_ms = self.network.delay() + self.rng.below(NOTICED_MS_MAX);
                    self.plan_in(after_ms, Event::Link { at, peer });
                }
            }
        }
    }

    /// The life of the peer that the stream should be up to; two machines with one key do not talk to each other.
    fn wanted_link(&self, at: Machine, peer: Machine) -> Option<u64> {
        let is_same = at == peer
            || self.setup.plan.validator_of(at).is_some()
                && self.setup.plan.validator_of(at) == self.setup.plan.validator_of(peer);
        let is_possible =
            !is_same && self.hosts[at].is_up() && self.hosts[peer].is_up() && self.network.allows_stream(at, peer);
        is_possible.then(|| self.hosts[peer].life)
    }

    /// Brings one stream to what it should be, and tells the node.
    pub(super) fn relink(&mut self, at: Machine, peer: Machine) -> Result<(), Failure> {
        let (wanted, current) = (self.wanted_link(at, peer), self.hosts[at].links[peer]);
        if wanted == current {
            return Ok(());
        }
        if current.is_some() {
            self.hosts[at].links[peer] = None;
            self.tell_link(at, peer, false)?;
        }
        if wanted.is_some() && self.hosts[at].is_up() {
            self.hosts[at].links[peer] = wanted;
            self.tell_link(at, peer, true)?;
        }
        Ok(())
    }

    fn tell_link(&mut self, at: Machine, peer: Machine, is_up: bool) -> Result<(), Failure> {
        self.note(at, &format_args!("stream to {peer} {}", if is_up { "up" } else { "down" }));
        self.tell_validators(at);
        self.join(at, |joining, clock, files, effects| joining.link(clock, peer, is_up, files, effects))?;
        self.enter(at, 0, |node, clock, effects| node.link(clock, peer, is_up, effects))
    }
}
