//! What a build is made from, brought onto this machine: the context and the Dockerfile.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::error::{BuildError, Problem};
use super::request::{BuildRequest, Context, DockerfileSource, FetchedContext, IgnoreFileUse, RemoteContext};
use super::spool::{self, STANDARD_INPUT};
use crate::cancel::Cancel;
use crate::layer::{ArchiveExtractor, Limits, Owner, detect_archive};
use crate::progress::{Event, Progress};
use crate::remote::{GitSource, ObjectSource, Remote, UrlSource};
use crate::rootfs::{ObjectId, Rootfs, RootfsPath};
use crate::snapshot::Fingerprints;
use crate::store::{BuildDir, StateDir};

/// Context and Dockerfile as files of this machine.
#[derive(Debug)]
pub(crate) struct Input {
    /// The Dockerfile.
    pub(crate) dockerfile: PathBuf,
    /// The Dockerfile as the user knows it.
    pub(crate) dockerfile_name: String,
    /// The directory that is the context.
    pub(crate) context: PathBuf,
    /// Which ignore file applies.
    pub(crate) ignoring: Ignoring,
    /// How old the context is; a directory of the user's has no age.
    pub(crate) age: Option<Timestamp>,
}

/// Which ignore file applies to the context.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ignoring {
    /// The one beside the Dockerfile, else the context's own.
    BesideDockerfile,
    /// The same where both are from elsewhere: no symlink of theirs leads out of the context.
    BesideDockerfileInContext,
    /// The context's own: the Dockerfile is from elsewhere.
    InContext,
    /// None: who packed or committed the files has chosen them.
    Nothing,
}

/// Brings sources here, into the build's directory, which is made when it is first needed.
#[derive(Debug)]
pub(crate) struct Bringer<'a> {
    request: &'a BuildRequest,
    remote: &'a Remote,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
    state: Option<(StateDir, BuildDir)>,
    count: usize,
}

/// A tree of files that was brought here.
#[derive(Debug)]
pub(crate) struct Brought {
    /// Its root.
    pub(crate) path: PathBuf,
    /// How old it is.
    pub(crate) age: Option<Timestamp>,
    /// What was no archive, in the place of a tree.
    pub(crate) single_file: Option<PathBuf>,
}

impl<'a> Bringer<'a> {
    /// Brings nothing yet.
    pub(crate) const fn new(
        request: &'a BuildRequest,
        remote: &'a Remote,
        progress: &'a dyn Progress,
        cancel: &'a Cancel,
    ) -> Self {
        Self {
            request,
            remote,
            progress,
            cancel,
            state: None,
            count: 0,
        }
    }

    /// The state directory and the build's own in it, made now if nothing has needed them before.
    pub(crate) fn into_state(mut self) -> Result<(StateDir, BuildDir), BuildError> {
        self.begin()?;
        Ok(self.state.expect("it was made in the line before"))
    }

    /// What no context shows: the directories that the builder works in.
    pub(crate) fn own_directories(&mut self) -> Result<Vec<ObjectId>, BuildError> {
        let path = &self.request.state_dir;
        let own = self.begin()?.0.own_directories();
        own.map_err(|source| {
            let path = path.clone();
            Problem::State { path, source }.into()
        })
    }

    /// Context and Dockerfile.
    pub(crate) fn input(&mut self) -> Result<Input, BuildError> {
        let (context, age, ignoring, single_file) = match &self.request.context {
            Context::Directory(path) => (path.clone(), None, Ignoring::BesideDockerfile, None),
            Context::Fetched(fetched) => {
                let brought = self.context(fetched)?;
                (brought.path, brought.age, ignoring(fetched), brought.single_file)
            }
        };
        let (dockerfile, dockerfile_name, ignoring) = match (&self.request.dockerfile, single_file) {
            (DockerfileSource::InContext(names), Some(file)) => {
                let name = names.first().cloned().unwrap_or_default();
                (file, name, ignoring)
            }
            (DockerfileSource::InContext(names), None) => {
                let (path, name) = find(&context, names)?;
                (path, name, ignoring)
            }
            (DockerfileSource::File { path, name }, _) => {
                let beside = match ignoring {
                    Ignoring::BesideDockerfileInContext => Ignoring::BesideDockerfile,
                    other => other,
                };
                (path.clone(), name.clone(), beside)
            }
            (DockerfileSource::Url(source), _) => {
                let elsewhere = match ignoring {
                    Ignoring::BesideDockerfile | Ignoring::BesideDockerfileInContext => Ignoring::InContext,
                    other => other,
                };
                (self.download(source)?.0, source.to_string(), elsewhere)
            }
        };
        Ok(Input {
            dockerfile,
            dockerfile_name,
            context,
            ignoring,
            age,
        })
    }

