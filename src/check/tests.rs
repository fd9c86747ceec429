//! Every rule on its bad example and on its good twin, and who silences it.

use super::*;
use crate::context::IgnoreFile;
use crate::dockerfile::{attempt, parse};
use crate::oci::{Digest, ImageConfig, Platform};
use crate::plan::{BaseConfig, outline};

/// A Dockerfile with what is around it.
#[derive(Clone, Default)]
struct Case {
    text: String,
    ignore: Option<&'static str>,
    build_args: Vec<(String, String)>,
    target: Option<String>,
    /// The config of whatever image is a base.
    config: Option<ImageConfig>,
}

impl Case {
    fn of(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            ..Self::default()
        }
    }

    fn plan_options(&self) -> PlanOptions {
        PlanOptions {
            build_args: self.build_args.clone(),
            targets: self.target.iter().cloned().collect(),
            target_platform: Platform::new("linux", "amd64", None),
            build_platform: Platform::new("linux", "amd64", None),
            ..PlanOptions::default()
        }
    }

    /// All findings, as `line rule message`.
    fn found(&self, scope: Scope) -> Vec<String> {
        let attempt = attempt("Dockerfile", self.text.as_bytes());
        let argument = self.build_args.iter().find(|(name, _)| name == BUILD_ARGUMENT);
        let argument = argument.map(|(_, value)| value.as_str());
        let options = Options::of(&attempt.directives, &attempt.source, argument).unwrap();
        let mut findings = written(&attempt, &options);
        if let Ok(file) = attempt.complete() {
            let plan_options = self.plan_options();
            findings.extend(super::file(&file, &plan_options, &options));
            if let Ok(outline) = outline(&file, &plan_options) {
                findings.extend(self.of_stages(&file, &outline, scope, &options));
            }
        }
        findings.sort_by_key(|finding| (finding.line(), finding.rule));
        let show = |finding: &Finding| format!("{} {} {}", finding.line(), finding.rule, finding.message);
        findings.iter().map(show).collect()
    }

    fn of_stages(&self, file: &Dockerfile, outline: &Outline, scope: Scope, options: &Options) -> Vec<Finding> {
        let ignore = self.ignore.map(|text| IgnoreFile::parse("f", text.as_bytes()).unwrap());
        let configs = self.config.as_ref().map(|config| {
            let base = BaseConfig {
                manifest_digest: Digest::of(b""),
                config: config.clone(),
            };
            let images = outline.images().iter();
            images.map(|need| (need.image.clone(), base.clone())).collect()
        });
        let subject = Subject {
            file,
            outline,
            configs: &configs.unwrap_or_default(),
            ignore: ignore.as_ref().map(|file| &file.patterns),
        };
        stages(&subject, scope, options).unwrap()
    }
}

fn found(text: &str) -> Vec<String> {
    Case::of(text).found(Scope::File)
}

