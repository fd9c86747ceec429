//! Isolation in place: a real container with its runtime's default seccomp profile and capabilities, in which one build
//! follows another, and which must be the same after each.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use support::runtime::Container;
use support::{Rbuild, Registry, Sandbox, listing, rbuild};

/// Seen by nobody who is not meant to: in the environment of the container, and in a file of its own.
const HUSH: &str = "correct-horse-battery-staple";

/// Every kind of step, on an image whose directories are those of the container's under other types: `/bin` is a link.
const DISTRIBUTION: &str = r#"
FROM REGISTRY/debian:1 AS builder
ENV LANG=C.UTF-8
RUN echo passed >/etc/passed && useradd -m worker && touch /top && ln /top /etc/hard && mkdir -m 700 /private
RUN <<SCRIPT
#!/bin/sh -e
echo script >/srv/script
test -d /proc/self -a -c /dev/null -a -e /etc/resolv.conf
SCRIPT
USER worker
RUN id -un >/tmp/me; test ! -w /etc/passwd
USER root
RUN (setsid sleep 4321 &) && sleep 4321 & true
RUN ! grep -l '432[1]' /proc/[0-9]*/cmdline
RUN ! grep -rqs correct-horse /proc/[0-9]*/environ /kaniko /workspace /etc /root
RUN ! ls /kaniko/.docker && ! ls /workspace/file
RUN chmod 1777 /srv && rm -rf /workspace /usr/share/doc /top && ls / >/srv/root && sed -i /busybox/d /srv/root && sed -i '/kaniko/d; /ctx/d' /srv/root

FROM REGISTRY/small:1
COPY --from=builder /etc/passed /passed
RUN cat /passed >/again; chmod 2755 /bin; mkdir -p /workspace/made; echo x >/workspace/made/x
WORKDIR /workspace
RUN echo here >here
RUN --mount=type=secret,id=key test "$(wc -c </run/secrets/key)" = 28 && mkdir /sealed
"#;

/// Other files in the same places.
const SMALL: &str = "
FROM REGISTRY/small:1
RUN mkdir -p /etc; echo other >/etc/passed
RUN --mount=type=cache,target=/root/cache date >>/root/cache/times; mkdir /kept
";

const FAILING: &str = "
FROM REGISTRY/small:1
RUN echo lost >/lost; rm -rf /etc; exit 7
";

/// Goes through the files of another stage too.
const SWEEPING: &str = "
FROM REGISTRY/small:1 AS other
RUN echo kept >/marker
FROM REGISTRY/small:1
COPY --from=other /bin /again
RUN find / -xdev -name marker -exec rm -f {} +
COPY --from=other /marker /
";

/// Works where the container has something mounted.
const HIDDEN: &str = "
FROM REGISTRY/small:1
WORKDIR /ctx
COPY key .
RUN echo x >made
";

/// Ends who watches over it, and goes on.
const REGICIDE: &str = "
FROM REGISTRY/small:1
RUN (setsid sleep 4323 &); kill -9 $PPID; sleep 4323
";

/// Shows that it has begun, and does not end by itself.
const ENDLESS: &str = "
FROM REGISTRY/debian:1
RUN rm -rf /usr/share; (setsid sleep 4322 &); touch /begun; sleep 4322
";

struct Site<'s> {
    registry: &'s Registry,
    sandbox: &'s Sandbox,
    context: PathBuf,
}

impl<'s> Site<'s> {
    fn new(registry: &'s Registry, sandbox: &'s Sandbox) -> Self {
        Self {
            registry,
            sandbox,
            context: sandbox.directory("context"),
        }
    }

    fn dockerfile(&self, name: &str, text: &str) {
        let text = text.replace("REGISTRY", &self.registry.host());
        fs::write(self.context.join(name), text).unwrap();
    }

    /// An image with the executor, the tools of the debug image, and what a job has written.
    fn executor(&self) -> String {
        let image = self.registry.reference("executor:1");
        let context = self.sandbox.directory("image");
        for directory in ["kaniko/.docker", "kaniko/ssl/certs", "busybox", "bin", "workspace"] {
            self.sandbox.directory(&format!("image/{directory}"));
        }
        stripped(&context.join("kaniko/executor"));
        fs::copy("/bin/busybox", context.join("busybox/busybox")).unwrap();
        for applet in ["cat", "sh", "grep", "killall", "sleep"] {
            symlink("busybox", context.join("busybox").join(applet)).unwrap();
        }
        symlink("/busybox/sh", context.join("bin/sh")).unwrap();
        fs::write(context.join("workspace/file"), HUSH).unwrap();
        let dockerfile = "FROM scratch\nCOPY . /\nENV PATH=/busybox HOME=/root\nWORKDIR /workspace\n";
        let build = Rbuild::build(
            self.sandbox,
            &self.sandbox.write("image.Dockerfile", dockerfile),
            &context,
        );
        let _built = build.destination(&image).run().success();
        image
    }

