//! Which programs a build starts: its own children and what RUN names, nothing that an image brings.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::collections::BTreeSet;

use support::{Rbuild, Registry, Sandbox};

/// An image that ships programs a builder might be tempted to call, and archives that would need them.
#[test]
fn root_h50_nothing_of_the_rootfs_is_executed_but_run() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    registry.push_base(&sandbox, "small");
    let archive = sandbox.path("context/archive.tar.gz");
    sandbox.write("context/file", "content\n");
    let made = std::process::Command::new("tar")
        .arg("-czf")
        .arg(&archive)
        .arg("-C")
        .arg(sandbox.path("context"))
        .arg("file")
        .status();
    assert!(made.unwrap().success());
    let dockerfile = format!(
        "FROM {} AS planted\n\
         RUN mkdir -p /usr/bin && for tool in gzip unpigz xz zstd tar mount newuidmap docker-credential-x; \
         do printf '#!/bin/sh\\necho planted\\n' > /usr/bin/$tool && chmod 755 /usr/bin/$tool; done\n\
         ADD archive.tar.gz /opt/\nCOPY --chown=root:root file /usr/bin/file\nWORKDIR /made\n\
         FROM planted\nUSER root\nRUN [\"/bin/busybox\", \"true\"]\n",
        registry.reference("small:1")
    );
    let trace = sandbox.path("trace");
    let launcher = [
        "strace",
        "-f",
        "-qq",
        "-e",
        "trace=execve",
        "-o",
        trace.to_str().unwrap(),
    ];
    let _built = Rbuild::build_text(&sandbox, &dockerfile)
        .through(&launcher)
        .destination(&registry.reference("out:1"))
        .run()
        .success();
    let trace = std::fs::read_to_string(trace).unwrap();
    let program = |line: &str| line.split("execve(\"").nth(1)?.split('"').next().map(str::to_owned);
    let started: BTreeSet<String> = trace
        .lines()
        .filter(|line| line.ends_with("= 0"))
        .filter_map(program)
        .collect();
    let own = [
        support::rbuild::program().display().to_string(),
        "/proc/self/exe".to_owned(),
    ];
    let foreign: Vec<_> = started.iter().filter(|name| !own.contains(name)).collect();
    let by_run = ["/bin/busybox", "/bin/chmod", "/bin/mkdir", "/bin/sh"];
    assert!(
        foreign.iter().all(|name| by_run.contains(&name.as_str())),
        "{foreign:?}"
    );
    assert!(
        foreign.iter().any(|name| *name == "/bin/busybox"),
        "the trace saw no RUN: {started:?}"
    );
}
