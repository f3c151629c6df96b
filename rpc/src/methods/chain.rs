//! `chain_*`, except the subscriptions, and `chainSpec_v1_*`.

use super::{Module, Registered, expensive, quick};
use crate::error::{Code, RpcError};
use crate::json::{HeaderJson, signed_block};
use crate::params::{HeightArg, Heights};
use cairn_primitives::Hash;
use serde_json::Value;

pub(super) fn register(module: &mut Module) -> Registered {
    quick(module, "chain_getBlockHash", &["chain_getHead"], |context, args| {
        let hash_at = |HeightArg(height)| -> Result<Value, RpcError> {
            Ok(context.chain.block_hash(height)?.map_or(Value::Null, |hash| hash.to_string().into()))
        };
        match args.optional::<Heights>("height")? {
            None => Ok(Value::from(context.chain.head().hash.to_string())),
            Some(Heights::One(height)) => hash_at(height),
            Some(Heights::Many(heights)) => {
                context.check_keys(heights.len())?;
                heights.into_iter().map(hash_at).collect::<Result<Vec<_>, _>>().map(Value::Array)
            }
        }
    })?;
    quick(module, "chain_getFinalizedHead", &["chain_getFinalisedHead"], |context, _| {
        Ok(context.chain.head().hash.to_string())
    })?;
    quick(module, "chain_getHeader", &[], |context, args| {
        let at = context.at(args)?;
        let header = context.chain.header(&at)?;
        header
            .map(|header| serde_json::value::to_raw_value(&HeaderJson(&header)))
            .transpose()
            .map_err(|_| RpcError::new(Code::Internal))
    })?;
    expensive(
        module,
        "chain_getBlock",
        &[],
        |context, args| context.at(args),
        |context, at: Hash| {
            let block = context.chain.block(&at)?;
            block
                .map(|block| signed_block(&block.block, block.finalization.as_ref()))
                .transpose()
                .map_err(|_| RpcError::new(Code::Internal))
        },
    )?;

    quick(module, "chainSpec_v1_chainName", &[], |context, _| Ok(context.node.identity().chain.clone()))?;
    quick(module, "chainSpec_v1_genesisHash", &[], |context, _| Ok(context.chain.genesis_hash().to_string()))?;
    quick(module, "chainSpec_v1_properties", &[], |context, _| Ok(context.node.identity().properties.clone()))?;
    Ok(())
}