    /// What was built inside last is what is built on this machine.
    #[track_caller]
    fn assert_same_outside(&self, dockerfile: &str) {
        let (file, layout) = (self.sandbox.path("digest"), self.sandbox.path("layout"));
        let inside = self.context.join("layout");
        let build = Rbuild::build(self.sandbox, &self.context.join(dockerfile), &self.context)
            .args(["--reproducible", "--no-push", "--isolation=namespaces"])
            .arg(format!("--secret=id=key,src={}", self.context.join("key").display()))
            .arg(format!("--digest-file={}", file.display()))
            .arg(format!("--oci-layout-path={}", layout.display()));
        let _built = build.run().success();
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        if read(&file) != read(&self.context.join("digest")) {
            let [inside, outside] = [&inside, &layout].map(|layout| listing::of_layout(self.sandbox, layout));
            let missing: Vec<_> = outside.iter().filter(|line| !inside.contains(line)).collect();
            let new: Vec<_> = inside.iter().filter(|line| !outside.contains(line)).collect();
            panic!("{dockerfile}: outside {missing:#?}, in place {new:#?}");
        }
        fs::remove_dir_all(inside).unwrap();
        fs::remove_dir_all(layout).unwrap();
    }
}

fn build(dockerfile: &str) -> Vec<String> {
    let flags = [
        "/kaniko/executor",
        "--context=/ctx",
        "--reproducible",
        "--no-push",
        "--isolation=in-place",
        "--digest-file=/ctx/digest",
        "--oci-layout-path=/ctx/layout",
        "--secret=id=key,src=/ctx/key",
    ];
    let dockerfile = format!("--dockerfile=/ctx/{dockerfile}");
    flags.into_iter().map(str::to_owned).chain([dockerfile]).collect()
}

fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// The program under test without what only a debugger reads.
fn stripped(to: &Path) {
    let status = Command::new("strip").arg("-o").arg(to).arg(rbuild::program()).status();
    assert!(status.unwrap().success());
}

/// What is compared of a path: everything but the times of access and of the last change of the inode.
fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let is_ours = |path: &Path| path.ends_with("var/lib/rbuild") || path == root.join("ctx");
    let walk = walkdir::WalkDir::new(root).same_file_system(true);
    let entries = walk.into_iter().filter_entry(|entry| !is_ours(entry.path()));
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            let path = entry.path();
            let metadata = fs::symlink_metadata(path).unwrap();
            let content = match metadata.file_type() {
                kind if kind.is_symlink() => fs::read_link(path).unwrap().display().to_string(),
                kind if kind.is_file() => format!("{:x}", crc(&fs::read(path).unwrap())),
                kind if kind.is_fifo() => "fifo".to_owned(),
                _ => String::new(),
            };
            let links = if metadata.is_file() { metadata.nlink() } else { 0 };
            let (mode, owner) = (metadata.mode(), (metadata.uid(), metadata.gid()));
            let time = (metadata.mtime(), metadata.mtime_nsec());
            let mut attribute = [0; 16];
            let attribute = rustix::fs::lgetxattr(path, "user.test", &mut attribute);
            let line = format!("{mode:o} {owner:?} {time:?} {links} {content} {attribute:?}");
            (path.strip_prefix(root).unwrap().to_owned(), line)
        })
        .collect()
}

