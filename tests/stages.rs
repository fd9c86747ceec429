//! Stages beside each other: which are built, in what order, and what is heard of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};

use support::{Rbuild, Registry, Sandbox, listing};

/// Where RUNs of several stages wait for each other: a loopback port, as a RUN has the machine's network.
struct Meeting(u16);

impl Meeting {
    /// Waits until everybody in `expected` has said a name, then answers those in `answered`. The others are
    /// left waiting.
    fn of(expected: &'static [&'static str], answered: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let guests: Vec<_> = expected.iter().map(|_| greet(listener.accept().unwrap().0)).collect();
            for (name, stream) in &guests {
                if answered.contains(&name.as_str()) {
                    let mut stream = stream;
                    stream.write_all(b"all are here\n").unwrap();
                    stream.shutdown(Shutdown::Both).unwrap();
                }
            }
            // A connection that closes would be an answer too.
            std::mem::forget(guests);
        });
        Self(port)
    }

    /// A shell command that comes here and fails when it is not answered in time.
    fn attend(&self, name: &str) -> String {
        let port = self.0;
        format!("echo {name} comes; echo {name} | timeout 50 nc 127.0.0.1 {port} | grep here")
    }
}

fn greet(stream: TcpStream) -> (String, TcpStream) {
    let mut name = String::new();
    BufReader::new(&stream).read_line(&mut name).unwrap();
    (name.trim().to_owned(), stream)
}

/// Two stages that each wait for the other cannot both end when one is built after the other.
#[test]
fn root_independent_stages_are_built_at_the_same_time() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    registry.push_base(&sandbox, "small");
    let meeting = Meeting::of(&["left", "right"], &["left", "right"]);
    let dockerfile = format!(
        "FROM {base} AS left\nRUN {left} && echo left > /left\n\
         FROM {base} AS right\nRUN {right} && echo right > /right\n\
         FROM scratch\nCOPY --from=left /left /\nCOPY --from=right /right /\n",
        base = registry.reference("small:1"),
        left = meeting.attend("left"),
        right = meeting.attend("right"),
    );
    let image = registry.reference("out:1");
    let built = Rbuild::build_text(&sandbox, &dockerfile)
        .destination(&image)
        .run()
        .success();
    for line in ["[left 1/1] left comes", "[right 1/1] right comes"] {
        assert!(built.stderr.lines().any(|shown| shown == line), "{}", built.stderr);
    }
    let files = listing::of_reference(&sandbox, &image);
    for file in ["/left ", "/right "] {
        assert!(files.iter().any(|line| line.starts_with(file)), "{files:#?}");
    }
}

#[test]
fn root_the_first_error_ends_the_other_stages_and_is_the_one_reported() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    registry.push_base(&sandbox, "small");
    let meeting = Meeting::of(&["good", "bad"], &["bad"]);
    let dockerfile = format!(
        "FROM {base} AS good\nRUN {good} && touch /good\nRUN echo never\n\
         FROM {base} AS bad\nRUN {bad} && exit 7\n\
         FROM scratch\nCOPY --from=good /good /\nCOPY --from=bad /bad /\n",
        base = registry.reference("small:1"),
        good = meeting.attend("good"),
        bad = meeting.attend("bad"),
    );
    let build = Rbuild::build_text(&sandbox, &dockerfile).destination(&registry.reference("out:1"));
    let failed = build.run().code(7);
    for part in ["exit code: 7", "Dockerfile:5 (stage \"bad\")"] {
        assert!(failed.stderr.contains(part), "{}", failed.stderr);
    }
    assert_eq!(
        failed.stderr.matches("error building image:").count(),
        1,
        "{}",
        failed.stderr
    );
    assert!(!failed.stderr.contains("never"), "{}", failed.stderr);
    assert_eq!(registry.tags("out"), Vec::<String>::new());
}

/// Whoever comes first copies the base's files or takes them over; the image must not show who it was.
#[test]
fn root_heirs_and_readers_of_one_stage_get_its_files_whatever_the_order() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    registry.push_base(&sandbox, "small");
    let heirs: String = ["a", "b", "c", "d"]
        .iter()
        .map(|name| {
            format!(
                "FROM common AS {name}\nRUN echo {name} >> /shared/log && touch -d @1000000000 /shared/log /shared\n\
                 COPY --from=common /shared/log /seen\n"
            )
        })
        .collect();
    let dockerfile = format!(
        "FROM {base} AS common\nRUN mkdir /shared && echo common > /shared/log && touch -d @1000000000 /shared/log\n\
         {heirs}FROM a\nCOPY --from=b /shared /b\nCOPY --from=c /shared /c\nCOPY --from=d /shared /d\n\
         COPY --from=common /shared /common\nCOPY --from={base} /etc /base\n\
         RUN cat /shared/log /b/log /c/log /d/log /common/log /seen > /all && touch -d @1000000000 /all\n",
        base = registry.reference("small:1"),
    );
    let digests: Vec<String> = (0..3)
        .map(|_| {
            let build = Rbuild::build_text(&sandbox, &dockerfile).destination(&registry.reference("out:1"));
            let _built = build.arg("--reproducible").run().success();
            registry.digest(&sandbox, "out:1")
        })
        .collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:#?}");
    let shown = support::runtime::run_image(&sandbox, &registry.reference("out:1"), &["cat", "/all"]).success();
    assert_eq!(
        shown.stdout.split_whitespace().collect::<Vec<_>>(),
        [
            "common", "a", "common", "b", "common", "c", "common", "d", "common", "common"
        ]
    );
}

#[test]
fn root_of_several_targets_all_are_built_and_the_first_is_exported() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    registry.push_base(&sandbox, "small");
    let dockerfile = format!(
        "FROM {base} AS zero\nRUN echo hello from zero; touch /zero\n\
         FROM {base} AS One\nRUN echo hello from one; touch /one\n\
         FROM {base} AS two\nRUN false\n\
         FROM one AS three\nRUN echo hello from three; touch /three\n",
        base = registry.reference("small:1"),
    );
    for (targets, exported, not_exported, built) in [
        (&["--target=one,0"][..], "/one ", "/zero ", &["zero", "one"][..]),
        (
            &["--target", "0", "--target=THREE"],
            "/zero ",
            "/one ",
            &["zero", "one", "three"],
        ),
        (&["--target=3"], "/three ", "/zero ", &["one", "three"]),
    ] {
        let image = registry.reference("out:1");
        let build = Rbuild::build_text(&sandbox, &dockerfile)
            .args(targets)
            .destination(&image);
        let output = build.run().success();
        let said: Vec<_> = ["zero", "one", "two", "three"]
            .into_iter()
            .filter(|stage| output.stderr.contains(&format!("] hello from {stage}\n")))
            .collect();
        assert_eq!(said, built, "{targets:?}");
        let files = listing::of_reference(&sandbox, &image);
        let has = |path: &str| files.iter().any(|line| line.starts_with(path));
        assert!(has(exported) && !has(not_exported), "{targets:?}: {files:#?}");
    }
    let unknown = Rbuild::build_text(&sandbox, &dockerfile).arg("--target=one,thre");
    let _refused = unknown
        .destination(&registry.reference("out:2"))
        .run()
        .failure_with(&["target stage \"thre\" could not be found", "did you mean three?"]);
}
