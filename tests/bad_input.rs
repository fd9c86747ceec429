//! Bad input: each kind gives one clear error and exit code 1, and leaves the machine and the registry as they were.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::Signal;
use support::process::{Output, sleepers, wait_until};
use support::registry::{Access, free_port};
use support::scripted::{Answer, Scripted, ServedImage, digest};
use support::{Rbuild, Registry, Sandbox, rbuild};

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

    /// `FROM` the small base, then these lines.
    fn dockerfile(&self, rest: &str) -> String {
        format!("FROM {}\n{rest}\n", self.registry.reference("small:1"))
    }

    fn build(&self, dockerfile: &str) -> Rbuild<'_> {
        Rbuild::build_text(&self.sandbox, dockerfile).destination(&self.registry.reference("out:1"))
    }

    /// Builds, and expects a failure that says all of `texts` and leaves nothing.
    #[track_caller]
    fn fails(&self, dockerfile: &str, texts: &[&str]) -> Output {
        let output = self.build(dockerfile).run().failure_with(texts);
        self.is_clean();
        output
    }

    /// Expects no mount, no process, no tag, and in the store nothing but state and verified blobs.
    #[track_caller]
    fn is_clean(&self) {
        assert_eq!(self.sandbox.mounts(), Vec::<PathBuf>::new());
        assert_eq!(self.sandbox.processes(), Vec::<String>::new());
        assert_eq!(self.registry.tags("out"), Vec::<String>::new());
        let odd: Vec<_> = files_below(&rbuild::store(&self.sandbox))
            .into_iter()
            .filter(|file| !may_stay(file))
            .collect();
        assert!(odd.is_empty(), "left in the store: {odd:?}");
    }
}

/// What a failed build may leave in its store: locks and indexes, and blobs that are what their names say.
fn may_stay(file: &Path) -> bool {
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let is_state = ["lock", "oci-layout", "index.json", "version", "CACHEDIR.TAG"]
        .iter()
        .any(|end| name.ends_with(end));
    is_state || std::fs::read(file).is_ok_and(|bytes| digest(&bytes).ends_with(name.trim_start_matches("sha256:")))
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(directory).into_iter().flatten();
    entries
        .filter(|entry| !entry.file_type().is_dir())
        .map(walkdir::DirEntry::into_path)
        .collect()
}

#[test]
fn root_missing_dockerfile() {
    let scene = Scene::new();
    let (nowhere, context) = (
        scene.sandbox.path("no/such/Dockerfile"),
        scene.sandbox.directory("context"),
    );
    let build = Rbuild::build(&scene.sandbox, &nowhere, &context).destination(&scene.registry.reference("out:1"));
    let _failed = build.run().failure_with(&["no/such/Dockerfile"]);
    scene.is_clean();
}

#[test]
fn root_mistakes_in_the_dockerfile() {
    let scene = Scene::new();
    let cases: &[(&str, &[&str])] = &[
        ("COPY onlyone", &["Dockerfile:2", "COPY onlyone"]),
        ("RUN echo fine\n\nENV", &["Dockerfile:4", "ENV"]),
        ("FOO bar", &["Dockerfile:2", "unknown instruction", "FOO"]),
        ("COPPY a b", &["Dockerfile:2", "COPPY", "did you mean COPY?"]),
        ("CMD true\nHEALTHCHECK SOMETIMES", &["Dockerfile:3", "SOMETIMES"]),
        ("COPY --frm=x a b", &["Dockerfile:2", "frm"]),
        (
            "COPY missing-file /there",
            &["Dockerfile:2", "missing-file", "not found"],
        ),
        (
            "RUN true\nADD nothing/here /there",
            &["Dockerfile:3", "nothing/here", "not found"],
        ),
        ("STOPSIGNAL SIGNONSENSE", &["Dockerfile:2", "SIGNONSENSE"]),
        ("USER nosuchuser\nRUN true", &["Dockerfile:3", "nosuchuser"]),
    ];
    for (rest, texts) in cases {
        let _failed = scene.fails(&scene.dockerfile(rest), texts);
    }
    let _failed = scene.fails("RUN true\n", &["Dockerfile:1", "no build stage"]);
    let _failed = scene.fails("# nothing\n", &["no instructions"]);
}

