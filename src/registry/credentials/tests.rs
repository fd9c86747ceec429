//! Lookups, from the places to the credential.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;

use super::*;

const TOKEN: &str = "TOKEN";

/// `user:password`, `identity TOKEN`, `registry TOKEN`, `none` or `error`.
fn describe(found: Result<Option<Credential>, CredentialError>) -> String {
    match found {
        Ok(None) => "none".to_owned(),
        Ok(Some(Credential::Password { user, password })) => format!("{user}:{}", password.reveal()),
        Ok(Some(Credential::Identity(token))) => format!("identity {}", token.reveal()),
        Ok(Some(Credential::Registry(token))) => format!("registry {}", token.reveal()),
        Err(_) => "error".to_owned(),
    }
}

fn from_text(config: &str) -> Credentials {
    Credentials::new(CredentialSources {
        docker_auth_config: Some(SecretText::new(config.to_owned())),
        uid: u32::MAX,
        ..CredentialSources::default()
    })
}

fn look(credentials: &Credentials, registry: &str, repository: &str) -> String {
    describe(credentials.lookup(registry, repository, &mut |_| ()))
}

/// `dTpw` is `u:p`.
#[test]
fn finds_entries() {
    let colons = base64::engine::general_purpose::STANDARD.encode("u:p:q:");
    let colons = format!(r#"{{"auths":{{"h.io":{{"auth":"{colons}"}}}}}}"#);
    let nul = base64::engine::general_purpose::STANDARD.encode("u:p\0\0");
    let nul = format!(r#"{{"auths":{{"h.io":{{"auth":" {nul}\n"}}}}}}"#);
    // Encodes to text with `-` and `_`, and with padding.
    let url_safe = base64::engine::general_purpose::URL_SAFE.encode("u:\u{fb}\u{3ff}>?>");
    let url_safe = format!(r#"{{"auths":{{"h.io":{{"auth":"{url_safe}"}}}}}}"#);
    let scoped = r#"{"auths":{"h.io":{"auth":"dTpw"},"h.io/a":{"username":"a","password":"1"},"h.io/a/b":{"username":"b","password":"2"}}}"#;
    for (config, registry, repository, expected) in [
        (r#"{"auths":{"h.io":{"auth":"dTpw"}}}"#, "h.io", "a", "u:p"),
        (r#"{"auths":{"h.io":{"auth":"dTpw"}}}"#, "other.io", "a", "none"),
        (r#"{"auths":{"h.io":{"auth":"dTpw"}}}"#, "h.io:5000", "a", "none"),
        (r#"{"auths":{"h.io:5000":{"auth":"dTpw"}}}"#, "h.io:5000", "a", "u:p"),
        (r#"{"auths":{"h.io:5000":{"auth":"dTpw"}}}"#, "h.io", "a", "none"),
        (r#"{"auths":{"https://h.io":{"auth":"dTpw"}}}"#, "h.io", "a", "u:p"),
        (r#"{"auths":{"https://h.io/":{"auth":"dTpw"}}}"#, "h.io", "a", "u:p"),
        (r#"{"auths":{"https://h.io/v1/":{"auth":"dTpw"}}}"#, "h.io", "a", "u:p"),
        (r#"{"auths":{"http://h.io/v2":{"auth":"dTpw"}}}"#, "h.io", "a", "u:p"),
        (r#"{"auths":{"h.io:443":{"auth":"dTpw"}}}"#, "h.io", "a", "u:p"),
        (r#"{"auths":{"H.IO":{"auth":"dTpw"}}}"#, "h.io", "a", "u:p"),
        (r#"{"auths":{"h.io":{"auth":"dTpw"}}}"#, "H.io", "a", "u:p"),
        (
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"}}}"#,
            "docker.io",
            "library/a",
            "u:p",
        ),
        (
            r#"{"auths":{"docker.io":{"auth":"dTpw"}}}"#,
            "docker.io",
            "library/a",
            "u:p",
        ),
        (
            r#"{"auths":{"registry-1.docker.io":{"auth":"dTpw"}}}"#,
            "docker.io",
            "x/a",
            "u:p",
        ),
        (scoped, "h.io", "x", "u:p"),
        (scoped, "h.io", "a", "a:1"),
        (scoped, "h.io", "ab", "u:p"),
        (scoped, "h.io", "a/c", "a:1"),
        (scoped, "h.io", "a/b/c", "b:2"),
        (&colons, "h.io", "a", "u:p:q:"),
        (&nul, "h.io", "a", "u:p"),
        (&url_safe, "h.io", "a", "u:\u{fb}\u{3ff}>?>"),
        (r#"{"auths":{"h.io":{"auth":"dTpwcQ"}}}"#, "h.io", "a", "u:pq"),
        (r#"{"auths":{"h.io":{"auth":"dTpwcQ=="}}}"#, "h.io", "a", "u:pq"),
        (r#"{"auths":{"h.io":{"auth":"dXA="}}}"#, "h.io", "a", "error"),
        (r#"{"auths":{"h.io":{"auth":"%%"}}}"#, "h.io", "a", "error"),
        (
            r#"{"auths":{"h.io":{"username":"u","password":"p"}}}"#,
            "h.io",
            "a",
            "u:p",
        ),
        (
            r#"{"auths":{"h.io":{"auth":"dTpw","username":"x","password":"y"}}}"#,
            "h.io",
            "a",
            "u:p",
        ),
        (
            r#"{"auths":{"h.io":{"auth":"","username":"x","password":"y"}}}"#,
            "h.io",
            "a",
            "x:y",
        ),
        (
            r#"{"auths":{"h.io":{"identitytoken":"TOKEN","auth":"dTpw"}}}"#,
            "h.io",
            "a",
            "identity TOKEN",
        ),
        (
            r#"{"auths":{"h.io":{"registrytoken":"TOKEN"}}}"#,
            "h.io",
            "a",
            "registry TOKEN",
        ),
        (
            r#"{"auths":{"h.io":{"username":"<token>","password":"TOKEN"}}}"#,
            "h.io",
            "a",
            "identity TOKEN",
        ),
        (r#"{"AUTHS":{"h.io":{"Auth":"dTpw"}}}"#, "h.io", "a", "u:p"),
        (r#"{"auths":{"h.io":{}}}"#, "h.io", "a", "none"),
        (r#"{"auths":{"h.io":null},"HttpHeaders":{"x":1}}"#, "h.io", "a", "none"),
        (r#"{"auths":{"[::1]:5000":{"auth":"dTpw"}}}"#, "[::1]:5000", "a", "u:p"),
        ("", "h.io", "a", "none"),
        ("{}", "h.io", "a", "none"),
        ("[]", "h.io", "a", "error"),
        ("{", "h.io", "a", "error"),
    ] {
        assert_eq!(
            look(&from_text(config), registry, repository),
            expected,
            "{config} for {registry}/{repository}"
        );
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn user(name: &str) -> String {
    format!(r#"{{"auths":{{"h.io":{{"username":"{name}","password":"p"}}}}}}"#)
}

/// Removes the winner of each round and expects the next in order.
#[test]
fn searches_places_in_order() {
    let home = tempfile::tempdir().unwrap();
    let at = |path: &str| home.path().join(path);
    let order = [
        ("auth-file", "auth.json"),
        ("docker-config", "docker/config.json"),
        ("runtime", "run/containers/auth.json"),
        ("config-home", "config/containers/auth.json"),
        ("home", ".docker/config.json"),
    ];
    for (name, path) in order {
        write(&at(path), &user(name));
    }
    write(&at(".dockercfg"), r#"{"h.io":{"username":"dockercfg","password":"p"}}"#);
    let mut sources = CredentialSources {
        docker_auth_config: Some(SecretText::new(user("variable"))),
        registry_auth_file: Some(at("auth.json")),
        docker_config: Some(at("docker")),
        xdg_runtime_dir: Some(at("run")),
        xdg_config_home: Some(at("config")),
        home: Some(home.path().to_owned()),
        uid: u32::MAX,
        ..CredentialSources::default()
    };
    assert_eq!(look(&Credentials::new(sources.clone()), "h.io", "a"), "variable:p");
    sources.docker_auth_config = None;
    for (name, path) in order {
        assert_eq!(
            look(&Credentials::new(sources.clone()), "h.io", "a"),
            format!("{name}:p")
        );
        std::fs::remove_file(at(path)).unwrap();
    }
    assert_eq!(look(&Credentials::new(sources.clone()), "h.io", "a"), "dockercfg:p");
    assert_eq!(Credentials::new(sources).searched().len(), 7);
}

#[test]
fn variables_are_asked_after_all_files() {
    let variables = [
        "KANIKO_H_IO_USER",
        "KANIKO_H_IO_PASSWORD",
        "CI_REGISTRY_USER",
        "CI_REGISTRY_PASSWORD",
    ];
    let variables = variables.map(|name| (name.to_owned(), SecretText::new(name.to_owned())));
    let registry = ("CI_REGISTRY".to_owned(), SecretText::new("h.io".to_owned()));
    let sources = |config: &str, helpers: &[BuiltinHelper]| {
        Credentials::new(CredentialSources {
            docker_auth_config: Some(SecretText::new(config.to_owned())),
            uid: u32::MAX,
            variables: variables.iter().cloned().chain([registry.clone()]).collect(),
            helpers: helpers.to_vec(),
            ..CredentialSources::default()
        })
    };
    let other = r#"{"auths":{"other.io":{"auth":"dTpw"}}}"#;
    let own = r#"{"auths":{"h.io":{"auth":"dTpw"}}}"#;
    let gitlab = [BuiltinHelper::Gitlab];
    for (config, helpers, expected) in [
        (own, &BuiltinHelper::ALL[..], "u:p"),
        (other, &BuiltinHelper::ALL, "KANIKO_H_IO_USER:KANIKO_H_IO_PASSWORD"),
        (other, &gitlab, "CI_REGISTRY_USER:CI_REGISTRY_PASSWORD"),
        (other, &[], "none"),
    ] {
        assert_eq!(look(&sources(config, helpers), "h.io", "a"), expected);
    }
}

#[test]
fn damage_is_an_error_only_where_the_user_pointed() {
    let home = tempfile::tempdir().unwrap();
    write(&home.path().join(".docker/config.json"), "{");
    let implicit = Credentials::new(CredentialSources {
        home: Some(home.path().to_owned()),
        ..CredentialSources::default()
    });
    let mut warnings = Vec::new();
    let found = implicit.lookup("h.io", "a", &mut |text| warnings.push(text.to_owned()));
    assert_eq!(describe(found), "none");
    assert!(warnings[0].contains("line 1"), "{warnings:?}");
    let explicit = Credentials::new(CredentialSources {
        docker_config: Some(home.path().join(".docker")),
        ..CredentialSources::default()
    });
    assert_eq!(look(&explicit, "h.io", "a"), "error");
}

#[test]
fn docker_config_may_be_the_file_itself() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("credentials");
    write(&file, &user("named"));
    let credentials = Credentials::new(CredentialSources {
        docker_config: Some(file),
        ..CredentialSources::default()
    });
    assert_eq!(look(&credentials, "h.io", "a"), "named:p");
}

/// A helper named `test` with the given shell script for a body.
fn with_helper(script: &str, config: &str) -> (tempfile::TempDir, Credentials) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("docker-credential-test");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let credentials = Credentials::new(CredentialSources {
        docker_auth_config: Some(SecretText::new(config.to_owned())),
        path: Some(directory.path().as_os_str().to_owned()),
        ..CredentialSources::default()
    });
    (directory, credentials)
}

#[test]
fn asks_helpers() {
    let answer = r#"read server; echo "{\"ServerURL\":\"$server\",\"Username\":\"$server\",\"Secret\":\"s\"}""#;
    let token = format!(r#"echo '{{"Username":"<token>","Secret":"{TOKEN}"}}'"#);
    let for_host = r#"{"credHelpers":{"h.io":"test"},"auths":{"h.io":{"auth":"dTpw"}}}"#;
    let store = r#"{"credsStore":"test","auths":{"h.io":{}}}"#;
    let not_found = "echo 'credentials not found in native keychain'; exit 1";
    for (script, config, registry, expected) in [
        (answer, for_host, "h.io", "h.io:s"),
        (answer, store, "h.io", "h.io:s"),
        (answer, store, "docker.io", "https://index.docker.io/v1/:s"),
        (&token, for_host, "h.io", &format!("identity {TOKEN}")),
        (not_found, for_host, "h.io", "u:p"),
        (not_found, store, "h.io", "none"),
        ("echo boom; exit 1", for_host, "h.io", "error"),
        ("echo not json", for_host, "h.io", "error"),
        (answer, r#"{"credHelpers":{"h.io":"absent"}}"#, "h.io", "error"),
        (answer, r#"{"credHelpers":{"h.io":"../test"}}"#, "h.io", "error"),
        (answer, r#"{"credHelpers":{"other.io":"test"}}"#, "h.io", "none"),
    ] {
        let (_directory, credentials) = with_helper(script, config);
        assert_eq!(look(&credentials, registry, "a"), expected, "{script} with {config}");
    }
}

#[test]
fn a_hanging_helper_is_killed_with_its_children() {
    let (_directory, mut credentials) = with_helper("sleep 600 & sleep 600", r#"{"credsStore":"test"}"#);
    credentials.helpers.timeout = Duration::from_millis(50);
    let error = credentials.lookup("h.io", "a", &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("no answer"), "{error}");
}

#[test]
fn secrets_are_not_shown() {
    let credentials = from_text(r#"{"auths":{"h.io":{"username":"u","password":"hidden"}}}"#);
    let found = credentials.lookup("h.io", "a", &mut |_| ()).unwrap();
    for text in [format!("{credentials:?}"), format!("{found:?}")] {
        assert!(!text.contains("hidden"), "{text}");
    }
    let damaged = from_text(r#"{"auths":{"h.io":{"password":hidden}}}"#);
    let error = damaged.lookup("h.io", "a", &mut |_| ()).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hidden"), "{error:?}");
}
