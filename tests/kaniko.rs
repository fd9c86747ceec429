//! What pipelines of the kaniko executor rely on beyond the language and the images: flags, variables, files, lines of the
//! log. `testdata/compat.tsv` says which test stands for which of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::process::Output;
use support::registry::{Access, free_port, make_certificate};
use support::scripted::{Answer, Request, Scripted, ServedImage, digest};
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

    /// Builds these lines `FROM` the small base for `out:1`.
    fn build(&self, rest: &str) -> Rbuild<'_> {
        let text = format!("FROM {}\n{rest}\n", self.registry.reference("small:1"));
        Rbuild::build_text(&self.sandbox, &text).destination(&self.registry.reference("out:1"))
    }

    fn lines(&self) -> Vec<String> {
        listing::of_reference(&self.sandbox, &self.registry.reference("out:1"))
    }
}

#[test]
fn root_ignored_paths_are_neither_unpacked_nor_in_a_layer() {
    let scene = Scene::new();
    scene.sandbox.write("context/file", "content\n");
    let steps = "COPY file /skipped/copied\nCOPY file /kept/copied\n\
                 RUN [ ! -e /etc/passwd ] && mkdir -p /opt/a/tmp && touch /opt/a/tmp/x /opt/a/y /skipped/made /kept/made\n\
                 RUN cat /skipped/copied && rm -r /skipped";
    let flags = [
        "--ignore-path=/skipped",
        "--ignore-path=/opt/*/tmp",
        "--ignore-path=etc/passwd",
    ];
    let _built = scene.build(steps).args(flags).run().success();
    let lines = scene.lines();
    let has = |start: &str| lines.iter().any(|line| line.starts_with(start));
    for there in ["/kept/copied ", "/kept/made ", "/opt/a/y ", "/etc/passwd "] {
        assert!(has(there), "{there}: {lines:#?}");
    }
    for absent in [
        "/skipped",
        "/opt/a/tmp",
        "layer 1: skipped",
        "layer 3: .wh.",
        "layer 3: etc",
    ] {
        assert!(!has(absent), "{absent}: {lines:#?}");
    }
}

#[test]
fn root_volumes_are_seen_by_run_and_leave_nothing() {
    let scene = Scene::new();
    let workspace = scene.sandbox.directory("pod/workspace");
    scene.sandbox.write("pod/workspace/input", "from the pod\n");
    let netrc = scene.sandbox.write("pod/netrc", "token\n");
    let given = |path: &Path, rest: &str| format!("--run-volume={}{rest}", path.display());
    let steps = format!(
        "RUN cat {0}/input && echo made > {0}/output\nRUN cat /root/.netrc && ! echo x >> /root/.netrc",
        workspace.display()
    );
    let (writable, read_only) = (given(&workspace, ""), given(&netrc, ":/root/.netrc:ro"));
    let built = scene.build(&steps).args([&writable, &read_only]).run().success();
    assert!(
        built.stderr.contains("from the pod") && built.stderr.contains("token"),
        "{}",
        built.report()
    );
    assert_eq!(fs::read_to_string(workspace.join("output")).unwrap(), "made\n");
    assert_eq!(fs::read_to_string(&netrc).unwrap(), "token\n");
    let lines = scene.lines();
    let leaked = lines
        .iter()
        .find(|line| line.contains(".netrc") || line.contains("pod/workspace"));
    assert!(leaked.is_none_or(|line| line.starts_with("history ")), "{leaked:?}");
    assert_eq!(scene.sandbox.mounts(), Vec::<PathBuf>::new());

    // The context is a directory that a kaniko user would find in a RUN; so is whatever the pod mounts.
    let context = scene.sandbox.path("context").display().to_string();
    let failed = scene.build(&format!("RUN cp {context}/file /file")).run().code(1);
    let hint = format!("a RUN does not see {context} of this machine; if it is meant to, add --run-volume={context}");
    assert!(failed.stderr.contains(&hint), "{}", failed.report());
    let failed = scene.build("RUN exit 3").run().code(3);
    assert!(!failed.stderr.contains("--run-volume"), "{}", failed.report());
}