#[test]
fn root_unknown_stage() {
    let scene = Scene::new();
    let name = scene.registry.reference("nostage");
    let _failed = scene.fails(
        &scene.dockerfile(&format!("COPY --from={name} /a /b")),
        &["Dockerfile:2", "nostage"],
    );
    let later = scene.dockerfile("COPY --from=later /a /b") + &scene.dockerfile("").replace(":1\n", ":1 AS later\n");
    let _failed = scene.fails(&later, &["Dockerfile:2", "later"]);
    let _failed = scene.fails(&scene.dockerfile("COPY --from=7 /a /b"), &["Dockerfile:2", "7"]);
}

#[test]
fn root_absent_base() {
    let scene = Scene::new();
    for name in ["nowhere/at-all:1", "small:other"] {
        let base = scene.registry.reference(name);
        let _failed = scene.fails(&format!("FROM {base}\n"), &["Dockerfile:1", &base]);
    }
}

#[test]
fn root_unauthorised_base() {
    let scene = Scene::new();
    let closed = Registry::start_with(Access::Password);
    let base = closed.reference("small:1");
    let _failed = scene.fails(&format!("FROM {base}\n"), &["Dockerfile:1", &base, "unauthorized"]);
}

#[test]
fn root_refused_destination() {
    let scene = Scene::new();
    let closed = Registry::start_with(Access::Password);
    let destination = closed.reference("out:1");
    let build = Rbuild::build_text(&scene.sandbox, &scene.dockerfile("RUN touch /x")).destination(&destination);
    let _failed = build.run().failure_with(&[&destination, "unauthorized"]);
    scene.is_clean();
    assert_eq!(closed.tags("out"), Vec::<String>::new());
}

#[test]
fn root_wrong_platform() {
    let scene = Scene::new();
    let image = ServedImage::of_tar(tar(&[("file", b"x")]));
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": support::scripted::MANIFEST_TYPE, "size": image.manifest.len(), "digest": digest(&image.manifest),
            "platform": {"os": "linux", "architecture": "s390x"},
        }],
    });
    let index = index.to_string().into_bytes();
    let server = Scripted::start(move |_, path| match path.ends_with("/manifests/1") {
        true => Answer::body("application/vnd.oci.image.index.v1+json", index.clone()),
        false => image.answer(path),
    });
    let base = format!("{}/base:1", server.host());
    let _failed = scene.fails(&format!("FROM {base}\n"), &["Dockerfile:1", &base, "platform"]);
}

#[test]
fn root_registry_down() {
    let scene = Scene::new();
    let base = format!("127.0.0.1:{}/base:1", free_port());
    let _failed = scene.fails(&format!("FROM {base}\n"), &["Dockerfile:1", &base, "refused"]);
}

#[test]
fn root_registry_answers_500() {
    let scene = Scene::new();
    let server = Scripted::start(|_, _| Answer::status(500).with_body("the dog ate it"));
    let base = format!("{}/base:1", server.host());
    let _failed = scene.fails(&format!("FROM {base}\n"), &["Dockerfile:1", &base, "500"]);
}

#[test]
fn root_registry_cuts_a_blob_short() {
    let scene = Scene::new();
    let image = ServedImage::of_tar(tar(&[("file", &[7; 100_000])]));
    let wanted = digest(&image.layer);
    let server = Scripted::start(move |_, path| match image.is_layer(path) {
        true => image.answer(path).cut_at(50_000),
        false => image.answer(path),
    });
    let _failed = scene.fails(
        &format!("FROM {}/base:1\nRUN true\n", server.host()),
        &["base:1", &wanted],
    );
}

