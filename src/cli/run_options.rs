//! What RUN may see and do: secrets, SSH agents, network, hosts, limits, grants.
//!
//! The grammar is that of `docker buildx build`. Secrets are read here, once, so that one that is missing is an error
//! before anything is pulled, and nothing that happens later can change it.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Component, Path, PathBuf};

use super::args::Run;
use super::environment::{self as env, Environment};
use super::problem::Problem;
use crate::build::request::{RunVolume, VolumeAccess};
use crate::plan::{DeviceGrant, Grants, Network, Sandbox, Ulimit, UlimitName, parse_size};
use crate::secret::SecretValue;

/// BuildKit takes no larger ones.
const SECRET_LIMIT: u64 = 500 << 10;

/// What is wrong with one of these flags.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunProblem {
    /// What was written is not repeated: it may be the secret itself.
    #[error("--secret: {reason}")]
    Secret { reason: String },
    #[error("--secret {id}: cannot read {}", path.display())]
    ReadSecret {
        id: String,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("--secret {id}: environment variable {variable} is not set")]
    UnsetSecret { id: String, variable: String },
    #[error("--secret {id} is larger than 500 KiB")]
    LargeSecret { id: String },
    #[error("--secret {id} is given twice")]
    SecretTwice { id: String },
    #[error("--ssh {id}: SSH_AUTH_SOCK is not set")]
    NoAgent { id: String },
    #[error("--ssh {id}: cannot use {}", path.display())]
    Agent {
        id: String,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("--ssh {id}: {} is not the socket of an agent; private keys are not taken", path.display())]
    NotAnAgent { id: String, path: PathBuf },
    #[error("--ssh {id} is given twice")]
    AgentTwice { id: String },
    #[error("--run-volume {0:?} is not of the form PATH[:TARGET][:ro] with an absolute TARGET other than /")]
    Volume(String),
    #[error("--run-volume {}: there is no such file or directory to give to RUN", path.display())]
    VolumeUnreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("--network {0:?} is unknown (default, host and none are known)")]
    Network(String),
    #[error("--allow {0:?} is unknown (network.host, security.insecure and device[=NAME] are known)")]
    Allow(String),
    #[error("--add-host {0:?} is not of the form name:address")]
    Host(String),
    #[error("--ulimit {0:?} is not of the form name=soft[:hard]")]
    Ulimit(String),
    #[error("--ulimit {0:?}: there is no such limit ({names} are known)", names = ulimit_names())]
    UlimitName(String),
    #[error("--ulimit {text:?}: the soft limit must not be above the hard one")]
    UlimitOrder { text: String },
    #[error("--shm-size {0:?} is not a size such as 64m")]
    ShmSize(String),
}

impl RunProblem {
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoAgent { .. } => {
                Some("start an agent (eval $(ssh-agent); ssh-add), or name its socket: --ssh ID=SOCKET")
            }
            Self::NotAnAgent { .. } => Some("start an agent, ssh-add the key, and use --ssh ID"),
            Self::Secret { .. } => Some("for example --secret id=token,src=token.txt or --secret id=token,env=TOKEN"),
            _ => None,
        }
    }
}

/// The values of these flags.
#[derive(Debug, Default)]
pub(super) struct RunOptions {
    pub(super) sandbox: Sandbox,
    pub(super) grants: Grants,
    pub(super) secrets: BTreeMap<String, SecretValue>,
    pub(super) ssh_agents: BTreeMap<String, PathBuf>,
    pub(super) volumes: Vec<RunVolume>,
}

