//! What both programs share: the records, the server's address, and real vectors of a few texts.

use std::collections::HashMap;

pub const COUNT: usize = 8;
/// The squared distance of id-n to it is n * n.
pub const ORIGIN: [f32; 3] = [0.0, 1.0, 0.0];
pub const NAMES: [&str; COUNT] = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta",
];
pub const TEXTS: [&str; 4] = [
    "a recipe for apple pie",
    "the weather of the coming century",
    "how to repair a bicycle",
    "climate change and the climate",
];

/// The server's URL, whether it is ours, where a few answers are better, and whether it has search.
pub fn arguments() -> (String, bool, bool) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let searches = arguments.contains(&"search".to_string());
    (arguments[0].clone(), arguments[1] == "vermilion", searches)
}

pub fn ids(places: &[usize]) -> Vec<String> {
    places.iter().map(|n| format!("id-{n}")).collect()
}

pub fn all() -> Vec<usize> {
    (0..COUNT).collect()
}

pub fn document(n: usize) -> String {
    format!("the {} letter", NAMES[n])
}

pub fn vector(n: usize) -> Vec<f32> {
    vec![n as f32, 1.0, 0.0]
}

/// The real vector of a text.
pub fn embed(text: &str) -> Vec<f32> {
    let vectors: HashMap<String, Vec<f32>> =
        serde_json::from_str(include_str!("../../vectors.json")).unwrap();
    vectors[text].clone()
}