/// Rule, bad example, what is found in it, good example.
type Row = (Rule, &'static str, &'static [&'static str], &'static str);

const ROWS: &[Row] = &[
    (
        Rule::StageNameCasing,
        "\nFROM scratch AS BadStageName",
        &["2 Stage name 'BadStageName' should be lowercase"],
        "FROM scratch AS good_stage",
    ),
    (
        Rule::FromAsCasing,
        "FROM scratch as a",
        &["1 'as' and 'FROM' keywords' casing do not match"],
        "FROM scratch AS a",
    ),
    (
        Rule::FromAsCasing,
        "from scratch AS a",
        &["1 'AS' and 'from' keywords' casing do not match"],
        "from scratch as a",
    ),
    (
        Rule::NoEmptyContinuation,
        "FROM scratch\nCOPY a \\\n\n.\nCOPY a \\\n.",
        &["4 Empty continuation line"],
        "FROM scratch\nCOPY a \\\n# not blank\n.",
    ),
    (
        Rule::ConsistentInstructionCasing,
        "FROM scratch\ncopy a /b\nCOPY a /c",
        &["2 Command 'copy' should match the case of the command majority (uppercase)"],
        "from scratch\ncopy a /b\ncopy a /c",
    ),
    (
        Rule::ConsistentInstructionCasing,
        "FROM scratch\ncopy a /b\ncopy a /c",
        &["1 Command 'FROM' should match the case of the command majority (lowercase)"],
        "arg A=b\nFROM scratch",
    ),
    (
        Rule::ConsistentInstructionCasing,
        "FROM scratch\nCopy a /b",
        &["2 Command 'Copy' should match the case of the command majority (uppercase)"],
        "FROM scratch\nCOPY <<E /b\ncopy\nE",
    ),
    (
        Rule::DuplicateStageName,
        "FROM scratch AS b\nFROM scratch AS b",
        &["2 Duplicate stage name \"b\", stage names should be unique"],
        "FROM scratch AS b\nFROM scratch AS c",
    ),
    (
        Rule::ReservedStageName,
        "FROM scratch AS scratch\nFROM scratch AS context",
        &[
            "1 Stage name should not use the same name as reserved stage \"scratch\"",
            "2 Stage name should not use the same name as reserved stage \"context\"",
        ],
        "FROM scratch\nFROM scratch AS a",
    ),
    (
        Rule::JSONArgsRecommended,
        "FROM scratch\nCMD a\nENTRYPOINT b",
        &[
            "2 JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
            "3 JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS signals",
        ],
        "FROM scratch\nCMD [\"a\"]\nENTRYPOINT [\"b\"]\nRUN c\nHEALTHCHECK CMD d",
    ),
    (
        Rule::MaintainerDeprecated,
        "FROM scratch\nMAINTAINER me@example.org",
        &["2 Maintainer instruction is deprecated in favor of using label"],
        "FROM scratch\nLABEL org.opencontainers.image.authors=me@example.org",
    ),
    (
        Rule::UndefinedArgInFrom,
        "ARG tag=latest\nFROM busybox:${tag}${version} AS b",
        &["2 FROM argument 'version' is not declared"],
        "ARG tag=latest\nARG version\nFROM --platform=$BUILDPLATFORM busybox:${tag}${version}",
    ),
    (
        Rule::UndefinedArgInFrom,
        "FROM --platform=$BULIDPLATFORM scratch",
        &["1 FROM argument 'BULIDPLATFORM' is not declared (did you mean BUILDPLATFORM?)"],
        "FROM --platform=$BUILDPLATFORM scratch",
    ),
    (
        Rule::UndefinedVar,
        "FROM scratch\nARG DIR_BINARIES=bin/\nARG DIR_ASSETS=assets/\nCOPY $DIR_ASSET .",
        &["4 Usage of undefined variable '$DIR_ASSET' (did you mean $DIR_ASSETS?)"],
        "FROM scratch\nARG foo\nENV bar=x\nCOPY a${foo} $bar",
    ),
    (
        Rule::UndefinedVar,
        "FROM scratch\nENV PATH=$PAHT:/tmp/bin",
        &["2 Usage of undefined variable '$PAHT' (did you mean $PATH?)"],
        "FROM scratch\nENV PATH=$PATH:/tmp/bin",
    ),
    (
        Rule::UndefinedVar,
        "FROM scratch\nCOPY $foo .\nARG foo=bar\nARG b=$quux",
        &[
            "2 Usage of undefined variable '$foo'",
            "4 Usage of undefined variable '$quux'",
        ],
        "FROM scratch\nARG foo=bar b=$foo\nRUN echo $anything\nCMD [\"$anything\"]",
    ),
    (
        Rule::UndefinedVar,
        "ARG A=b\nFROM scratch\nCOPY <<E /$A\n$C\nE\nUSER ${D:-x}",
        &[
            "3 Usage of undefined variable '$A'",
            "3 Usage of undefined variable '$C'",
            "6 Usage of undefined variable '$D'",
        ],
        "ARG A=b\nFROM scratch\nARG A\nCOPY <<'E' /$A\n$C\nE",
    ),
    (
        Rule::WorkdirRelativePath,
        "FROM scratch\nWORKDIR app/\nWORKDIR other",
        &["2 Relative workdir \"app/\" can have unexpected results if the base image changes"],
        "FROM scratch AS a\nWORKDIR /app\nFROM a\nWORKDIR sub",
    ),
    (
        Rule::MultipleInstructionsDisallowed,
        "FROM scratch\nENTRYPOINT [\"a\"]\nCMD [\"a\"]\nHEALTHCHECK NONE\nENV a=b\nENTRYPOINT [\"b\"]\nCMD [\"b\"]\nHEALTHCHECK NONE",
        &[
            "2 Multiple ENTRYPOINT instructions should not be used in the same stage because only the last one will be used",
            "3 Multiple CMD instructions should not be used in the same stage because only the last one will be used",
            "4 Multiple HEALTHCHECK instructions should not be used in the same stage because only the last one will be used",
        ],
        "FROM scratch AS a\nENTRYPOINT [\"a\"]\nCMD [\"a\"]\nFROM a\nENTRYPOINT [\"b\"]\nCMD [\"b\"]",
    ),
    (
        Rule::LegacyKeyValueFormat,
        "FROM scratch\nENV key value\nLABEL key value",
        &[
            "2 \"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
            "3 \"LABEL key=value\" should be used instead of legacy \"LABEL key value\" format",
        ],
        "FROM scratch\nENV key=value\nLABEL key=value",
    ),
    (
        Rule::RedundantTargetPlatform,
        "FROM --platform=$TARGETPLATFORM scratch AS a\nFROM --platform=${TARGETPLATFORM} scratch",
        &[
            "1 Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
            "2 Setting platform to predefined ${TARGETPLATFORM} in FROM is redundant as this is the default behavior",
        ],
        "FROM --platform=$BUILDPLATFORM scratch AS a\nFROM --platform=$TARGETOS/$TARGETARCH scratch",
    ),
    (
        Rule::InvalidDefaultArgInFrom,
        "ARG VERSION\nFROM busybox:$VERSION",
        &["2 Default value for ARG busybox:$VERSION results in empty or invalid base image name"],
        "ARG VERSION=latest\nARG VARIANT\nFROM busybox:$VERSION$VARIANT",
    ),
    (
        Rule::FromPlatformFlagConstDisallowed,
        "FROM --platform=linux/amd64 scratch",
        &["1 FROM --platform flag should not use constant value \"linux/amd64\""],
        "FROM --platform=linux/amd64 scratch AS my_amd64_stage\nFROM --platform=linux/arm64 scratch AS linux",
    ),
    (
        Rule::ExposeProtoCasing,
        "FROM scratch\nENV P=\"80/TcP 90\"\nEXPOSE $P 8080/TCP 8080/udp",
        &[
            "3 Defined protocol '80/TcP' in EXPOSE instruction should be lowercase",
            "3 Defined protocol '8080/TCP' in EXPOSE instruction should be lowercase",
        ],
        "FROM scratch\nEXPOSE 80 80/udp 90/sctp",
    ),
    (
        Rule::ExposeInvalidFormat,
        "FROM scratch\nEXPOSE 127.0.0.1:80:80 [::1]:8080:8080 5000:5000 8000",
        &[
            "2 EXPOSE instruction should not define an IP address or host-port mapping, found '127.0.0.1:80:80'",
            "2 EXPOSE instruction should not define an IP address or host-port mapping, found '5000:5000'",
            "2 EXPOSE instruction should not define an IP address or host-port mapping, found '[::1]:8080:8080'",
        ],
        "FROM scratch\nEXPOSE 80-90 8000/tcp",
    ),
];

/// The messages of one rule, led by their lines.
fn of_rule(rule: Rule, found: &[String]) -> Vec<String> {
    let name = format!(" {rule} ");
    let with_name = found.iter().filter(|line| line.contains(&name));
    with_name.map(|line| line.replacen(&name, " ", 1)).collect()
}

#[test]
fn l428_each_rule_fires_on_its_example() {
    for (rule, bad, expected, _) in ROWS {
        let found = found(bad);
        assert_eq!(of_rule(*rule, &found), *expected, "{bad}");
    }
}

#[test]
fn l429_each_rule_is_silent_on_the_good_twin() {
    for (rule, _, _, good) in ROWS {
        let found = found(good);
        assert_eq!(of_rule(*rule, &found), [""; 0], "{good}");
    }
    // Rules with examples of their own below.
    let elsewhere = [
        Rule::InvalidBaseImagePlatform,
        Rule::SecretsUsedInArgOrEnv,
        Rule::CopyIgnoredFile,
        Rule::InvalidDefinitionDescription,
    ];
    for rule in Rule::all() {
        let listed = ROWS.iter().any(|(listed, ..)| *listed == rule);
        assert!(listed != elsewhere.contains(&rule), "{rule}");
    }
}

#[test]
fn l430_a_comment_silences_its_instruction_only() {
    let text = "FROM scratch\n# check=skip=JSONArgsRecommended // why\nCMD a\nFROM scratch\nCMD a";
    let expected = "5 JSONArgsRecommended JSON arguments recommended for CMD to prevent unintended behavior related to \
                    OS signals";
    assert_eq!(found(text), [expected]);
    let all = "FROM scratch\n# check=skip=all // both\nENV token x\n\n# check=skip=LegacyKeyValueFormat\nENV token x";
    assert_eq!(
        found(all),
        ["6 SecretsUsedInArgOrEnv Do not use ARG or ENV instructions for sensitive data (ENV \"token\")"]
    );
    assert_eq!(
        found("\n# check=skip=RedundantTargetPlatform\nFROM --platform=$TARGETPLATFORM scratch"),
        [""; 0]
    );
}

#[test]
fn l432_the_build_argument_beats_the_directive() {
    let case = |text: &str, argument: &str| {
        let mut case = Case::of(text);
        case.build_args = vec![(BUILD_ARGUMENT.to_owned(), argument.to_owned())];
        case.found(Scope::File)
    };
    let text = "#check=skip=all\nFROM scratch as base\ncopy Dockerfile .";
    assert_eq!(
        case(text, "skip=ConsistentInstructionCasing;error=true"),
        ["2 FromAsCasing 'as' and 'FROM' keywords' casing do not match"]
    );
    assert_eq!(case("#check=error=true\nFROM scratch as base", "skip=all"), [""; 0]);
}

#[test]
fn l433_what_stands_before_a_mistake_is_found() {
    assert_eq!(
        found("FROM scratch AS Bad\nMAINTAINER me\nBADCMD\nMAINTAINER you"),
        [
            "1 StageNameCasing Stage name 'Bad' should be lowercase",
            "2 MaintainerDeprecated Maintainer instruction is deprecated in favor of using label",
        ]
    );
}

#[test]
fn l434_stages_that_are_not_needed() {
    let case = Case::of("FROM scratch AS first\nCOPY $foo .\nFROM scratch AS second\nCOPY $bar .\nMAINTAINER x");
    let [foo, maintainer] = [
        "2 UndefinedVar Usage of undefined variable '$foo'",
        "5 MaintainerDeprecated Maintainer instruction is deprecated in favor of using label",
    ];
    let bar = "4 UndefinedVar Usage of undefined variable '$bar'";
    assert_eq!(case.found(Scope::File), [foo, bar, maintainer]);
    assert_eq!(case.found(Scope::Target), [bar, maintainer]);
    let first = Case {
        target: Some("first".to_owned()),
        ..case
    };
    // What the text alone says is said of every stage.
    assert_eq!(first.found(Scope::Target), [foo, maintainer]);
}

#[test]
fn l435_a_shell_is_meant_where_one_is_set() {
    for text in [
        "FROM scratch\nSHELL [\"/s\"]\nCMD a\nENTRYPOINT b",
        "FROM scratch AS base\nSHELL [\"/s\"]\nFROM base\nCMD a\nENTRYPOINT b",
    ] {
        assert_eq!(found(text), [""; 0], "{text}");
    }
    let mut case = Case::of("FROM x\nCMD a");
    assert_eq!(case.found(Scope::Target).len(), 1);
    let mut config = ImageConfig::scratch(Platform::new("linux", "amd64", None));
    config.config.shell = Some(vec!["/s".to_owned()]);
    case.config = Some(config);
    assert_eq!(case.found(Scope::Target), [""; 0]);
}

#[test]
fn l436_only_within_one_stage() {
    let text = "FROM scratch AS a\nCMD [\"a\"]\nFROM a\nCMD [\"b\"]\nENV x=y\nCMD [\"c\"]\nCMD [\"d\"]";
    let lines: Vec<String> = found(text).iter().map(|line| line[..1].to_owned()).collect();
    assert_eq!(lines, ["4", "6"]);
}

#[test]
fn l437_names_of_secrets() {
    for (name, expected) in [
        ("GIT_KEY", true),
        ("SECRET_PASSPHRASE", true),
        ("super_duper_secret_token", true),
        ("auth", true),
        ("apikey", true),
        ("AWS_CREDENTIALS", true),
        ("DB_PWORD", true),
        ("passwd", true),
        ("PUBLIC_KEY", false),
        ("password_file", false),
        ("secret_File", false),
        ("auth_version", false),
        ("sunflower", false),
        ("keyboard", false),
        ("MONKEY", false),
    ] {
        for (keyword, line) in [("ARG", format!("ARG {name}=x")), ("ENV", format!("ENV {name}=x"))] {
            let message = format!(
                "2 SecretsUsedInArgOrEnv Do not use ARG or ENV instructions for sensitive data ({keyword} {name:?})"
            );
            let expected: Vec<String> = expected.then_some(message).into_iter().collect();
            assert_eq!(found(&format!("FROM scratch\n{line}")), expected);
        }
    }
    // One that is no part of any stage is in no image.
    assert_eq!(found("ARG TOKEN\nFROM scratch"), [""; 0]);
}

#[test]
fn l438_sources_that_are_ignored() {
    let case = |ignore: &'static str, text: &str| {
        let mut case = Case::of(text);
        case.ignore = Some(ignore);
        case.found(Scope::File)
    };
    let message = |verb: &str, path: &str| {
        format!("2 CopyIgnoredFile Attempting to {verb} file {path:?} that is excluded by .dockerignore")
    };
    for (ignore, line, expected) in [
        ("Dockerfile", "COPY Dockerfile .", Some(("Copy", "Dockerfile"))),
        ("Dockerfile", "ADD ./Dockerfile /windy", Some(("Add", "Dockerfile"))),
        ("Dockerfile", "COPY /Dockerfile .", Some(("Copy", "/Dockerfile"))),
        ("dir", "COPY a dir/b/../c /", Some(("Copy", "dir/c"))),
        ("*.log", "COPY *.log /", Some(("Copy", "*.log"))),
        ("foobar", "COPY Dockerfile /foobar", None),
        ("a", "COPY --from=x a /", None),
        ("a", "COPY <<a /\na", None),
        ("a", "ADD http://h/a /", None),
        ("**\n!a", "COPY a .", None),
        ("**\n!a", "COPY . .", None),
        (".*", "COPY . .", None),
        ("a", "COPY / /", None),
        ("*", "COPY . .", Some(("Copy", "."))),
        ("**", "COPY / /", Some(("Copy", "/"))),
        ("**/*", "ADD ./ /", Some(("Add", "."))),
    ] {
        let expected: Vec<String> = expected.map(|(verb, path)| message(verb, path)).into_iter().collect();
        assert_eq!(
            case(ignore, &format!("FROM scratch\n{line}")),
            expected,
            "{ignore} {line}"
        );
    }
    let variable = "FROM scratch\nARG F=a\nCOPY $F /";
    assert_eq!(case("a", variable), [message("Copy", "a").replacen('2', "3", 1)]);
}