/// Only to tell contents apart.
fn crc(bytes: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

#[track_caller]
fn assert_same(before: &BTreeMap<PathBuf, String>, root: &Path, when: &str) {
    let after = tree(root);
    let missing: Vec<_> = before
        .iter()
        .filter(|(path, line)| after.get(*path) != Some(line))
        .collect();
    let new: Vec<_> = after
        .iter()
        .filter(|(path, line)| before.get(*path) != Some(line))
        .collect();
    assert!(
        missing.is_empty() && new.is_empty(),
        "{when}: was {missing:#?}, is {new:#?}"
    );
}

#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn root_one_container_for_all_builds() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    for base in ["debian", "small"] {
        registry.push_base(&sandbox, base);
    }
    let site = Site::new(&registry, &sandbox);
    for (name, text) in [
        ("distribution", DISTRIBUTION),
        ("small", SMALL),
        ("failing", FAILING),
        ("sweeping", SWEEPING),
        ("hidden", HIDDEN),
        ("endless", ENDLESS),
        ("regicide", REGICIDE),
        ("first", "FROM scratch\nCOPY key /\n"),
    ] {
        site.dockerfile(name, text);
    }
    fs::write(site.context.join("key"), HUSH).unwrap();
    let volume = format!("--volume={}:/ctx", site.context.display());
    let secret = format!("--env=TOKEN={HUSH}");
    let (image, flags) = (site.executor(), [&*volume, &secret, "--entrypoint="]);
    let mut container = Container::start_with(&sandbox, &image, &flags, &["/busybox/sleep", "100000"]);
    let root = PathBuf::from(format!("/proc/{}/root", container.pid()));

    // What a job leaves where the image's files will be, besides what the image brought.
    fs::write(
        root.join("kaniko/.docker/config.json"),
        format!("{{\"auths\":{{}},\"x\":\"{HUSH}\"}}"),
    )
    .unwrap();
    fs::create_dir_all(root.join("usr-of-mine/deep")).unwrap();
    fs::hard_link(root.join("workspace/file"), root.join("workspace/other")).unwrap();
    rustix::fs::setxattr(
        root.join("workspace"),
        "user.test",
        b"kept",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    let execute = |dockerfile: &str| container.exec(&words(&build(dockerfile)));
    let _built = execute("first").success();
    site.assert_same_outside("first");
    let before = tree(&root);

    let built = execute("distribution").success();
    assert!(built.stderr.contains("in-place"), "{}", built.report());
    assert!(
        !format!("{}{}", built.stdout, built.stderr).contains(HUSH),
        "{}",
        built.report()
    );
    assert_same(&before, &root, "after a build");
    site.assert_same_outside("distribution");

    let _built = execute("small").success();
    assert_same(&before, &root, "after another");
    site.assert_same_outside("small");

    let _failed = execute("failing").code(7);
    assert_same(&before, &root, "after a failing one");

    let _refused = execute("sweeping").failure_with(&["changed", "rootfs", "not in its image"]);
    let _refused = execute("hidden").failure_with(&["/ctx cannot be seen", "--force"]);
    assert!(!site.context.join("made").exists());
    assert_same(&before, &root, "after refusals");
    // The builder ends what nobody watches over any more.
    let _failed = execute("regicide").failure_with(&["was lost"]);
    assert_same(&before, &root, "after one that ended who watched over it");

    // Whoever watches over the RUN puts everything back when the builder is gone.
    let killed = container.start_exec(&words(&build("endless")));
    wait_until("the RUN", || root.join("begun").exists());
    let _killed = container.exec(&["/busybox/killall", "-9", "executor"]).success();
    let _output = killed.wait().code(137);
    wait_until("the end of the swap", || {
        !root.join("var/lib/rbuild/in-place/journal").exists()
    });
    assert_same(&before, &root, "after a killed builder");

    // When both are gone, the next build does.
    let killed = container.start_exec(&words(&build("endless")));
    wait_until("the RUN", || root.join("begun").exists());
    let _killed = container.exec(&["/busybox/killall", "-9", "exe", "executor"]).success();
    let _output = killed.wait().code(137);
    assert!(root.join("begun").exists(), "nobody was there to put anything back");
    let built = execute("small").success();
    assert!(built.stderr.contains("put back"), "{}", built.report());
    assert_same(&before, &root, "after a killed build and a good one");
    site.assert_same_outside("small");
    let script = "/busybox/grep -l '432[23]' /proc/[0-9]*/cmdline";
    let left = container.exec(&["/busybox/sh", "-c", script]).stdout;
    assert_eq!(left, "", "processes of a killed RUN");
    let _stopped = container.stop();
}

#[test]
fn root_an_image_of_somebody_else_is_left_alone() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    for base in ["debian", "small"] {
        registry.push_base(&sandbox, base);
    }
    let site = Site::new(&registry, &sandbox);
    site.dockerfile("small", SMALL);
    fs::write(site.context.join("key"), HUSH).unwrap();
    stripped(&site.context.join("executor"));
    let volume = format!("--volume={}:/ctx", site.context.display());
    let image = registry.reference("debian:1");
    let mut container = Container::start_with(&sandbox, &image, &[&volume], &["sleep", "100000"]);
    let root = PathBuf::from(format!("/proc/{}/root", container.pid()));
    let mut line = build("small");
    line[0] = "/ctx/executor".to_owned();
    fs::create_dir_all(root.join("var/lib/rbuild")).unwrap();
    let before = tree(&root);

    let refused = container.exec(&words(&line));
    let _refused = refused.failure_with(&["/usr of its own", "--force", "seccompProfile"]);
    assert_same(&before, &root, "after a refusal");

    line.push("--force".to_owned());
    let _built = container.exec(&words(&line)).success();
    assert_same(&before, &root, "after a build by force");
    site.assert_same_outside("small");
    let _stopped = container.stop();
}