/// Reads the flags; what is wrong with them goes to `problems`.
pub(super) fn convert(run: &Run, environment: &Environment, problems: &mut Vec<Problem>) -> RunOptions {
    let mut options = RunOptions::default();
    let mut note = |result: Result<(), RunProblem>| problems.extend(result.err().map(Problem::Run));
    for text in &run.secret {
        note(options.add_secret(text, environment));
    }
    for text in &run.ssh {
        note(options.add_agent(text, environment));
    }
    for text in &run.run_volume {
        note(parse_volume(text, environment).map(|volume| options.volumes.push(volume)));
    }
    note(options.set_network(run.network.as_deref()));
    for text in &run.allow {
        note(options.add_grant(text));
    }
    for text in &run.add_host {
        note(parse_host(text).map(|host| options.sandbox.hosts.push(host)));
    }
    for text in &run.ulimit {
        note(parse_ulimit(text).map(|limit| options.sandbox.ulimits.push(limit)));
    }
    if let Some(text) = &run.shm_size {
        let size = parse_size(text).ok_or_else(|| RunProblem::ShmSize(text.clone()));
        note(size.map(|size| options.sandbox.shm_size = Some(size).filter(|size| *size > 0)));
    }
    options
}

impl RunOptions {
    fn add_secret(&mut self, text: &str, environment: &Environment) -> Result<(), RunProblem> {
        let (id, origin) = parse_secret(text, environment)?;
        let value = read_secret(&id, &origin, environment)?;
        match self.secrets.insert(id.clone(), value) {
            None => Ok(()),
            Some(_) => Err(RunProblem::SecretTwice { id }),
        }
    }

    fn add_agent(&mut self, text: &str, environment: &Environment) -> Result<(), RunProblem> {
        let (id, given) = match text.split_once('=') {
            Some((id, path)) => (id, Some(path).filter(|path| !path.is_empty())),
            None => (text, None),
        };
        let id = if id.is_empty() { "default" } else { id }.to_owned();
        let path = match given {
            Some(path) => PathBuf::from(path),
            None => environment
                .path(env::SSH_AUTH_SOCK)
                .ok_or_else(|| RunProblem::NoAgent { id: id.clone() })?,
        };
        let path = environment.absolute(&path);
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.file_type().is_socket() => {}
            Ok(_) => return Err(RunProblem::NotAnAgent { id, path }),
            Err(source) => return Err(RunProblem::Agent { id, path, source }),
        }
        match self.ssh_agents.insert(id.clone(), path) {
            None => Ok(()),
            Some(_) => Err(RunProblem::AgentTwice { id }),
        }
    }

    /// Who gives the whole build the machine's network allows a RUN to ask for it.
    fn set_network(&mut self, network: Option<&str>) -> Result<(), RunProblem> {
        self.sandbox.network = match network {
            None | Some("" | "default") => Network::Default,
            Some("none") => Network::None,
            Some("host") => Network::Host,
            Some(other) => return Err(RunProblem::Network(other.to_owned())),
        };
        self.grants.network_host |= self.sandbox.network == Network::Host;
        Ok(())
    }

    fn add_grant(&mut self, text: &str) -> Result<(), RunProblem> {
        match text
            .split_once('=')
            .map_or((text, None), |(name, value)| (name, Some(value)))
        {
            ("network.host", None) => self.grants.network_host = true,
            ("security.insecure", None) => self.grants.security_insecure = true,
            ("device", None) => self.grants.devices = DeviceGrant::All,
            ("device", Some(name)) if !name.is_empty() => match &mut self.grants.devices {
                DeviceGrant::All => {}
                DeviceGrant::Named(names) => names.push(name.to_owned()),
                none @ DeviceGrant::None => *none = DeviceGrant::Named(vec![name.to_owned()]),
            },
            _ => return Err(RunProblem::Allow(text.to_owned())),
        }
        Ok(())
    }
}

/// Where a secret comes from.
#[derive(Debug, PartialEq, Eq)]
enum Origin {
    File(PathBuf),
    Variable(String),
}

