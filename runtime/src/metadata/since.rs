//! What newer rules added, taken out of the types for older ones.
//!
//! Calls, events and errors are only ever added as variants, so the types of all rules are those of the newest with fewer
//! variants.

use crate::rules::Rules;
use scale_info::{PortableRegistry, TypeDef};

/// The rules that first had a variant: of a type by its path without the crate.
const SINCE: &[(Rules, &[&str], &str)] = &[
    (Rules::V4, &["modules", "utility", "call", "Call"], "force_batch"),
    (Rules::V4, &["modules", "utility", "event", "Event"], "BatchCompletedWithErrors"),
    (Rules::V4, &["modules", "utility", "event", "Event"], "ItemFailed"),
];

/// Takes out the variants that `rules` do not have.
pub(super) fn remove_newer(rules: Rules, registry: &mut PortableRegistry) {
    for portable in &mut registry.types {
        let Some((_, path)) = portable.ty.path.segments.split_first() else { continue };
        let newer =
            |name: &str| SINCE.iter().any(|(since, ty, variant)| *since > rules && path == *ty && name == *variant);
        if let TypeDef::Variant(variants) = &mut portable.ty.type_def {
            variants.variants.retain(|variant| !newer(&variant.name));
        }
    }
}
