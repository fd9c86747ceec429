//! Contexts in cloud storages.

use super::support::clouds::Clouds;
use super::support::process::Output;
use super::support::scripted::{Answer, Scripted};
use super::support::{Rbuild, Sandbox};
use super::{Site, assert_lines, packed};

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};

use rustix::process::Signal;

/// Nobody listens there.
const NOBODY: &str = "127.0.0.1:1";

/// One set of storages for all of them: they take seconds to start.
#[test]
fn root_s3_google_and_azure_hold_contexts() {
    let clouds = Clouds::start(&gzip(&packed()));
    s3(&clouds);
    s3_credentials(&clouds);
    s3_regions(&clouds);
    google(&clouds);
    azure(&clouds);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let sandbox = Sandbox::new();
    let path = sandbox.write("file", bytes);
    let mut gzip = sandbox.command("gzip");
    gzip.arg(&path);
    let _packed = sandbox.run(gzip).success();
    std::fs::read(sandbox.path("file.gz")).unwrap()
}

/// The context arrived, and its ignore file counted.
fn assert_built(site: &Site, rbuild: Rbuild<'_>) {
    let lines = site.lines(rbuild.run());
    assert_lines(&lines, &["/d/sub/inner file 0644 0:0 \"inner\""]);
    let others = ["/d/kept ", "/d/object ", "/d/context.tar.gz "];
    let found = lines
        .iter()
        .find(|line| others.iter().any(|other| line.starts_with(other)));
    assert_eq!(found, None, "{lines:#?}");
}

fn s3(clouds: &Clouds) {
    let site = Site::new();
    let (key, secret) = clouds.keys();
    let endpoint = format!("http://{}", clouds.s3());
    let rbuild = |context: &str| {
        let rbuild = site.rbuild(context).env("S3_ENDPOINT", &endpoint);
        rbuild
            .env("AWS_ACCESS_KEY_ID", key)
            .env("AWS_SECRET_ACCESS_KEY", secret)
    };
    for context in ["s3://ctx", "s3://ctx/context.tar.gz", "s3://ctx/a folder/c+d%41.tar"] {
        assert_built(&site, rbuild(context));
    }
    let by_name = endpoint.replace("127.0.0.1", "localhost");
    assert_built(
        &site,
        rbuild("s3://ctx")
            .env("S3_ENDPOINT", by_name)
            .env("S3_FORCE_PATH_STYLE", "True"),
    );
    // What files of secrets end in.
    assert_built(
        &site,
        rbuild("s3://ctx").env("AWS_SECRET_ACCESS_KEY", format!("{secret}\n")),
    );
    let lines = site.lines(rbuild("s3://ctx").arg("--context-sub-path=sub").run());
    assert_lines(&lines, &["/inner file 0644 0:0 \"inner\""]);

    let failed =
        |rbuild: Rbuild<'_>, texts: &[&str]| drop(rbuild.run().failure_with(texts).without(&[secret, "wr0ng"]));
    failed(
        rbuild("s3://ctx").arg("--context-sub-path=absent"),
        &["s3://ctx/context.tar.gz has no directory \"absent\""],
    );
    failed(
        rbuild("s3://absent/k"),
        &["the bucket absent does not exist", "NoSuchBucket"],
    );
    failed(
        rbuild("s3://ctx/absent"),
        &["the bucket ctx has no object \"absent\"", "NoSuchKey"],
    );
    failed(
        rbuild("s3://closed"),
        &[
            "s3://closed/context.tar.gz is not given to the user of AWS_ACCESS_KEY_ID",
            "403",
            "s3:GetObject",
        ],
    );
    failed(
        rbuild("s3://ctx").env("AWS_SECRET_ACCESS_KEY", "wr0ng"),
        &[
            "SignatureDoesNotMatch",
            "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID",
        ],
    );
    failed(
        rbuild("s3://ctx").env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        &["InvalidAccessKeyId", "this server does not know AWS_ACCESS_KEY_ID"],
    );
    failed(
        rbuild("s3://ctx").env("AWS_SESSION_TOKEN", "wr0ng"),
        &["InvalidToken", "AWS_SESSION_TOKEN belongs to other keys"],
    );
    failed(
        rbuild("s3://ctx").env("AWS_SECRET_ACCESS_KEY", ""),
        &["AWS_SECRET_ACCESS_KEY: it is not set, and AWS_ACCESS_KEY_ID is"],
    );
    failed(
        rbuild("s3://ctx").env("S3_ENDPOINT", "minio:9000"),
        &["S3_ENDPOINT: \"minio:9000\" is no address; write http://HOST:PORT"],
    );
    failed(
        rbuild("s3://ctx").env("S3_ENDPOINT", format!("http://{NOBODY}")),
        &["nobody listens there", NOBODY],
    );
    failed(
        rbuild("s3:///k"),
        &["--context s3:///k names no bucket", "s3://BUCKET[/KEY]"],
    );
}

