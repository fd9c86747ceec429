//! Identities of steps: digests over an encoding in which every field has its length in front, so
//! that no two different steps can be written alike.
//!
//! Not in the encoding: labels and other metadata, proxies, the command line's options. Not known
//! here: contents of copied files. A layer cache therefore combines [`Step::fingerprint`] with the
//! key of the step before and with the digests of what is copied; [`StepId`] names a step within
//! builds and in logs.

use std::fmt;

use super::{
    Archives, CopyFrom, CopySource, CopyStep, ImageKey, Mount, MountKind, NamedTree, Network, Onto, RunStep, Sandbox,
    Security, Step, StepId,
};
use crate::copy::Parents;
use crate::oci::{Algorithm, Digest, Digester};

/// Changes whenever the same step is encoded differently, or executed to a different result.
const VERSION: &str = "rbuild step 1";

impl StepId {
    /// Where a stage on nothing begins.
    pub(super) fn of_scratch() -> Self {
        let mut encoder = Encoder::new();
        encoder.text("scratch");
        Self(encoder.finish())
    }

    /// Where a stage on an image begins.
    pub(super) fn of_image(manifest_digest: &Digest) -> Self {
        let mut encoder = Encoder::new();
        encoder.text("image");
        encoder.text(&manifest_digest.to_string());
        Self(encoder.finish())
    }

    /// Where a copy with `--link` begins, wherever it stands.
    pub(super) fn of_nothing() -> Self {
        let mut encoder = Encoder::new();
        encoder.text("nothing");
        Self(encoder.finish())
    }

    /// What stands for an image in the identity of a copy from it. Its digest is not known to the
    /// plan, as only layers of such images are fetched.
    pub(super) fn of_source(image: &ImageKey) -> Self {
        let mut encoder = Encoder::new();
        encoder.text("source");
        encoder.text(&image.to_string());
        Self(encoder.finish())
    }

    /// What stands for a named context in the identity of a copy from it.
    pub(super) fn of_tree(tree: &NamedTree) -> Self {
        let mut encoder = Encoder::new();
        encoder.text("tree");
        // As written, password and all: who asks may decide what is given, so two users are two sources. A digest
        // shows neither.
        encoder.text(&tree.source.identity());
        Self(encoder.finish())
    }

    /// The step that follows `self`. One that changes no file has the identity of the one before.
    /// `sources` stand for what it reads from other than the context.
    pub(super) fn then(self, step: &Step, sources: impl IntoIterator<Item = Self>) -> Self {
        if matches!(step, Step::Metadata) {
            return self;
        }
        let mut encoder = Encoder::new();
        encoder.text(&self.to_string());
        encoder.text(&step.fingerprint().to_string());
        let sources: Vec<Self> = sources.into_iter().collect();
        encoder.list(sources.iter(), |encoder, id| encoder.text(&id.to_string()));
        // Where something comes from is no part of its fingerprint, but two of them are two steps.
        let places = step.places();
        if !places.is_empty() {
            encoder.list(places.iter(), |encoder, place| encoder.text(place));
        }
        Self(encoder.finish())
    }

    /// The digest itself.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Step {
    /// Digest of the resolved step alone: equal for equal steps wherever they stand. A copy's stage
    /// or image is not part of it, only whether it is the context, nor is the way to a source, only
    /// its base name: what counts is the content. So it is with downloads and repositories: a file's
    /// name counts, and which part of a commit.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        let mut encoder = Encoder::new();
        match self {
            Self::Run(run) => encode_run(&mut encoder, run),
            Self::Copy(copy) => {
                encoder.text("copy");
                encoder.text(tree(&copy.from));
                encoder.list(copy.sources.iter(), |encoder, source| match source {
                    CopySource::Path(path) => {
                        encoder.text("path");
                        encoder.text(match copy.parents {
                            Parents::Dropped => base_name(path),
                            Parents::Kept => path,
                        });
                    }
                    CopySource::Heredoc { name, content } => {
                        encoder.text("heredoc");
                        encoder.text(name);
                        encoder.text(content);
                    }
                    CopySource::Url(source) => {
                        encoder.text("url");
                        encoder.text(&source.name);
                    }
                    CopySource::Git(source) => {
                        encoder.text("git");
                        encoder.option(source.subdir.as_ref());
                        encoder.option(source.keep_git_dir.as_ref());
                        encoder.text(&source.submodules.to_string());
                    }
                });
                encoder.text(&copy.destination);
                encoder.option(copy.chown.as_ref());
                encoder.option(copy.chmod.as_ref());
                encoder.text(match copy.archives {
                    Archives::Keep => "keep",
                    Archives::Extract => "extract",
                    Archives::ExtractDownloads => "extract-downloads",
                });
                encode_copy_flags(&mut encoder, copy);
            }
            Self::Workdir(workdir) => {
                encoder.text("workdir");
                encoder.text(&workdir.path);
                encoder.option(workdir.owner.as_ref());
                encoder.option(workdir.mtime.as_ref());
            }
            Self::Metadata => encoder.text("metadata"),
        }
        encoder.finish()
    }
}