    fn context(&mut self, context: &FetchedContext) -> Result<Brought, BuildError> {
        let mut brought = match &context.source {
            RemoteContext::Git(source) => self.repository(source)?,
            RemoteContext::Url(source) => self.url(source)?,
            RemoteContext::Object(source) => self.object(source)?,
            RemoteContext::Archive(path) => {
                let what = path.display().to_string();
                let brought = self.archive_or_file(path, &what)?;
                refuse_single_file(&brought, what)?;
                brought
            }
            RemoteContext::Stdin { may_be_dockerfile } => {
                let spooled = self.new_directory()?.join("stdin");
                spool::standard_input(&spooled, self.progress, self.cancel)?;
                let brought = self.archive_or_file(&spooled, STANDARD_INPUT)?;
                if !may_be_dockerfile {
                    refuse_single_file(&brought, STANDARD_INPUT.to_owned())?;
                }
                brought
            }
        };
        brought.path = inside(&brought.path, &context.sub_path, || context.source.to_string())?;
        Ok(brought)
    }

    /// The files of a commit, from its subdirectory on.
    pub(crate) fn repository(&mut self, source: &GitSource) -> Result<Brought, BuildError> {
        let directory = self.new_directory()?;
        let fetched = self.remote.check_out(source, &directory)?;
        Ok(Brought {
            path: inside(&directory, source.subdir.as_deref().unwrap_or_default(), || {
                source.shown_remote()
            })?,
            age: fetched.modified,
            single_file: None,
        })
    }

    /// What is behind a URL: an archive's files, or a single file in a directory of its own.
    pub(crate) fn url(&mut self, source: &UrlSource) -> Result<Brought, BuildError> {
        let (file, modified) = self.download(source)?;
        let mut brought = self.archive_or_file(&file, &source.to_string())?;
        brought.age = modified.or(brought.age);
        Ok(brought)
    }

    /// The files of an archive in a cloud storage.
    fn object(&mut self, source: &ObjectSource) -> Result<Brought, BuildError> {
        let place = self.new_directory()?.join("object");
        let modified = self.remote.download_object(source, &place)?;
        let what = source.to_string();
        let mut brought = self.archive_or_file(&place, &what)?;
        refuse_single_file(&brought, what)?;
        // The disk need not hold it twice.
        let _ = fs::remove_file(&place);
        brought.age = modified.or(brought.age);
        Ok(brought)
    }

    /// How old what is behind a URL is, as its server says.
    pub(crate) fn age_of_url(&mut self, source: &UrlSource) -> Result<Option<Timestamp>, BuildError> {
        Ok(self.download(source)?.1)
    }

    fn download(&mut self, source: &UrlSource) -> Result<(PathBuf, Option<Timestamp>), BuildError> {
        let directory = self.new_directory()?;
        let fetched = self.remote.download(source, &directory)?;
        Ok((directory.join(&source.name), fetched.modified))
    }