#[test]
fn root_registry_serves_other_bytes() {
    let scene = Scene::new();
    let image = ServedImage::of_tar(tar(&[("file", &[7; 100_000])]));
    let wanted = digest(&image.layer);
    let server = Scripted::start(move |_, path| match image.is_layer(path) {
        true => Answer::body("application/octet-stream", vec![0; image.layer.len()]),
        false => image.answer(path),
    });
    let _failed = scene.fails(
        &format!("FROM {}/base:1\nRUN true\n", server.host()),
        &["base:1", &wanted, "digest"],
    );
}

#[test]
fn root_layer_that_climbs_out() {
    let scene = Scene::new();
    let canary = scene.sandbox.write("canary", "alive");
    let before = canary.metadata().unwrap();
    let climbing = format!("{}{}", "../".repeat(12), canary.display());
    let hard_link = Entry {
        kind: tar::EntryType::Link,
        link: "up/canary",
        ..Entry::file("stolen", b"")
    };
    let up = Entry {
        kind: tar::EntryType::Symlink,
        link: scene.sandbox.path("").to_str().unwrap().to_owned().leak(),
        ..Entry::file("up", b"")
    };
    let cases = [
        (vec![Entry::file(&climbing, b"dead")], "../"),
        (vec![Entry::file("../canary", b"dead")], "../canary"),
        (vec![up, hard_link], "stolen"),
        (
            vec![Entry {
                kind: tar::EntryType::Link,
                link: &climbing,
                ..Entry::file("stolen", b"")
            }],
            "stolen",
        ),
    ];
    for (entries, text) in cases {
        let image = ServedImage::of_tar(tar_of(&entries));
        let server = Scripted::start(move |_, path| image.answer(path));
        let _failed = scene.fails(
            &format!("FROM {}/base:1\nRUN true\n", server.host()),
            &["base:1", "Dockerfile:", text],
        );
    }
    let after = canary.metadata().unwrap();
    assert_eq!(std::fs::read_to_string(&canary).unwrap(), "alive");
    assert_eq!(
        (before.nlink(), before.mode(), before.mtime()),
        (after.nlink(), after.mode(), after.mtime())
    );
}

#[test]
fn root_symlink_parents_stay_inside() {
    let scene = Scene::new();
    let outside = scene.sandbox.directory("outside");
    let link = Entry {
        kind: tar::EntryType::Symlink,
        link: outside.to_str().unwrap(),
        ..Entry::file("link", b"")
    };
    let image = ServedImage::of_tar(tar_of(&[link, Entry::file("link/planted", b"x")]));
    let server = Scripted::start(move |_, path| image.answer(path));
    // Whether such a layer is refused or its file lands inside the root is not what matters here.
    let _either = scene
        .build(&format!("FROM {}/base:1\nCOPY Dockerfile* /link/\n", server.host()))
        .run();
    assert_eq!(files_below(&outside), Vec::<PathBuf>::new());
}

#[test]
fn root_truncated_layer() {
    let scene = Scene::new();
    let whole = tar(&[("etc/file", &[7; 10_000])]);
    for length in [300, 512, 4000, 10_000] {
        let image = ServedImage::of_tar(whole[..length].to_vec());
        let server = Scripted::start(move |_, path| image.answer(path));
        let output = scene.fails(
            &format!("FROM {}/base:1\nRUN true\n", server.host()),
            &["base:1", "Dockerfile:"],
        );
        let words = ["truncated", "unexpected end", "unexpected eof", "ends", "cut short"];
        let said = output.stderr.to_lowercase();
        assert!(words.iter().any(|word| said.contains(word)), "{}", output.report());
    }
}

#[test]
fn root_failing_command_passes_its_code_on() {
    let scene = Scene::new();
    let output = scene
        .build(&scene.dockerfile("RUN echo before; echo why >&2; exit 42"))
        .run()
        .code(42);
    for text in ["Dockerfile:2", "before", "why", "42"] {
        assert!(
            output.stderr.contains(text),
            "stderr lacks {text:?}\n{}",
            output.report()
        );
    }
    scene.is_clean();
    let output = scene.build(&scene.dockerfile("RUN no-such-program")).run().code(127);
    assert!(output.stderr.contains("no-such-program"), "{}", output.report());
    scene.is_clean();
}