#[test]
fn root_a_plan_is_printed_and_carried_out_only_if_wanted() {
    let scene = Scene::new();
    let base = scene.registry.reference("small:1");
    let text = format!("FROM {base} AS one\nRUN touch /a\nFROM {base}\nCOPY --from=one /a /b\nENV c=d\n");
    let build = || Rbuild::build_text(&scene.sandbox, &text).destination(&scene.registry.reference("out:1"));
    let expected = format!(
        "FROM {base} AS one\n  UNPACK {base}\nRUN touch /a\nSAVE FILES one\n\nFROM {base}\n  UNPACK {base}\n\
         COPY --from=one /a /b\nENV c=d\n\nPUSH [{}]\n",
        scene.registry.reference("out:1")
    );
    let planned = build().arg("--dryrun").run().success();
    assert_eq!(planned.stdout, expected);
    assert_eq!(scene.registry.tags("out"), Vec::<String>::new());
    let built = build().env("KANIKO_PRINT_PLAN", "1").run().success();
    assert_eq!(built.stdout, expected);
    assert_eq!(scene.registry.tags("out"), ["1"]);
    // Nothing is pushed, so nobody has to allow it.
    let refusing = "127.0.0.1:1/out:1";
    let dry = Rbuild::build_text(&scene.sandbox, "FROM scratch\nLABEL a=b\n").destination(refusing);
    assert!(dry.arg("--dryrun").run().success().stdout.contains(refusing));
}

/// A web server with TLS that keeps what is sent to it; ends with the test.
struct Receiver {
    server: Child,
    directory: PathBuf,
    port: u16,
}

const SERVER: &str = "
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        name = self.path.strip('/')
        open(name, 'wb').write(self.headers['Content-Type'].encode() + b'\\n' + body)
        self.send_response(403 if name == 'refused' else 201)
        self.end_headers()
    def log_message(self, *args): pass
server = http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('certificate.pem', 'key.pem')
server.socket = context.wrap_socket(server.socket, server_side=True)
open('ready', 'w').close()
server.serve_forever()
";

