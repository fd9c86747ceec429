//! Any text as variables and words.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| rbuild_fuzz::laws::expansion(text));
