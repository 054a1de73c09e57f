//! A user who answers what is asked.

use std::sync::{Arc, Mutex};

use haul_ssh::{Options, Prompt};
use zeroize::Zeroizing;

/// Options that answer in turn, and what was asked.
pub fn answering(options: Options, answers: &[&str]) -> (Options, Arc<Mutex<Vec<Prompt>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let mut answers: Vec<String> = answers.iter().rev().map(|a| (*a).to_owned()).collect();
    let ask = Box::new(move |prompt| {
        log.lock().unwrap().push(prompt);
        answers.pop().map(Zeroizing::new)
    });
    (
        Options {
            interactive: true,
            ask,
            ..options
        },
        asked,
    )
}
