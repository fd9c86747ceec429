//! What a build says about its Dockerfile before it begins.

#![expect(clippy::unwrap_used, reason = "a test ends where its own set-up fails")]

use std::fs;
use std::process::{Command, Output};

/// A build of `FROM scratch` stages needs no registry; it ends as an archive.
struct Place(tempfile::TempDir);

impl Place {
    fn with(dockerfile: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("context")).unwrap();
        fs::write(dir.path().join("context/Dockerfile"), dockerfile).unwrap();
        fs::write(dir.path().join("context/file"), "").unwrap();
        Self(dir)
    }

    /// Builds with further arguments; gives whether there is an image, what was told, and the exit code.
    fn build(&self, arguments: &[&str]) -> (bool, String, Option<i32>) {
        let path = |name: &str| self.0.path().join(name).display().to_string();
        let Output { status, stderr, stdout } = Command::new(env!("CARGO_BIN_EXE_rbuild"))
            .current_dir(self.0.path())
            .env_clear()
            .args(["-c", &path("context"), "--no-push", "--tar-path", &path("image.tar")])
            .args(["--store", &path("store")])
            .args(arguments)
            .output()
            .unwrap();
        assert!(stdout.is_empty());
        let told = String::from_utf8(stderr).unwrap();
        (self.0.path().join("image.tar").exists(), told, status.code())
    }
}

const BAD_CMD: &str = "\
warning: JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals (line 3)
  Dockerfile:3
      2 | COPY file /
  >>> 3 | CMD start
";

#[test]
fn l434_findings_of_needed_stages_are_told_once_and_first() {
    let place = Place::with("FROM scratch AS unused\nCMD a\nFROM scratch\nCOPY file /\nCMD start\n");
    let (built, told, exit) = place.build(&[]);
    assert_eq!((built, exit), (true, Some(0)), "{told}");
    let warnings: Vec<&str> = told.lines().filter(|line| line.starts_with("warning:")).collect();
    assert_eq!(warnings.len(), 1, "{told}");
    assert!(
        warnings[0].contains("JSONArgsRecommended") && warnings[0].ends_with("(line 5)"),
        "{told}"
    );
    assert!(told.starts_with("warning: "), "nothing is done before: {told}");
}

#[test]
fn l431_findings_may_end_the_build() {
    let text = "FROM scratch\nCOPY file /\nCMD start\n";
    let violation = "error building image: lint violation found for rules: JSONArgsRecommended\n";
    for (text, arguments, fails) in [
        (text.to_owned(), &[][..], false),
        (format!("# check=error=true\n{text}"), &[], true),
        (format!("# check=error=true\n{text}"), &["--lint=warn"], false),
        (text.to_owned(), &["--lint=error"], true),
        (
            text.to_owned(),
            &["--build-arg=BUILDKIT_DOCKERFILE_CHECK=error=true"],
            true,
        ),
        (
            format!("# check=error=true\n{text}"),
            &["--build-arg=BUILDKIT_DOCKERFILE_CHECK=skip=all"],
            false,
        ),
    ] {
        let (built, told, exit) = Place::with(&text).build(arguments);
        assert_eq!((built, exit), (!fails, Some(i32::from(fails))), "{arguments:?}: {told}");
        assert_eq!(told.contains(violation), fails, "{arguments:?}: {told}");
        if fails {
            let (warning, error) = (told.find("warning:").unwrap(), told.find(violation).unwrap());
            assert!(warning < error, "{told}");
        }
    }
}

#[test]
fn l433_findings_before_a_mistake_are_told() {
    let place = Place::with("FROM scratch AS Bad\nMAINTAINER me\nBADCMD\n");
    let (built, told, exit) = place.build(&[]);
    assert_eq!((built, exit), (false, Some(1)));
    let is_headline = |line: &&str| line.starts_with("warning:") || line.starts_with("error ");
    let headlines: Vec<&str> = told.lines().filter(is_headline).collect();
    assert_eq!(
        headlines,
        [
            "warning: StageNameCasing: Stage name 'Bad' should be lowercase (line 1)",
            "warning: MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 2)",
            "error building image: dockerfile parse error on line 3: unknown instruction: BADCMD",
        ]
    );
}

#[test]
fn findings_are_warnings_to_every_log() {
    let place = Place::with("FROM scratch\nCOPY file /\nCMD start\n");
    let (_, told, _) = place.build(&["--quiet"]);
    assert_eq!(told, BAD_CMD);
    let (_, told, _) = place.build(&["--verbosity=error"]);
    assert_eq!(told, "");
    let (_, told, _) = place.build(&["--quiet", "--lint=off"]);
    assert_eq!(told, "");
    let (_, told, _) = place.build(&["--quiet", "--log-format=json"]);
    let record: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(record["level"], "warning");
    let text = BAD_CMD.strip_prefix("warning: ").unwrap().trim_end();
    assert_eq!(record["msg"], text);
}

#[test]
fn l438_a_build_knows_its_ignore_file() {
    let place = Place::with("FROM scratch\nCOPY file /\n");
    fs::write(place.0.path().join("context/.dockerignore"), "f*\n").unwrap();
    let (built, told, _) = place.build(&[]);
    assert!(
        !built && told.contains("CopyIgnoredFile: Attempting to Copy file \"file\" that is excluded"),
        "{told}"
    );
}
