//! The commands besides the build: `warm`, `push`, `login` and `logout`, against a real registry.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::registry::Access;
use support::{Rbuild, Registry, Sandbox, listing, process, rbuild};

/// `rbuild` with these words and nothing else.
fn run(sandbox: &Sandbox, words: &[&str]) -> process::Output {
    sandbox.run(command(sandbox, &rbuild::program(), words))
}

fn command(sandbox: &Sandbox, program: &Path, words: &[&str]) -> Command {
    let mut command = sandbox.command(program);
    command.args(words);
    command
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A registry with the base image, and `multi:1` for two platforms upon nothing.
fn site() -> (Registry, Sandbox) {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    registry.push_base(&sandbox, "small");
    sandbox.write("context/file", "content");
    let multi = "FROM scratch\nCOPY file /multi\n";
    let build = Rbuild::build_text(&sandbox, multi).arg("--platform=linux/amd64,linux/arm64");
    let _built = build.destination(&registry.reference("multi:1")).run().success();
    (registry, sandbox)
}

/// The entries of a cache directory that are images.
fn images(cache: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path());
    let is_image = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("sha256:");
    entries.filter(is_image).collect()
}

/// What the registry is asked during `action` about the two base images.
fn asked(registry: &Registry, action: impl FnOnce()) -> Vec<String> {
    let before = registry.requests().len();
    action();
    let mut asked = registry.requests().split_off(before);
    asked.retain(|request| request.contains("/small/") || request.contains("/multi/"));
    asked
}

#[test]
fn root_a_warm_directory_spares_builds_the_pull() {
    let (registry, sandbox) = site();
    let (small, multi) = (registry.reference("small:1"), registry.reference("multi:1"));
    let warmed = format!(
        "ARG TAG=0\nFROM {} AS first\nFROM {small}\n",
        registry.reference("multi:$TAG")
    );
    let warmed = sandbox.write("warmed.Dockerfile", warmed);
    let cache = sandbox.path("cache");
    // As in the image: the program's name says what it does.
    let warmer = sandbox.path("warmer");
    std::os::unix::fs::symlink(rbuild::program(), &warmer).unwrap();
    let flags = ["-c", text(&cache), "-d", text(&warmed), "--build-arg", "TAG=1"];
    let warm = |more: &[&str]| sandbox.run(command(&sandbox, &warmer, &[&flags[..], more].concat()));

    let missing = registry.reference("small:missing");
    let output = warm(&["-i", &missing, "-i", &small]).success();
    assert!(
        output.stderr.contains("small:missing is not cached"),
        "{}",
        output.stderr
    );
    assert_eq!(images(&cache).len(), 2, "the index gives one platform's image");
    for image in images(&cache) {
        // A colon ends skopeo's paths.
        let plain = sandbox.path("plain");
        std::os::unix::fs::symlink(&image, &plain).unwrap();
        let mut skopeo = sandbox.command("skopeo");
        skopeo.arg("inspect").arg(format!("oci:{}", plain.display()));
        let inspected = sandbox.run(skopeo).success().stdout;
        assert!(
            inspected.contains(image.file_name().unwrap().to_str().unwrap()),
            "{inspected}"
        );
        fs::remove_file(plain).unwrap();
    }
    let _all_failed = run(&sandbox, &["warm", "-c", text(&cache), "-i", &missing])
        .failure_with(&["none of the 1 images could be cached"]);

    let dockerfile = format!("FROM {multi} AS first\nFROM {small}\nCOPY --from=first /multi /\nCOPY file /\n");
    let build = |more: &[&str]| {
        let build = Rbuild::build_text(&sandbox, &dockerfile).args(more);
        build.destination(&registry.reference("app:1")).run().success()
    };
    let cached = ["--cache", "--cache-dir", text(&cache)];
    let requests = asked(&registry, || drop(build(&cached)));
    let heads: Vec<_> = ["/v2/multi/manifests/1", "/v2/small/manifests/1"]
        .map(|path| format!("HEAD {path}"))
        .into();
    let mut questions = requests.clone();
    questions.sort();
    assert_eq!(questions, heads, "a tag is asked for, and nothing else");
    let warm_digest = registry.digest(&sandbox, "app:1");
    assert!(
        asked(&registry, || drop(warm(&[]).success()))
            .iter()
            .all(|request| request.starts_with("HEAD"))
    );

    // Without --cache, and for images that are too old, the registry has to give them; the image is the same.
    for flags in [
        &["--cache-dir", text(&cache)][..],
        &[&cached[..], &["--cache-ttl=0"]].concat(),
    ] {
        let requests = asked(&registry, || drop(build(&[flags, &["--reproducible=false"]].concat())));
        assert!(
            requests
                .iter()
                .any(|request| request.starts_with("GET /v2/small/blobs/")),
            "{requests:?}"
        );
    }
    let files = |reference: &str| {
        let mut lines = listing::of_reference(&sandbox, &registry.reference(reference));
        lines.retain(|line| line.starts_with('/'));
        lines
    };
    assert!(files("app:1").iter().any(|line| line.starts_with("/multi file")));

    // What is damaged is pulled, with a warning; the warmer mends it when it is told to.
    let layers = images(&cache)
        .into_iter()
        .map(|image| largest(&image.join("blobs/sha256")));
    for layer in layers {
        let size = fs::metadata(&layer).unwrap().len();
        fs::write(&layer, vec![b'x'; usize::try_from(size).unwrap()]).unwrap();
    }
    let output = build(&cached);
    assert!(output.stderr.contains("is damaged and not used"), "{}", output.stderr);
    assert!(
        output.stderr.contains("run the warmer with --force"),
        "{}",
        output.stderr
    );
    let _mended = warm(&["--force"]).success();
    let requests = asked(&registry, || drop(build(&cached)));
    assert!(
        requests.iter().all(|request| request.starts_with("HEAD")),
        "{requests:?}"
    );
    drop(warm_digest);
}