impl Receiver {
    fn start(sandbox: &Sandbox) -> Self {
        let directory = sandbox.directory("receiver");
        make_certificate(&directory);
        let port = free_port();
        let server = Command::new("python3")
            .current_dir(&directory)
            .args(["-c", SERVER, &port.to_string()])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let receiver = Self {
            server,
            directory,
            port,
        };
        let end = Instant::now() + Duration::from_secs(20);
        while !receiver.directory.join("ready").exists() {
            assert!(Instant::now() < end, "the server does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        receiver
    }

    fn url(&self, name: &str) -> String {
        format!("https://127.0.0.1:{}/{name}", self.port)
    }

    /// Content type and content.
    fn received(&self, name: &str) -> String {
        fs::read_to_string(self.directory.join(name)).unwrap()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It may have ended on its own.
        let _ended = self.server.kill();
        let _status = self.server.wait();
    }
}

#[test]
fn root_results_go_to_files_servers_and_cloud_build() {
    let scene = Scene::new();
    let receiver = Receiver::start(&scene.sandbox);
    let certificate = receiver.directory.join("certificate.pem");
    let (out, output) = (scene.registry.reference("out:1"), scene.sandbox.path("builder"));
    let names = scene.sandbox.path("deep/er/names");
    let build = || Rbuild::build_text(&scene.sandbox, "FROM scratch\nLABEL a=b\n").destination(&out);
    let _built = build()
        .args([
            "--digest-file",
            &receiver.url("digest"),
            "--image-name-with-digest-file",
        ])
        .arg(&names)
        .args(["--image-name-tag-with-digest-file", &receiver.url("tags")])
        .env("SSL_CERT_FILE", &certificate)
        .env("BUILDER_OUTPUT", &output)
        .run()
        .success();
    let image = scene.registry.digest(&scene.sandbox, "out:1");
    assert_eq!(receiver.received("digest"), format!("text/plain\n{image}"));
    assert_eq!(receiver.received("tags"), format!("text/plain\n{out}@{image}\n"));
    let repository = scene.registry.reference("out");
    assert_eq!(fs::read_to_string(&names).unwrap(), format!("{repository}@{image}\n"));
    let object = format!("{{\"name\":\"{out}\",\"digest\":\"{image}\"}}\n");
    assert_eq!(fs::read_to_string(output.join("images")).unwrap(), object);

    // Several directories of certificates, as in Go; and a server that does not want it.
    let empty = scene.sandbox.directory("empty");
    let directories = format!("{}:{}", empty.display(), receiver.directory.display());
    let refused = build().args(["--digest-file", &receiver.url("refused")]);
    let refused = refused
        .env("SSL_CERT_DIR", directories)
        .run()
        .failure_with(&["403", "refused"]);
    assert!(refused.stderr.contains("send the result to"), "{}", refused.report());
    let digest_file = scene.sandbox.path("digest");
    let _built = build()
        .arg("--no-push")
        .arg("--digest-file")
        .arg(&digest_file)
        .run()
        .success();
    assert_eq!(fs::read_to_string(&digest_file).unwrap(), image);
}

#[test]
fn root_an_archive_without_destination_has_the_name_of_kaniko() {
    let sandbox = Sandbox::new();
    let archive = sandbox.path("image.tar");
    let build = Rbuild::build_text(&sandbox, "FROM scratch\nLABEL a=b\n");
    let built = build.args(["--no-push", "--tar-path"]).arg(&archive).run().success();
    let line = "Skipping push to container registry due to --no-push flag";
    assert!(built.stderr.lines().any(|said| said == line), "{}", built.report());
    let mut tar = tar::Archive::new(fs::File::open(&archive).unwrap());
    let mut entries = tar.entries().unwrap().map(Result::unwrap);
    let manifest = entries.find(|entry| entry.path().unwrap() == Path::new("manifest.json"));
    let manifest: serde_json::Value = serde_json::from_reader(manifest.unwrap()).unwrap();
    let tags = serde_json::json!(["docker.io/unset-repo/unset-image-name:latest"]);
    assert_eq!(manifest[0]["RepoTags"], tags);
}

#[test]
fn root_logs_have_the_lines_that_scripts_look_for() {
    let scene = Scene::new();
    scene.sandbox.write("context/file", "");
    scene.sandbox.write("context/.dockerignore", "absent\n");
    let base = scene.registry.reference("small:1");
    let out = scene.registry.reference("out:1");
    let text = format!(
        "FROM {base} AS build\nRUN true\nFROM build\nCOPY file /\nFROM {base}\nENV a=b\nCOPY --from=1 /file /\n"
    );
    let build = |text: &str| Rbuild::build_text(&scene.sandbox, text).destination(&out);
    let built = build(&text).run().success();
    let image = scene.registry.digest(&scene.sandbox, "out:1");
    for line in [
        &format!("Retrieving image manifest {base}"),
        &format!("Building stage '{base}' [idx: '0', base-idx: '-1']"),
        "Building stage 'build' [idx: '1', base-idx: '0']",
        "Unpacking rootfs as cmd RUN true requires it.",
        "Taking snapshot of full filesystem...",
        "Taking snapshot of files...",
        "Using dockerignore file: .dockerignore",
        &format!("Pushing image to {out}"),
        &format!("Pushed {}@{image}", scene.registry.reference("out")),
    ] {
        assert!(
            built.stderr.lines().any(|said| said.contains(line)),
            "{line}\n{}",
            built.report()
        );
    }
    let only_metadata = build(&format!("FROM {base}\nENV a=b\n")).run().success();
    let line = "Skipping unpacking as no commands require it.";
    assert!(only_metadata.stderr.contains(line), "{}", only_metadata.report());
    let failed = build(&format!("FROM {base}\nRUN exit 42\n")).run().code(42);
    assert!(failed.stderr.contains("error building image: "), "{}", failed.report());
    for format in ["text", "json"] {
        let failed = build(&format!("FROM {base}\nRUN exit 42\n"));
        let failed = failed.arg(format!("--log-format={format}")).run().code(42);
        let last = failed.stderr.lines().last().unwrap();
        assert!(last.contains("error building image: process "), "{last}");
    }
    let refused = Rbuild::build_text(&scene.sandbox, "FROM scratch\n").destination("127.0.0.1:1/out");
    let refused = refused.run().failure_with(&["error checking push permissions: "]);
    assert!(
        !refused.stderr.contains("Building stage"),
        "before anything is built: {}",
        refused.report()
    );
}

/// A registry that takes every blob, and answers `PUT` of a manifest with `manifest`.
fn taking(
    manifest: impl Fn() -> Answer + Send + Sync + 'static,
    seen: impl Fn(&Request) + Send + Sync + 'static,
) -> Scripted {
    Scripted::start_with_headers(move |request| {
        seen(request);
        match (request.method.as_str(), request.path.as_str()) {
            (_, "/v2/") => Answer::body("application/json", "{}"),
            ("POST", _) => Answer::status(202).header("Location", "/v2/out/blobs/uploads/1"),
            ("DELETE", _) => Answer::status(204),
            ("PUT", path) if path.contains("/manifests/") => manifest(),
            ("PUT", _) => Answer::status(201),
            _ => Answer::status(404),
        }
    })
}

fn push(sandbox: &Sandbox, registry: &Scripted, flags: &[&str]) -> Output {
    let build = Rbuild::build_text(sandbox, "FROM scratch\nLABEL a=b\n");
    let build = build.destination(&format!("{}/out:1", registry.host()));
    build.env("UPSTREAM_CLIENT_TYPE", "cloud build").args(flags).run()
}

#[test]
fn root_a_tag_that_must_not_change_counts_as_pushed_on_request() {
    let sandbox = Sandbox::new();
    for words in [
        "The repository has enabled tag immutability, sorry",
        "tag invalid: The image tag '1' cannot be overwritten because the tag is immutable.",
        "The image tag '1' cannot be overwritten because the repository is immutable.",
    ] {
        let body = format!(r#"{{"errors":[{{"code":"TAG_INVALID","message":"{words}"}}]}}"#);
        let manifest = move || {
            Answer::status(400)
                .header("Content-Type", "application/json")
                .with_body(body.clone())
        };
        let registry = taking(manifest, |_| ());
        let failed =
            push(&sandbox, &registry, &[]).failure_with(&["error pushing image: failed to push to destination", words]);
        assert!(failed.stderr.contains("400"), "{}", failed.report());
        let taken = push(&sandbox, &registry, &["--push-ignore-immutable-tag-errors"]).success();
        assert!(taken.stderr.contains(words), "it is told: {}", taken.report());
    }
    let denied = taking(|| Answer::status(403), |_| ());
    let _failed = push(&sandbox, &denied, &["--push-ignore-immutable-tag-errors"]).failure_with(&["403"]);
}

#[test]
fn root_registries_are_told_who_calls() {
    let sandbox = Sandbox::new();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let note = Arc::clone(&seen);
    let registry = taking(
        || Answer::status(201),
        move |request| {
            note.lock()
                .unwrap()
                .push(request.header("user-agent").unwrap().to_owned())
        },
    );
    let _pushed = push(&sandbox, &registry, &[]).success();
    let seen = seen.lock().unwrap();
    let expected = concat!("rbuild/", env!("CARGO_PKG_VERSION"), ",cloud build");
    assert!(
        !seen.is_empty() && seen.iter().all(|agent| agent == expected),
        "{seen:?}"
    );
}

#[test]
fn root_a_base_that_does_not_unpack_is_tried_again_on_request() {
    let sandbox = Sandbox::new();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, "file", &b"x"[..]).unwrap();
    let image = ServedImage::of_tar(tar.into_inner().unwrap());
    // The client itself asks for wrong bytes once more, unless some of them were read already: then the second ones spoil
    // another try.
    let (layer, bad) = (digest(&image.layer), Arc::new(AtomicU32::new(0)));
    let left = Arc::clone(&bad);
    let registry = Scripted::start(move |_, path| {
        let is_layer = path.ends_with(&layer);
        let spoil = is_layer
            && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                .is_ok();
        match spoil {
            true => Answer::body("application/octet-stream", vec![b'x'; image.layer.len()]),
            false => image.answer(path),
        }
    });
    let text = format!("FROM {}/base:1\nCOPY file /copied\n", registry.host());
    sandbox.write("context/file", "");
    let build = |flags: &[&str]| Rbuild::build_text(&sandbox, &text).arg("--no-push").args(flags).run();
    bad.store(2, Ordering::SeqCst);
    let failed = build(&[]).failure_with(&["error building image: "]);
    assert!(!failed.stderr.contains("unpacking"), "{}", failed.report());
    bad.store(2, Ordering::SeqCst);
    let built = build(&["--image-fs-extract-retry=2"]).success();
    assert!(built.stderr.contains("unpacking"), "{}", built.report());
}

#[test]
fn root_credentials_may_be_variables() {
    let sandbox = Sandbox::new();
    let registry = Registry::start_with(Access::Password);
    let out = registry.reference("out:1");
    let build = || Rbuild::build_text(&sandbox, "FROM scratch\nLABEL a=b\n").destination(&out);
    let _refused = build().run().failure_with(&["401"]);
    let of_host = || {
        build()
            .env("KANIKO_127_0_0_1_USER", "user")
            .env("KANIKO_127_0_0_1_PASSWORD", "secret")
    };
    let of_gitlab = || {
        build()
            .env("CI_REGISTRY", "127.0.0.1")
            .env("CI_REGISTRY_USER", "user")
            .env("CI_REGISTRY_PASSWORD", "secret")
    };
    let _pushed = of_host().run().success();
    let _pushed = of_gitlab().run().success();
    let _refused = of_gitlab().arg("--credential-helpers=env").run().failure_with(&["401"]);
    let _refused = of_host().arg("--credential-helpers=").run().failure_with(&["401"]);
    // What is written for exactly this registry comes first.
    let config = format!(
        r#"{{"auths":{{"{}":{{"username":"user","password":"wrong"}}}}}}"#,
        registry.host()
    );
    let _refused = of_host().env("DOCKER_AUTH_CONFIG", config).run().failure_with(&["401"]);
}

#[test]
fn root_proxies_are_for_rbuild_and_not_for_run() {
    let scene = Scene::new();
    let asked: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    let note = Arc::clone(&asked);
    let proxy = Scripted::start(move |_, path| {
        *note.lock().unwrap().entry(path.to_owned()).or_default() += 1;
        Answer::body("text/plain", "by proxy")
    });
    let address = format!("http://{}", proxy.host());
    let steps = "ADD http://files.invalid/x /x\nRUN cat /x; env";
    let built = scene
        .build(steps)
        .env("HTTP_PROXY", &address)
        .env("http_proxy", &address);
    let built = built.arg("--no-push").run().success();
    assert!(built.stderr.contains("by proxy"), "{}", built.report());
    assert!(
        !built.stderr.to_lowercase().contains("http_proxy"),
        "{}",
        built.report()
    );
    let asked: Vec<_> = asked.lock().unwrap().keys().cloned().collect();
    assert_eq!(
        asked,
        ["http://files.invalid/x"],
        "the registry of this machine needs none"
    );
    let without = scene
        .build(steps)
        .env("http_proxy", &address)
        .env("NO_PROXY", "files.invalid");
    let _failed = without
        .env("no_proxy", "files.invalid")
        .arg("--no-push")
        .run()
        .failure_with(&["files.invalid"]);
    let given = scene
        .build("RUN env")
        .arg("--no-push")
        .arg(format!("--build-arg=http_proxy={address}"));
    let given = given.run().success();
    assert!(
        given.stderr.contains(&format!("http_proxy={address}")),
        "{}",
        given.report()
    );
}

/// Whether a build with these flags can push to a registry, and whether one can pull from it.
fn can(sandbox: &Sandbox, name: &str, flags: &[String]) -> (bool, bool) {
    sandbox.write("context/file", "");
    let push = Rbuild::build_text(sandbox, "FROM scratch\nLABEL a=b\n").destination(&format!("{name}:1"));
    let pushed = push.args(flags).run().code_in(&[0, 1]) == 0;
    let pull = Rbuild::build_text(sandbox, &format!("FROM {name}:base\nLABEL a=b\n")).arg("--no-push");
    (pushed, pull.args(flags).run().code_in(&[0, 1]) == 0)
}

#[test]
fn root_plain_http_needs_a_flag_where_a_registry_could_be_anywhere() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    registry.push_layout(&sandbox, &support::bases::layout("small"), "app:base");
    // The same server under an address that looks like nobody's.
    let host = registry.host().replace("127.0.0.1", "0.0.0.0");
    let name = format!("{host}/app");
    for (flags, expected) in [
        (vec![], (false, false)),
        (vec!["--insecure".to_owned()], (true, false)),
        (vec!["--insecure-pull".to_owned()], (false, true)),
        (vec![format!("--insecure-registry={host}")], (true, true)),
        (vec!["--insecure-registry=0.0.0.0:1".to_owned()], (false, false)),
    ] {
        assert_eq!(can(&sandbox, &name, &flags), expected, "{flags:?}");
    }
    assert_eq!(
        can(&sandbox, &registry.reference("app"), &[]),
        (true, true),
        "loopback needs none"
    );
}

#[test]
fn root_certificates_are_verified_unless_a_flag_says_otherwise() {
    let (registry, sandbox) = (Registry::start_with(Access::Tls), Sandbox::new());
    registry.push_layout(&sandbox, &support::bases::layout("small"), "app:base");
    let (certificate, _) = registry.certificate();
    let (host, name) = (registry.host(), registry.reference("app"));
    for (flags, expected) in [
        (vec![], (false, false)),
        (vec!["--skip-tls-verify".to_owned()], (true, true)),
        (vec!["--skip-tls-verify-pull".to_owned()], (false, true)),
        (vec![format!("--skip-tls-verify-registry={host}")], (true, true)),
        (
            vec!["--skip-tls-verify-registry=127.0.0.1:1".to_owned()],
            (false, false),
        ),
        (
            vec![format!("--registry-certificate={host}={}", certificate.display())],
            (true, true),
        ),
    ] {
        assert_eq!(can(&sandbox, &name, &flags), expected, "{flags:?}");
    }
}

#[test]
fn root_a_registry_may_want_a_certificate_too() {
    let (registry, sandbox) = (Registry::start_with(Access::MutualTls), Sandbox::new());
    let (certificate, key) = registry.certificate();
    let (certificate, key) = (certificate.display(), key.display());
    let trust = format!("--registry-certificate={}={certificate}", registry.host());
    let show = format!("--registry-client-cert={}={certificate},{key}", registry.host());
    let push = |flags: &[&String]| {
        let build = Rbuild::build_text(&sandbox, "FROM scratch\nLABEL a=b\n").destination(&registry.reference("app:1"));
        build.args(flags).run()
    };
    let _refused = push(&[&trust]).code(1);
    let _pushed = push(&[&trust, &show]).success();
}

#[test]
fn root_images_of_docker_hub_are_looked_for_at_mirrors() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    for name in ["library/small", "hub/library/small"] {
        registry.push_layout(&sandbox, &support::bases::layout("small"), &format!("{name}:1"));
    }
    let host = registry.host();
    let only = "--skip-default-registry-fallback".to_owned();
    let build = || {
        Rbuild::build_text(&sandbox, "FROM small:1\nLABEL a=b\n")
            .arg("--no-push")
            .arg(&only)
    };
    for flag in [
        format!("--registry-mirror={host}"),
        format!("--registry-mirror=http://{host}/hub/"),
        format!("--registry-map=docker.io=127.0.0.1:1;index.docker.io={host}/hub"),
    ] {
        let _built = build().arg(flag).run().success();
    }
    for (variable, value) in [
        ("KANIKO_REGISTRY_MIRROR", host.clone()),
        ("KANIKO_REGISTRY_MAP", format!("index.docker.io={host}")),
    ] {
        let _built = build().env(variable, value).run().success();
    }
    let absent = format!("--registry-mirror={host}/nowhere");
    let _failed = build()
        .arg(absent)
        .run()
        .failure_with(&["resolve docker.io/library/small:1", &host]);
}

