//! The list of deliberate damages on a short chain; `make damage` takes a long one.

use cairn_tests::damage::{Keeping, Options, run};

fn every_damage_is_named(history: Keeping) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_owned();
    let options = Options { blocks: 150, transfers: 2, history, dir, cases: Vec::new(), whole: false };
    let mut told = Vec::new();
    run(&options, &mut |line| told.push(line)).unwrap();
    assert!(told.last().is_some_and(|line| line.ends_with("all found and named")), "{told:?}");
}

#[test]
fn every_damage_of_an_archive_is_found_and_named() {
    every_damage_is_named(Keeping::Archive);
}

#[test]
fn every_damage_of_a_window_is_found_and_named() {
    every_damage_is_named(Keeping::Window);
}
