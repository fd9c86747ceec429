//! What the fuzzers start from, and what they found before it was mended, in the ordinary tests: `testdata/fuzz/TARGET/` and
//! every recorded Dockerfile.

use std::path::{Path, PathBuf};

// The laws find these two where the fuzzers have them too.
use rbuild::{diagnostic, dockerfile};

#[path = "../../fuzz/src/laws.rs"]
#[allow(unreachable_pub, reason = "public for the fuzzers")]
mod laws;

fn files_below(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(folder);
    let entries = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().is_file());
    files.map(walkdir::DirEntry::into_path).collect()
}

#[test]
fn laws_hold_for_every_dockerfile_here() {
    let dockerfiles = ["dockerfile", "plan", "builds"].into_iter().flat_map(files_below);
    let dockerfiles = dockerfiles.filter(|file| file.ends_with("Dockerfile"));
    let mut checked = 0;
    for file in dockerfiles.chain(files_below("fuzz/parse")) {
        laws::parsing(&std::fs::read(file).unwrap());
        checked += 1;
    }
    assert!(checked > 150, "only {checked} files");
}

#[test]
fn laws_hold_for_every_recorded_expansion() {
    let files = files_below("fuzz/expand");
    assert!(files.len() >= 3);
    for file in files {
        laws::expansion(&std::fs::read_to_string(file).unwrap());
    }
}