#[test]
fn l439_descriptions_only_when_asked_for() {
    let text = "# bar this is the bar\nARG foo=bar\n# BasE this is the base\nFROM scratch AS base\n# bad comment\nARG \
                version=latest\n# bad comment\nARG foo=baz bar=qux\n";
    assert_eq!(found(text), [""; 0]);
    assert_eq!(
        found(&format!("# check=experimental=InvalidDefinitionDescription\n{text}")),
        [
            "3 InvalidDefinitionDescription Comment for ARG should follow the format: `# foo <description>`",
            "5 InvalidDefinitionDescription Comment for FROM should follow the format: `# base <description>`",
            "7 InvalidDefinitionDescription Comment for ARG should follow the format: `# version <description>`",
            "9 InvalidDefinitionDescription Comment for ARG should follow the format: `# <arg_key> <description>`",
        ]
    );
    let good = "# check=skip=all;experimental=InvalidDefinitionDescription\n# foo this\nARG foo=bar\n\n# base this\nFROM \
                scratch AS base\n# baz this\n# check=skip=SecretsUsedInArgOrEnv\nARG foo=baz baz=quux\n# no one\n#\nARG \
                bit=bat\n# something\nCOPY a .\n# nameless\nFROM scratch\n";
    assert_eq!(found(good), [""; 0]);
}

