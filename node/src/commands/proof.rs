//! `cairn query proof`: fetches a state proof and verifies every step of it here.
//!
//! ```text
//!  trust anchor: chain spec (genesis and validators computed from it)
//!           or   a genesis hash (validators fetched, checked against the genesis header)
//!     └─ per epoch that has ended: certificate ─► its last header ─► validators of the next epoch
//!     └─ certificate ─► finalized header ─ parent links ─► header of the block ─ state root ─ proof ─► value
//! ```
//! Without a trust anchor the node's own word for its genesis is taken, and said to be taken.

use crate::cli::ProofArgs;
use crate::client::{self, Client, from_hex, to_hex};
use crate::exit::{ExitContext as _, ExitKind, Failure};
use crate::launch::{genesis_of, load_spec};
use crate::output::{Output, amount, table};
use cairn_primitives::certificate::CERTIFICATE_BYTES_MAX;
use cairn_primitives::codec::decode_strict;
use cairn_primitives::light::{FinalHeader, TrustAnchor};
use cairn_primitives::state_proof::StateProof;
use cairn_primitives::{Certificate, Epoch, Hash, Header, Power, PublicKey, Validator, ValidatorSet};
use cairn_runtime::{AccountInfo, keys};
use parity_scale_codec::Decode as _;
use serde::Deserialize;
use serde_json::{Value, json};

/// A header larger than this is refused, in bytes.
const HEADER_BYTES_MAX: usize = 64 << 10;

/// The most headers between a block and the finalization that covers it.
const LINKS_MAX: usize = 256;

/// The answer of `cairn_getProof`, nothing checked.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ProofAnswer {
    block: BlockAnswer,
    items: Vec<ItemAnswer>,
    finality: Option<FinalityAnswer>,
}

#[derive(Clone, Debug, Deserialize)]
struct BlockAnswer {
    header: String,
}

#[derive(Clone, Debug, Deserialize)]
struct ItemAnswer {
    key: String,
    value: Option<String>,
    proof: String,
}

#[derive(Clone, Debug, Deserialize)]
struct FinalityAnswer {
    /// Headers from the block's child to the one that the certificate is of.
    links: Vec<String>,
    certificate: String,
}

/// The answer of `cairn_getEpochHandover`, nothing checked.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct HandoverAnswer {
    closing: BlockAnswer,
    certificate: String,
    next: ValidatorsAnswer,
}

/// What was proved.
#[derive(Clone, Debug)]
pub(super) struct Proved {
    /// The block.
    pub block: FinalHeader,
    /// Height of the block that the certificate is of; the block's own height for genesis.
    pub certified_height: u32,
    /// How many validators signed.
    pub signers: usize,
    /// The value; `None` where its absence was proved.
    pub value: Option<Vec<u8>>,
}

/// Runs the command.
///
/// # Errors
/// The node cannot be reached or refuses; or something does not verify, with [`ExitKind::Proof`].
pub(super) async fn run(args: &ProofArgs, output: Output) -> anyhow::Result<()> {
    let client = Client::connect(&args.node.url).await?;
    let (anchor, source) = trust_anchor(args, &client).await?;
    let properties = client.properties().await?;
    let account = match &args.account {
        Some(text) => Some(client::account(text, properties.ss58_format)?),
        None => None,
    };
    let key = match (&account, &args.key) {
        (Some(account), _) => keys::system_account(account),
        (None, Some(text)) => from_hex(text)?,
        (None, None) => return Err(Failure::new(ExitKind::Usage, "give --account or --key").into()),
    };
    let mut parameters: Vec<Value> = vec![json!([to_hex(&key)])];
    let at = args.at.as_deref().map(client::hash).transpose()?;
    parameters.extend(at.map(|at| json!(at.to_string())));
    let answer: ProofAnswer = client.call("cairn_getProof", parameters).await?;
    let refused = || Failure::new(ExitKind::Proof, format!("REFUSED: {} gave a false proof", client.url()));
    let target = epoch_to_reach(&anchor, &source, &answer).map_err(|error| error.context(refused()))??;
    let anchor = walk(anchor, &client, target).await?;
    let proved = verify(&anchor, &answer, &key, at.as_ref()).map_err(|error| error.context(refused()))?;

    let header = proved.block.header();
    let shown = match (&proved.value, &account) {
        (None, _) => "no value: the state has none under this key".to_owned(),
        (Some(bytes), Some(_)) => {
            let info = AccountInfo::decode(&mut bytes.as_slice())
                .exit_with(ExitKind::Proof, "the proved value is not an account of the rules this program knows")?;
            let tokens = |units| amount(units, properties.token_decimals, &properties.token_symbol);
            format!("free {}, reserved {}, nonce {}", tokens(info.data.free), tokens(info.data.reserved), info.nonce)
        }
        (Some(bytes), None) => to_hex(bytes),
    };
    let finality = if header.number == 0 {
        "the block is the trusted genesis".to_owned()
    } else {
        let set = anchor.validators();
        format!(
            "{} of {} validators signed the finalization of block {} (quorum: power {} of {})",
            proved.signers,
            set.len(),
            proved.certified_height,
            set.quorum(),
            set.total_power()
        )
    };
    let rows = [
        ("value", shown),
        ("key", to_hex(&key)),
        ("block", format!("{} {}", header.number, proved.block.hash())),
        ("state root", header.state_root.to_string()),
        ("finality", finality),
        ("epochs", epochs_in_words(&anchor)),
        ("trust anchor", source.words(&anchor)),
        ("verified:", source.verdict().to_owned()),
    ];
    let document = json!({
        "verified": true, "trustAnchor": source.word(), "genesis": anchor.genesis().to_string(),
        "key": to_hex(&key), "value": proved.value.as_deref().map(to_hex),
        "height": header.number, "block": proved.block.hash().to_string(), "stateRoot": header.state_root.to_string(),
        "certifiedHeight": proved.certified_height, "signers": proved.signers, "epochsWalked": anchor.epoch().0,
    });
    output.print(&document, &table(&rows))
}

