//! What can be asked for on the command line.

use cairn_primitives::Height;
use cairn_storage::HistoryMode;
use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// Heights of which a window keeps the state, unless the chain is shorter: as on a validator.
const WINDOW: u32 = 4_096;

/// Which block is large, as blocks below the head, and how many transfers it has.
const LARGE_BLOCK_BELOW_HEAD: u32 = 20;
const LARGE_BLOCK_TRANSFERS: u32 = 2_400;

/// How much history of the state a database keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Keeping {
    /// Every state.
    Archive,
    /// Those of the last blocks.
    Window,
}

impl Keeping {
    /// The name in folders and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Archive => "archive",
            Self::Window => "window",
        }
    }
}

/// Builds a long chain, damages copies of its database, and sees that `cairn db check` finds and names everything.
#[derive(Clone, Debug, Parser)]
#[command(name = "damage")]
pub struct Options {
    /// Blocks of the chain.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(120..=10_000_000))]
    pub blocks: u32,
    /// Transfers in each block.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub transfers: u32,
    /// How much history the database keeps.
    #[arg(long, value_enum, default_value_t = Keeping::Archive)]
    pub history: Keeping,
    /// Where databases go; the whole one is kept for the next run with the same options.
    #[arg(long, default_value = "target/damage")]
    pub dir: PathBuf,
    /// The cases; all of them if none is named.
    #[arg(long = "case", value_name = "NAME")]
    pub cases: Vec<String>,
    /// Only build the chain and check it.
    #[arg(long)]
    pub whole: bool,
}

impl Options {
    pub(super) fn history_mode(&self) -> HistoryMode {
        match self.history {
            Keeping::Archive => HistoryMode::Archive,
            Keeping::Window => HistoryMode::Window(WINDOW.min(self.blocks / 2)),
        }
    }

    /// One block has so many that its body lies in a file of its own.
    pub(super) const fn transfers_of(&self, height: Height) -> u32 {
        if height.0 == self.blocks.saturating_sub(LARGE_BLOCK_BELOW_HEAD) {
            LARGE_BLOCK_TRANSFERS
        } else {
            self.transfers
        }
    }

    /// The folder of the whole database and the chain spec.
    pub(super) fn whole_folder(&self) -> PathBuf {
        self.dir.join(format!("{}-{}-{}", self.history.name(), self.blocks, self.transfers))
    }
}
