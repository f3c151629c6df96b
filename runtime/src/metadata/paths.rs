//! The names under which clients look for types.
//!
//! A derived type is named by where it stands in our code. Clients special-case some types by the names they have in
//! Substrate; those are renamed here, after all types are known. All others keep our names.

use scale_info::form::PortableForm;
use scale_info::{PortableRegistry, Type, TypeDef, TypeDefPrimitive, TypeParameter};

/// Ours (from the second segment on, the crate left out) and theirs.
const RENAMED: &[(&[&str], &[&str])] = &[
    (&["account", "AccountId32"], &["sp_core", "crypto", "AccountId32"]),
    (&["account", "MultiAddress"], &["sp_runtime", "multiaddress", "MultiAddress"]),
    (&["extrinsic", "MultiSignature"], &["sp_runtime", "MultiSignature"]),
    (&["hash", "Hash"], &["primitive_types", "H256"]),
    (&["header", "DigestItem"], &["sp_runtime", "generic", "digest", "DigestItem"]),
    (&["metadata", "shapes", "Digest"], &["sp_runtime", "generic", "digest", "Digest"]),
    (&["metadata", "shapes", "Era"], &["sp_runtime", "generic", "era", "Era"]),
    (&["metadata", "shapes", "BlakeTwo256"], &["sp_runtime", "traits", "BlakeTwo256"]),
    (
        &["metadata", "shapes", "UncheckedExtrinsic"],
        &["sp_runtime", "generic", "unchecked_extrinsic", "UncheckedExtrinsic"],
    ),
    (&["metadata", "shapes", "Runtime"], &["cairn_runtime", "Runtime"]),
    (&["dispatch", "DispatchError"], &["sp_runtime", "DispatchError"]),
    (&["dispatch", "ModuleError"], &["sp_runtime", "ModuleError"]),
    (&["dispatch", "TokenError"], &["sp_runtime", "TokenError"]),
    (&["dispatch", "TransactionalError"], &["sp_runtime", "TransactionalError"]),
    (&["dispatch", "TrieError"], &["sp_runtime", "proving_trie", "TrieError"]),
    (&["dispatch", "ArithmeticError"], &["sp_arithmetic", "ArithmeticError"]),
    (&["dispatch", "DispatchEventInfo"], &["frame_system", "DispatchEventInfo"]),
    (&["dispatch", "DispatchClass"], &["frame_support", "dispatch", "DispatchClass"]),
    (&["dispatch", "Pays"], &["frame_support", "dispatch", "Pays"]),
    (&["weight", "Weight"], &["sp_weights", "weight_v2", "Weight"]),
    (&["event", "EventRecord"], &["frame_system", "EventRecord"]),
    (&["event", "Phase"], &["frame_system", "Phase"]),
    (&["modules", "RuntimeCall"], &["cairn_runtime", "RuntimeCall"]),
    (&["modules", "RuntimeEvent"], &["cairn_runtime", "RuntimeEvent"]),
    (&["modules", "RuntimeError"], &["cairn_runtime", "RuntimeError"]),
    (&["modules", "system", "state", "AccountInfo"], &["frame_system", "AccountInfo"]),
    (&["modules", "system", "state", "AccountData"], &["pallet_balances", "types", "AccountData"]),
    (&["version", "RuntimeVersion"], &["sp_version", "RuntimeVersion"]),
    (&["invalid", "TransactionValidityError"], &["sp_runtime", "transaction_validity", "TransactionValidityError"]),
    (&["invalid", "InvalidityCode"], &["sp_runtime", "transaction_validity", "InvalidTransaction"]),
    (&["invalid", "UnknownCode"], &["sp_runtime", "transaction_validity", "UnknownTransaction"]),
    (&["runtime_api", "TransactionSource"], &["sp_runtime", "transaction_validity", "TransactionSource"]),
    (&["runtime_api", "ValidTransaction"], &["sp_runtime", "transaction_validity", "ValidTransaction"]),
    (&["runtime_api", "RuntimeDispatchInfo"], &["pallet_transaction_payment", "types", "RuntimeDispatchInfo"]),
    (&["runtime_api", "FeeDetails"], &["pallet_transaction_payment", "types", "FeeDetails"]),
    (
        &["modules", "transaction_payment", "exec", "InclusionFee"],
        &["pallet_transaction_payment", "types", "InclusionFee"],
    ),
];

/// Type parameters that clients read although our types have none: type, parameter, its type.
const PARAMETERS: &[(&str, &str, &str)] = &[
    ("frame_system::EventRecord", "E", "cairn_runtime::RuntimeEvent"),
    ("frame_system::EventRecord", "T", "primitive_types::H256"),
    ("sp_runtime::multiaddress::MultiAddress", "AccountId", "sp_core::crypto::AccountId32"),
    ("sp_runtime::multiaddress::MultiAddress", "AccountIndex", INDEX),
];

/// The type of account indices, which has no path.
const INDEX: &str = "u32";

/// Gives our types the names and the parameters that clients look for.
pub(super) fn rename(registry: &mut PortableRegistry) {
    rename_paths(registry);
    for (of, name, ty) in PARAMETERS {
        let id = registry.types.iter().find(|portable| is_named(&portable.ty, ty)).map(|found| found.id);
        let parameter = TypeParameter::new_portable((*name).to_owned(), id.map(Into::into));
        if let Some(portable) = registry.types.iter_mut().find(|portable| portable.ty.path.to_string() == *of) {
            portable.ty.type_params.push(parameter);
        }
    }
}

/// Whether a type goes by this name.
fn is_named(ty: &Type<PortableForm>, name: &str) -> bool {
    if ty.type_def == TypeDef::Primitive(TypeDefPrimitive::U32) { name == INDEX } else { ty.path.to_string() == name }
}

fn rename_paths(registry: &mut PortableRegistry) {
    for portable in &mut registry.types {
        let segments = &mut portable.ty.path.segments;
        let Some((krate, rest)) = segments.split_first() else { continue };
        if !krate.starts_with("cairn_") {
            continue;
        }
        if let Some((_, theirs)) = RENAMED.iter().find(|(ours, _)| rest == *ours) {
            *segments = theirs.iter().map(ToString::to_string).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renamed_paths_all_occur_in_the_registry() {
        let registry = crate::metadata::v16::build(crate::Rules::NEWEST).types;
        for (_, theirs) in RENAMED {
            let name = theirs.join("::");
            // Version 16 has no type for the runtime itself.
            if name == "cairn_runtime::Runtime" {
                continue;
            }
            let found = registry.types.iter().filter(|t| t.ty.path.to_string() == name).count();
            assert_eq!(found, 1, "{name}");
        }
    }

    #[test]
    fn parameters_are_all_resolved() {
        let registry = crate::metadata::v14::build(crate::Rules::NEWEST).types;
        for (of, name, ty) in PARAMETERS {
            let portable = registry.types.iter().find(|t| t.ty.path.to_string() == *of).unwrap();
            let parameter = portable.ty.type_params.iter().find(|p| p.name == *name).unwrap();
            let resolved = registry.resolve(parameter.ty.unwrap().id).unwrap();
            assert!(is_named(resolved, ty), "{of} {name}");
        }
    }
}