    fn archive_or_file(&mut self, path: &Path, what: &str) -> Result<Brought, BuildError> {
        let failed = |source| Problem::ReadContext {
            what: what.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() == 0 {
            return Err(Problem::EmptyContext { what: what.to_owned() }.into());
        }
        if !detect_archive(&mut file).map_err(failed)? {
            return Ok(Brought {
                path: self.new_directory()?,
                age: None,
                single_file: Some(path.to_owned()),
            });
        }
        let directory = self.new_directory()?;
        let root = Rootfs::open(&directory).map_err(failed)?;
        let warn = |text: &str| self.progress.event(Event::Warning(text));
        let mut unused = Fingerprints::default();
        let mut extractor = ArchiveExtractor::new(&root, Limits::default(), &mut unused, &warn, self.cancel);
        // Whoever owns them there, a context's files count as root's; here they are ours.
        let owner = Owner::Fixed {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        };
        let extracted = extractor.extract(file, &RootfsPath::root(), owner);
        let extracted = extracted.map_err(|source| Problem::ContextArchive {
            what: what.to_owned(),
            source,
        })?;
        Ok(Brought {
            age: newest(&root, &extracted.created),
            path: directory,
            single_file: None,
        })
    }

    fn new_directory(&mut self) -> Result<PathBuf, BuildError> {
        let name = format!("input/{}", self.count);
        self.count += 1;
        Ok(self.begin()?.1.subdirectory(&name)?)
    }

    fn begin(&mut self) -> Result<&(StateDir, BuildDir), BuildError> {
        if self.state.is_none() {
            let path = &self.request.state_dir;
            let begin = |state: StateDir| state.begin(self.progress).map(|build| (state, build));
            self.state = Some(StateDir::open(path).and_then(begin).map_err(|source| Problem::State {
                path: path.clone(),
                source,
            })?);
        }
        Ok(self.state.as_ref().expect("it was made above when it was missing"))
    }
}

fn ignoring(fetched: &FetchedContext) -> Ignoring {
    match fetched.ignore_file {
        IgnoreFileUse::Applied => Ignoring::BesideDockerfileInContext,
        IgnoreFileUse::Unused => Ignoring::Nothing,
    }
}

fn refuse_single_file(brought: &Brought, what: String) -> Result<(), BuildError> {
    match brought.single_file {
        None => Ok(()),
        Some(_) => Err(Problem::NotAnArchive { what }.into()),
    }
}

/// The directory `path` below `root`, whose symlinks cannot leave it. `what` names the root for messages.
fn inside(root: &Path, path: &str, what: impl FnOnce() -> String) -> Result<PathBuf, BuildError> {
    match find_inside(root, path) {
        Ok(directory) => Ok(directory),
        Err(source) => Err(Problem::NoSubPath {
            what: what(),
            path: path.to_owned(),
            source,
        }
        .into()),
    }
}

fn find_inside(root: &Path, path: &str) -> io::Result<PathBuf> {
    let tree = Rootfs::open(root)?;
    let path = RootfsPath::parse_clamped(path.as_bytes()).map_err(io::Error::other)?;
    let found = tree.canonicalize(&path).map_err(io::Error::other)?;
    let directory = host_path(root, &found);
    match fs::metadata(&directory)?.is_dir() {
        true => Ok(directory),
        false => Err(io::ErrorKind::NotADirectory.into()),
    }
}

/// The first of `names` that is a file in the context.
fn find(context: &Path, names: &[String]) -> Result<(PathBuf, String), BuildError> {
    let tree = Rootfs::open(context).map_err(|source| Problem::Context {
        path: context.to_owned(),
        source,
    })?;
    for name in names {
        let found = RootfsPath::parse_clamped(name.as_bytes()).ok();
        let found = found.and_then(|path| tree.canonicalize(&path).ok());
        if let Some(path) = found
            .map(|path| host_path(context, &path))
            .filter(|path| path.is_file())
        {
            return Ok((path, name.clone()));
        }
    }
    Err(Problem::NoDockerfile { names: names.to_vec() }.into())
}

fn host_path(root: &Path, path: &RootfsPath) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    path.components().fold(root.to_owned(), |host, name| {
        host.join(std::ffi::OsStr::from_bytes(name))
    })
}

/// The time of the newest regular file.
fn newest(root: &Rootfs, paths: &[RootfsPath]) -> Option<Timestamp> {
    let times = paths.iter().filter_map(|path| {
        let metadata = root.metadata(path).ok().flatten()?;
        (metadata.kind == crate::rootfs::Kind::File).then_some(metadata.mtime.seconds)
    });
    Timestamp::from_second(times.max()?).ok()
}