#[test]
fn l428_l429_the_base_image_is_of_another_platform() {
    let mut case = Case::of("FROM library/busybox\nENV a=b");
    for (architecture, expected) in [
        ("amd64", None),
        (
            "arm64",
            Some(
                "1 InvalidBaseImagePlatform Base image library/busybox was pulled with platform \"linux/arm64\", expected \
                 \"linux/amd64\" for current build",
            ),
        ),
    ] {
        case.config = Some(ImageConfig::scratch(Platform::new("linux", architecture, None)));
        assert_eq!(case.found(Scope::Target), Vec::from_iter(expected));
    }
}

#[test]
fn what_an_image_may_set_is_not_said_to_be_undefined() {
    let text = "ARG GLOBAL=x\nFROM python\nARG VERSIONS=1\nENV a=$PYTHON_VERSION b=$VERSION c=$GLOBAL d=$lower e=$PATH";
    let undefined = |case: &Case| -> Vec<String> {
        let found = of_rule(Rule::UndefinedVar, &case.found(Scope::Target));
        found
            .iter()
            .map(|line| line["4 Usage of undefined variable ".len()..].to_owned())
            .collect()
    };
    let mut case = Case::of(text);
    let unknown = ["'$GLOBAL'", "'$VERSION' (did you mean $VERSIONS?)", "'$lower'"];
    assert_eq!(undefined(&case), unknown);
    let mut config = ImageConfig::scratch(Platform::new("linux", "amd64", None));
    config.config.env = vec!["lower=1".to_owned()];
    case.config = Some(config);
    let known = ["'$GLOBAL'", "'$PYTHON_VERSION'", "'$VERSION' (did you mean $VERSIONS?)"];
    assert_eq!(undefined(&case), known);
}

