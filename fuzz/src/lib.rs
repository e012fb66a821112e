//! Fuzzing on a stable toolchain: every decoder and parser of foreign bytes is fed with mutations of good inputs, and may
//! neither panic nor take long nor take much memory.
//!
//! A target is a test whose name begins with `fuzz_`, in the crate whose code it tries:
//!
//! ```no_run
//! dmnode_fuzz::fuzz("positions", &[b"mysql-bin.000001:4"], &[":", ","], |input| {
//!     dmnode_fuzz::sign(&std::str::from_utf8(input).map(str::len))
//! });
//! ```
//!
//! The target returns a signature of what happened (see [`sign`]): inputs with a new one are kept and mutated further, which
//! leads the search into the depth of a parser. `DMNODE_FUZZ_SECONDS` is the time for each target: a fraction of a second
//! in ordinary test runs, a minute in the fuzz step of `scripts/test`. `DMNODE_FUZZ_SEED` repeats a run.

#![allow(clippy::panic, reason = "a finding of a target fails its test")]

mod mutate;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use mutate::mutate;

/// Time for a target when nothing else is said: enough to see that it works.
const SECONDS_DEFAULT: f64 = 0.2;
/// An input of at most [`INPUT_BYTES_MAX`] that takes longer than this, three times in a row, is a finding.
const INPUT_TIME_MAX: Duration = Duration::from_secs(5);
/// Largest input.
const INPUT_BYTES_MAX: usize = 64 * 1024;
/// Inputs that are kept for further mutation, besides the seeds.
const POOL_MAX: usize = 2000;
/// The process may not grow by more than this while a target runs.
const MEMORY_GROWTH_MAX: u64 = 1024 * 1024 * 1024;
/// How often the memory is looked at.
const MEMORY_EVERY: u64 = 256;
/// Bytes of an input that are printed.
const SHOWN_BYTES_MAX: usize = 4096;

/// Runs a target on mutations of `seeds` for the time of the run. `words` are pieces that its format is made of.
///
/// # Panics
/// When the target panics, takes too long or too much memory; what it was fed with is printed before.
pub fn fuzz(name: &str, seeds: &[&[u8]], words: &[&str], target: impl Fn(&[u8]) -> u64) {
    let limit =
        Duration::from_secs_f64(number("DMNODE_FUZZ_SECONDS").unwrap_or(SECONDS_DEFAULT).clamp(0.01, 3600.0));
    // The same inputs in every run, as far as its time allows, unless another seed is asked for.
    let seed = number("DMNODE_FUZZ_SEED").map_or(20_261_122, |seed| seed as u64);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut pool: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.to_vec()).collect();
    if pool.is_empty() {
        pool.push(Vec::new());
    }
    let memory_before = peak_memory();
    let mut seen = HashSet::new();
    let started = Instant::now();
    let mut count: u64 = 0;
    let mut next_seed = 0;
    while count == 0 || started.elapsed() < limit || next_seed < seeds.len() {
        // The seeds themselves come first.
        let input = match seeds.get(next_seed) {
            Some(seed) => seed.to_vec(),
            None => {
                let mut input = pool[rng.random_range(0..pool.len())].clone();
                mutate(&mut input, &pool, words, &mut rng);
                input.truncate(INPUT_BYTES_MAX);
                input
            }
        };
        next_seed = (next_seed + 1).min(seeds.len());
        let signature = run(name, seed, &input, &target);
        count += 1;
        if seen.insert(signature) && count > 1 {
            if pool.len() < POOL_MAX + seeds.len() {
                pool.push(input);
            } else {
                let place = rng.random_range(seeds.len()..pool.len());
                pool[place] = input;
            }
        }
        if count.is_multiple_of(MEMORY_EVERY) {
            check_memory(name, seed, memory_before);
        }
    }
    check_memory(name, seed, memory_before);
    println!(
        "fuzz {name}: {count} inputs, {} kinds of outcome in {:.1} s, seed {seed}",
        seen.len(),
        started.elapsed().as_secs_f64()
    );
}

/// Runs a target on mutations of `seeds` alone: its seeds are real inputs that already reach every part of it.
///
/// # Panics
/// As [`fuzz`].
pub fn fuzz_unguided(name: &str, seeds: &[Vec<u8>], target: impl Fn(&[u8])) {
    let seeds: Vec<&[u8]> = seeds.iter().map(Vec::as_slice).collect();
    fuzz(name, &seeds, &[], |input| {
        target(input);
        0
    });
}

/// A signature of an outcome that is made of few values.
pub fn key(outcome: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    outcome.hash(&mut hasher);
    hasher.finish()
}

/// A signature of an outcome. Numbers in texts do not count, since nearly every input has others.
pub fn sign(outcome: &impl std::fmt::Debug) -> u64 {
    let mut hasher = DefaultHasher::new();
    let text = format!("{outcome:?}");
    // Quoted parts repeat the input; what is left tells the way that was taken.
    let mut quoted = false;
    for c in text.chars() {
        if matches!(c, '`' | '\'') {
            quoted = !quoted;
        } else if !quoted && !c.is_ascii_digit() {
            c.hash(&mut hasher);
        }
    }
    hasher.finish()
}

fn run(name: &str, seed: u64, input: &[u8], target: &impl Fn(&[u8]) -> u64) -> u64 {
    for attempt in 1.. {
        let began = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| target(input))) {
            Ok(signature) if began.elapsed() < INPUT_TIME_MAX => return signature,
            // A machine under load may have done something else meanwhile.
            Ok(_) if attempt < 3 => {}
            Ok(_) => {
                show(name, seed, input);
                panic!("fuzz {name}: one input of {} bytes took {:?}", input.len(), began.elapsed());
            }
            Err(cause) => {
                show(name, seed, input);
                resume_unwind(cause);
            }
        }
    }
    0
}

fn show(name: &str, seed: u64, input: &[u8]) {
    let shown = &input[..input.len().min(SHOWN_BYTES_MAX)];
    eprintln!("fuzz {name} (seed {seed}), {} bytes: b\"{}\"", input.len(), shown.escape_ascii());
}

fn check_memory(name: &str, seed: u64, before: u64) {
    let growth = peak_memory().saturating_sub(before);
    assert!(growth < MEMORY_GROWTH_MAX, "fuzz {name} (seed {seed}): the process grew by {growth} bytes");
}

/// The most memory that the process had so far; 0 where that is not known.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().unwrap_or(0);
    kib * 1024
}

fn number(variable: &str) -> Option<f64> {
    std::env::var(variable).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_found_behind_a_word() {
        let found = catch_unwind(|| {
            fuzz("panics", &[b"select"], &["boom"], |input| {
                assert!(!input.windows(4).any(|part| part == b"boom"), "found");
                input.len() as u64
            });
        });
        assert!(found.is_err());
    }

    #[test]
    fn signatures_tell_ways_not_values() {
        assert_eq!(sign(&Err::<(), _>("bad `x` at 1")), sign(&Err::<(), _>("bad `y` at 22")));
        assert_ne!(sign(&Some(())), sign(&None::<()>));
    }
}
