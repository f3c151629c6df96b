//! Tests of the engine: rules on a single engine, stories and random runs on whole networks in virtual time.

mod closing;
mod early;
mod epochs_check;
mod epochs_commit;
mod epochs_ledger;
mod epochs_network;
mod epochs_random;
mod fixture;
mod guard;
mod latency;
mod model;
mod network;
mod random;
mod report;
mod rules;
mod rules_flow;
mod rules_recovery;
mod solo;
mod stories;
mod stories_epochs;
mod stories_solo;
mod stories_split;
mod twins;
