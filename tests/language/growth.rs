//! Files that are made to be too much: they end with a clear error, and soon.

use super::{options, plan_with, planned, statements, target};

const LONGEST_LINE: usize = 65_534;

#[test]
fn a_line_full_of_nested_defaults_is_too_deep() {
    let depth = LONGEST_LINE / "${a:-}".len() - 2;
    let word = "${a:-".repeat(depth) + &"}".repeat(depth);
    let text = format!("FROM a\nENV x={word}");
    assert!(text.lines().all(|line| line.len() <= LONGEST_LINE));
    let report = plan_with(&text, &options(&[])).unwrap_err();
    assert!(report.contains("nested more than 200 deep"), "{report}");
    assert!(report.len() < 3000, "the line is not shown whole: {}", report.len());
    let broken = format!("FROM a\nENV x={}", "${a:-".repeat(depth));
    assert!(plan_with(&broken, &options(&[])).is_err());
}

#[test]
fn ten_thousand_arguments_that_name_each_other() {
    let arguments: String = (1..10_000).map(|n| format!("ARG a{n}=$a{}\n", n - 1)).collect();
    let globals = format!("ARG a0=v\n{arguments}FROM x:$a9999");
    assert!(planned(&globals).images[0].image.to_string().contains("x:v"));
    let stage = format!("FROM x\nARG a0=v\n{arguments}ENV end=$a9999");
    let plan = planned(&stage);
    assert_eq!(
        target(&plan).config.config.env.last().map(String::as_str),
        Some("end=v")
    );
    let variables: String = (1..10_000).map(|n| format!("ENV a{n}=$a{}\n", n - 1)).collect();
    let plan = planned(&format!("FROM x\nENV a0=v\n{variables}"));
    assert_eq!(
        target(&plan).config.config.env.last().map(String::as_str),
        Some("a9999=v")
    );
}

#[test]
fn values_that_double_are_an_error_with_their_line() {
    for (what, text) in [
        (
            "ENV",
            format!("FROM a\nENV x=0123456789\n{}", "ENV x=$x$x\n".repeat(60)),
        ),
        (
            "ARG",
            format!("FROM a\nARG x=0123456789\n{}", "ARG x=$x$x\n".repeat(60)),
        ),
        (
            "global ARG",
            format!("ARG x=0123456789\n{}FROM a", "ARG x=$x$x\n".repeat(60)),
        ),
        (
            "stages",
            format!(
                "FROM a AS s\nENV x=0123456789\n{}",
                "FROM s AS s\nENV x=$x$x\n".repeat(60)
            ),
        ),
        (
            "patterns",
            format!("FROM a\nENV x=xxxxxxxxxx\n{}", "ENV x=${x//x/xxxxxxxx}\n".repeat(60)),
        ),
        (
            "environments of processes",
            format!(
                "FROM a\nENV x=0123456789\n{}{}",
                "ENV x=$x$x\n".repeat(18),
                "RUN\n".repeat(100)
            ),
        ),
        (
            "heredocs",
            format!(
                "FROM a\nENV x=0123456789\n{}COPY <<E /\n{}\nE\n",
                "ENV x=$x$x\n".repeat(18),
                "$x".repeat(100)
            ),
        ),
    ] {
        let report = plan_with(&text, &options(&[])).unwrap_err();
        assert!(
            report.contains("expand to more than 64 MiB of text"),
            "{what}: {report}"
        );
        assert!(report.contains("  >>> "), "{what}: {report}");
        assert!(report.len() < 20_000, "{what}: {} bytes", report.len());
    }
}

#[test]
fn deep_json_is_a_command_for_the_shell() {
    let nested = "[".repeat(30_000) + &"]".repeat(30_000);
    assert_eq!(statements(&format!("FROM a\nRUN {nested}")).len(), 1);
}