/// The epoch whose validators made the block final; the inner error is not the node's fault.
fn epoch_to_reach(
    anchor: &TrustAnchor,
    source: &Source,
    answer: &ProofAnswer,
) -> anyhow::Result<Result<Epoch, Failure>> {
    let header = header(&answer.block.header)?;
    if matches!(source, Source::Spec(_)) {
        return Ok(Ok(anchor.schedule().epoch_of(header.height())));
    }
    let epoch = header.context()?.epoch;
    if epoch == Epoch::ZERO {
        return Ok(Ok(epoch));
    }
    let message = format!(
        "block {} is of epoch {epoch}, and only the chain spec says where epochs end: give --chain",
        header.number
    );
    Ok(Err(Failure::new(ExitKind::Usage, message)))
}

/// Trust in the validators of a later epoch: one finalization for each epoch before it.
///
/// # Errors
/// The node does not answer, or something does not verify, with [`ExitKind::Proof`].
async fn walk(mut anchor: TrustAnchor, client: &Client, target: Epoch) -> anyhow::Result<TrustAnchor> {
    while anchor.epoch() < target {
        let epoch = anchor.epoch();
        let answer: Option<HandoverAnswer> = client.call("cairn_getEpochHandover", vec![epoch.0.into()]).await?;
        let refused = || {
            let message = format!("REFUSED: {} does not prove the end of epoch {epoch}", client.url());
            Failure::new(ExitKind::Proof, message)
        };
        anchor = step(&anchor, &answer.ok_or_else(refused)?).map_err(|error| error.context(refused()))?;
    }
    Ok(anchor)
}

/// Verifies the end of one epoch.
///
/// # Errors
/// The first step that does not hold.
pub(super) fn step(anchor: &TrustAnchor, answer: &HandoverAnswer) -> anyhow::Result<TrustAnchor> {
    let certificate = certificate(&answer.certificate)?;
    Ok(anchor.advance(header(&answer.closing.header)?, &certificate, answer.next.set()?)?)
}

fn epochs_in_words(anchor: &TrustAnchor) -> String {
    match anchor.epoch() {
        Epoch::ZERO => "the validators are those of genesis".into(),
        Epoch(walked) => format!("{walked} walked from genesis to the validators of epoch {walked}, each end verified"),
    }
}

/// Verifies everything in an answer: header, finality, key, value and proof.
///
/// # Errors
/// The first step that does not hold.
pub(super) fn verify(
    anchor: &TrustAnchor,
    answer: &ProofAnswer,
    key: &[u8],
    at: Option<&Hash>,
) -> anyhow::Result<Proved> {
    let header = header(&answer.block.header)?;
    if let Some(at) = at.filter(|at| header.hash() != **at) {
        anyhow::bail!("the header hashes to {}, asked for was {at}", header.hash());
    }
    let (block, certified_height, signers) = match &answer.finality {
        None => (anchor.verify_genesis(header)?, 0, 0),
        Some(finality) => verify_finality(anchor, header, finality)?,
    };
    let [item] = answer.items.as_slice() else {
        anyhow::bail!("{} values were proved, one was asked for", answer.items.len());
    };
    anyhow::ensure!(from_hex(&item.key)? == key, "the proof is for another key than the one asked for");
    let value = item.value.as_deref().map(from_hex).transpose()?;
    let proof = StateProof::from_bytes(&from_hex(&item.proof)?)?;
    block.verify_state(key, value.as_deref(), &proof)?;
    Ok(Proved { block, certified_height, signers, value })
}

