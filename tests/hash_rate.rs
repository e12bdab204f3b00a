//! How fast this machine hashes read-back chunks: `hash-rate [--json]`.
//!
//! Compares chunks hashed one after the other with chunks hashed in pairs, on one thread and on every core.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool of scripts/bench")]

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use drives::buffer::Buffer;
use model::digest::{Digest, Hashing};
use model::ranges::CHUNK;

/// What hashes two chunks.
type Way = fn(&[u8], &[u8]) -> [Digest; 2];

const SHA2: Way = |a, b| [Digest::of(a), Digest::of(b)];
const PAIR: Way = |a, b| {
    let (mut a, mut b) = (Hashing::new(a), Hashing::new(b));
    Hashing::together(&mut a, &mut b);
    [a.finish().1, b.finish().1]
};

/// How long one figure is measured for, and how many times; the best counts, for others may want the machine too.
const SPAN: Duration = Duration::from_millis(250);
const ROUNDS: usize = 5;

/// Gigabytes per second of so many threads together, each with chunks of its own.
fn rate(threads: usize, way: Way) -> f64 {
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let work = || {
            let (mut a, mut b) = (Buffer::zeroed(CHUNK), Buffer::zeroed(CHUNK));
            a.fill(0xa5);
            b.fill(0x5a);
            start.wait();
            let (begin, mut bytes) = (Instant::now(), 0.0);
            while begin.elapsed() < SPAN {
                black_box(way(black_box(&a), black_box(&b)));
                bytes += 2.0 * CHUNK.0 as f64;
            }
            bytes / begin.elapsed().as_secs_f64() / 1e9
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).sum()
    })
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--json"] => true,
        _ => {
            eprintln!("usage: hash-rate [--json]");
            return ExitCode::from(64);
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut best = [[0.0_f64; 2]; 2];
    for _ in 0..ROUNDS {
        for (threads, best) in [1, cores].into_iter().zip(&mut best) {
            for (way, best) in [SHA2, PAIR].into_iter().zip(best) {
                *best = best.max(rate(threads, way));
            }
        }
    }
    if json {
        let figures = |[sha2, pair]: [f64; 2]| serde_json::json!({ "sha2": sha2, "pair": pair });
        let [one, all] = best.map(figures);
        println!(
            "{}",
            serde_json::json!({ "unit": "GB/s", "cores": cores, "one_thread": one, "all_cores": all })
        );
    } else {
        for (threads, [sha2, pair]) in [1, cores].into_iter().zip(best) {
            println!("{threads:3} threads: sha2 {sha2:.2} GB/s, pair {pair:.2} GB/s");
        }
    }
    ExitCode::SUCCESS
}