#[test]
fn root_layers_and_manifests_have_the_form_that_was_asked_for() {
    let sandbox = Sandbox::new();
    let numbers: String = (0..30_000_u64)
        .map(|number| format!("{}\n", number * number % 977))
        .collect();
    sandbox.write("context/file", numbers);
    let layout = sandbox.path("layout");
    let media_types = |flags: &[&str]| {
        let build = Rbuild::build_text(&sandbox, "FROM scratch\nCOPY file /\n").arg("--no-push");
        let _built = build.arg("--oci-layout-path").arg(&layout).args(flags).run().success();
        let read = |path: PathBuf| -> serde_json::Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
        let blob = |digest: &serde_json::Value| layout.join("blobs").join(digest.as_str().unwrap().replace(':', "/"));
        let index = read(layout.join("index.json"));
        assert_eq!(
            index["manifests"].as_array().unwrap().len(),
            1,
            "what was there is gone"
        );
        let manifest = read(blob(&index["manifests"][0]["digest"]));
        let layer = &manifest["layers"][0];
        let size = layer["size"].as_u64().unwrap();
        (
            manifest["mediaType"].as_str().unwrap().to_owned(),
            layer["mediaType"].as_str().unwrap().to_owned(),
            size,
        )
    };
    let oci = "application/vnd.oci.image";
    for (flags, manifest, layer) in [
        (
            &["--image-format=oci"][..],
            format!("{oci}.manifest.v1+json"),
            format!("{oci}.layer.v1.tar+gzip"),
        ),
        (
            &["--compression=zstd"],
            format!("{oci}.manifest.v1+json"),
            format!("{oci}.layer.v1.tar+zstd"),
        ),
        (
            &["--image-format=docker"],
            "application/vnd.docker.distribution.manifest.v2+json".to_owned(),
            "application/vnd.docker.image.rootfs.diff.tar.gzip".to_owned(),
        ),
    ] {
        let (of_manifest, of_layer, _) = media_types(flags);
        assert_eq!((of_manifest, of_layer), (manifest, layer), "{flags:?}");
    }
    let sizes = ["1", "0", "9"].map(|level| media_types(&["--compression-level", level]).2);
    assert!(sizes[0] == sizes[1] && sizes[1] > sizes[2], "{sizes:?}");
}

#[test]
fn root_a_push_is_checked_before_anything_is_built() {
    let (registry, sandbox) = (Registry::start_with(Access::Password), Sandbox::new());
    sandbox.write("context/file", "");
    let build = || {
        let build = Rbuild::build_text(&sandbox, "FROM scratch\nCOPY file /\n");
        build.destination(&registry.reference("out:1"))
    };
    let checked = build()
        .run()
        .failure_with(&["error checking push permissions", "401", "docker login"]);
    assert!(!checked.stderr.contains("Building stage"), "{}", checked.report());
    let unchecked = build().arg("--skip-push-permission-check").run();
    let unchecked = unchecked.failure_with(&["error pushing image: failed to push to destination", "401"]);
    assert!(unchecked.stderr.contains("Building stage"), "{}", unchecked.report());
    let _not_pushed = build().arg("--no-push").run().success();
}