fn s3_credentials(clouds: &Clouds) {
    let site = Site::new();
    let (key, secret) = clouds.keys();
    let endpoint = format!("http://{}", clouds.s3());
    let rbuild = || site.rbuild("s3://ctx").env("AWS_ENDPOINT_URL_S3", &endpoint);
    let text = format!(
        "[default]\naws_access_key_id = wrong\n[other]\naws_access_key_id={key}\naws_secret_access_key={secret}\n"
    );
    site.0.write("home/.aws/credentials", text);
    assert_built(&site, rbuild().env("AWS_PROFILE", "other"));
    let absent = rbuild().env("AWS_PROFILE", "absent").run();
    let _failed = absent.failure_with(&["AWS_PROFILE: there is no profile \"absent\"", ".aws/credentials"]);
    std::fs::remove_dir_all(site.0.path("home/.aws")).unwrap();

    let machine = format!("http://{}", clouds.proxy());
    assert_built(&site, rbuild().env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &machine));
    let nobody = rbuild().env("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{NOBODY}"));
    let _failed = nobody.run().failure_with(&[
        "there are no credentials for s3://ctx/context.tar.gz",
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        "AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN",
        "~/.aws/credentials",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "the instance's metadata service",
    ]);
    let none = rbuild().env("AWS_EC2_METADATA_DISABLED", "true").run();
    let _failed = none.failure_with(&[
        "there are no credentials for s3://ctx",
        "AWS_EC2_METADATA_DISABLED is true",
    ]);

    let token = site.0.write("token", clouds.web_identity());
    let role = || {
        let rbuild = behind_proxy(clouds, rbuild()).env("AWS_ROLE_ARN", "arn:aws:iam::1:role/r");
        rbuild.env("AWS_WEB_IDENTITY_TOKEN_FILE", &token)
    };
    assert_built(&site, role());
    site.0.write("token", "another");
    let _failed = role().run().failure_with(&[
        "cannot get credentials for s3://ctx/context.tar.gz by AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN",
        "InvalidIdentityToken",
    ]);
}

fn s3_regions(clouds: &Clouds) {
    let site = Site::new();
    let rbuild = |context: &str| {
        let rbuild = behind_proxy(clouds, site.rbuild(context));
        rbuild
            .env("AWS_ACCESS_KEY_ID", "key")
            .env("AWS_SECRET_ACCESS_KEY", "s3cret")
    };
    // Nobody has said which, so that the server may.
    assert_built(&site, rbuild("s3://ctx"));
    assert_built(&site, rbuild("s3://ctx").env("AWS_REGION", "eu-west-1"));
    let wrong = rbuild("s3://ctx")
        .env("AWS_DEFAULT_REGION", "us-west-2")
        .run()
        .without(&["s3cret"]);
    let _failed = wrong.failure_with(&[
        "the bucket ctx is in the region eu-west-1",
        "set AWS_REGION=eu-west-1",
        "301",
    ]);
    let absent = rbuild("s3://other").run();
    let _failed = absent.failure_with(&["the bucket other does not exist"]);
}

