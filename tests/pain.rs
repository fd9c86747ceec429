//! What users of the kaniko executor suffer from, where a build case alone cannot show it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use support::{Rbuild, Registry, Sandbox, listing};

/// What cannot be done is refused before anything is pulled: a URL, its checksum and its flags are never ignored.
#[test]
fn root_add_of_a_url_is_refused_not_ignored() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    registry.push_base(&sandbox, "small");
    for operands in [
        "http://127.0.0.1:1/file /added",
        "--checksum=sha256:00 http://127.0.0.1:1/file /added",
    ] {
        let dockerfile = format!("FROM {}\nADD {operands}\n", registry.reference("small:1"));
        let build = Rbuild::build_text(&sandbox, &dockerfile).destination(&registry.reference("out:1"));
        let _refused = build.run().failure_with(&["Dockerfile:2", "ADD"]);
    }
    assert_eq!(registry.tags("out"), Vec::<String>::new());
}

#[test]
fn root_copy_of_what_is_ignored_names_the_rule() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    registry.push_base(&sandbox, "small");
    sandbox.write("context/.dockerignore", "*.secret\nbuild\n");
    for file in ["my.secret", "build/out"] {
        sandbox.write(&format!("context/{file}"), "x");
    }
    for file in ["my.secret", "build/out", "build"] {
        let dockerfile = format!("FROM {}\nCOPY {file} /there\n", registry.reference("small:1"));
        let build = Rbuild::build_text(&sandbox, &dockerfile).destination(&registry.reference("out:1"));
        let _failed = build.run().failure_with(&["Dockerfile:2", file, ".dockerignore"]);
    }
    assert_eq!(registry.tags("out"), Vec::<String>::new());
}

/// A cheaper way to look for changes must not see fewer of them.
#[test]
fn root_every_snapshot_mode_gives_the_same_image() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    registry.push_base(&sandbox, "small");
    let dockerfile = format!(
        "FROM {}\nRUN cd /srv && echo one > a && echo one > b && touch c && touch -d @1000000000 *\n\
         RUN cd /srv && echo two > a && touch -d @1000000000 a && chmod 600 b && rm c && mkdir d && touch -d @1000000000 d\n",
        registry.reference("small:1")
    );
    let modes: [&[&str]; 5] = [
        &[],
        &["--snapshot-mode=full"],
        &["--snapshot-mode=redo"],
        &["--snapshot-mode=time"],
        &["--use-new-run"],
    ];
    let digests: Vec<_> = modes
        .iter()
        .map(|mode| {
            let build = Rbuild::build_text(&sandbox, &dockerfile).destination(&registry.reference("out:1"));
            let _built = build.args(*mode).arg("--reproducible").run().success();
            registry.digest(&sandbox, "out:1")
        })
        .collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:#?}");
}

#[test]
fn root_relative_working_directory_of_the_base() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    let layout = sandbox.path("layout");
    let mut copy = sandbox.command("cp");
    copy.arg("-r").arg(support::bases::layout("small")).arg(&layout);
    let _copied = sandbox.run(copy).success();
    let mut config = sandbox.command("umoci");
    config
        .args(["config", "--config.workingdir", "some/dir", "--image"])
        .arg(format!("{}:1", layout.display()));
    let _changed = sandbox.run(config).success();
    registry.push_layout(&sandbox, &layout, "relative:1");

    let dockerfile = format!(
        "FROM {}\nRUN pwd > /where\nWORKDIR deeper\nRUN pwd >> /where\n",
        registry.reference("relative:1")
    );
    let _built = Rbuild::build_text(&sandbox, &dockerfile)
        .destination(&registry.reference("out:1"))
        .run()
        .success();
    let listing = listing::of_reference(&sandbox, &registry.reference("out:1"));
    for line in [
        "/where file 0644 0:0 \"/some/dir\\n/some/dir/deeper\\n\"",
        "config WorkingDir \"/some/dir/deeper\"",
    ] {
        assert!(listing.contains(&line.to_owned()), "lacks {line}\n{listing:#?}");
    }
}

#[test]
fn root_context_is_left_as_it_was() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    registry.push_base(&sandbox, "small");
    for file in [".dockerignore", "ignored", "kept/file"] {
        sandbox.write(&format!("context/{file}"), "ignored\n");
    }
    let state = || {
        let mut list = sandbox.command("find");
        list.arg(sandbox.path("context"))
            .args(["-printf", "%P %s %m %T@ %C@\n"]);
        sandbox.run(list).success().stdout
    };
    let before = state();
    let dockerfile = format!("FROM {}\nCOPY . /all\nRUN rm -r /all\n", registry.reference("small:1"));
    let _built = Rbuild::build_text(&sandbox, &dockerfile)
        .destination(&registry.reference("out:1"))
        .run()
        .success();
    assert_eq!(before, state());
}
