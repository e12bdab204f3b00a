//! Runs every seed of the fuzzing corpus, and mutations of it, through its target: what fuzzing has found stays fixed.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use macro_rules_attribute::apply;
use prestaged::fuzzing::TARGETS;

use crate::harness::registry::quietly;
use crate::harness::sample::Noise;

/// Mutations of each seed.
const MUTATIONS: u64 = 1000;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/fuzz")
}

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = fuzz().join("corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut seeds: Vec<_> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    seeds.sort();
    seeds
}

/// Values that readers of lengths and counts often get wrong.
const ODD: [u64; 8] = [0, 1, 0x7f, 0xff, 0x8000, 0x7fff_ffff, 0xffff_ffff, u64::MAX];

/// Changes a seed in one to four places.
fn mutate(data: &mut Vec<u8>, noise: &mut Noise) {
    for _ in 0..=noise.next() % 4 {
        let below = |noise: &mut Noise, end: usize| {
            usize::try_from(noise.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
        };
        let at = below(noise, data.len());
        match noise.next() % 6 {
            0 if !data.is_empty() => data[at] ^= 1 << (noise.next() % 8),
            1 if !data.is_empty() => data[at] = data[at].wrapping_add(1),
            2 => {
                let odd = ODD[below(noise, ODD.len())].to_le_bytes();
                let width = 1 << (noise.next() % 4);
                let end = data.len().min(at + width);
                data[at..end].copy_from_slice(&odd[..end - at]);
            }
            3 => data.truncate(at),
            4 => {
                let end = data.len().min(at + 1 + below(noise, 16));
                let part = data[at..end].to_vec();
                data.splice(at..at, part);
            }
            _ => {
                let end = data.len().min(at + 1 + below(noise, 16));
                data.drain(at..end);
            }
        }
    }
}

#[apply(test!)]
fn no_seed_and_no_mutation_of_one_makes_a_reader_panic() {
    for (name, target) in TARGETS {
        for (seed, data) in seeds(name) {
            let mut noise = Noise::new(data.len() as u64);
            for round in 0..=MUTATIONS {
                let mut mutated = data.clone();
                if round > 0 {
                    mutate(&mut mutated, &mut noise);
                }
                // Libraries panic on some seeds; the readers catch that.
                if quietly(|| target(&mutated)).is_err() {
                    // Once more, to print the panic.
                    let _ = catch_unwind(|| target(&mutated));
                    panic!("target {name} panics on seed {seed}, mutation {round}");
                }
            }
        }
    }
}

#[apply(test!)]
fn every_target_has_a_fuzz_target_and_seeds() {
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let mut total = 0;
    for (name, _) in TARGETS {
        assert!(fuzz().join(format!("fuzz_targets/{name}.rs")).exists(), "{name}.rs");
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name} in Cargo.toml");
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "seeds of {name}");
        total += seeds.iter().map(|(_, data)| data.len()).sum::<usize>();
    }
    assert!(total < 300_000, "the corpus is kept small; it has {total} bytes");
    let folders = fs::read_dir(fuzz().join("corpus")).unwrap().count();
    assert_eq!(folders, TARGETS.len(), "the corpus has folders of no target");
}