#[test]
fn root_command_killed_by_a_signal() {
    let scene = Scene::new();
    for (number, name) in [(9, "SIGKILL"), (11, "SIGSEGV"), (15, "SIGTERM")] {
        let output = scene
            .build(&scene.dockerfile(&format!("RUN kill -{number} $$")))
            .run()
            .code(255);
        assert!(output.stderr.contains(name), "stderr lacks {name}\n{}", output.report());
        scene.is_clean();
    }
}

#[test]
fn root_full_disk() {
    let scene = Scene::new();
    let store = SmallDisk::mount(&rbuild::store(&scene.sandbox), "size=1536k");
    let _failed = scene.build(&scene.dockerfile("RUN true")).run().failure_with(&[
        "no space left on device",
        "Dockerfile:1",
        "--store",
    ]);
    assert_eq!(scene.registry.tags("out"), Vec::<String>::new());
    drop(store);
    scene.is_clean();
}

#[test]
fn root_no_privilege_for_namespaces() {
    let scene = Scene::new();
    let launcher = [
        "setpriv",
        "--bounding-set",
        "-sys_admin,-setuid,-setgid",
        "--inh-caps",
        "-sys_admin,-setuid,-setgid",
        "--",
    ];
    let build = scene
        .build(&scene.dockerfile("RUN true"))
        .arg("--isolation=namespaces")
        .through(&launcher);
    let _failed = build.run().failure_with(&["namespace", "CAP_SETUID"]);
    scene.is_clean();
}

#[test]
fn root_killed_build_does_not_disturb_the_next() {
    for signal in [Signal::KILL, Signal::TERM, Signal::INT] {
        let scene = Scene::new();
        let seconds = format!("9{}{}", std::process::id(), signal.as_raw());
        let dockerfile = scene.dockerfile("ARG SECONDS\nRUN touch /made && sleep $SECONDS");
        let build = |seconds: &str| {
            scene
                .build(&dockerfile)
                .arg("--build-arg")
                .arg(format!("SECONDS={seconds}"))
        };
        let running = build(&seconds).start();
        wait_until("the command runs", || sleepers(&seconds).len() == 1);
        running.signal(signal);
        let killed = running.wait();
        assert!(!killed.status.success(), "{}", killed.report());
        wait_until("the command is gone", || sleepers(&seconds).is_empty());
        assert_eq!(scene.registry.tags("out"), Vec::<String>::new());
        if signal != Signal::KILL {
            scene.is_clean();
        }
        let _built = build("0").run().success();
        assert_eq!(scene.registry.tags("out"), ["1"]);
        assert_eq!(scene.sandbox.mounts(), Vec::<PathBuf>::new());
    }
}

/// A tmpfs that soon is full.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, options: &str) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let options = std::ffi::CString::new(options).unwrap();
        mount("tmpfs", at, "tmpfs", MountFlags::empty(), options.as_c_str()).unwrap();
        Self(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}

/// One entry of a hand-made tar; names and link targets are written as they are.
#[derive(Clone, Copy)]
struct Entry<'t> {
    kind: tar::EntryType,
    name: &'t str,
    link: &'t str,
    content: &'t [u8],
}

impl<'t> Entry<'t> {
    fn file(name: &'t str, content: &'t [u8]) -> Self {
        Self {
            kind: tar::EntryType::Regular,
            name,
            link: "",
            content,
        }
    }
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    tar_of(
        &files
            .iter()
            .map(|(name, content)| Entry::file(name, content))
            .collect::<Vec<_>>(),
    )
}

fn tar_of(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        // The header's own setters refuse what these tests are about.
        copy_text(&mut header.as_old_mut().name, entry.name);
        copy_text(&mut header.as_old_mut().linkname, entry.link);
        header.set_entry_type(entry.kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_600_000_000);
        header.set_size(entry.content.len() as u64);
        header.set_cksum();
        builder.append(&header, entry.content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn copy_text(field: &mut [u8; 100], text: &str) {
    field[..text.len()].copy_from_slice(text.as_bytes());
}
