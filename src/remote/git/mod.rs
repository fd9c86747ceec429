//! Git repositories, without a git program: one commit is fetched, as shallow as the server allows, and written as files.
//!
//! ```text
//! GitSource ─transport─▶ refs ─reference─▶ object ─fetch─▶ pack ─worktree─▶ files
//!                                                          └─submodules─▶ the same, one directory deeper
//! ```
//!
//! Nobody's git configuration is read, no hook and no filter program runs, and no credential helper is asked.

mod error;
mod http;
mod reference;
mod submodules;
mod tcp;
mod worktree;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gix::ObjectId;
use gix::protocol::transport::Protocol;
use gix::protocol::transport::client::blocking_io::Transport;
use gix::remote::fetch::{Shallow, Tags};

pub use self::error::GitError;
use self::http::GitHttp;
use self::reference::Wanted;
use super::web::Web;
use super::{Fetched, GitSource, Past, RemoteError};
use crate::cancel::Cancel;
use crate::progress::Event;

/// Submodules within submodules.
const MAX_DEPTH: u32 = 8;

const CANCEL_INTERVAL: Duration = Duration::from_millis(50);

/// Writes the files of a source into the existing, empty directory `into`.
pub(super) fn check_out(web: &Arc<Web>, source: &GitSource, into: &Path) -> Result<Fetched, RemoteError> {
    let name = source.to_string();
    web.progress.event(Event::FetchStart {
        source: &name,
        size: None,
    });
    let result = while_watched(&web.cancel, |interrupt| {
        let job = Job {
            web,
            interrupt,
            credentials: http::Credentials::of(source.remote()),
        };
        job.check_out(source, into, 0)
    });
    // An interrupted library fails in its own words.
    let result = match web.cancel.check() {
        Ok(()) => result,
        Err(cancelled) => Err(cancelled.into()),
    };
    web.progress.event(Event::FetchEnd {
        source: &name,
        done: result.is_ok(),
    });
    result
}

/// Runs `work` with a flag that is set once the build is asked to end.
fn while_watched<T>(cancel: &Cancel, work: impl FnOnce(&AtomicBool) -> T) -> T {
    let (interrupt, done) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if cancel.check().is_err() {
                    interrupt.store(true, Ordering::Relaxed);
                    return;
                }
                std::thread::sleep(CANCEL_INTERVAL);
            }
        });
        let result = work(&interrupt);
        done.store(true, Ordering::Relaxed);
        result
    })
}

/// Branches and tags, under the names that a clone gives them.
const EVERYTHING: [&str; 2] = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];

/// One source with all its submodules.
struct Job<'a> {
    web: &'a Arc<Web>,
    interrupt: &'a AtomicBool,
    /// For the source's own host; submodules elsewhere do not get them.
    credentials: http::Credentials,
}

/// An object of a repository that is here now, and the name that the server knows it by.
struct Arrived {
    object: ObjectId,
    name: Option<String>,
}