/// The largest file of a directory: of an image's blobs, its layer.
fn largest(directory: &Path) -> PathBuf {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

#[test]
fn root_images_at_rest_are_pushed() {
    let (registry, sandbox) = site();
    let archive = sandbox.path("image.tar");
    let layout = sandbox.path("layout");
    let digest = sandbox.path("digest");
    let dockerfile = format!("FROM {}\nCOPY file /pushed\n", registry.reference("small:1"));
    let build = Rbuild::build_text(&sandbox, &dockerfile).arg("--no-push");
    let build = build
        .arg("--tar-path")
        .arg(&archive)
        .arg("--oci-layout-path")
        .arg(&layout);
    let _built = build.arg("--digest-file").arg(&digest).run().success();
    let built = fs::read_to_string(&digest).unwrap();
    let store = sandbox.path("store");
    let push = |path: &Path, more: &[&str]| {
        let words = ["push", text(path), "--store", text(&store)];
        run(&sandbox, &[&words[..], more].concat())
    };

    // The archive keeps the digest that the build told, and so does the layout.
    let names = sandbox.path("names");
    let (one, two) = (registry.reference("one:1"), registry.reference("two:2"));
    let files = [
        "--digest-file",
        text(&digest),
        "--image-name-tag-with-digest-file",
        text(&names),
    ];
    let _pushed = push(&archive, &[&["-d", &one, "--destination", &two], &files[..]].concat()).success();
    assert_eq!(fs::read_to_string(&digest).unwrap(), built);
    assert_eq!(
        fs::read_to_string(&names).unwrap(),
        format!("{one}@{built}\n{two}@{built}\n")
    );
    for image in ["one:1", "two:2"] {
        assert_eq!(registry.digest(&sandbox, image), built);
    }
    let _pushed = push(&layout, &["-d", &registry.reference("layout:1")]).success();
    assert_eq!(registry.digest(&sandbox, "layout:1"), built);

    // One of other tools, with plain layers, and compressed as a whole.
    let foreign = sandbox.path("foreign.tar");
    let mut skopeo = sandbox.command("skopeo");
    skopeo.args(["copy", "--quiet", "--src-tls-verify=false"]);
    skopeo
        .arg(format!("docker://{one}"))
        .arg(format!("docker-archive:{}", foreign.display()));
    let _copied = sandbox.run(skopeo).success();
    let mut gzip = sandbox.command("gzip");
    gzip.arg(&foreign);
    let _compressed = sandbox.run(gzip).success();
    let _pushed = push(
        &sandbox.path("foreign.tar.gz"),
        &["-d", &registry.reference("foreign:1")],
    )
    .success();
    let files = |image: &str| {
        let mut lines = listing::of_reference(&sandbox, &registry.reference(image));
        lines.retain(|line| line.starts_with('/') || line.starts_with("config"));
        lines
    };
    assert_eq!(files("foreign:1"), files("one:1"));
    let mut skopeo = sandbox.command("skopeo");
    skopeo.args(["copy", "--quiet", "--src-tls-verify=false"]);
    skopeo.arg(format!("docker://{}", registry.reference("foreign:1")));
    let _pulled = sandbox.run({
        skopeo.arg(format!("dir:{}", sandbox.path("pulled").display()));
        skopeo
    });

    // An index goes with all its images.
    let multi = sandbox.path("multi");
    let build = Rbuild::build_text(&sandbox, "FROM scratch\nCOPY file /m\n").arg("--no-push");
    let build = build
        .arg("--platform=linux/amd64,linux/arm64")
        .arg("--oci-layout-path")
        .arg(&multi);
    let _built = build.arg("--digest-file").arg(&digest).run().success();
    let _pushed = push(&multi, &["-d", &registry.reference("index:1")]).success();
    assert_eq!(
        registry.digest(&sandbox, "index:1"),
        fs::read_to_string(&digest).unwrap()
    );
    let (status, index) = registry.get("/v2/index/manifests/1");
    assert!(status == 200 || index.contains("OCI index"), "{index}");

    let nothing = sandbox.write("nothing.tar", "nothing");
    let bad = registry.reference("bad:1");
    for (path, texts) in [
        (
            nothing.as_path(),
            &["nothing.tar", "neither an OCI image layout nor an archive"][..],
        ),
        (&sandbox.path("missing"), &["missing", "no such file"]),
        (&sandbox.path("home"), &["home", "not an oci image layout"]),
    ] {
        let _refused = push(path, &["-d", &bad]).failure_with(texts);
    }
    assert_eq!(registry.tags("bad"), Vec::<String>::new());
    // A layer that is not what it is called never gets a tag.
    let layer = largest(&layout.join("blobs/sha256"));
    let size = usize::try_from(fs::metadata(&layer).unwrap().len()).unwrap();
    fs::remove_file(&layer).unwrap();
    fs::write(&layer, vec![b'x'; size]).unwrap();
    let _refused = push(&layout, &["-d", &bad]).failure_with(&["layout", "has the digest"]);
    assert_eq!(registry.tags("bad"), Vec::<String>::new());
}

#[test]
fn root_who_logs_in_may_push() {
    let (registry, sandbox) = (Registry::start_with(Access::Password), Sandbox::new());
    sandbox.write("context/file", "content");
    let config = sandbox.path("docker");
    let build = || {
        let build = Rbuild::build_text(&sandbox, "FROM scratch\nCOPY file /\n");
        let build = build.env("DOCKER_CONFIG", text(&config));
        build.destination(&registry.reference("app:1")).run()
    };
    let _refused = build().failure_with(&["401"]);
    let password = sandbox.write("password", "secret\n");
    let mut login = command(
        &sandbox,
        &rbuild::program(),
        &["login", &registry.host(), "-u", "user", "--password-stdin"],
    );
    login
        .env("DOCKER_CONFIG", &config)
        .stdin(fs::File::open(password).unwrap());
    let output = sandbox.run(login).success();
    assert!(!output.stderr.contains("secret"), "{}", output.stderr);
    let _built = build().success();
    let mut logout = command(&sandbox, &rbuild::program(), &["logout", &registry.host()]);
    logout.env("DOCKER_CONFIG", &config);
    let _forgotten = sandbox.run(logout).success();
    let _refused = build().failure_with(&["401"]);
}
