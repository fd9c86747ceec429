//! Build contexts and what FROM names, where two images cannot be compared: errors, layouts, ignored Dockerfiles.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use support::{Rbuild, Registry, Sandbox, listing};

/// A registry with the small base, and a sandbox to build in.
struct Scene {
    registry: Registry,
    sandbox: Sandbox,
}

impl Scene {
    fn new() -> Self {
        let (registry, sandbox) = (Registry::start(), Sandbox::new());
        registry.push_base(&sandbox, "small");
        Self { registry, sandbox }
    }

    fn small(&self) -> String {
        self.registry.reference("small:1")
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        self.sandbox.write(name, text)
    }

    fn build(&self, dockerfile: &str) -> Rbuild<'_> {
        Rbuild::build_text(&self.sandbox, dockerfile).destination(&self.registry.reference("out:1"))
    }

    /// Builds with `--build-context` lines, and lists the image.
    #[track_caller]
    fn image(&self, dockerfile: &str, contexts: &[String]) -> Vec<String> {
        let contexts = contexts.iter().map(|context| format!("--build-context={context}"));
        let _built = self.build(dockerfile).args(contexts).run().success();
        listing::of_reference(&self.sandbox, &self.registry.reference("out:1"))
    }

    #[track_caller]
    fn fails(&self, dockerfile: &str, contexts: &[String], texts: &[&str]) {
        let contexts = contexts.iter().map(|context| format!("--build-context={context}"));
        let _failed = self.build(dockerfile).args(contexts).run().failure_with(texts);
    }

    /// Builds an image into an OCI image layout, and returns the manifest's digest.
    fn layout(&self, dockerfile: &str, name: &str, tag: &str) -> (PathBuf, String) {
        let path = self.sandbox.path(name);
        let digest = self.sandbox.path("digest");
        let _built = Rbuild::build_text(&self.sandbox, dockerfile)
            .args(["--no-push", "--image-format=oci", "--destination"])
            .arg(format!("r.example/{name}:{tag}"))
            .arg("--oci-layout-path")
            .arg(&path)
            .arg("--digest-file")
            .arg(&digest)
            .run()
            .success();
        (path, fs::read_to_string(digest).unwrap())
    }
}

fn has(lines: &[String], line: &str) {
    assert!(lines.iter().any(|found| found == line), "no {line:?} in {lines:#?}");
}

#[test]
fn root_l343_an_ignored_dockerfile_builds_but_cannot_be_copied() {
    let scene = Scene::new();
    let small = scene.small();
    scene.write("context/.dockerignore", "Dockerfile\n.dockerignore\n");
    scene.write("context/kept", "kept\n");
    let build = |rest: &str| {
        let path = scene.write("context/Dockerfile", &format!("FROM {small}\n{rest}\n"));
        Rbuild::build(&scene.sandbox, &path, &scene.sandbox.path("context"))
            .destination(&scene.registry.reference("out:1"))
            .run()
    };
    let _built = build("COPY . /all/").success();
    let lines = listing::of_reference(&scene.sandbox, &scene.registry.reference("out:1"));
    has(&lines, "/all/kept file 0644 0:0 \"kept\\n\"");
    assert!(
        !lines
            .iter()
            .any(|line| line.starts_with("/all/Dockerfile") || line.starts_with("/all/.d"))
    );
    for source in ["Dockerfile", ".dockerignore"] {
        let _failed = build(&format!("COPY {source} /x")).failure_with(&[
            "Dockerfile:2",
            &format!("/{source}"),
            ".dockerignore",
            &format!("line {}: {source}", if source == "Dockerfile" { 1 } else { 2 }),
        ]);
    }
}

#[test]
fn root_l350_a_malformed_ignore_file_is_an_error_with_its_line() {
    let scene = Scene::new();
    let dockerfile = format!("FROM {}\nCOPY . /all/\n", scene.small());
    for (text, expected) in [
        (
            "ok\n!\n",
            &[".dockerignore:2", "\"!\"", "illegal exclusion pattern"][..],
        ),
        ("[a-\n", &[".dockerignore:1", "\"[a-\"", "syntax error in pattern"]),
    ] {
        scene.write("context/.dockerignore", text);
        scene.fails(&dockerfile, &[], expected);
        // Of a named context too, and only if somebody reads it.
        let named = format!("FROM {}\nCOPY --from=named x /x\n", scene.small());
        let context = [format!("named={}", scene.sandbox.path("context").display())];
        scene.fails(&named, &context, expected);
        scene.image(&format!("FROM {}\nLABEL a=b\n", scene.small()), &[]);
        fs::remove_file(scene.sandbox.path("context/.dockerignore")).unwrap();
    }
}

#[test]
fn root_l354_symlinks_cannot_leave_a_named_context() {
    let scene = Scene::new();
    scene.write("secret", "outside\n");
    scene.write("named/secret", "inside\n");
    let named = scene.sandbox.path("named");
    symlink("../secret", named.join("up")).unwrap();
    symlink(scene.sandbox.path("secret"), named.join("absolute")).unwrap();
    let context = [format!("named={}", named.display())];
    let lines = scene.image(&format!("FROM {}\nCOPY --from=named up /up\n", scene.small()), &context);
    has(&lines, "/up file 0644 0:0 \"inside\\n\"");
    let absolute = format!("FROM {}\nCOPY --from=named absolute /x\n", scene.small());
    scene.fails(&absolute, &context, &["Dockerfile:2", "/absolute", "not found"]);
}

