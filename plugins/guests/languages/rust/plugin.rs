//! A plugin in Rust. It ranks by shared words, answers what it was told, and
//! does work for tests; see ../languages.md.

mod json;
mod world;

use std::collections::HashSet;
use std::hint::black_box;
use world::Failure;

fn words(text: &str) -> Vec<String> {
    let lower = text.to_ascii_lowercase();
    let apart = |c: char| c.is_ascii() && !c.is_ascii_alphanumeric();
    lower.split(apart).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn text_of(object: &str) -> Option<String> {
    json::string(json::member(object, "text")?)
}

/// How many of a thousand words of the text are in the query.
fn score(asked: &HashSet<String>, text: &str) -> usize {
    let words = words(text);
    let shared = words.iter().filter(|word| asked.contains(*word)).count();
    shared * 1000 / words.len().max(1)
}

fn rank(document: &str) -> Option<String> {
    let document = document.trim_start();
    let asked = words(&text_of(json::member(document, "query")?)?).into_iter().collect();
    let scores: Vec<String> = json::within(json::member(document, "candidates")?, '[')
        .map(|candidate| {
            let index = json::integer(json::member(candidate, "index").unwrap_or("0"));
            let text = text_of(candidate).unwrap_or_default();
            format!(r#"{{"index":{index},"score":{}}}"#, score(&asked, &text))
        })
        .collect();
    Some(format!(r#"{{"scores":[{}]}}"#, scores.join(",")))
}

fn sort(n: u32) -> u32 {
    let mut x = 1u32;
    let mut list: Vec<u32> = Vec::new();
    for _ in 0..n {
        x = x.wrapping_mul(1664525).wrapping_add(1013904223);
        list.push(x);
    }
    list.sort();
    list.iter().fold(0, |sum: u32, x| sum.wrapping_mul(31).wrapping_add(*x))
}

fn hold(n: u32) -> usize {
    let held: Vec<String> = (0..n).map(|i| format!("item-{i}")).collect();
    held.iter().map(String::len).sum()
}

fn fibonacci(n: u32) -> u32 {
    if n < 2 { n } else { fibonacci(n - 1) + fibonacci(n - 2) }
}

/// black_box keeps the compiler from doing without the calls.
#[inline(never)]
fn dive(n: u32) -> u32 {
    if n == 0 { 0 } else { black_box(dive(n - 1)) + 1 }
}

fn spin() -> String {
    loop {
        black_box(());
    }
}

fn stress(task: &str) -> Option<String> {
    let (work, n) = task.split_once(' ')?;
    let n: u32 = n.parse().ok()?;
    Some(match work {
        "sort" => sort(n).to_string(),
        "hold" => hold(n).to_string(),
        "recurse" => fibonacci(n).to_string(),
        "float" => (1..=n).map(|i| 1.0 / f64::from(i)).sum::<f64>().to_string(),
        "dive" => dive(n).to_string(),
        "spin" => spin(),
        _ => return None,
    })
}

pub fn handle(capability: &str, input: &str) -> Result<String, Failure> {
    match capability {
        "rank" => rank(input).ok_or(Failure("bad-input", "not a document to rank")),
        "echo" => Ok(input.to_owned()),
        "stress" => stress(input).ok_or(Failure("bad-input", "no such work")),
        _ => Err(Failure("unsupported", "no such capability")),
    }
}
