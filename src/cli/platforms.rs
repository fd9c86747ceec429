//! `--platform`: for what, and whether what comes out is an index.

use std::collections::BTreeMap;

use super::problem::Problem;
use crate::build::request::{Outputs, Shape};
use crate::oci::Platform;

/// BuildKit's build argument that asks for an index whatever the number of platforms.
pub(super) const BUILDKIT_MULTI_PLATFORM: &str = "BUILDKIT_MULTI_PLATFORM";

/// The platforms, each once.
pub(super) fn parse(written: &[String], problems: &mut Vec<Problem>) -> Vec<Platform> {
    let mut platforms = Vec::new();
    for text in written.iter().filter(|text| !text.is_empty()) {
        match text.parse() {
            Ok(platform) if platforms.contains(&platform) => {}
            Ok(platform) => platforms.push(platform),
            Err(source) => problems.push(Problem::Platform(source)),
        }
    }
    platforms
}

/// An index for several platforms, and where it is asked for.
pub(super) fn shape(
    platforms: &[Platform],
    build_args: &BTreeMap<String, String>,
    outputs: &Outputs,
    problems: &mut Vec<Problem>,
) -> Shape {
    let several = platforms.len() > 1;
    if several && outputs.tar_path.is_some() {
        problems.push(Problem::TarPlatforms);
    }
    let asked = build_args.get(BUILDKIT_MULTI_PLATFORM).map(String::as_str);
    // The words of Go's parser of booleans.
    match asked.unwrap_or_default() {
        "" => {}
        "1" | "t" | "T" | "true" | "TRUE" | "True" => return Shape::Index,
        "0" | "f" | "F" | "false" | "FALSE" | "False" if several => {
            problems.push(Problem::NotMultiPlatform(platforms.len()));
        }
        "0" | "f" | "F" | "false" | "FALSE" | "False" => {}
        other => problems.push(Problem::MultiPlatform(other.to_owned())),
    }
    match several {
        true => Shape::Index,
        false => Shape::Image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_for_several_platforms_and_where_it_is_asked_for() {
        let one = &["linux/arm64"][..];
        let two = &["linux/arm64", "linux/amd64"][..];
        for (written, argument, shape_wanted, problem) in [
            (&[][..], None, Shape::Image, None),
            (one, None, Shape::Image, None),
            (&["arm64", "linux/arm64/v8", ""], None, Shape::Image, None),
            (two, None, Shape::Index, None),
            (&[], Some("1"), Shape::Index, None),
            (one, Some("true"), Shape::Index, None),
            (one, Some("false"), Shape::Image, None),
            (one, Some(""), Shape::Image, None),
            (two, Some("T"), Shape::Index, None),
            (two, Some("false"), Shape::Index, Some("=false and 2 platforms")),
            (one, Some("maybe"), Shape::Image, Some("\"maybe\", which is neither")),
        ] {
            let mut problems = Vec::new();
            let written: Vec<String> = written.iter().map(|text| (*text).to_owned()).collect();
            let given = argument.map(|value| (BUILDKIT_MULTI_PLATFORM.to_owned(), value.to_owned()));
            let platforms = parse(&written, &mut problems);
            let build_args = given.into_iter().collect();
            let found = shape(&platforms, &build_args, &Outputs::default(), &mut problems);
            assert_eq!(found, shape_wanted, "{written:?} {argument:?}");
            let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let expected = match (problem, said.as_slice()) {
                (None, []) => true,
                (Some(text), [said]) => said.contains(text),
                _ => false,
            };
            assert!(expected, "{written:?} {argument:?}: {said:?}");
        }
    }

    #[test]
    fn an_archive_holds_one_platform() {
        let outputs = Outputs {
            tar_path: Some("/x.tar".into()),
            ..Outputs::default()
        };
        let mut problems = Vec::new();
        let platforms = parse(&["linux/arm64".to_owned(), "linux/amd64".to_owned()], &mut problems);
        let _ = shape(&platforms, &BTreeMap::new(), &outputs, &mut problems);
        assert!(matches!(problems.as_slice(), [Problem::TarPlatforms]));
    }
}