#[test]
fn root_l358_images_come_from_oci_layouts() {
    let scene = Scene::new();
    let dockerfile = format!(
        "FROM {}\nENV LAY=out\nWORKDIR /w\nCMD [\"c\"]\nRUN echo lay > /lay\nONBUILD RUN echo \"$LAY\" > /trigger\n",
        scene.small()
    );
    let (path, digest) = scene.layout(&dockerfile, "lay", "v1");
    let path = path.display();
    for value in [format!("{path}@{digest}"), format!("{path}:v1"), format!("{path}")] {
        let context = [format!("base=oci-layout://{value}")];
        let lines = scene.image("FROM base\nCOPY --from=base /lay /copied\n", &context);
        for line in [
            "config Env LAY=out",
            "config WorkingDir \"/w\"",
            "config Cmd [\"c\"]",
            "/lay file 0644 0:0 \"lay\\n\"",
            "/copied file 0644 0:0 \"lay\\n\"",
            "/trigger file 0644 0:0 \"out\\n\"",
        ] {
            has(&lines, line);
        }
    }
}

#[test]
fn root_layouts_that_are_damaged_or_none() {
    let scene = Scene::new();
    let (path, digest) = scene.layout(&format!("FROM {}\nRUN echo lay > /lay\n", scene.small()), "lay", "v1");
    let context = |value: &str| [format!("base=oci-layout://{value}")];
    let shown = path.display().to_string();
    let from = "FROM base\nRUN true\n";
    scene.fails(
        from,
        &context(&format!("{shown}:v2")),
        &["Dockerfile:1", "has no image \"v2\""],
    );
    let absent = format!("sha256:{}", "0".repeat(64));
    scene.fails(
        from,
        &context(&format!("{shown}@{absent}")),
        &["Dockerfile:1", &"0".repeat(64)],
    );
    let other = scene.sandbox.directory("other");
    scene.fails(
        from,
        &context(&other.display().to_string()),
        &["Dockerfile:1", "is not an OCI image layout"],
    );
    let largest = largest_blob(&path);
    let bytes = fs::read(&largest).unwrap();
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::remove_file(&largest).unwrap();
    fs::write(&largest, &damaged).unwrap();
    scene.fails(
        from,
        &context(&format!("{shown}@{digest}")),
        &["Dockerfile:1", "has the digest"],
    );
    assert_eq!(scene.registry.tags("out"), Vec::<String>::new());
    fs::write(&largest, &bytes).unwrap();
    let manifest = path.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
    let text = fs::read_to_string(&manifest)
        .unwrap()
        .replace("\"schemaVersion\":2", "\"schemaVersion\":3");
    fs::remove_file(&manifest).unwrap();
    fs::write(&manifest, text).unwrap();
    for value in [format!("{shown}@{digest}"), format!("{shown}:v1")] {
        scene.fails(from, &context(&value), &["Dockerfile:1", "has the digest"]);
    }
}

fn largest_blob(layout: &Path) -> PathBuf {
    let blobs = fs::read_dir(layout.join("blobs/sha256")).unwrap();
    let blobs = blobs.map(|blob| blob.unwrap().path());
    blobs.max_by_key(|blob| fs::metadata(blob).unwrap().len()).unwrap()
}

#[test]
fn root_contexts_that_are_not_there() {
    let scene = Scene::new();
    let nowhere = [format!("extra={}", scene.sandbox.path("nowhere").display())];
    for line in ["COPY --from=extra x /x", "COPY --from=EXTRA x /x"] {
        let dockerfile = format!("FROM {}\nRUN true\n{line}\n", scene.small());
        if line.contains("EXTRA") {
            scene.fails(&dockerfile, &nowhere, &["Dockerfile:3", "EXTRA", "did you mean extra?"]);
        } else {
            scene.fails(
                &dockerfile,
                &nowhere,
                &["Dockerfile:3", "the build context extra", "nowhere"],
            );
        }
    }
    let file = [format!("extra={}", scene.write("file", "").display())];
    scene.fails(
        "FROM extra\n",
        &file,
        &["Dockerfile:1", "the build context extra", "Not a directory"],
    );
    let missing = [format!(
        "extra=docker-image://{}",
        scene.registry.reference("no/such:image")
    )];
    scene.fails("FROM extra\n", &missing, &["Dockerfile:1", "no/such:image"]);
}

#[test]
fn root_misspelt_stages_are_recognised() {
    let scene = Scene::new();
    let stage = format!("FROM {} AS builder\n", scene.small());
    // A mirror that has nothing stands for Docker Hub.
    let mirror = format!("--registry-map=docker.io={}", scene.registry.host());
    for (text, line) in [
        (format!("{stage}FROM bulder\n"), "Dockerfile:2"),
        (
            format!("{stage}FROM scratch\nCOPY --from=biulder / /\n"),
            "Dockerfile:3",
        ),
    ] {
        let build = scene
            .build(&text)
            .arg(&mirror)
            .args(["--insecure-pull", "--skip-default-registry-fallback"]);
        let _failed = build.run().failure_with(&[line, "did you mean builder?"]);
    }
}

#[test]
fn root_l185_a_digest_pins_the_base() {
    let scene = Scene::new();
    let digest = scene.registry.digest(&scene.sandbox, "small:1");
    let moved = Rbuild::build_text(
        &scene.sandbox,
        &format!("FROM {}\nRUN echo moved > /moved\n", scene.small()),
    );
    let _built = moved
        .destination(&scene.registry.reference("small:moved"))
        .run()
        .success();
    for name in ["small", "small:moved"] {
        let reference = scene.registry.reference(name);
        let lines = scene.image(&format!("FROM {reference}@{digest}\nLABEL a=b\n"), &[]);
        has(&lines, "config Labels a \"b\"");
        assert!(!lines.iter().any(|line| line.starts_with("/moved")), "{name}");
    }
    let lines = scene.image(&format!("FROM {}\n", scene.registry.reference("small:moved")), &[]);
    has(&lines, "/moved file 0644 0:0 \"moved\\n\"");
}
