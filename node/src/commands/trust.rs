//! `--verify`: what a node answers is checked here, from a trust anchor alone.
//!
//! ```text
//!  trust anchor: chain spec (genesis and validators computed from it)
//!           or   chain spec and checkpoint (the hash of a final block; its header names the validators)
//!           or   a genesis hash (validators fetched, checked against the genesis header)
//!     └─ per epoch that has ended: certificate ─► its last header ─► validators of the next epoch
//!     └─ certificate ─► finalized header ─ parent links, or history below the checkpoint ─► header of the block
//! ```
//! Without a trust anchor the node's own word for its genesis is taken, and said to be taken. The checks themselves are
//! those of `cairn_verifier`.

use crate::cli::TrustArgs;
use crate::client::{self, Client};
use crate::exit::{ExitContext as _, ExitKind, Failure};
use crate::launch::{genesis_of, load_spec};
use cairn_primitives::light::TrustAnchor;
use cairn_primitives::{Epoch, Hash, Height};
use cairn_verifier::{
    BlockAnswer, BlockRef, EventAnswer, Finality, FinalityAnswer, ProofAnswer, SetAnswer, TransactionAnswer,
    VerifiedBlock, Verifier,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Checks the answers of one node.
pub(super) struct Trust<'a> {
    client: &'a Client,
    verifier: Verifier,
    source: Source,
    /// The trusted block, if not genesis.
    checkpoint: Option<(Height, Hash)>,
}

/// Where the trust comes from.
enum Source {
    Spec(String),
    Checkpoint(String, Hash),
    GenesisHash,
    Node,
}

impl Source {
    const fn word(&self) -> &'static str {
        match self {
            Self::Spec(_) => "chain-spec",
            Self::Checkpoint(..) => "checkpoint",
            Self::GenesisHash => "genesis-hash",
            Self::Node => "none",
        }
    }
}

impl<'a> Trust<'a> {
    /// The trust that the arguments give.
    ///
    /// # Errors
    /// The chain spec cannot be read; the node does not answer, or follows another chain.
    pub(super) async fn new(args: &TrustArgs, client: &'a Client) -> anyhow::Result<Self> {
        let theirs = client.genesis_hash().await?;
        if let Some(chain) = &args.chain {
            let spec = load_spec(chain)?;
            let genesis = genesis_of(&spec)?.hash();
            if theirs != genesis {
                let message = format!(
                    "the node at {} follows another chain: its genesis is {theirs}, that of {chain} ({}) is {genesis}",
                    client.url(),
                    spec.name()
                );
                return Err(Failure::new(ExitKind::WrongChain, message).into());
            }
            let Some(checkpoint) = args.checkpoint.as_deref().map(client::hash).transpose()? else {
                let anchor =
                    TrustAnchor::new(genesis, spec.validator_set().clone()).with_schedule(spec.epoch_schedule());
                return Ok(Self::of(client, anchor, Source::Spec(chain.clone())));
            };
            let header = client.header(&checkpoint).await?.ok_or_else(|| unknown_block(client, &checkpoint))?;
            let set = set_at(client, &checkpoint).await?;
            let anchor = TrustAnchor::from_checkpoint(genesis, spec.epoch_schedule(), checkpoint, &header, set)
                .exit_with(ExitKind::Proof, "REFUSED: the node's validators are not those of the checkpoint")?;
            let mut trust = Self::of(client, anchor, Source::Checkpoint(chain.clone(), checkpoint));
            trust.checkpoint = Some((header.height(), checkpoint));
            return Ok(trust);
        }
        let (trusted, source) = match &args.genesis_hash {
            Some(text) => (client::hash(text)?, Source::GenesisHash),
            None => (theirs, Source::Node),
        };
        let genesis = client.header(&trusted).await?.ok_or_else(|| unknown_block(client, &trusted))?;
        let set = set_at(client, &trusted).await?;
        let anchor = TrustAnchor::from_genesis(trusted, &genesis, set)
            .exit_with(ExitKind::Proof, "REFUSED: the node's validators are not those of the genesis")?;
        Ok(Self::of(client, anchor, source))
    }

    const fn of(client: &'a Client, anchor: TrustAnchor, source: Source) -> Self {
        Self { client, verifier: Verifier::new(anchor), source, checkpoint: None }
    }

