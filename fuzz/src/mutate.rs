//! Changes to an input: small ones that keep most of it good, and some that make it large or deep.

use rand::Rng;
use rand::rngs::StdRng;

/// Numbers at which lengths and offsets go wrong.
const EDGES: [u64; 14] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    i64::MAX as u64,
    u64::MAX,
];
/// Characters that end, open or escape something in most text formats, and some beyond ASCII.
const MARKS: [&str; 27] = [
    "`", "'", "\"", "\\", "/*", "*/", "/*!", "--", "#", "\n", "\0", "(", ")", "[", "]", "{", "}", ":", ",",
    ";", "%", "*", "~", "é", "𝄞", "\u{feff}", "&a *a",
];

/// Mutates the input a few times.
pub(crate) fn mutate(input: &mut Vec<u8>, pool: &[Vec<u8>], words: &[&str], rng: &mut StdRng) {
    for _ in 0..1 << rng.random_range(0..4) {
        once(input, pool, words, rng);
    }
}

fn once(input: &mut Vec<u8>, pool: &[Vec<u8>], words: &[&str], rng: &mut StdRng) {
    let at = rng.random_range(0..=input.len());
    let length = rng.random_range(0..=(input.len() - at).min(32));
    match rng.random_range(0..14) {
        0 | 1 if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
        2 if at < input.len() => input[at] = rng.random(),
        3 => drop(input.drain(at..at + length)),
        4 => {
            let piece = input[at..at + length].to_vec();
            insert(input, at, &piece);
        }
        5 => insert(input, at, &[rng.random::<u8>()]),
        6 => input.truncate(at),
        7 => {
            let edge = EDGES[rng.random_range(0..EDGES.len())];
            match rng.random_range(0..3) {
                0 => insert(input, at, edge.to_string().as_bytes()),
                _ => {
                    // In place, so that what follows keeps its offset.
                    let width = [1, 2, 4, 8][rng.random_range(0..4)].min(input.len() - at);
                    let bytes = if rng.random() { edge.to_le_bytes() } else { edge.to_be_bytes() };
                    input[at..at + width].copy_from_slice(&bytes[..width]);
                }
            }
        }
        8 | 9 if !words.is_empty() => insert(input, at, words[rng.random_range(0..words.len())].as_bytes()),
        10 if !words.is_empty() => {
            let word = words[rng.random_range(0..words.len())];
            drop(input.splice(at..at + length, word.bytes()));
        }
        11 => insert(input, at, MARKS[rng.random_range(0..MARKS.len())].as_bytes()),
        12 => {
            let other = &pool[rng.random_range(0..pool.len())];
            let from = rng.random_range(0..=other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        _ => {
            // Long and deep: what is quadratic or recursive shows here, seldom, since it costs time.
            let times = if rng.random_range(0..50) == 0 { 5000 } else { rng.random_range(1..20) };
            let piece = input[at..at + length].repeat(times);
            insert(input, at, &piece);
        }
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    drop(input.splice(at..at, bytes.iter().copied()));
}
