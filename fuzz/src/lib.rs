//! The modules under test, compiled from the program's own files, and what is asked of them.

#![allow(dead_code, unused_imports, reason = "the program uses what is not used here")]

#[path = "../../src/diagnostic.rs"]
pub mod diagnostic;
#[path = "../../src/dockerfile/mod.rs"]
pub mod dockerfile;
#[path = "../../src/redact.rs"]
pub mod redact;

pub mod laws;