impl Step {
    /// Where the sources of a copy are; the order says which is which.
    fn places(&self) -> Vec<String> {
        let Self::Copy(copy) = self else {
            return Vec::new();
        };
        let place = |source: &CopySource| match source {
            CopySource::Url(source) => Some(format!("{} {:?}", source.url(), source.checksum)),
            CopySource::Git(source) => Some(format!("{} {source:?}", source.remote())),
            CopySource::Path(path) => Some(path.clone()),
            CopySource::Heredoc { .. } => None,
        };
        copy.sources.iter().filter_map(place).collect()
    }
}

/// The last component, which is what a file is called where it is copied to.
fn base_name(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path)
}

/// Flags that most copies do without: each is a word, absent where the flag is.
fn encode_copy_flags(encoder: &mut Encoder, copy: &CopyStep) {
    if !copy.exclude.is_empty() {
        encoder.text("exclude");
        encoder.list(copy.exclude.texts(), |encoder, rule| encoder.text(rule));
    }
    match copy.parents {
        Parents::Dropped => {}
        Parents::Kept => encoder.text("parents"),
    }
    match copy.onto {
        Onto::Stage => {}
        Onto::Nothing => encoder.text("link"),
    }
}

fn encode_run(encoder: &mut Encoder, run: &RunStep) {
    // Proxies are left out: they say how a build reaches the network, not what it builds.
    encoder.text("run");
    encoder.list(run.argv.iter(), |encoder, argument| encoder.text(argument));
    encoder.list(run.env.iter(), |encoder, entry| encoder.text(entry));
    encoder.text(&run.cwd);
    encoder.option(run.user.as_ref());
    encoder.list(run.script.iter(), |encoder, script| {
        encoder.text(&script.path);
        encoder.text(&script.content);
    });
    // What most steps do not have is left out altogether, so that their identities stay what they were.
    if !run.mounts.is_empty() {
        encoder.text("mounts");
        encoder.list(run.mounts.iter(), encode_mount);
    }
    if run.sandbox != Sandbox::default() {
        encoder.text("sandbox");
        encode_sandbox(encoder, &run.sandbox);
    }
    if let Some(platform) = &run.platform {
        encoder.text("platform");
        encoder.text(&platform.to_string());
    }
}

/// Names and places only: neither a secret's value nor what a cache holds, nor which cache it is, can
/// matter to what a step makes.
fn encode_mount(encoder: &mut Encoder, mount: &Mount) {
    encoder.option(mount.target.as_ref());
    encoder.flag(mount.read_only);
    match &mount.kind {
        MountKind::Bind { from, source } => {
            encoder.text("bind");
            encoder.text(tree(from));
            encoder.text(source);
        }
        MountKind::Cache(cache) => {
            encoder.text("cache");
            encoder.text(tree(&cache.from));
            encoder.text(&cache.source);
            encoder.option(cache.ownership.as_ref());
        }
        MountKind::Tmpfs { size } => {
            encoder.text("tmpfs");
            encoder.option(size.as_ref());
        }
        MountKind::Secret(secret) => {
            encoder.text("secret");
            encoder.text(&secret.id);
            encoder.option(secret.env.as_ref());
            encoder.flag(secret.required);
            encoder.text(&secret.ownership.to_string());
        }
        MountKind::Ssh(ssh) => {
            encoder.text("ssh");
            encoder.text(&ssh.id);
            encoder.flag(ssh.required);
            encoder.text(&ssh.ownership.to_string());
        }
    }
}

/// Addresses of extra hosts are left out like those of proxies; their names count.
fn encode_sandbox(encoder: &mut Encoder, sandbox: &Sandbox) {
    encoder.text(match sandbox.network {
        Network::Default => "default",
        Network::None => "none",
        Network::Host => "host",
    });
    encoder.text(match sandbox.security {
        Security::Sandbox => "sandbox",
        Security::Insecure => "insecure",
    });
    encoder.option(sandbox.hostname.as_ref());
    encoder.list(sandbox.hosts.iter(), |encoder, (name, _)| encoder.text(name));
    encoder.list(sandbox.ulimits.iter(), |encoder, limit| {
        encoder.text(limit.name.as_str());
        encoder.option(limit.soft.as_ref());
        encoder.option(limit.hard.as_ref());
    });
    encoder.option(sandbox.shm_size.as_ref());
    encoder.list(sandbox.devices.iter(), |encoder, device| {
        encoder.text(&device.name);
        encoder.flag(device.required);
    });
}

/// A stage or image is not part of a fingerprint, for what counts is the content.
const fn tree(from: &CopyFrom) -> &'static str {
    match from {
        CopyFrom::Context | CopyFrom::Tree(_) => "context",
        CopyFrom::Scratch | CopyFrom::Stage(_) | CopyFrom::Image(_) => "rootfs",
    }
}

struct Encoder(Digester);

impl Encoder {
    fn new() -> Self {
        let mut encoder = Self(Digester::new(Algorithm::Sha256));
        encoder.text(VERSION);
        encoder
    }