/// Every cloud under its own name, over TLS.
fn behind_proxy<'s>(clouds: &Clouds, rbuild: Rbuild<'s>) -> Rbuild<'s> {
    let rbuild = rbuild.env("HTTPS_PROXY", format!("http://{}", clouds.proxy()));
    rbuild.env("SSL_CERT_FILE", clouds.authority())
}

fn google(clouds: &Clouds) {
    let site = Site::new();
    let account = clouds.service_account();
    let rbuild = |context: &str| {
        let rbuild = behind_proxy(clouds, site.rbuild(context));
        rbuild.env("GOOGLE_APPLICATION_CREDENTIALS", &account)
    };
    assert_built(&site, rbuild("gs://ctx"));
    // `--bucket` is an older way to say the same.
    let bare = behind_proxy(clouds, site.rbuild("")).env("GOOGLE_APPLICATION_CREDENTIALS", &account);
    assert_built(&site, bare.arg("--bucket=ctx"));
    let machine = behind_proxy(clouds, site.rbuild("gs://ctx"));
    assert_built(&site, machine.env("GCE_METADATA_HOST", clouds.proxy()));
    std::fs::create_dir_all(site.0.path("home/.config/gcloud")).unwrap();
    let of_gcloud = site.0.path("home/.config/gcloud/application_default_credentials.json");
    std::fs::copy(&account, &of_gcloud).unwrap();
    assert_built(&site, behind_proxy(clouds, site.rbuild("gs://ctx")));
    std::fs::remove_file(of_gcloud).unwrap();

    let failed = |rbuild: Rbuild<'_>, texts: &[&str]| {
        drop(rbuild.run().failure_with(texts).without(&["PRIVATE KEY", "hunter2"]))
    };
    failed(rbuild("gs://absent"), &["the bucket absent does not exist"]);
    failed(rbuild("gs://ctx/absent"), &["the bucket ctx has no object \"absent\""]);
    let key = std::fs::read_to_string(&account).unwrap();
    let other = site.0.write("other.json", key.replace("builder@test", "other@test"));
    failed(
        rbuild("gs://ctx").env("GOOGLE_APPLICATION_CREDENTIALS", other),
        &[
            "is not given to the user of GOOGLE_APPLICATION_CREDENTIALS",
            "storage.objects.get",
            "403",
        ],
    );
    let setting = |content: &str| site.0.write("bad.json", content);
    for (content, error) in [
        ("hunter2", "is no JSON object"),
        ("{\"x\": \"hunter2\"}", "has no \"type\""),
        ("{\"type\": \"external_account\"}", "of the type \"external_account\""),
        (
            "{\"type\": \"service_account\", \"private_key\": \"hunter2\"}",
            "the credentials cannot be used",
        ),
    ] {
        let path = setting(content);
        failed(
            rbuild("gs://ctx").env("GOOGLE_APPLICATION_CREDENTIALS", path),
            &["GOOGLE_APPLICATION_CREDENTIALS: ", error],
        );
    }
    failed(
        rbuild("gs://ctx").env("GOOGLE_APPLICATION_CREDENTIALS", "/absent.json"),
        &["GOOGLE_APPLICATION_CREDENTIALS: /absent.json cannot be read"],
    );
    let nobody = site
        .rbuild("gs://ctx")
        .env("GCE_METADATA_HOST", NOBODY)
        .env("GCE_METADATA_IP", NOBODY);
    failed(
        nobody,
        &[
            "there are no credentials for gs://ctx/context.tar.gz",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "~/.config/gcloud/application_default_credentials.json",
            "the instance's metadata service",
        ],
    );
    let anonymous = site.rbuild("gs://ctx").env("STORAGE_EMULATOR_HOST", clouds.proxy());
    failed(anonymous, &["is not given to somebody without credentials", "401"]);
}

