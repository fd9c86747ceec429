//! The registry client against the reference registry, and against one that misbehaves.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod registry_support;

use std::error::Error;
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rbuild::cancel::Cancel;
use rbuild::http::Backoff;
use rbuild::oci::{Descriptor, Digest, Index, Manifest, ManifestFormat, MediaType, Platform, Raw, Reference};
use rbuild::progress::{Event, Progress, Silent, TransferEnd};
use rbuild::registry::{Client, CredentialSources, Credentials, RegistryError, RegistryOptions};
use rbuild::secret::SecretText;
use rbuild::store::{Blob, Blobs, Incoming, StoreError};
use registry_support::{Registry, Scripted, Seen, answer, cut_answer};

/// A retry should cost a test nothing.
fn options() -> RegistryOptions {
    RegistryOptions {
        backoff: Backoff {
            first: Duration::from_millis(1),
            longest: Duration::from_millis(4),
        },
        ..RegistryOptions::default()
    }
}

fn client() -> Client {
    client_with(options(), Credentials::anonymous())
}

fn client_with(options: RegistryOptions, credentials: Credentials) -> Client {
    Client::new(options, credentials, Arc::new(Silent), Cancel::default()).unwrap()
}

fn password(host: &str, user: &str, password: &str) -> Credentials {
    let config = format!(r#"{{"auths":{{"{host}":{{"username":"{user}","password":"{password}"}}}}}}"#);
    Credentials::new(CredentialSources {
        docker_auth_config: Some(SecretText::new(config)),
        uid: u32::MAX,
        ..CredentialSources::default()
    })
}

/// The error with its causes and its hint, as a user gets to see it.
fn told(error: &RegistryError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    match error.hint() {
        Some(hint) => format!("{text}\nhint: {hint}"),
        None => text,
    }
}

fn amd64() -> Platform {
    "linux/amd64".parse().unwrap()
}

fn reference(host: &str, rest: &str) -> Reference {
    format!("{host}/{rest}").parse().unwrap()
}

/// An image of two layers in a directory of its own.
struct Image {
    _directory: tempfile::TempDir,
    blobs: Blobs,
    layers: Vec<Blob>,
    config: Blob,
    manifest: Raw<Manifest>,
}

impl Image {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(directory.path()).unwrap();
        // Several reads and writes long, and not one byte like its neighbour.
        let large: Vec<u8> = (0..200_000_u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        let layers = vec![
            blobs.put(MediaType::ImageLayer, &large).unwrap(),
            blobs.put(MediaType::ImageLayer, b"small").unwrap(),
        ];
        let diff_ids: Vec<String> = layers.iter().map(|layer| layer.digest().to_string()).collect();
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = blobs
            .put(MediaType::ImageConfig, &serde_json::to_vec(&config).unwrap())
            .unwrap();
        let descriptors = layers.iter().map(|layer| layer.descriptor().clone()).collect();
        let manifest = Manifest::new(ManifestFormat::Oci, config.descriptor().clone(), descriptors);
        Self {
            _directory: directory,
            blobs,
            layers,
            config,
            manifest: Raw::write(manifest),
        }
    }

    fn push(
        &self,
        client: &Client,
        target: &Reference,
        from: Option<&Reference>,
    ) -> Result<Vec<TransferEnd>, RegistryError> {
        let blobs = self.layers.iter().chain([&self.config]);
        let ends = blobs
            .map(|blob| client.push_blob(target, blob, from))
            .collect::<Result<_, _>>()?;
        client.put_manifest(target, self.manifest.bytes(), &MediaType::ImageManifest)?;
        Ok(ends)
    }
}

/// Downloads into an empty store.
fn download(client: &Client, from: &Reference, descriptor: &Descriptor) -> Result<Vec<u8>, Arc<RegistryError>> {
    let directory = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(directory.path()).unwrap();
    let (writer, _incoming) = blobs.incoming(descriptor).unwrap();
    let blob = client.download(from, writer)?;
    Ok(std::fs::read(blob.path()).unwrap())
}

#[test]
fn pushes_and_pulls_back() {
    let registry = Registry::start();
    let target = reference(&registry.host, "group/app:1");
    let image = Image::new();
    let client = client();
    client.check_push(&target).unwrap();
    assert_eq!(image.push(&client, &target, None).unwrap(), [TransferEnd::Done; 3]);
    let pulled = client.resolve(&target, &amd64()).unwrap();
    assert_eq!(pulled.manifest.bytes(), image.manifest.bytes());
    assert_eq!(pulled.config.rootfs.diff_ids.len(), 2);
    assert_eq!(Digest::of(&pulled.config_bytes), *image.config.digest());
    let by_digest = target.with_digest(*image.manifest.digest());
    assert_eq!(
        client.resolve(&by_digest, &amd64()).unwrap().manifest.bytes(),
        image.manifest.bytes()
    );
    for layer in &image.layers {
        let bytes = download(&client, &target, layer.descriptor()).unwrap();
        assert_eq!(bytes, std::fs::read(layer.path()).unwrap());
    }
}

#[test]
fn a_second_push_sends_nothing() {
    let registry = Registry::start();
    let target = reference(&registry.host, "app:1");
    let image = Image::new();
    let first = client();
    image.push(&first, &target, None).unwrap();
    // The same client knows, another one asks.
    for client in [first, client()] {
        assert_eq!(image.push(&client, &target, None).unwrap(), [TransferEnd::Exists; 3]);
    }
}

#[test]
fn blobs_are_mounted_from_another_repository() {
    let registry = Registry::start();
    let (source, target) = (
        reference(&registry.host, "base:1"),
        reference(&registry.host, "group/app:1"),
    );
    let image = Image::new();
    let client = client();
    image.push(&client, &source, None).unwrap();
    assert_eq!(
        image.push(&client, &target, Some(&source)).unwrap(),
        [TransferEnd::Mounted; 3]
    );
    let absent = reference(&registry.host, "absent");
    let third = reference(&registry.host, "third");
    assert_eq!(
        image.push(&client, &third, Some(&absent)).unwrap(),
        [TransferEnd::Done; 3]
    );
}

#[test]
fn passwords_open_and_close_the_door() {
    let registry = Registry::with_password("me", "secret-password");
    let target = reference(&registry.host, "app:1");
    let image = Image::new();
    let right = client_with(options(), password(&registry.host, "me", "secret-password"));
    right.check_push(&target).unwrap();
    image.push(&right, &target, None).unwrap();
    right.resolve(&target, &amd64()).unwrap();

    let wrong = client_with(options(), password(&registry.host, "me", "wrong-password"));
    let error = wrong.check_push(&target).unwrap_err();
    let text = told(&error);
    assert_eq!(error.status(), Some(401));
    assert!(
        text.contains("UNAUTHORIZED") && text.contains("did not accept the user \"me\""),
        "{text}"
    );
    assert!(
        !text.contains("wrong-password") && !format!("{error:?}").contains("wrong-password"),
        "{error:?}"
    );

    let nobody = client();
    let text = told(&nobody.resolve(&target, &amd64()).unwrap_err());
    assert!(
        text.contains("no credentials") && text.contains("docker login"),
        "{text}"
    );
}

#[test]
fn what_is_not_there_is_named() {
    let registry = Registry::start();
    let target = reference(&registry.host, "app:1");
    let image = Image::new();
    let client = client();
    let text = told(&client.resolve(&target, &amd64()).unwrap_err());
    assert!(text.contains("404") && text.contains("MANIFEST_UNKNOWN"), "{text}");
    image.push(&client, &target, None).unwrap();
    let text = told(
        &client
            .resolve(&reference(&registry.host, "app:2"), &amd64())
            .unwrap_err(),
    );
    assert!(
        text.contains("manifests/2") && text.contains("check the name and the tag"),
        "{text}"
    );
    let absent = Descriptor::new(MediaType::ImageLayer, Digest::of(b"absent"), 6);
    let text = told(&download(&client, &target, &absent).unwrap_err());
    assert!(text.contains("404"), "{text}");
}

#[test]
fn an_index_gives_the_image_for_the_platform() {
    let registry = Registry::start();
    let target = reference(&registry.host, "app:1");
    let image = Image::new();
    let client = client();
    image.push(&client, &target, None).unwrap();
    let entry = |platform: &str| Descriptor {
        platform: Some(platform.parse().unwrap()),
        ..Descriptor::new(
            MediaType::ImageManifest,
            *image.manifest.digest(),
            image.manifest.bytes().len() as u64,
        )
    };
    let attestation = Descriptor {
        annotations: [(
            "vnd.docker.reference.type".to_owned(),
            "attestation-manifest".to_owned(),
        )]
        .into(),
        ..entry("linux/amd64")
    };
    let index = Raw::write(Index::new(
        ManifestFormat::Oci,
        vec![attestation, entry("linux/arm64"), entry("linux/amd64")],
    ));
    let many = reference(&registry.host, "app:many");
    client
        .put_manifest(&many, index.bytes(), &MediaType::ImageIndex)
        .unwrap();
    let resolved = client.resolve(&many, &amd64()).unwrap();
    assert_eq!(resolved.index.map(|index| *index.digest()), Some(*index.digest()));
    assert_eq!(resolved.manifest.digest(), image.manifest.digest());
    let text = told(&client.resolve(&many, &"linux/s390x".parse().unwrap()).unwrap_err());
    assert!(
        text.contains("linux/s390x") && text.contains("linux/arm64, linux/amd64"),
        "{text}"
    );
}

#[test]
fn certificates_are_demanded_and_may_be_named() {
    let registry = Registry::with_tls();
    let target = reference(&registry.host, "app:1");
    let error = client().check_push(&target).unwrap_err();
    assert!(told(&error).contains("--registry-certificate"), "{}", told(&error));
    let named = RegistryOptions {
        registry_certificates: [(registry.host.clone(), registry.certificate())].into(),
        ..options()
    };
    let blind = RegistryOptions {
        skip_tls_verify: true,
        ..options()
    };
    let insecure = RegistryOptions {
        insecure_registries: [registry.host.clone()].into(),
        ..options()
    };
    let other = RegistryOptions {
        skip_tls_verify_registries: ["127.0.0.1:1".to_owned()].into(),
        ..options()
    };
    for works in [named, blind, insecure] {
        client_with(works, Credentials::anonymous())
            .check_push(&target)
            .unwrap();
    }
    assert!(
        client_with(other, Credentials::anonymous())
            .check_push(&target)
            .is_err()
    );
}

#[test]
fn nobody_at_home_is_found_out_soon() {
    // Bound and released: nobody listens there.
    let host = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let begun = Instant::now();
    let error = client().resolve(&reference(&host, "app"), &amd64()).unwrap_err();
    assert!(
        told(&error).contains(&format!("is a registry running at {host}?")),
        "{}",
        told(&error)
    );
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn an_interrupted_build_does_not_wait() {
    // Accepts and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let cancel = Cancel::default();
    let client = Client::new(options(), Credentials::anonymous(), Arc::new(Silent), cancel.clone()).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| client.resolve(&reference(&host, "app"), &amd64()));
        let _connection = listener.accept().unwrap();
        cancel.by_signal(2);
        assert!(matches!(waiting.join().unwrap(), Err(RegistryError::Cancelled(_))));
    });
}

