//! A small fuzzer for decoders and parsers of foreign bytes: valid inputs are damaged, crossed and mixed with
//! noise for a bounded time. For tests only (feature `fuzz`); works with stable Rust.
//!
//! ```ignore
//! fuzz::run("decimal", &[b"\x80\x01".to_vec()], |input| {
//!     let _ = decode(input);
//! });
//! ```
//!
//! A target fails by panicking, by taking more than [`INPUT_LIMIT`] for one input, or by making the process grow
//! by more than [`MEMORY_LIMIT`]. `DMNODE_FUZZ_SECONDS` says how long each target runs (2 if unset), and
//! `DMNODE_TEST_SEED` repeats a run; a failure prints the seed and the input.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

/// Longest time for one input. Far above what any takes, because the machine may be busy.
pub const INPUT_LIMIT: Duration = Duration::from_secs(10);
/// How much the process may grow while a target runs.
pub const MEMORY_LIMIT: u64 = 1 << 30;
/// After how many inputs the memory is looked at.
const MEMORY_EVERY: usize = 64;
/// Longest input that is made.
const LENGTH_MAX: usize = 64 << 10;
/// Numbers at which lengths and counts go wrong.
const EDGES: [u64; 14] = [
    0,
    1,
    0x7f,
    0x80,
    0xfb,
    0xfc,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    i64::MAX as u64,
    u64::MAX,
];

/// Random numbers that can be repeated (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Numbers that follow from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 if that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        // The remainder is below a usize.
        if limit == 0 { 0 } else { (self.number() % limit as u64) as usize }
    }
}

/// The seed: `DMNODE_TEST_SEED`, else the clock's.
pub fn seed() -> u64 {
    let given = std::env::var("DMNODE_TEST_SEED").ok().and_then(|text| text.trim().parse().ok());
    given.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // Any bits will do.
        now.map_or(0, |now| now.as_nanos() as u64)
    })
}

/// How long a target runs.
pub fn duration() -> Duration {
    let given = std::env::var("DMNODE_FUZZ_SECONDS").ok().and_then(|text| text.trim().parse().ok());
    Duration::from_secs(given.unwrap_or(2))
}

/// Feeds a target with damaged forms of the seeds until its time is over. The seeds come first as they are.
pub fn run(name: &str, seeds: &[Vec<u8>], mut target: impl FnMut(&[u8])) {
    let seed = seed();
    let mut random = Random::new(seed);
    let (begun, limit, memory) = (Instant::now(), duration(), peak_memory());
    let mut count = 0usize;
    while count < seeds.len() || begun.elapsed() < limit {
        let input = match seeds.get(count) {
            Some(seed) => seed.clone(),
            None => damaged(seeds, &mut random),
        };
        let since = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| target(&input)));
        let took = since.elapsed();
        // Asking costs more than most inputs. The first to be found out may not be the one that did it.
        let grown = if count.is_multiple_of(MEMORY_EVERY) { peak_memory().saturating_sub(memory) } else { 0 };
        if result.is_err() || took > INPUT_LIMIT || grown > MEMORY_LIMIT {
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            eprintln!(
                "fuzz {name}: DMNODE_TEST_SEED={seed}, input {count}, {took:?}, grown by {grown}: {hex}"
            );
        }
        if let Err(panic) = result {
            resume_unwind(panic);
        }
        assert!(took <= INPUT_LIMIT, "fuzz {name}: an input takes {took:?}");
        assert!(grown <= MEMORY_LIMIT, "fuzz {name}: grown by {grown} bytes");
        count += 1;
    }
    eprintln!("fuzz {name}: {count} inputs, DMNODE_TEST_SEED={seed}");
}

/// One of the seeds with some damage, or noise.
pub fn damaged(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let pick = random.below(seeds.len() + seeds.len() / 16 + 1);
    let mut input = seeds.get(pick).cloned().unwrap_or_else(|| {
        let len = random.below(64);
        (0..len).map(|_| random.number() as u8).collect()
    });
    for _ in 0..=random.below(6) {
        mutate(&mut input, seeds, random);
    }
    input.truncate(LENGTH_MAX);
    input
}

fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    match random.below(9) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.number() as u8,
        2 => {
            // A number of one to eight bytes, in either order.
            let width = [1, 2, 3, 4, 8][random.below(5)];
            let edge = EDGES[random.below(EDGES.len())];
            let mut bytes = edge.to_le_bytes()[..width].to_vec();
            if random.below(2) == 0 {
                bytes.reverse();
            }
            for (slot, byte) in input.iter_mut().skip(at).zip(bytes) {
                *slot = byte;
            }
        }
        3 => input.truncate(at),
        4 => {
            let end = (at + random.below(16)).min(input.len());
            input.drain(at..end);
        }
        5 => {
            let len = random.below(8) + 1;
            let byte = random.number() as u8;
            input.splice(at..at, std::iter::repeat_n(byte, len));
        }
        6 => {
            // A part once more, or over and over.
            let end = (at + random.below(32)).min(input.len());
            let part = input[at..end].to_vec();
            for _ in 0..=random.below(4) {
                input.splice(at..at, part.iter().copied());
            }
        }
        7 => {
            // A part of another seed.
            if let Some(other) = seeds.get(random.below(seeds.len())) {
                let start = random.below(other.len() + 1);
                let end = (start + random.below(64)).min(other.len());
                let until = (at + end - start).min(input.len());
                input.splice(at..until, other[start..end].iter().copied());
            }
        }
        _ => {
            // Off by a little.
            if let Some(byte) = input.get_mut(at) {
                *byte = byte.wrapping_add(random.below(9) as u8).wrapping_sub(4);
            }
        }
    }
}

/// Most memory the process has had, in bytes; 0 where it cannot be asked.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|text| text.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs() {
        let seeds = [b"hello world".to_vec(), b"\x00\x01\x02\x03".to_vec()];
        let inputs = |seed| {
            let mut random = Random::new(seed);
            (0..100).map(|_| damaged(&seeds, &mut random)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(7), inputs(7));
        assert_ne!(inputs(7), inputs(8));
    }
}