/// `id=ID[,src=PATH|,env=NAME|,type=file|env]`. Without any of them it is the variable of that name, or else the file.
fn parse_secret(text: &str, environment: &Environment) -> Result<(String, Origin), RunProblem> {
    let wrong = |reason: String| RunProblem::Secret { reason };
    let (mut id, mut source, mut variable, mut kind) = (None, None, None, None);
    for field in text.split(',') {
        let Some((key, value)) = field.split_once('=') else {
            return Err(wrong("every field must be a key=value pair".to_owned()));
        };
        match key.to_lowercase().as_str() {
            "id" => id = Some(value),
            "src" | "source" => source = Some(value),
            "env" => variable = Some(value),
            "type" if matches!(value, "file" | "env") => kind = Some(value),
            "type" => return Err(wrong("type is file or env".to_owned())),
            _ => return Err(wrong(format!("unexpected key '{key}'"))),
        }
    }
    let Some(id) = id.filter(|id| !id.is_empty()) else {
        return Err(wrong("id is missing".to_owned()));
    };
    let file = |path: &str| Origin::File(environment.absolute(Path::new(path)));
    let named = |name: &str| Origin::Variable(name.to_owned());
    let origin = match (kind, source, variable) {
        (_, Some(_), Some(_)) => return Err(wrong("src and env exclude each other".to_owned())),
        (Some("file"), None, Some(_)) => return Err(wrong("env does not go with type=file".to_owned())),
        (Some("env"), Some(name), None) | (_, None, Some(name)) => named(name),
        (_, Some(path), None) => file(path),
        (Some("env"), None, None) => named(id),
        (None, None, None) if environment.get(id).is_some() => named(id),
        (_, None, None) => file(id),
    };
    Ok((id.to_owned(), origin))
}

fn read_secret(id: &str, origin: &Origin, environment: &Environment) -> Result<SecretValue, RunProblem> {
    let id = id.to_owned();
    let bytes = match origin {
        Origin::Variable(variable) => match environment.get(variable) {
            Some(value) => value.as_bytes().to_vec(),
            None => {
                let variable = variable.clone();
                return Err(RunProblem::UnsetSecret { id, variable });
            }
        },
        Origin::File(path) => match read_at_most(path) {
            Ok(bytes) => bytes,
            Err(source) => {
                let path = path.clone();
                return Err(RunProblem::ReadSecret { id, path, source });
            }
        },
    };
    match bytes.len() as u64 > SECRET_LIMIT {
        true => Err(RunProblem::LargeSecret { id }),
        false => Ok(SecretValue::new(bytes)),
    }
}

