//! Version 15: runtime calls and outer enums.

use super::model::{Extrinsic, Model, Module};
use super::runtime_apis::RuntimeApi;
use super::{paths, since, v14};
use crate::rules::Rules;
use frame_metadata::v15::{
    CustomMetadata, ExtrinsicMetadata, OuterEnums, PalletCallMetadata, PalletErrorMetadata, PalletEventMetadata,
    PalletMetadata, RuntimeApiMetadata, RuntimeApiMethodMetadata, RuntimeApiMethodParamMetadata, RuntimeMetadataV15,
    SignedExtensionMetadata,
};
use std::collections::BTreeMap;

/// The metadata.
pub(super) fn build(rules: Rules) -> RuntimeMetadataV15 {
    let model = Model::new(rules);
    let outer_enums = OuterEnums { call_enum_ty: model.call, event_enum_ty: model.event, error_enum_ty: model.error };
    let mut metadata = RuntimeMetadataV15::new(
        model.modules.into_iter().map(pallet).collect(),
        extrinsic(model.extrinsic, model.call),
        model.runtime,
        model.apis.into_iter().map(api).collect(),
        outer_enums,
        CustomMetadata { map: BTreeMap::new() },
    );
    since::remove_newer(rules, &mut metadata.types);
    paths::rename(&mut metadata.types);
    metadata
}

fn extrinsic(form: Extrinsic, call: scale_info::MetaType) -> ExtrinsicMetadata {
    let signed_extensions = form
        .extensions
        .into_iter()
        .map(|extension| SignedExtensionMetadata {
            identifier: extension.identifier,
            ty: extension.ty,
            additional_signed: extension.implicit,
        })
        .collect();
    ExtrinsicMetadata {
        version: form.version,
        address_ty: form.address,
        call_ty: call,
        signature_ty: form.signature,
        extra_ty: form.extra,
        signed_extensions,
    }
}

fn pallet(module: Module) -> PalletMetadata {
    PalletMetadata {
        name: module.name,
        storage: v14::storage(module.name, module.storage),
        calls: module.call.map(|ty| PalletCallMetadata { ty }),
        event: module.event.map(|ty| PalletEventMetadata { ty }),
        constants: v14::constants(module.constants),
        error: module.error.map(|ty| PalletErrorMetadata { ty }),
        index: module.index,
        docs: vec![module.docs],
    }
}

fn api(api: RuntimeApi) -> RuntimeApiMetadata {
    let methods = api
        .methods
        .into_iter()
        .map(|method| RuntimeApiMethodMetadata {
            name: method.name,
            inputs: method.inputs.into_iter().map(|(name, ty)| RuntimeApiMethodParamMetadata { name, ty }).collect(),
            output: method.output,
            docs: vec![method.docs],
        })
        .collect();
    RuntimeApiMetadata { name: api.name, methods, docs: vec![api.docs] }
}
