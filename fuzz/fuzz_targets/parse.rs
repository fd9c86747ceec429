//! Any bytes as a Dockerfile.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| rbuild_fuzz::laws::parsing(text));