impl Job<'_> {
    fn check_out(&self, source: &GitSource, into: &Path, depth: u32) -> Result<Fetched, RemoteError> {
        let at = |error: GitError| RemoteError::Git {
            source_name: source.to_string(),
            source: Box::new(error),
        };
        let repository = worktree::create(into).map_err(at)?;
        let arrived = self
            .fetch(&repository, source)
            .map_err(|error| self.outermost(source, error))?;
        let commit = worktree::peel(&repository, arrived.object).map_err(at)?;
        check_checksum(source, commit, arrived.object).map_err(at)?;
        let modified = worktree::commit_time(&repository, commit).map_err(at)?;
        let links = worktree::write_files(&repository, commit, self.interrupt).map_err(at)?;
        if source.submodules && !links.is_empty() {
            self.submodules(source, &repository, commit, &links, into, depth)?;
        }
        let git_dir = into.join(".git");
        match source.keep_git_dir == Some(true) && depth == 0 {
            true => worktree::describe_itself(&git_dir, source, commit, &arrived).map_err(at)?,
            false => fs::remove_dir_all(&git_dir).map_err(RemoteError::io("remove", &git_dir))?,
        }
        if depth == 0 {
            worktree::set_modes_and_times(into, source.mtime, modified)
                .map_err(RemoteError::io("set modes in", into))?;
        }
        Ok(Fetched {
            identity: commit.to_string(),
            modified: Some(modified),
        })
    }

    /// The library wraps what went wrong on the way; then that is the error.
    fn outermost(&self, source: &GitSource, error: GitError) -> RemoteError {
        match error {
            GitError::Web(error) => match *error {
                refused @ RemoteError::Status {
                    status: 401 | 403 | 404,
                    ..
                } => RemoteError::Git {
                    source_name: source.to_string(),
                    source: Box::new(GitError::Denied {
                        known: self.credentials.are_for(source.remote()),
                        source: Box::new(refused),
                    }),
                },
                other => other,
            },
            error => RemoteError::Git {
                source_name: source.to_string(),
                source: Box::new(error),
            },
        }
    }

    fn fetch(&self, repository: &gix::Repository, source: &GitSource) -> Result<Arrived, GitError> {
        let wanted = match (&source.checksum, source.fetch_by_commit) {
            (Some(commit), true) => Wanted::of(Some(commit)),
            _ => Wanted::of(source.reference.as_deref().or(source.whole_checksum())),
        };
        let (object, name) = match &wanted {
            Wanted::Commit(id) => (*id, None),
            Wanted::Named(names) => {
                let refs = self.list(repository, source, names)?;
                let (name, id) = reference::choose(names, &refs).ok_or_else(|| GitError::NoReference {
                    reference: wanted.to_string(),
                })?;
                (id, Some(name))
            }
        };
        match source.history {
            Past::All => self.receive_everything(repository, source, object, name.as_deref())?,
            Past::Branch => self.receive_branch(repository, source, object, name.as_deref())?,
            Past::Commits(number) => {
                let spec = object.to_string();
                let received = self.receive(repository, source, &[spec.as_str()], &Shallow::DepthAtRemote(number));
                match received {
                    Ok(()) => {}
                    Err(error @ GitError::Web(_)) => return Err(error),
                    // Some servers hand out nothing but whole branches, some know no shallow repositories.
                    Err(_) => self.receive_everything(repository, source, object, name.as_deref())?,
                }
            }
        }
        match repository.has_object(object) {
            true => Ok(Arrived { object, name }),
            false => Err(GitError::NoReference {
                reference: object.to_string(),
            }),
        }
    }

    /// `object` with its past, and nothing beside it if the server allows that.
    fn receive_branch(
        &self,
        repository: &gix::Repository,
        source: &GitSource,
        object: ObjectId,
        name: Option<&str>,
    ) -> Result<(), GitError> {
        let spec = object.to_string();
        match self.receive(repository, source, &[name.unwrap_or(&spec)], &Shallow::NoChange) {
            Ok(()) if repository.has_object(object) => Ok(()),
            Err(error @ GitError::Web(_)) => Err(error),
            Ok(()) | Err(_) => self.receive_everything(repository, source, object, name),
        }
    }

    /// Branches and tags, and `object` wherever it is. It is asked for by itself only when it did not come along: some
    /// servers refuse whoever does that.
    fn receive_everything(
        &self,
        repository: &gix::Repository,
        source: &GitSource,
        object: ObjectId,
        name: Option<&str>,
    ) -> Result<(), GitError> {
        let specs: Vec<&str> = EVERYTHING.into_iter().chain(name).collect();
        self.receive(repository, source, &specs, &Shallow::NoChange)?;
        if repository.has_object(object) {
            return Ok(());
        }
        let spec = object.to_string();
        match self.receive(repository, source, &[spec.as_str()], &Shallow::NoChange) {
            Err(error @ GitError::Web(_)) => Err(error),
            // That it is not there is what there is to say then.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// What the server has under some of `names`, and perhaps more.
    fn list(
        &self,
        repository: &gix::Repository,
        source: &GitSource,
        names: &[String],
    ) -> Result<Vec<gix::protocol::handshake::Ref>, GitError> {
        self.connected(source, |transport| {
            let remote = remote(repository, source, names.iter().map(String::as_str))?;
            let connection = remote.to_connection_with_transport(transport).with_credentials(nobody);
            let (map, _) = connection
                .ref_map(gix::progress::Discard, gix::remote::ref_map::Options::default())
                .map_err(GitError::library)?;
            Ok(map.remote_refs)
        })
    }

    fn receive(
        &self,
        repository: &gix::Repository,
        source: &GitSource,
        specs: &[&str],
        shallow: &Shallow,
    ) -> Result<(), GitError> {
        self.connected(source, |transport| {
            let remote = remote(repository, source, specs.iter().copied())?;
            remote
                .to_connection_with_transport(transport)
                .with_credentials(nobody)
                .prepare_fetch(gix::progress::Discard, gix::remote::ref_map::Options::default())
                .map_err(GitError::library)?
                .with_shallow(shallow.clone())
                .receive(gix::progress::Discard, self.interrupt)
                .map_err(GitError::library)?;
            Ok(())
        })
    }

    /// Does `talk` over a connection to the repository. What fails in our own HTTP is the error then.
    fn connected<T>(
        &self,
        source: &GitSource,
        talk: impl FnOnce(Box<dyn Transport + Send>) -> Result<T, GitError>,
    ) -> Result<T, GitError> {
        let failure = Arc::new(Mutex::new(None));
        let address = url(source)?;
        let transport: Box<dyn Transport + Send> = match address.scheme {
            gix::url::Scheme::Http | gix::url::Scheme::Https => {
                let http = GitHttp::new(Arc::clone(self.web), self.credentials.clone(), Arc::clone(&failure));
                let transport = gix::protocol::transport::client::blocking_io::http::Transport::new_http(
                    http,
                    address,
                    Protocol::V2,
                    false,
                );
                Box::new(transport)
            }
            gix::url::Scheme::Git => Box::new(tcp::connect(self.web, &address)?),
            gix::url::Scheme::Ssh => ssh(address)?,
            _ => return Err(GitError::Scheme(address.scheme.to_string())),
        };
        let result = talk(transport);
        let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
        match failure.take() {
            Some(error) if result.is_err() => Err(GitError::Web(Box::new(error))),
            _ => result,
        }
    }

    fn submodules(
        &self,
        source: &GitSource,
        repository: &gix::Repository,
        commit: ObjectId,
        links: &[worktree::Link],
        into: &Path,
        depth: u32,
    ) -> Result<(), RemoteError> {
        let at = |error: GitError| RemoteError::Git {
            source_name: source.to_string(),
            source: Box::new(error),
        };
        if depth >= MAX_DEPTH {
            return Err(at(GitError::Nested(MAX_DEPTH)));
        }
        let text = worktree::modules_file(repository, commit).map_err(at)?;
        let addresses = submodules::parse(&text).map_err(at)?;
        for link in links {
            let address = addresses
                .get(&link.path)
                .ok_or_else(|| GitError::NoAddress(link.path.clone()));
            let remote = submodules::resolve(source.remote(), address.map_err(at)?).map_err(at)?;
            let submodule = GitSource::of_commit(remote, &link.commit.to_string());
            let directory = into.join(&link.path);
            fs::create_dir_all(&directory).map_err(RemoteError::io("create", &directory))?;
            self.check_out(&submodule, &directory, depth + 1)?;
        }
        Ok(())
    }
}

/// The checksum is the beginning of the commit's name, or of the annotated tag's that names it.
fn check_checksum(source: &GitSource, commit: ObjectId, object: ObjectId) -> Result<(), GitError> {
    let Some(checksum) = &source.checksum else {
        return Ok(());
    };
    let names = [commit.to_string(), object.to_string()];
    match names.iter().any(|name| name.starts_with(checksum.as_str())) {
        true => Ok(()),
        false => Err(GitError::Checksum {
            expected: checksum.clone(),
            actual: commit.to_string(),
        }),
    }
}

/// The repository's address without user and password, which travel otherwise.
fn url(source: &GitSource) -> Result<gix::Url, GitError> {
    let address = match source.remote().to_ascii_lowercase().starts_with("http") {
        true => http::without_user(source.remote()),
        false => source.remote().to_owned(),
    };
    gix::url::parse(address.as_str()).map_err(GitError::library)
}

fn remote<'r, 's>(
    repository: &'r gix::Repository,
    source: &GitSource,
    specs: impl Iterator<Item = &'s str>,
) -> Result<gix::Remote<'r>, GitError> {
    repository
        .remote_at_without_url_rewrite(url(source)?)
        .and_then(|remote| remote.with_refspecs(specs, gix::remote::Direction::Fetch))
        .map(|remote| remote.with_fetch_tags(Tags::None))
        .map_err(GitError::library)
}

/// Instead of credential helpers and prompts.
fn nobody(_action: gix::credentials::helper::Action) -> gix::Result<Option<gix::credentials::protocol::Outcome>> {
    Ok(None)
}

fn ssh(address: gix::Url) -> Result<Box<dyn Transport + Send>, GitError> {
    let is_there = |directory: std::path::PathBuf| directory.join("ssh").is_file();
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(is_there) {
        return Err(GitError::NoSsh);
    }
    let options = gix::protocol::transport::client::blocking_io::connect::Options {
        version: Protocol::V2,
        ..Default::default()
    };
    gix::protocol::transport::client::blocking_io::connect::connect(address, options).map_err(GitError::library)
}