    /// The checkpoint, if a block lies below it: what is older is shown in its history.
    async fn under(&self, at: &Hash) -> anyhow::Result<Option<String>> {
        let Some((height, checkpoint)) = self.checkpoint else { return Ok(None) };
        let header = self.client.header(at).await?.ok_or_else(|| unknown_block(self.client, at))?;
        Ok((header.height() < height).then(|| checkpoint.to_string()))
    }

    async fn ask<T: DeserializeOwned>(&self, method: &str, parameters: Value) -> anyhow::Result<T> {
        let fields = match parameters {
            Value::Object(fields) => fields,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
        };
        let answer: Value = self.client.call_named(method, fields).await?;
        serde_json::from_value(answer).map_err(|error| self.refused(method, anyhow::Error::new(error)))
    }

    fn refused(&self, what: &str, error: anyhow::Error) -> anyhow::Error {
        let message = format!("REFUSED: {} does not prove what it answers ({what})", self.client.url());
        error.context(Failure::new(ExitKind::Proof, message))
    }

    /// Trusts the validators of the epoch that signed for a block, following the end of each epoch before.
    async fn follow(&mut self, block: &BlockAnswer, finality: Option<&Finality>) -> anyhow::Result<()> {
        if !matches!(self.source, Source::Spec(_) | Source::Checkpoint(..)) {
            let epoch = block.header.0.context().map(|context| context.epoch);
            let epoch = epoch.map_err(|error| self.refused("header", error.into()))?;
            if epoch != Epoch::ZERO {
                let height = block.height;
                let message = format!(
                    "block {height} is of epoch {epoch}, and only the chain spec says where epochs end: give --chain"
                );
                return Err(Failure::new(ExitKind::Usage, message).into());
            }
        }
        let needed = self.verifier.epoch_needed(block, finality);
        while self.verifier.anchor().epoch() < needed {
            let from = self.verifier.anchor().epoch();
            let parameters = json!({ "at": block.hash, "fromEpoch": from.0 });
            let answer: FinalityAnswer = self.ask("cairn_getFinality", parameters).await?;
            for handover in &answer.handovers {
                let followed = self.verifier.follow(handover);
                followed.map_err(|error| self.refused("the end of an epoch", error.into()))?;
            }
            if self.verifier.anchor().epoch() == from {
                let error = anyhow::anyhow!("the node does not show the end of epoch {from}");
                return Err(self.refused("the end of an epoch", error));
            }
        }
        Ok(())
    }

    /// A block, proved final.
    pub(super) async fn block(&mut self, at: &Hash) -> anyhow::Result<VerifiedBlock> {
        let parameters = json!({ "at": at.to_string(), "under": self.under(at).await? });
        let answer: FinalityAnswer = self.ask("cairn_getFinality", parameters).await?;
        self.follow(&answer.block, answer.finality.as_ref()).await?;
        let verified = self.verifier.block(BlockRef::Hash(*at), &answer.block, answer.finality.as_ref());
        verified.map_err(|error| self.refused("block", error.into()))
    }

    /// What the state after a block has under a key, proved.
    pub(super) async fn state(&mut self, key: &[u8], at: &Hash) -> anyhow::Result<(VerifiedBlock, Option<Vec<u8>>)> {
        let under = self.under(at).await?;
        let parameters = json!({ "keys": [client::to_hex(key)], "at": at.to_string(), "under": under });
        let answer: ProofAnswer = self.ask("cairn_getProof", parameters).await?;
        self.follow(&answer.block, answer.finality.as_ref()).await?;
        let verified = self.verifier.state(BlockRef::Hash(*at), &[key.to_vec()], &answer);
        let verified = verified.map_err(|error| self.refused("state", error.into()))?;
        Ok((verified, answer.items.into_iter().next().and_then(|item| item.value).map(|value| value.0)))
    }

    /// The block of a transaction and its place there, proved.
    pub(super) async fn transaction(&mut self, hash: &Hash, at: &Hash) -> anyhow::Result<(VerifiedBlock, u32)> {
        let under = self.under(at).await?;
        let parameters = json!({ "hash": hash.to_string(), "under": under });
        let answer: TransactionAnswer = self.ask("cairn_getTransactionProof", parameters).await?;
        self.follow(&answer.block, answer.finality.as_ref()).await?;
        let verified = self.verifier.transaction(hash, &answer);
        Ok((verified.map_err(|error| self.refused("transaction", error.into()))?, answer.index))
    }

