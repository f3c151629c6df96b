//! Version 16: associated types, versions of runtime calls, extensions by extrinsic version.

use super::model::{Extrinsic, Model, Module};
use super::runtime_apis::RuntimeApi;
use super::storage::Entry;
use super::{paths, since};
use crate::rules::Rules;
use frame_metadata::v16::{
    CustomMetadata, EnumDeprecationInfo, ExtrinsicMetadata, FunctionParamMetadata, ItemDeprecationInfo, OuterEnums,
    PalletAssociatedTypeMetadata, PalletCallMetadata, PalletConstantMetadata, PalletErrorMetadata, PalletEventMetadata,
    PalletMetadata, PalletStorageMetadata, RuntimeApiMetadata, RuntimeApiMethodMetadata, RuntimeMetadataV16,
    StorageEntryMetadata, TransactionExtensionMetadata,
};
use parity_scale_codec::Compact;
use scale_info::MetaType;
use std::collections::BTreeMap;

/// The metadata.
pub(super) fn build(rules: Rules) -> RuntimeMetadataV16 {
    let model = Model::new(rules);
    let outer_enums = OuterEnums { call_enum_ty: model.call, event_enum_ty: model.event, error_enum_ty: model.error };
    let mut metadata = RuntimeMetadataV16::new(
        model.modules.into_iter().map(pallet).collect(),
        extrinsic(model.extrinsic, model.call),
        model.apis.into_iter().map(api).collect(),
        outer_enums,
        CustomMetadata { map: BTreeMap::new() },
    );
    since::remove_newer(rules, &mut metadata.types);
    paths::rename(&mut metadata.types);
    metadata
}

fn extrinsic(form: Extrinsic, call: MetaType) -> ExtrinsicMetadata {
    let all = (0u32..).zip(&form.extensions).map(|(index, _)| Compact(index)).collect();
    ExtrinsicMetadata {
        versions: vec![form.version],
        address_ty: form.address,
        call_ty: call,
        signature_ty: form.signature,
        transaction_extensions_by_version: BTreeMap::from([(0, all)]),
        transaction_extensions: form
            .extensions
            .into_iter()
            .map(|extension| TransactionExtensionMetadata {
                identifier: extension.identifier,
                ty: extension.ty,
                implicit: extension.implicit,
            })
            .collect(),
    }
}

fn pallet(module: Module) -> PalletMetadata {
    let kept = ItemDeprecationInfo::NotDeprecated;
    PalletMetadata {
        name: module.name,
        storage: storage(module.name, module.storage),
        calls: module
            .call
            .map(|ty| PalletCallMetadata { ty, deprecation_info: EnumDeprecationInfo::nothing_deprecated() }),
        event: module
            .event
            .map(|ty| PalletEventMetadata { ty, deprecation_info: EnumDeprecationInfo::nothing_deprecated() }),
        constants: module
            .constants
            .into_iter()
            .map(|constant| PalletConstantMetadata {
                name: constant.name,
                ty: constant.ty,
                value: constant.value,
                docs: vec![constant.docs],
                deprecation_info: ItemDeprecationInfo::NotDeprecated,
            })
            .collect(),
        error: module
            .error
            .map(|ty| PalletErrorMetadata { ty, deprecation_info: EnumDeprecationInfo::nothing_deprecated() }),
        associated_types: module
            .associated_types
            .into_iter()
            .map(|(name, ty)| PalletAssociatedTypeMetadata { name, ty, docs: Vec::new() })
            .collect(),
        view_functions: Vec::new(),
        index: module.index,
        docs: vec![module.docs],
        deprecation_info: kept,
    }
}

fn storage(prefix: &'static str, entries: Vec<Entry>) -> Option<PalletStorageMetadata> {
    if entries.is_empty() {
        return None;
    }
    let entries = entries
        .into_iter()
        .map(|entry| StorageEntryMetadata {
            name: entry.name,
            modifier: entry.modifier,
            ty: entry.ty,
            default: entry.default,
            docs: vec![entry.docs],
            deprecation_info: ItemDeprecationInfo::NotDeprecated,
        })
        .collect();
    Some(PalletStorageMetadata { prefix, entries })
}

fn api(api: RuntimeApi) -> RuntimeApiMetadata {
    let methods = api
        .methods
        .into_iter()
        .map(|method| RuntimeApiMethodMetadata {
            name: method.name,
            inputs: method.inputs.into_iter().map(|(name, ty)| FunctionParamMetadata { name, ty }).collect(),
            output: method.output,
            docs: vec![method.docs],
            deprecation_info: ItemDeprecationInfo::NotDeprecated,
        })
        .collect();
    RuntimeApiMetadata {
        name: api.name,
        methods,
        docs: vec![api.docs],
        version: Compact(api.version),
        deprecation_info: ItemDeprecationInfo::NotDeprecated,
    }
}
