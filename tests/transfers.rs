//! COPY and ADD, where a build case alone cannot show it: equal layers of different builds, and errors.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use support::{Rbuild, Registry, Sandbox};

/// The digests of an image's layers, lowest first.
fn layers(registry: &Registry, sandbox: &Sandbox, name_and_tag: &str) -> Vec<String> {
    let mut skopeo = sandbox.command("skopeo");
    skopeo.args(["inspect", "--tls-verify=false"]);
    skopeo.arg(format!("docker://{}", registry.reference(name_and_tag)));
    let image: serde_json::Value = serde_json::from_str(&sandbox.run(skopeo).success().stdout).unwrap();
    let layers = image["Layers"].as_array().unwrap().iter();
    layers.map(|layer| layer.as_str().unwrap().to_owned()).collect()
}

/// Whoever changes the base of an image pushes no layer again that was linked.
#[test]
fn root_l294_linked_layers_are_the_same_in_every_image() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    registry.push_base(&sandbox, "small");
    for file in ["context/app/main", "context/app/lib/x", "context/note"] {
        sandbox.write(file, file);
    }
    let small = registry.reference("small:1");
    let copies = "COPY --link app /srv/app\nADD --link --chown=5 note /etc/notes/\n\
                  COPY --link --from=files /made /\nCOPY --link --parents app/lib /opt\n";
    let files = format!("FROM {small} AS files\nCOPY app /made/app\n");
    let images = [
        ("scratch:1", "FROM scratch\n".to_owned()),
        ("small:1", format!("FROM {small}\n")),
        (
            "linked:1",
            format!(
                "FROM {small}\nRUN chmod 700 / && ln -s /var /srv/app && mkdir /etc/notes && chmod 700 /etc/notes && echo > /opt\n"
            ),
        ),
    ];
    let linked = images.map(|(name, base)| {
        let build = Rbuild::build_text(&sandbox, &format!("{files}{base}{copies}"));
        let _built = build
            .destination(&registry.reference(&format!("out/{name}")))
            .run()
            .success();
        let layers = layers(&registry, &sandbox, &format!("out/{name}"));
        layers[layers.len() - 4..].to_vec()
    });
    assert_eq!(linked[0], linked[1]);
    assert_eq!(linked[0], linked[2]);
}

#[test]
fn root_errors_of_copies_name_the_line_the_cause_and_the_way_out() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    registry.push_base(&sandbox, "small");
    for file in ["context/app/main.rs", "context/dir/f", "context/srv"] {
        sandbox.write(file, "x");
    }
    for (copy, texts) in [
        ("COPY missing /", &["\"/missing\": not found in the build context"][..]),
        (
            "COPY app/mian.rs /",
            &["\"/app/mian.rs\": not found", "did you mean \"/app/main.rs\"?"],
        ),
        (
            "COPY --parents app/mian.rs /",
            &["\"/app/mian.rs\": not found", "did you mean \"/app/main.rs\"?"],
        ),
        (
            "COPY --from=0 /etc/pass /",
            &[
                "\"/etc/pass\": not found in the source image or stage",
                "\"/etc/passwd\"",
            ],
        ),
        ("COPY dir /etc/passwd", &["cannot copy to non-directory: /etc/passwd"]),
        (
            "COPY --from=0 --chown=1:staf etc /x",
            &["unable to find group staf", "did you mean staff?"],
        ),
        ("ADD srv /", &["cannot replace to directory /srv with file"]),
        (
            "COPY --chown=apps srv /x",
            &["unable to find user apps", "did you mean app?"],
        ),
        (
            "COPY --link --chown=app srv /x",
            &["invalid user index: -1", "give --chown a number"],
        ),
        (
            "COPY --chmod=888 srv /x",
            &["it should be octal string and between 0 and 07777"],
        ),
        (
            "COPY --exclude=[ srv /x",
            &["--exclude \"[\"", "syntax error in pattern"],
        ),
    ] {
        let small = registry.reference("small:1");
        let build = Rbuild::build_text(&sandbox, &format!("FROM {small}\nFROM {small}\n{copy}\n"));
        let output = build.destination(&registry.reference("out:1")).run();
        let _failed = output.failure_with(&[texts, &["Dockerfile:3", copy]].concat());
    }
    assert_eq!(registry.tags("out"), Vec::<String>::new());
}
