//! One module for each noun of the command line.

pub mod chain_spec;
pub mod config;
pub mod db;
pub mod dev;
pub mod devnet;
pub mod init;
pub mod keys;
pub mod query;
pub mod run;
pub mod snapshot;
mod trust;
pub mod tx;
pub mod vote_record;