/// From the certified header down to the block, link by link.
fn verify_finality(
    anchor: &TrustAnchor,
    block: Header,
    finality: &FinalityAnswer,
) -> anyhow::Result<(FinalHeader, u32, usize)> {
    anyhow::ensure!(finality.links.len() <= LINKS_MAX, "more than {LINKS_MAX} headers up to the finalization");
    let certificate = certificate(&finality.certificate)?;
    let signers = certificate.signatures().count();
    let mut path = vec![block];
    for link in &finality.links {
        path.push(header(link)?);
    }
    let mut newest_first = path.into_iter().rev();
    let certified = newest_first.next().ok_or_else(|| anyhow::anyhow!("there is no header"))?;
    let height = certified.number;
    let mut verified = anchor.verify_final(certified, &certificate)?;
    for parent in newest_first {
        verified = verified.verify_parent(parent)?;
    }
    Ok((verified, height, signers))
}

fn header(text: &str) -> anyhow::Result<Header> {
    Ok(decode_strict("header", &from_hex(text)?, HEADER_BYTES_MAX)?)
}

fn certificate(text: &str) -> anyhow::Result<Certificate> {
    Ok(decode_strict("finalization", &from_hex(text)?, CERTIFICATE_BYTES_MAX)?)
}

/// Where the trust comes from.
enum Source {
    Spec(String),
    GenesisHash,
    Node(String),
}

impl Source {
    const fn word(&self) -> &'static str {
        match self {
            Self::Spec(_) => "chain-spec",
            Self::GenesisHash => "genesis-hash",
            Self::Node(_) => "none",
        }
    }

    fn words(&self, anchor: &TrustAnchor) -> String {
        let genesis = anchor.genesis();
        match self {
            Self::Spec(chain) => format!("genesis {genesis} and validators computed from the chain spec {chain}"),
            Self::GenesisHash => format!("the given genesis hash {genesis}; its header names the validators"),
            Self::Node(url) => format!("NONE: genesis {genesis} is what {url} says; give --chain or --genesis-hash"),
        }
    }

    const fn verdict(&self) -> &'static str {
        match self {
            Self::Spec(_) | Self::GenesisHash => "header hash, finalization, validators, state root, key and value",
            Self::Node(_) => "the answer fits together, but only against the node's own word for its genesis",
        }
    }
}

async fn trust_anchor(args: &ProofArgs, client: &Client) -> anyhow::Result<(TrustAnchor, Source)> {
    if let Some(chain) = &args.chain {
        let spec = load_spec(chain)?;
        let genesis = genesis_of(&spec)?.hash();
        let theirs = client.genesis_hash().await?;
        if theirs != genesis {
            let message = format!(
                "the node at {} follows another chain: its genesis is {theirs}, that of {chain} ({}) is {genesis}",
                client.url(),
                spec.name()
            );
            return Err(Failure::new(ExitKind::WrongChain, message).into());
        }
        let anchor = TrustAnchor::new(genesis, spec.validator_set().clone()).with_schedule(spec.epoch_schedule());
        return Ok((anchor, Source::Spec(chain.clone())));
    }
    let (trusted, source) = match &args.genesis_hash {
        Some(text) => (client::hash(text)?, Source::GenesisHash),
        None => (client.genesis_hash().await?, Source::Node(client.url().to_owned())),
    };
    let unknown = || {
        Failure::new(ExitKind::WrongChain, format!("{} has no block {trusted}: it follows another chain", client.url()))
    };
    let genesis = client.header(&trusted).await?.ok_or_else(unknown)?;
    let validators = validators(client, Some(&trusted)).await?;
    let anchor = TrustAnchor::from_genesis(trusted, &genesis, validators)
        .exit_with(ExitKind::Proof, "REFUSED: the node's validators are not those of the genesis")?;
    Ok((anchor, source))
}

/// The answer of `cairn_validators`, as far as it is needed.
#[derive(Clone, Debug, Deserialize)]
struct ValidatorsAnswer {
    validators: Vec<ValidatorAnswer>,
}

#[derive(Clone, Debug, Deserialize)]
struct ValidatorAnswer {
    key: String,
    power: String,
}

impl ValidatorsAnswer {
    fn set(&self) -> anyhow::Result<ValidatorSet> {
        let validators = self.validators.iter().map(|validator| {
            let key = PublicKey(client::hash(&validator.key)?.0);
            let power = Power(validator.power.parse().exit_with(ExitKind::Unreachable, "a power is no number")?);
            Ok(Validator { key, power })
        });
        let validators = validators.collect::<anyhow::Result<Vec<_>>>()?;
        ValidatorSet::new(validators).exit_with(ExitKind::Unreachable, "the node's validators are no set")
    }
}

/// The validators that a node names for a block, by its hash; for the head if none is given.
///
/// # Errors
/// The node does not answer, or the answer is no validator set.
pub(super) async fn validators(client: &Client, at: Option<&Hash>) -> anyhow::Result<ValidatorSet> {
    let parameters = at.map(|at| at.to_string().into());
    let answer: ValidatorsAnswer = client.call("cairn_validators", parameters.into_iter().collect()).await?;
    answer.set()
}

#[cfg(test)]
mod tests;