/// Content that shows where a piece belongs.
fn content() -> Vec<u8> {
    (0..50_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor::new(MediaType::ImageLayer, Digest::of(bytes), bytes.len() as u64)
}

fn range_start(request: &Seen) -> Option<usize> {
    let range = request.header("range")?.strip_prefix("bytes=")?;
    range.trim_end_matches('-').parse().ok()
}

#[test]
fn a_cut_download_is_resumed_where_it_broke() {
    let bytes = content();
    let served = bytes.clone();
    let server = Scripted::start(move |request, _| match range_start(request) {
        None => cut_answer("200 OK", "", served.len(), &served[..70_001]),
        Some(start @ 0..100_000) => {
            let range = format!("Content-Range: bytes {start}-{}/{}\r\n", served.len() - 1, served.len());
            cut_answer(
                "206 Partial Content",
                &range,
                served.len() - start,
                &served[start..130_002],
            )
        }
        // This one ignores the range.
        Some(_) => answer("200 OK", "", &served),
    });
    let found = download(&client(), &reference(&server.host, "app"), &descriptor(&bytes)).unwrap();
    assert_eq!(found, bytes);
    let starts: Vec<_> = server.seen().iter().map(range_start).collect();
    assert_eq!(starts, [None, Some(70_001), Some(130_002)]);
}

#[test]
fn a_range_that_lies_is_not_believed() {
    let bytes = content();
    let served = bytes.clone();
    let server = Scripted::start(move |request, before| match (before, range_start(request)) {
        (0, _) => cut_answer("200 OK", "", served.len(), &served[..1000]),
        (_, Some(_)) => answer("206 Partial Content", "Content-Range: bytes 5-9/10\r\n", &served[5..10]),
        (_, None) => answer("200 OK", "", &served),
    });
    let found = download(&client(), &reference(&server.host, "app"), &descriptor(&bytes)).unwrap();
    assert_eq!(found, bytes);
}

/// Readers that were faster than the network follow a resumed download without noticing.
#[test]
fn readers_follow_a_resumed_download() {
    let bytes = content();
    let served = bytes.clone();
    let server = Scripted::start(move |request, _| match range_start(request) {
        None => cut_answer("200 OK", "", served.len(), &served[..70_001]),
        Some(start) => {
            let range = format!("Content-Range: bytes {start}-{}/*\r\n", served.len() - 1);
            answer("206 Partial Content", &range, &served[start..])
        }
    });
    let image = Image::new();
    let (writer, incoming) = image.blobs.incoming(&descriptor(&bytes)).unwrap();
    let client = client();
    let found = thread::scope(|scope| {
        scope.spawn(|| client.download(&reference(&server.host, "app"), writer).unwrap());
        let mut found = Vec::new();
        incoming.reader().read_to_end(&mut found).unwrap();
        found
    });
    assert_eq!(found, bytes);
}

#[test]
fn wrong_bytes_are_tried_once_more_and_refused() {
    let server = Scripted::start(|_, _| answer("200 OK", "", b"wrong"));
    let image = Image::new();
    let (writer, incoming) = image.blobs.incoming(&descriptor(b"right")).unwrap();
    let error = client().download(&reference(&server.host, "app"), writer).unwrap_err();
    assert!(told(&error).contains("has the digest"), "{}", told(&error));
    assert_eq!(server.seen().len(), 2);
    let cause = Incoming::wait(&incoming).unwrap_err();
    assert!(
        matches!(cause.downcast_ref(), Some(RegistryError::Store { source, .. }) if matches!(**source, StoreError::Digest { .. }))
    );
}

#[test]
fn an_endless_blob_is_cut() {
    let server = Scripted::start(|_, _| b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nright and more".to_vec());
    let error = download(&client(), &reference(&server.host, "app"), &descriptor(b"right")).unwrap_err();
    assert!(told(&error).contains("bytes instead of 5"), "{}", told(&error));
    let server = Scripted::start(|_, _| answer("200 OK", "", b"right and more"));
    assert!(matches!(
        *download(&client(), &reference(&server.host, "app"), &descriptor(b"right")).unwrap_err(),
        RegistryError::TooLarge { .. }
    ));
}

/// Writes down retries.
#[derive(Debug, Default)]
struct Retries(Mutex<Vec<String>>);

impl Progress for Retries {
    fn event(&self, event: Event<'_>) {
        if let Event::Retry { cause, attempt, .. } = event {
            self.0.lock().unwrap().push(format!("{attempt}: {cause}"));
        }
    }
}

#[test]
fn a_server_that_recovers_is_forgiven() {
    let server = Scripted::start(|_, before| match before {
        0 | 1 => answer("500 Internal Server Error", "", b"<html>oops</html>"),
        _ => answer("200 OK", "", b"right"),
    });
    let retries = Arc::new(Retries::default());
    let client = Client::new(
        options(),
        Credentials::anonymous(),
        Arc::<Retries>::clone(&retries),
        Cancel::default(),
    );
    let found = download(&client.unwrap(), &reference(&server.host, "app"), &descriptor(b"right")).unwrap();
    assert_eq!(found, b"right");
    let told = retries.0.lock().unwrap();
    assert_eq!(told.len(), 2);
    assert!(
        told[0].starts_with("2: ") && told[0].contains("500 Internal Server Error: <html>oops</html>"),
        "{told:?}"
    );
}

#[test]
fn a_server_that_does_not_is_given_up() {
    let server = Scripted::start(|_, _| {
        let body = br#"{"errors":[{"code":"UNAVAILABLE","message":"storage is away"}]}"#;
        answer("503 Service Unavailable", "", body)
    });
    let target = reference(&server.host, "app:1");
    let options = RegistryOptions {
        download_retry: 3,
        push_retry: 2,
        ..options()
    };
    let client = client_with(options, Credentials::anonymous());
    let text = told(&client.resolve(&target, &amd64()).unwrap_err());
    assert!(
        text.contains("503 Service Unavailable, UNAVAILABLE: storage is away"),
        "{text}"
    );
    assert_eq!(server.seen().len(), 4);
    assert_eq!(client.check_push(&target).unwrap_err().code(), Some("UNAVAILABLE"));
    assert_eq!(server.seen().len(), 7);
}

#[test]
fn refusals_are_not_repeated() {
    let server =
        Scripted::start(|_, _| answer("403 Forbidden", "", br#"{"errors":[{"code":"DENIED","message":"no"}]}"#));
    let target = reference(&server.host, "app:1");
    assert!(told(&client().check_push(&target).unwrap_err()).contains("403 Forbidden, DENIED: no"));
    assert_eq!(server.seen().len(), 1);
}

/// The registry wants Basic and sends the bytes elsewhere; the other server must not learn the password.
#[test]
fn a_redirect_takes_no_password_along() {
    let storage = Scripted::start(|_, _| answer("200 OK", "", b"right"));
    let target = format!("Location: http://{}/signed?signature=hidden\r\n", storage.host);
    let registry = Scripted::start(move |request, _| match request.header("authorization") {
        None => answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", b""),
        Some(_) => answer("307 Temporary Redirect", &target, b""),
    });
    let client = client_with(options(), password(&registry.host, "me", "secret"));
    let found = download(&client, &reference(&registry.host, "app"), &descriptor(b"right")).unwrap();
    assert_eq!(found, b"right");
    assert_eq!(registry.seen().len(), 2);
    let stored = storage.seen();
    assert_eq!(stored[0].line, "GET /signed?signature=hidden");
    assert_eq!(stored[0].header("authorization"), None);
}

#[test]
fn a_failed_redirect_does_not_show_its_signature() {
    let server = Scripted::start(|request, _| match request.line.contains("signature") {
        true => answer("403 Forbidden", "", b"expired"),
        false => answer(
            "307 Temporary Redirect",
            "Location: /elsewhere?signature=hidden\r\n",
            b"",
        ),
    });
    let error = download(&client(), &reference(&server.host, "app"), &descriptor(b"right")).unwrap_err();
    assert!(
        told(&error).contains("/elsewhere: 403") && !format!("{error:?}").contains("hidden"),
        "{error:?}"
    );
}

#[test]
fn circles_of_redirects_end() {
    let server = Scripted::start(|_, _| answer("307 Temporary Redirect", "Location: /again\r\n", b""));
    let error = client().resolve(&reference(&server.host, "app"), &amd64()).unwrap_err();
    assert!(told(&error).contains("too many redirects"), "{}", told(&error));
}

/// A registry with a token service, both scripted: what is asked for, and what is sent.
#[test]
fn tokens_are_fetched_once_and_renewed_when_refused() {
    let service =
        Scripted::start(|_, before| answer("200 OK", "", format!(r#"{{"token":"token-{before}"}}"#).as_bytes()));
    let challenge = format!(
        "WWW-Authenticate: Bearer realm=\"http://{}/token?p=1\",service=\"reg\",scope=\"repository:app:pull\"\r\n",
        service.host
    );
    let registry = Scripted::start(move |request, before| match (request.header("authorization"), before) {
        (Some("Bearer token-0"), ..3) | (Some("Bearer token-1"), _) => answer("200 OK", "", b"right"),
        _ => answer("401 Unauthorized", &challenge, b""),
    });
    let client = client_with(options(), password(&registry.host, "me", "secret"));
    let target = reference(&registry.host, "app");
    for _ in 0..3 {
        assert_eq!(download(&client, &target, &descriptor(b"right")).unwrap(), b"right");
    }
    let asked = service.seen();
    assert_eq!(asked.len(), 2);
    assert_eq!(
        asked[0].line,
        "GET /token?p=1&service=reg&scope=repository%3Aapp%3Apull&account=me"
    );
    assert!(asked[0].header("authorization").unwrap().starts_with("Basic "));
}

#[test]
fn tokens_that_do_not_help_end_the_matter() {
    let service = Scripted::start(|_, _| answer("200 OK", "", br#"{"access_token":"useless"}"#));
    let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{}/\"\r\n", service.host);
    let registry = Scripted::start(move |_, _| answer("401 Unauthorized", &challenge, b""));
    let error = client()
        .resolve(&reference(&registry.host, "app"), &amd64())
        .unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized { .. }));
    assert_eq!((registry.seen().len(), service.seen().len()), (2, 1));
}

fn methods(server: &Scripted) -> Vec<String> {
    let first_word = |request: &Seen| request.line.split(' ').next().unwrap_or_default().to_owned();
    server.seen().iter().map(first_word).collect()
}

fn respond_to_upload(request: &Seen, put: &dyn Fn() -> Vec<u8>) -> Vec<u8> {
    match request.line.split(' ').next().unwrap() {
        "HEAD" => answer("404 Not Found", "", b""),
        "POST" => answer("202 Accepted", "Location: /upload?_state=a%2Bb\r\n", b""),
        _ => put(),
    }
}

#[test]
fn a_dead_session_is_replaced() {
    let server = Scripted::start(|request, before| {
        respond_to_upload(request, &|| match before {
            ..4 => answer("404 Not Found", "", br#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#),
            _ => answer("201 Created", "", b""),
        })
    });
    let image = Image::new();
    let end = client()
        .push_blob(&reference(&server.host, "app"), &image.layers[0], None)
        .unwrap();
    assert_eq!(end, TransferEnd::Done);
    let seen = server.seen();
    assert_eq!(methods(&server), ["HEAD", "POST", "PUT", "POST", "PUT"]);
    let digest = image.layers[0].digest().to_string().replace(':', "%3A");
    assert_eq!(seen[4].line, format!("PUT /upload?_state=a%2Bb&digest={digest}"));
    assert_eq!(seen[4].body, std::fs::read(image.layers[0].path()).unwrap());
}

#[test]
fn a_registry_without_monolithic_uploads_gets_a_patch() {
    let server = Scripted::start(|request, _| match request.line.starts_with("PATCH ") {
        true => answer("202 Accepted", "Location: /patched\r\n", b""),
        false => respond_to_upload(request, &|| match request.line.starts_with("PUT /patched?digest=") {
            true => answer("201 Created", "", b""),
            false => answer("405 Method Not Allowed", "", b""),
        }),
    });
    let image = Image::new();
    let client = client();
    for layer in &image.layers {
        client.push_blob(&reference(&server.host, "app"), layer, None).unwrap();
    }
    let seen = server.seen();
    assert_eq!(
        methods(&server),
        [
            "HEAD", "POST", "PUT", "POST", "PATCH", "PUT", "HEAD", "POST", "PATCH", "PUT"
        ]
    );
    assert_eq!(seen[4].body, std::fs::read(image.layers[0].path()).unwrap());
    assert_eq!(seen[5].header("content-length"), Some("0"));
}

#[test]
fn a_commit_whose_answer_is_lost_is_looked_up() {
    let server = Scripted::start(|request, before| match request.line.split(' ').next().unwrap() {
        "HEAD" if before > 0 => cut_answer("200 OK", "", 5, b""),
        // The bytes arrive and the answer does not.
        "PUT" => Vec::new(),
        _ => respond_to_upload(request, &Vec::new),
    });
    let image = Image::new();
    let end = client().push_blob(&reference(&server.host, "app"), &image.layers[1], None);
    assert_eq!(end.unwrap(), TransferEnd::Done);
    let methods = methods(&server);
    assert_eq!(
        methods.iter().filter(|method| *method == "PUT").count(),
        1,
        "{methods:?}"
    );
}

#[test]
fn a_blob_of_another_length_is_no_reason_not_to_upload() {
    let server = Scripted::start(|request, _| match request.line.starts_with("HEAD ") {
        true => cut_answer("200 OK", "", 4, b""),
        false => respond_to_upload(request, &|| answer("201 Created", "", b"")),
    });
    let image = Image::new();
    let end = client().push_blob(&reference(&server.host, "app"), &image.layers[1], None);
    assert_eq!(end.unwrap(), TransferEnd::Done);
}

#[test]
fn a_mount_that_becomes_a_session_is_used() {
    let server = Scripted::start(|request, _| match request.line.contains("?mount=") {
        true => answer("202 Accepted", "Location: /session\r\n", b""),
        false => respond_to_upload(request, &|| answer("201 Created", "", b"")),
    });
    let image = Image::new();
    let from = reference(&server.host, "base");
    let end = client().push_blob(&reference(&server.host, "app"), &image.layers[1], Some(&from));
    assert_eq!(end.unwrap(), TransferEnd::Done);
    assert_eq!(methods(&server), ["HEAD", "POST", "PUT"]);
    assert!(server.seen()[2].line.starts_with("PUT /session?digest="));
    assert!(server.seen()[1].line.ends_with("&from=base"));
}

#[test]
fn a_manifest_that_changes_on_the_way_is_an_error() {
    let server = Scripted::start(|request, _| match request.line.starts_with("HEAD ") {
        true => answer("404 Not Found", "", b""),
        false => {
            let header = format!("Docker-Content-Digest: {}\r\n", Digest::of(b"other"));
            answer("201 Created", &header, b"")
        }
    });
    let target = reference(&server.host, "app:1");
    let error = client()
        .put_manifest(&target, b"{}", &MediaType::ImageManifest)
        .unwrap_err();
    assert!(matches!(error, RegistryError::WrongDigest { .. }), "{error:?}");
}

#[test]
fn a_manifest_that_is_there_is_not_sent() {
    let server = Scripted::start(|_, _| {
        let header = format!("Docker-Content-Digest: {}\r\n", Digest::of(b"{}"));
        answer("200 OK", &header, b"")
    });
    let target = reference(&server.host, "app:1");
    client()
        .put_manifest(&target, b"{}", &MediaType::ImageManifest)
        .unwrap();
    assert_eq!(methods(&server), ["HEAD"]);
}

/// The first mirror is down, the second breaks off, and the registry itself has the rest.
#[test]
fn mirrors_are_tried_first_and_stand_in_for_each_other() {
    let bytes = content();
    let served = bytes.clone();
    let broken = Scripted::start(move |_, before| match before {
        0 => cut_answer("200 OK", "", served.len(), &served[..1000]),
        _ => answer("404 Not Found", "", b""),
    });
    let served = bytes.clone();
    let origin = Scripted::start(move |request, _| {
        let start = range_start(request).unwrap_or_default();
        let range = format!("Content-Range: bytes {start}-{0}/*\r\n", served.len() - 1);
        answer("206 Partial Content", &range, &served[start..])
    });
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mirrors = vec![nobody.to_string(), format!("http://{}/cache", broken.host)];
    let options = RegistryOptions {
        maps: [(origin.host.clone(), mirrors)].into(),
        ..options()
    };
    let client = client_with(options, password(&origin.host, "me", "secret"));
    let found = download(&client, &reference(&origin.host, "app"), &descriptor(&bytes)).unwrap();
    assert_eq!(found, bytes);
    assert!(broken.seen()[0].line.starts_with("GET /v2/cache/app/blobs/sha256:"));
    assert_eq!(range_start(&origin.seen()[0]), Some(1000));
    assert!(
        broken
            .seen()
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
}