    /// The encoded record of a block's event, proved.
    pub(super) async fn event(&mut self, at: &Hash, index: u32) -> anyhow::Result<Vec<u8>> {
        let under = self.under(at).await?;
        let parameters = json!({ "block": at.to_string(), "index": index, "under": under });
        let answer: EventAnswer = self.ask("cairn_getEventProof", parameters).await?;
        self.follow(&answer.block, answer.finality.as_ref()).await?;
        let verified = self.verifier.event(BlockRef::Hash(*at), index, &answer);
        verified.map_err(|error| self.refused("event", error.into()))?;
        Ok(answer.event.0)
    }

    /// That a validator set is the one that a block names.
    pub(super) fn validators(&self, block: &VerifiedBlock, answer: &SetAnswer) -> anyhow::Result<()> {
        let verified = self.verifier.validators(block, answer);
        verified.map(drop).map_err(|error| self.refused("validators", error.into()))
    }

    /// How what was verified follows from the trust anchor, for people; `what` names it.
    pub(super) fn rows(&self, block: &VerifiedBlock, what: &str) -> Vec<(&'static str, String)> {
        let anchor = self.verifier.anchor();
        let set = anchor.validators();
        let finality = if block.signers == 0 {
            "the block is the trusted genesis".to_owned()
        } else {
            format!(
                "{} of {} validators signed the finalization of block {} (quorum: power {} of {})",
                block.signers,
                set.len(),
                block.certified,
                set.quorum(),
                set.total_power()
            )
        };
        let epochs = match anchor.epoch() {
            Epoch::ZERO => "the validators are those of genesis".into(),
            epoch if self.checkpoint.is_some() => {
                format!("the validators are those of epoch {epoch}, which the checkpoint leads to")
            }
            epoch => format!("{epoch} walked from genesis to the validators of epoch {epoch}, each end verified"),
        };
        let mut rows = vec![("finality", finality), ("epochs", epochs)];
        if let Some(under) = block.under {
            rows.push(("history", format!("the block is in the history of {under}")));
        }
        let genesis = anchor.genesis();
        rows.push((
            "trust anchor",
            match &self.source {
                Source::Spec(chain) => {
                    format!("genesis {genesis} and validators computed from the chain spec {chain}")
                }
                Source::Checkpoint(chain, hash) => {
                    format!("the given block {hash} of the chain spec {chain}; its header names the validators")
                }
                Source::GenesisHash => format!("the given genesis hash {genesis}; its header names the validators"),
                Source::Node => {
                    format!(
                        "NONE: genesis {genesis} is what {} says; give --chain or --genesis-hash",
                        self.client.url()
                    )
                }
            },
        ));
        rows.push((
            "verified:",
            match &self.source {
                Source::Spec(_) | Source::Checkpoint(..) | Source::GenesisHash => {
                    format!("header hash, finalization, validators, {what}")
                }
                Source::Node => "the answer fits together, but only against the node's own word for its genesis".into(),
            },
        ));
        rows
    }

    /// The same as fields of a document.
    pub(super) fn fields(&self, block: &VerifiedBlock) -> Map<String, Value> {
        let anchor = self.verifier.anchor();
        [
            ("verified", json!(true)),
            ("trustAnchor", json!(self.source.word())),
            ("genesis", json!(anchor.genesis().to_string())),
            ("stateRoot", json!(block.header.header().state_root.to_string())),
            ("certifiedHeight", json!(block.certified.0)),
            ("signers", json!(block.signers)),
            ("validatorsOfEpoch", json!(anchor.epoch().0)),
            ("under", json!(block.under.map(|hash| hash.to_string()))),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }
}

fn unknown_block(client: &Client, hash: &Hash) -> Failure {
    Failure::new(ExitKind::WrongChain, format!("{} has no block {hash}: it follows another chain", client.url()))
}

/// The validators that a node names for a block, nothing checked but that they are a set.
async fn set_at(client: &Client, at: &Hash) -> anyhow::Result<cairn_primitives::ValidatorSet> {
    let answer: SetAnswer = client.call("cairn_validators", vec![at.to_string().into()]).await?;
    answer.set().exit_with(ExitKind::Proof, "REFUSED: the node's validators are no set")
}
