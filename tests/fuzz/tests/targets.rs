//! Every target on its seeds, on old findings, and on mutations of both; `make fuzz` looks further.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use cairn_fuzz::{TARGETS, Target};
use std::fs;
use std::path::Path;

/// Mutated inputs for each target: a few seconds in all.
const MUTATIONS: u64 = 400;

/// Inputs that once were findings, a folder for each target.
fn findings(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new("findings").join(target.name);
    let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
    files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(end.max(1)).unwrap()).unwrap()
    }
}

fn mutated(inputs: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = inputs[random.below(inputs.len())].clone();
    for _ in 0..=random.below(4) {
        let place = random.below(input.len());
        match random.below(5) {
            0 => input.truncate(place),
            1 => input.insert(place, u8::try_from(random.below(256)).unwrap()),
            2 => {
                let other = &inputs[random.below(inputs.len())];
                input.splice(place.., other[random.below(other.len())..].iter().copied());
            }
            _ => {
                if let Some(byte) = input.get_mut(place) {
                    *byte = u8::try_from(random.below(256)).unwrap();
                }
            }
        }
    }
    input
}

fn check(target: &Target) {
    let mut inputs = (target.seeds)();
    assert!(!inputs.is_empty(), "{} has no seeds", target.name);
    inputs.extend(findings(target));
    inputs.iter().for_each(|input| (target.run)(input));
    (target.run)(&[]);
    let mut random = Random(u64::try_from(target.name.len()).unwrap());
    for _ in 0..MUTATIONS {
        (target.run)(&mutated(&inputs, &mut random));
    }
}

#[test]
fn targets_hold_on_seeds_findings_and_mutations() {
    for target in &TARGETS {
        eprintln!("{}", target.name);
        check(target);
    }
}

#[test]
fn findings_belong_to_targets() {
    let folder = Path::new("findings");
    for file in fs::read_dir(folder).into_iter().flatten() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(cairn_fuzz::find(&name).is_some() || name == "README.md", "{name} is no target");
    }
}
