//! Deliberate damage to the database of a long chain: what `cairn db check` must find and name.
//!
//! ```text
//! chain ──► whole database ──► check: sound
//!                │ files are linked
//!                ├──► copy ── case: some damages ──► check: each of them named
//!                └──► …
//! ```
//! A case is a set of damages that do not hide each other. The program is the real one; this module writes into the copies
//! through the storage crates and into files.

mod cases;
mod check;
mod copy;
mod options;
mod records;

pub use options::{Keeping, Options};

use crate::chain::LongChain;
use anyhow::{Context as _, ensure};
use cairn_primitives::Height;
use cases::{Case, Expected};
use check::{Checked, Found, check};
use std::fs;
use std::path::{Path, PathBuf};

/// Exit code of the program where the database is damaged.
const DAMAGED: i32 = 7;

/// How much of what a check said is shown where it missed something.
const SAID_MAX: usize = 3;

/// The name of the finished chain's spec beside its database: it is written last.
const SPEC_FILE: &str = "spec.json";

/// Builds the chain if it is not there, checks it, damages copies and checks them; tells a line for each check.
///
/// # Errors
/// A damage is not found or not named, the whole database is not sound, or something else failed.
pub fn run(options: &Options, tell: &mut dyn FnMut(String)) -> anyhow::Result<()> {
    let cases: Vec<_> = cases::all(options.history).into_iter().filter(|case| is_asked(options, case)).collect();
    ensure!(!cases.is_empty(), "there is no such case; there are {}", names(&cases::all(options.history)));
    let whole = build(options)?;
    let sound = check(&whole, &whole.join(SPEC_FILE))?;
    ensure!(sound.code == Some(0), "the whole database is not sound: {:?}", sound.found);
    tell(format!("whole, {}: {}", options.history.name(), summary(&sound)));
    if options.whole {
        return Ok(());
    }
    let (mut count, mut missed) = (0_usize, Vec::new());
    for case in &cases {
        let folder = options.dir.join("damaged");
        let expected = damage(&whole, &folder, case).with_context(|| case.name.clone())?;
        let checked = check(&folder, &whole.join(SPEC_FILE))?;
        ensure!(checked.code == Some(DAMAGED), "{}: exit code {:?}: {:?}", case.name, checked.code, checked.found);
        count += expected.len();
        let said = checked.found.iter().take(SAID_MAX).map(|found| found.text.as_str()).collect::<Vec<_>>().join("; ");
        let not_named: Vec<_> = expected.iter().filter(|damage| !is_named(damage, &checked.found)).collect();
        let named = expected.len() - not_named.len();
        tell(format!("{}: {named} of {} damages named; {}", case.name, expected.len(), summary(&checked)));
        missed.extend(not_named.iter().map(|damage| format!("{}: {damage}; it says: {said}", case.name)));
    }
    remove(&options.dir.join("damaged"))?;
    ensure!(missed.is_empty(), "{} of {count} damages are not named:\n  {}", missed.len(), missed.join("\n  "));
    tell(format!("{count} damages in {} checks: all found and named", cases.len()));
    Ok(())
}

fn is_asked(options: &Options, case: &Case) -> bool {
    options.cases.is_empty() || options.cases.contains(&case.name)
}

fn names(cases: &[Case]) -> String {
    cases.iter().map(|case| case.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn build(options: &Options) -> anyhow::Result<PathBuf> {
    let whole = options.whole_folder();
    if whole.join(SPEC_FILE).exists() {
        return Ok(whole);
    }
    remove(&whole)?;
    let chain = LongChain::new()?;
    fs::create_dir_all(&whole)?;
    chain.grow(&copy::database(&whole), options.history_mode(), Height(options.blocks), &|height| {
        options.transfers_of(height)
    })?;
    fs::write(whole.join(SPEC_FILE), chain.spec().to_json())?;
    Ok(whole)
}

/// Makes a damaged copy; what must be found comes back.
fn damage(whole: &Path, folder: &Path, case: &Case) -> anyhow::Result<Vec<Expected>> {
    remove(folder)?;
    copy::link(&copy::database(whole), &copy::database(folder))?;
    (case.damage)(&copy::database(folder))
}

/// Whether one of the places that the check named is this damage's.
fn is_named(damage: &Expected, found: &[Found]) -> bool {
    found.iter().any(|found| {
        (damage.table.is_empty() || found.table == damage.table)
            && damage
                .places
                .iter()
                .all(|place| contains_whole(&found.place, place) || contains_whole(&found.text, place))
    })
}

/// Whether a text holds another one that is not followed by a further digit.
fn contains_whole(text: &str, part: &str) -> bool {
    text.match_indices(part).any(|(at, _)| {
        let rest = text.get(at + part.len()..).unwrap_or_default();
        !rest.starts_with(|next: char| next.is_ascii_digit())
    })
}

fn summary(checked: &Checked) -> String {
    let report = &checked.report;
    format!(
        "{} blocks, {} extrinsics, {} past states, {} leaves checked in {:.1} s, peak {} MiB",
        report["blocks"],
        report["extrinsics"],
        report["pastStates"],
        report["leaves"],
        checked.took.as_secs_f64(),
        checked.peak_kib / 1_024
    )
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot delete {}", folder.display()))?;
    }
    Ok(())
}