#[test]
fn what_common_files_take_from_images_is_not_said_to_be_undefined() {
    for (text, expected) in [
        (
            "FROM golang:1.22\nENV PATH=$GOPATH/bin:$PATH\nWORKDIR $GOPATH/src/app",
            &[][..],
        ),
        ("FROM golang:1.22\nENV PATH=/bin\nWORKDIR $GOPATH/src/app", &[]),
        ("FROM cuda\nENV LD_LIBRARY_PATH=/x:${LD_LIBRARY_PATH}", &[]),
        (
            "ARG NODE_VERSION=20\nFROM node:$NODE_VERSION AS a\nFROM a\nLABEL v=$NODE_VERSION",
            &[],
        ),
        (
            "FROM golang\nARG GOBINS=1\nWORKDIR $GOBIN",
            &["'$GOBIN' (did you mean $GOBINS?)"],
        ),
    ] {
        let found = of_rule(Rule::UndefinedVar, &Case::of(text).found(Scope::Target));
        let messages: Vec<&str> = found.iter().filter_map(|line| line.split("variable ").nth(1)).collect();
        assert_eq!(messages, expected, "{text}");
    }
}

/// Each of these would take all memory, or minutes, if nobody counted.
#[test]
fn large_files_take_no_longer_than_they_are() {
    let doubling = format!("FROM scratch\nENV a=x\n{}", "ENV a=$a$a\n".repeat(100));
    assert_eq!(found(&doubling), [""; 0]);
    let undefined: String = (0..1000).map(|n| format!("ENV name{n}=$unknown{n}\n")).collect();
    assert_eq!(found(&format!("FROM scratch\n{undefined}")).len(), 1000);
}

#[test]
fn triggers_count_where_they_run() {
    let text = "FROM scratch AS a\nONBUILD COPY $foo /\nFROM a\n";
    assert_eq!(
        Case::of(text).found(Scope::Target),
        ["3 UndefinedVar Usage of undefined variable '$foo'"]
    );
}

#[test]
fn a_violation_names_each_rule_once() {
    let text = "FROM scratch\nMAINTAINER a\nMAINTAINER b\nCMD c\n";
    let attempt = attempt("Dockerfile", text.as_bytes());
    let options = Options::default();
    let mut findings = written(&attempt, &options);
    assert_eq!(Violation::of(&[]), None);
    let file = parse("Dockerfile", text.as_bytes()).unwrap();
    let outline = outline(&file, &PlanOptions::default()).unwrap();
    let subject = Subject {
        file: &file,
        outline: &outline,
        configs: &BaseConfigs::new(),
        ignore: None,
    };
    findings.extend(stages(&subject, Scope::Target, &options).unwrap());
    let violation = Violation::of(&findings).unwrap();
    assert_eq!(
        violation.to_string(),
        "lint violation found for rules: JSONArgsRecommended, MaintainerDeprecated"
    );
    assert_eq!(violation.excerpt().unwrap().span().first, 2);
}
