//! What the node says when it is asked why there is no new block: the engine's picture as JSON, with what is around it.

use cairn_consensus::{EngineState, NeededVotes, ValidatorState};
use cairn_primitives::{Hash, Height, Power, ValidatorIndex, VoteKind};
use serde_json::{Value, json};
use std::time::Duration;

/// What a node without peers is to look at.
const NO_PEERS: &str = "check network.listen, the boot nodes and the firewall";

/// What is around the engine.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// Connected peers.
    pub peers: usize,
    /// Whether a node of this chain has peers at all.
    pub should_have_peers: bool,
    /// Whether block sync is catching up.
    pub is_syncing: bool,
    /// The last final block here.
    pub head: Height,
    /// Its hash.
    pub head_hash: Hash,
    /// The time since its timestamp.
    pub head_age: Duration,
    /// The highest block that any peer proved.
    pub highest: Height,
}

/// `cairn_consensusState`.
pub fn state_json(state: &EngineState) -> Value {
    let validators = state.validators.iter().map(validator_json);
    json!({
        "epoch": state.epoch.0,
        "view": state.view.0,
        "leader": state.leader.0,
        "leaderKey": key(state, state.leader),
        "ownIndex": state.own_index.map(|index| index.0),
        "isSilent": state.silence.is_some(),
        "proposalSeen": state.proposal_seen,
        "notarizeCast": state.notarize_cast,
        "nullifyCast": state.nullify_cast,
        "finalizeCast": state.finalize_cast,
        "votes": {
            "notarize": state.votes.notarize.0.to_string(),
            "nullify": state.votes.nullify.0.to_string(),
            "finalize": state.votes.finalize.0.to_string(),
        },
        "quorum": state.quorum.0.to_string(),
        "totalPower": state.total_power.0.to_string(),
        "backoff": state.backoff,
        "deadlines": deadlines(state),
        "finalizedView": state.finalized_view.0,
        "committed": {"height": state.committed.height.0, "hash": state.committed.hash.to_string()},
        "fetches": state.fetches,
        "rule": state.rule,
        "waitingFor": state.waiting_for,
        "needed": needed(state),
        "missing": missing(state),
        "validators": validators.collect::<Vec<_>>(),
    })
}

/// `cairn_whyNoBlock`; without a state of the engine this node runs none.
pub fn why_json(state: Option<&EngineState>, around: &Surroundings) -> Value {
    let engine = state.map(|state| {
        json!({
            "epoch": state.epoch.0,
            "view": state.view.0,
            "leader": state.leader.0,
            "leaderKey": key(state, state.leader),
            "ownIndex": state.own_index.map(|index| index.0),
            "quorum": state.quorum.0.to_string(),
            "totalPower": state.total_power.0.to_string(),
            "powerInReach": in_reach(state).0.to_string(),
            "backoff": state.backoff,
        })
    });
    json!({
        "why": why(state, around),
        "rule": state.and_then(|state| state.rule),
        "needed": state.map(needed).unwrap_or_default(),
        "missing": state.map(missing).unwrap_or_default(),
        "deadlines": state.map(deadlines).unwrap_or_default(),
        "consensus": engine,
        "lastBlock": {
            "height": around.head.0,
            "hash": around.head_hash.to_string(),
            "ageMs": u64::try_from(around.head_age.as_millis()).unwrap_or(u64::MAX),
        },
        "peers": around.peers,
        "isSyncing": around.is_syncing,
    })
}

/// The sentences, the most likely cause first.
fn why(state: Option<&EngineState>, around: &Surroundings) -> String {
    let node = if state.is_some_and(|state| state.own_index.is_some()) { "This validator" } else { "This node" };
    let mut sentences = Vec::new();
    if around.should_have_peers && around.peers == 0 {
        sentences.push(format!("{node} has no peers: {NO_PEERS}."));
    } else if around.is_syncing && around.highest > around.head {
        sentences.push(format!("{node} is catching up: it has block {} of {}.", around.head, around.highest));
    } else if around.is_syncing {
        sentences.push(format!("{node} is asking its peers how far they are."));
    }
    match state {
        Some(state) => {
            if state.own_index.is_none() {
                sentences.push(format!("This node has no vote in epoch {}.", state.epoch));
            }
            sentences.push(state.why.clone());
        }
        None if sentences.is_empty() => {
            sentences.push(
                "This node is not a validator and has every block that its peers told of: ask a validator.".into(),
            );
        }
        None => sentences.push("It is not a validator and makes no blocks itself.".into()),
    }
    let seconds = around.head_age.as_secs_f64();
    sentences.push(format!("The last final block is {}, {seconds:.1} s old.", around.head));
    sentences.join(" ")
}