    fn length(&mut self, length: usize) {
        self.0.update(&(length as u64).to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.update(text.as_bytes());
    }

    fn list<T>(&mut self, items: impl ExactSizeIterator<Item = T>, encode: impl Fn(&mut Self, T)) {
        self.length(items.len());
        for item in items {
            encode(self, item);
        }
    }

    fn flag(&mut self, flag: bool) {
        self.text(if flag { "yes" } else { "no" });
    }

    fn option(&mut self, value: Option<&impl fmt::Display>) {
        self.list(value.iter(), |encoder, value| encoder.text(&value.to_string()));
    }

    fn finish(self) -> Digest {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CopyStep, WorkdirStep};
    use super::*;
    use crate::context::IgnorePatterns;

    fn run(argv: &[&str], env: &[&str]) -> RunStep {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        RunStep {
            argv: owned(argv),
            env: owned(env),
            proxy_env: Vec::new(),
            cwd: "/".to_owned(),
            user: None,
            script: None,
            mounts: Vec::new(),
            sandbox: super::super::Sandbox::default(),
            platform: None,
        }
    }

    fn copy_step(from: CopyFrom) -> CopyStep {
        CopyStep {
            from,
            sources: vec![CopySource::Path("x".to_owned())],
            destination: "/".to_owned(),
            chown: None,
            chmod: None,
            exclude: IgnorePatterns::default(),
            parents: Parents::Dropped,
            onto: Onto::Stage,
            archives: Archives::Keep,
        }
    }

    fn scratch() -> StepId {
        StepId::of_scratch()
    }

    #[test]
    fn fields_cannot_flow_into_each_other() {
        let workdir = |path: &str| {
            Step::Workdir(WorkdirStep {
                path: path.to_owned(),
                owner: None,
                mtime: None,
            })
        };
        let steps = [
            Step::Run(run(&["ab", "c"], &[])),
            Step::Run(run(&["a", "bc"], &[])),
            Step::Run(run(&["a"], &["bc"])),
            Step::Run(run(&["a", "bc"], &[""])),
            workdir("a"),
            workdir("ab"),
        ];
        for (i, a) in steps.iter().enumerate() {
            for (j, b) in steps.iter().enumerate() {
                assert_eq!(a.fingerprint() == b.fingerprint(), i == j, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn every_field_of_a_run_counts_but_proxies() {
        let base = run(&["x"], &["A=1"]);
        let id = |run: RunStep| scratch().then(&Step::Run(run), None);
        let with = |change: fn(&mut RunStep)| {
            let mut run = base.clone();
            change(&mut run);
            id(run)
        };
        let same = id(base.clone());
        assert_eq!(with(|run| run.proxy_env.push("HTTP_PROXY=p".to_owned())), same);
        for changed in [
            with(|run| run.argv.push(String::new())),
            with(|run| run.env.push("B=".to_owned())),
            with(|run| run.cwd.push('x')),
            with(|run| run.user = Some(String::new())),
            with(|run| run.platform = Some(Box::new(crate::oci::Platform::new("linux", "arm64", None)))),
            with(|run| {
                run.script = Some(super::super::ScriptFile {
                    path: String::new(),
                    content: String::new(),
                });
            }),
        ] {
            assert_ne!(changed, same);
        }
    }

    #[test]
    fn a_copy_is_bound_to_its_source_by_the_chain_and_not_by_its_fingerprint() {
        let copy = |from| Step::Copy(copy_step(from));
        let a = copy(CopyFrom::Stage(super::super::StageId(0)));
        let b = copy(CopyFrom::Stage(super::super::StageId(1)));
        assert_eq!(a.fingerprint(), b.fingerprint());
        assert_ne!(a.fingerprint(), copy(CopyFrom::Context).fingerprint());
        let other = scratch().then(&Step::Run(run(&[], &[])), None);
        assert_ne!(scratch().then(&a, Some(scratch())), scratch().then(&a, Some(other)));
    }

    #[test]
    fn downloads_are_bound_to_their_address_by_the_chain_and_not_by_their_fingerprint() {
        let add = |url: &str| {
            Step::Copy(CopyStep {
                sources: vec![CopySource::Url(crate::remote::UrlSource::parse(url, None).unwrap())],
                ..copy_step(CopyFrom::Context)
            })
        };
        let (one, mirror, other) = (add("http://a/x"), add("http://b/x"), add("http://a/y"));
        assert_eq!(one.fingerprint(), mirror.fingerprint());
        assert_ne!(one.fingerprint(), other.fingerprint());
        assert_ne!(scratch().then(&one, []), scratch().then(&mirror, []));
    }

    #[test]
    fn metadata_changes_nothing() {
        assert_eq!(scratch().then(&Step::Metadata, None), scratch());
    }

    /// A change here invalidates every cache: it has to be meant.
    #[test]
    fn the_encoding_is_pinned() {
        let id = scratch().then(&Step::Run(run(&["/bin/sh", "-c", "true"], &["A=1"])), None);
        assert_eq!(id.digest().short(), "e471c427fa26");
    }
}
