//! The seeds of every target, replayed: what a fuzzer once found stays found.

use std::fs;
use std::path::{Path, PathBuf};

use quid_fuzz::{TARGETS, seeds};

#[test]
fn every_seed_of_every_target_passes() {
    let mut failed = Vec::new();
    for (name, target) in TARGETS {
        let seeds = files(&folder().join(name));
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in seeds {
            let bytes = fs::read(&seed).expect("a seed can be read");
            if std::panic::catch_unwind(|| target(&bytes)).is_err() {
                failed.push(seed);
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn the_seeds_that_can_be_made_are_in_the_tree() {
    let bless = std::env::var_os("QUID_BLESS").is_some_and(|value| value == "1");
    for (target, name, bytes) in seeds() {
        let file = folder().join(target).join(format!("made-{name}"));
        if bless {
            fs::create_dir_all(folder().join(target)).expect("it can be made");
            fs::write(&file, &bytes).expect("it can be written");
        }
        let found = fs::read(&file).unwrap_or_default();
        let file = file.display();
        assert!(found == bytes, "{file} is another: QUID_BLESS=1 writes it");
    }
}

#[test]
fn every_folder_of_seeds_and_every_program_is_a_targets() {
    let known = |name: &str| TARGETS.iter().any(|(target, _)| *target == name);
    for folder in fs::read_dir(folder()).expect("it is in the tree") {
        let name = folder.expect("it can be listed").file_name();
        assert!(known(&name.to_string_lossy()), "{name:?} is never replayed");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("it is in the tree");
    let programs = files(&root.join("fuzz_targets"));
    assert_eq!(programs.len(), TARGETS.len());
    for (name, _) in TARGETS {
        let program = root.join("fuzz_targets").join(format!("{name}.rs"));
        let text = fs::read_to_string(program).expect("every target has a program");
        assert!(
            text.contains(&format!("quid_fuzz::{name}(bytes)")),
            "{name}"
        );
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}

#[test]
fn the_seeds_stay_small() {
    let all = TARGETS
        .iter()
        .flat_map(|(name, _)| files(&folder().join(name)));
    let bytes: u64 = all
        .map(|file| fs::metadata(file).expect("it is there").len())
        .sum();
    assert!(bytes <= SEEDS_BYTES_MAX, "{bytes} bytes of seeds");
}

const SEEDS_BYTES_MAX: u64 = 400 * 1024;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(listed) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = listed.map(|file| file.expect("listed").path()).collect();
    files.sort();
    files
}