/// One byte more than the limit tells that there is more.
fn read_at_most(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(SECRET_LIMIT + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `PATH[:TARGET][:ro|:rw]`.
fn parse_volume(text: &str, environment: &Environment) -> Result<RunVolume, RunProblem> {
    let wrong = || RunProblem::Volume(text.to_owned());
    let mut parts: Vec<&str> = text.split(':').collect();
    let access = match parts.last() {
        Some(&"ro") => VolumeAccess::ReadOnly,
        _ => VolumeAccess::ReadWrite,
    };
    parts.pop_if(|last| matches!(*last, "ro" | "rw"));
    let (source, target) = match parts[..] {
        [source] => (source, None),
        [source, target] => (source, Some(target)),
        _ => return Err(wrong()),
    };
    if source.is_empty() {
        return Err(wrong());
    }
    let source = environment.absolute(Path::new(source));
    let target: PathBuf = match target {
        Some(target) => Path::new(target).components().collect(),
        None => source.clone(),
    };
    let climbs = target.components().any(|part| part == Component::ParentDir);
    if !target.is_absolute() || target == Path::new("/") || climbs {
        return Err(wrong());
    }
    match std::fs::metadata(&source) {
        Ok(_) => Ok(RunVolume { source, target, access }),
        Err(error) => Err(RunProblem::VolumeUnreadable {
            path: source,
            source: error,
        }),
    }
}

/// `name:address` or `name=address`; IPv6 may stand in brackets.
fn parse_host(text: &str) -> Result<(String, IpAddr), RunProblem> {
    let wrong = || RunProblem::Host(text.to_owned());
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .ok_or_else(wrong)?;
    let bare = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(address);
    let is_name = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '#');
    match bare.parse() {
        Ok(address) if is_name => Ok((name.to_owned(), address)),
        _ => Err(wrong()),
    }
}

fn ulimit_names() -> String {
    UlimitName::ALL.map(UlimitName::as_str).join(", ")
}

fn parse_ulimit(text: &str) -> Result<Ulimit, RunProblem> {
    let wrong = || RunProblem::Ulimit(text.to_owned());
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    let name = UlimitName::ALL
        .into_iter()
        .find(|known| known.as_str() == name)
        .ok_or_else(|| RunProblem::UlimitName(text.to_owned()))?;
    let (soft, hard) = value.split_once(':').unwrap_or((value, value));
    // -1 is no limit.
    let parse = |number: &str| match number {
        "-1" => Ok(None),
        number => number.parse().map(Some).map_err(|_| wrong()),
    };
    let (soft, hard) = (parse(soft)?, parse(hard)?);
    if let Some(hard) = hard
        && soft.is_none_or(|soft| soft > hard)
    {
        return Err(RunProblem::UlimitOrder { text: text.to_owned() });
    }
    Ok(Ulimit { name, soft, hard })
}

#[cfg(test)]
mod tests {
    use super::super::site::Site;
    use super::*;
    use crate::build::request::BuildRequest;

    fn convert(site: &Site, line: &[&str]) -> Result<BuildRequest, Vec<String>> {
        site.convert(line)
    }

    #[test]
    fn secrets_come_from_files_and_variables() {
        let site = Site::new().with("TOKEN", "of env").with("byname", "of name");
        std::fs::write(site.path("file"), "of file").unwrap();
        std::fs::write(site.path("bare"), "of bare").unwrap();
        for (text, id, expected) in [
            ("id=a,src=file", "a", "of file"),
            ("id=a,source=file,type=file", "a", "of file"),
            ("ID=a,env=TOKEN", "a", "of env"),
            ("type=env,id=a,src=TOKEN", "a", "of env"),
            ("type=env,id=TOKEN", "TOKEN", "of env"),
            ("id=byname", "byname", "of name"),
            ("id=bare", "bare", "of bare"),
        ] {
            let request = convert(&site, &["--secret", text]).unwrap();
            assert_eq!(request.secrets[id].reveal(), expected.as_bytes(), "{text}");
            assert!(!format!("{request:?}").contains(expected), "{text}");
        }
    }

    #[test]
    fn volumes_have_a_source_a_target_and_an_access() {
        let site = Site::new();
        std::fs::write(site.path("file"), "").unwrap();
        let here = site.path("context").display().to_string();
        for (text, source, target, access) in [
            ("context:/w", "context", "/w", VolumeAccess::ReadWrite),
            ("file:/etc/netrc/:ro", "file", "/etc/netrc", VolumeAccess::ReadOnly),
            (&here, "context", &here, VolumeAccess::ReadWrite),
            (&format!("{here}/:rw"), "context", &here, VolumeAccess::ReadWrite),
        ] {
            let expected = RunVolume {
                source: site.path(source),
                target: target.into(),
                access,
            };
            let request = convert(&site, &["--run-volume", text]).unwrap();
            assert_eq!(request.run_volumes, [expected], "{text}");
        }
    }

    #[test]
    fn mistakes_name_the_flag() {
        let site = Site::new();
        std::fs::write(site.path("file"), "content").unwrap();
        std::fs::write(site.path("large"), vec![0; 512_001]).unwrap();
        for (line, expected) in [
            (&["--secret=src=file"][..], "--secret: id is missing"),
            (&["--secret=token"], "--secret: every field must be a key=value pair"),
            (&["--secret=id=a,path=x"], "--secret: unexpected key 'path'"),
            (&["--secret=id=a,type=x"], "--secret: type is file or env"),
            (
                &["--secret=id=a,src=file,env=B"],
                "--secret: src and env exclude each other",
            ),
            (
                &["--secret=id=a,type=file,env=B"],
                "--secret: env does not go with type=file",
            ),
            (&["--secret=id=a,src=none"], "--secret a: cannot read DIR/none"),
            (&["--secret=id=a,src=large"], "--secret a is larger than 500 KiB"),
            (
                &["--secret=id=a,env=NONE"],
                "--secret a: environment variable NONE is not set",
            ),
            (
                &["--secret=id=a,src=file", "--secret=id=a,src=file"],
                "--secret a is given twice",
            ),
            (
                &["--run-volume=none"],
                "--run-volume DIR/none: there is no such file or directory to give to RUN",
            ),
            (
                &["--run-volume=context:/"],
                "--run-volume \"context:/\" is not of the form PATH[:TARGET][:ro] with an absolute TARGET other than /",
            ),
            (
                &["--run-volume=context:w"],
                "--run-volume \"context:w\" is not of the form PATH[:TARGET][:ro] with an absolute TARGET other than /",
            ),
            (&["--ssh=default"], "--ssh default: SSH_AUTH_SOCK is not set"),
            (&["--ssh=a=none"], "--ssh a: cannot use DIR/none"),
            (
                &["--ssh=a=file"],
                "--ssh a: DIR/file is not the socket of an agent; private keys are not taken",
            ),
            (
                &["--network=foo"],
                "--network \"foo\" is unknown (default, host and none are known)",
            ),
            (
                &["--allow=root"],
                "--allow \"root\" is unknown (network.host, security.insecure and device[=NAME] are known)",
            ),
            (&["--add-host=a"], "--add-host \"a\" is not of the form name:address"),
            (
                &["--add-host=a:host-gateway"],
                "--add-host \"a:host-gateway\" is not of the form name:address",
            ),
            (
                &["--ulimit=nofile"],
                "--ulimit \"nofile\" is not of the form name=soft[:hard]",
            ),
            (
                &["--ulimit=files=1"],
                "--ulimit \"files=1\": there is no such limit (core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending, stack are known)",
            ),
            (
                &["--ulimit=nofile=2:1"],
                "--ulimit \"nofile=2:1\": the soft limit must not be above the hard one",
            ),
            (&["--shm-size=big"], "--shm-size \"big\" is not a size such as 64m"),
        ] {
            assert_eq!(convert(&site, line).unwrap_err(), [expected], "{line:?}");
        }
    }

    #[test]
    fn agents_are_sockets() {
        let site = Site::new();
        let socket = site.path("agent");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let site = site.with(env::SSH_AUTH_SOCK, socket.to_str().unwrap());
        let request = convert(&site, &["--ssh=default", "--ssh", "other=agent"]).unwrap();
        let expected = BTreeMap::from([("default".to_owned(), socket.clone()), ("other".to_owned(), socket)]);
        assert_eq!(request.ssh_agents, expected);
        assert_eq!(
            convert(&site, &["--ssh=a", "--ssh=a"]).unwrap_err(),
            ["--ssh a is given twice"]
        );
    }

    #[test]
    fn what_surrounds_a_run() {
        let line = [
            "--network=host",
            "--allow=security.insecure",
            "--allow=device=vendor.com/gpu",
            "--add-host=a:10.0.0.1",
            "--add-host=b=[::1]",
            "--add-host=c:fe80::1",
            "--ulimit=nofile=10:20",
            "--ulimit=core=-1",
            "--shm-size=128m",
        ];
        let request = convert(&Site::new(), &line).unwrap();
        let host = |name: &str, address: &str| (name.to_owned(), address.parse().unwrap());
        let sandbox = request.sandbox;
        assert_eq!(sandbox.network, Network::Host);
        assert_eq!(
            sandbox.hosts,
            [host("a", "10.0.0.1"), host("b", "::1"), host("c", "fe80::1")]
        );
        let limits: Vec<_> = sandbox
            .ulimits
            .iter()
            .map(|limit| (limit.name, limit.soft, limit.hard))
            .collect();
        assert_eq!(
            limits,
            [(UlimitName::Nofile, Some(10), Some(20)), (UlimitName::Core, None, None)]
        );
        assert_eq!(sandbox.shm_size, Some(128 << 20));
        assert_eq!(
            request.grants,
            Grants {
                network_host: true,
                security_insecure: true,
                devices: DeviceGrant::Named(vec!["vendor.com/gpu".to_owned()]),
            }
        );
    }
}