fn azure(clouds: &Clouds) {
    let site = Site::new();
    let rbuild = |context: &str| {
        let rbuild = behind_proxy(clouds, site.rbuild(context));
        rbuild.env("AZURE_STORAGE_ACCESS_KEY", clouds.azure_key())
    };
    for cloud in [
        "core.windows.net",
        "core.chinacloudapi.cn",
        "core.cloudapi.de",
        "core.usgovcloudapi.net",
    ] {
        let context = format!("https://acct.blob.{cloud}/ctx/context.tar.gz");
        assert_built(&site, rbuild(&context));
    }
    let of = |rest: &str| format!("https://acct.blob.core.windows.net/{rest}");
    let elsewhere = site
        .rbuild(&of("ctx"))
        .env("AZURE_STORAGE_ACCESS_KEY", clouds.azure_key());
    assert_built(
        &site,
        elsewhere.env("AZURE_STORAGE_ENDPOINT", format!("http://{}", clouds.proxy())),
    );
    let failed = |rbuild: Rbuild<'_>, texts: &[&str]| {
        drop(
            rbuild
                .run()
                .failure_with(texts)
                .without(&[clouds.azure_key(), "d3Jvbmc="]),
        )
    };
    failed(rbuild(&of("absent/b")), &["the container absent does not exist"]);
    failed(
        rbuild(&of("ctx/absent")),
        &["the container ctx has no object \"absent\""],
    );
    failed(
        rbuild(&of("ctx")).env("AZURE_STORAGE_ACCESS_KEY", "d3Jvbmc="),
        &[
            "AuthenticationFailed",
            "AZURE_STORAGE_ACCESS_KEY is no key of the account acct",
        ],
    );
    failed(
        rbuild(&of("ctx")).env("AZURE_STORAGE_ACCESS_KEY", "not base64"),
        &["AZURE_STORAGE_ACCESS_KEY: the credentials cannot be used"],
    );
    failed(rbuild(&of("")), &["names no container"]);
    failed(
        site.rbuild(&of("ctx")),
        &[
            "there are no credentials for https://acct.blob.core.windows.net/ctx/context.tar.gz",
            "AZURE_STORAGE_ACCESS_KEY",
        ],
    );
}

#[test]
fn root_objects_that_break_off_are_asked_for_again() {
    let site = Site::new();
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let content = packed();
    let server = Scripted::start(move |_, path| {
        let object = Answer::body("application/x-tar", content.clone());
        match (path, tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst)) {
            ("/ctx/k", 0) => Answer::status(503),
            ("/ctx/k", 1) => object.cut_at(700),
            ("/ctx/k", _) => object,
            _ => Answer::status(404),
        }
    });
    let output = s3_at(&site, &server.host()).run();
    let retried = output.stderr.matches("downloading s3://ctx/k").count();
    let lines = site.lines(output);
    assert_lines(&lines, &["/d/sub/inner file 0644 0:0 \"inner\""]);
    assert!(retried >= 2, "{retried}");
}

fn s3_at<'s>(site: &'s Site, host: &str) -> Rbuild<'s> {
    let rbuild = site.rbuild("s3://ctx/k").env("S3_ENDPOINT", format!("http://{host}"));
    rbuild
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
}

#[test]
fn root_a_signal_ends_a_download_that_stands_still() {
    let site = Site::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let running = s3_at(&site, &host).start();
    let (stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap() > 2 {
        line.clear();
    }
    let begun = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx";
    reader.get_mut().write_all(begun).unwrap();
    running.signal(Signal::TERM);
    // The stream is still open: nothing but the signal can have ended it.
    let output: Output = running.wait();
    let interrupted =
        std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(15) || output.status.code() == Some(143);
    assert!(interrupted, "{}", output.report());
    drop(reader);
}