fn in_reach(state: &EngineState) -> Power {
    let reached = state.validators.iter().filter(|validator| validator.connected);
    Power(reached.map(|validator| validator.power.0).fold(0, u64::saturating_add))
}

fn deadlines(state: &EngineState) -> Vec<Value> {
    let deadlines = state.deadlines.iter();
    deadlines.map(|deadline| json!({"name": deadline.name, "leftMs": deadline.left_ms})).collect()
}

fn key(state: &EngineState, index: ValidatorIndex) -> Option<String> {
    find(state, index).map(|validator| validator.key.to_string())
}

fn find(state: &EngineState, index: ValidatorIndex) -> Option<&ValidatorState> {
    state.validators.iter().find(|validator| validator.index == index)
}

fn needed(state: &EngineState) -> Vec<Value> {
    let one = |votes: &NeededVotes| {
        let kind = match votes.kind {
            VoteKind::Notarize => "notarize",
            VoteKind::Nullify => "nullify",
            VoteKind::Finalize => "finalize",
        };
        let missing: Vec<u16> = votes.missing.iter().map(|index| index.0).collect();
        json!({"kind": kind, "view": votes.view.0, "seen": votes.seen.0.to_string(), "missing": missing})
    };
    state.needed.iter().map(one).collect()
}

/// Those whose votes are needed first.
fn missing(state: &EngineState) -> Vec<Value> {
    let first = state.needed.first().map(|votes| votes.missing.as_slice()).unwrap_or_default();
    first.iter().filter_map(|index| find(state, *index)).map(validator_json).collect()
}

fn validator_json(validator: &ValidatorState) -> Value {
    json!({
        "index": validator.index.0,
        "key": validator.key.to_string(),
        "power": validator.power.0.to_string(),
        "connected": validator.connected,
        "heardMsAgo": validator.heard_ms_ago,
        "seenView": validator.seen_view.0,
    })
}

#[cfg(test)]
mod tests {
    use super::{Surroundings, why_json};
    use cairn_primitives::{Hash, Height};
    use serde_json::Value;
    use std::time::Duration;

    const AROUND: Surroundings = Surroundings {
        peers: 3,
        should_have_peers: true,
        is_syncing: false,
        head: Height(7),
        head_hash: Hash([1; 32]),
        head_age: Duration::from_millis(2_340),
        highest: Height(7),
    };

    fn words(around: Surroundings) -> String {
        let answer = why_json(None, &around);
        assert_eq!((&answer["rule"], &answer["consensus"]), (&Value::Null, &Value::Null));
        assert_eq!(answer["lastBlock"]["ageMs"], 2_340);
        answer["why"].as_str().unwrap().to_owned()
    }

    #[test]
    fn why_of_a_node_that_does_not_vote_says_what_hinders_it() {
        let last = "The last final block is 7, 2.3 s old.";
        assert_eq!(
            words(AROUND),
            format!("This node is not a validator and has every block that its peers told of: ask a validator. {last}")
        );
        let alone = words(Surroundings { peers: 0, is_syncing: true, ..AROUND });
        assert!(alone.starts_with("This node has no peers: check network.listen"), "{alone}");
        let syncing = words(Surroundings { is_syncing: true, highest: Height(90), ..AROUND });
        assert!(
            syncing.starts_with("This node is catching up: it has block 7 of 90. It is not a validator"),
            "{syncing}"
        );
        let asking = words(Surroundings { is_syncing: true, ..AROUND });
        assert!(asking.starts_with("This node is asking its peers how far they are."), "{asking}");
    }
}
