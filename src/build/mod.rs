//! Executes a build: what it is asked, and how it is done.

pub mod request;
