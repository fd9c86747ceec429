//! Where things go, and what is made, replaced or refused there.

use std::io::Read;

use rbuild::copy::{Extraction, copy_tree, make_workdir};

use super::*;

#[test]
fn a_file_goes_to_a_path_or_into_a_directory() {
    expect(&[
        "f=1 | | f | /d | d=1",
        "f=1 | | f | /d/ | d/f=1",
        "f=1 | | f | /d/. | d/f=1",
        "f=1 | d/ | f | /d | d/f=1",
        "f=1 | | f | /a/b/c | a/b/c=1",
        "f=1 | | f | / | f=1",
        "f=1 | d=old | f | /d | d=1",
        "f=1 | d/f=old | f | /d | d/f=1",
        "a=1 b=2 | | a b | /x | x=2",
        "a=1 b=2 | | a b | /x/ | x/a=1 x/b=2",
        "f=1 | | f/. | /d | d=1",
        "ü+%=1 | | ü+% | / | ü+%=1",
    ]);
}

#[test]
fn a_directory_gives_its_contents() {
    for spelling in ["dir", "dir/", "dir/.", "/dir", "../dir", "./x/../dir"] {
        expect(&[&format!("dir/f=1 dir/s/g=2 | | {spelling} | /x | x/f=1 x/s/g=2")]);
    }
    expect(&[
        "dir1/f=1 dir2/g=2 other/h=3 | | dir* | /x/ | x/f=1 x/g=2",
        "a/f=1 b/ | | \"\" | /d/ | d/a/f=1 d/b/",
        "a/f=1 | | . | / | a/f=1",
        "a/f=1 | a/f=old a/g=kept | . | / | a/f=1 a/g=kept",
        "a/ | | a | /new | new/",
        "d/f=1 | e=file | d | /x/y/z | e=file x/y/z/f=1",
    ]);
}

#[test]
fn c13_symlinks_named_as_sources_are_followed_and_others_kept() {
    expect(&[
        "l->f f=1 | | l | /d/ | d/l=1",
        "l->/s/f s/f=1 | | l | /d/ | d/l=1",
        "l->s s/f=1 | | l | /d | d/f=1",
        "l->s s/f=1 | | l/f | /d/ | d/f=1",
        "l->m m->f f=1 | | l | /d/ | d/l=1",
        "d/l->f d/f=1 d/gone->nowhere | | d | / | l->f f=1 gone->nowhere",
        "l1->f l2->s f=1 s/g=2 | | l* | /d/ | d/l1=1 d/g=2",
        "l->../../outside/canary outside/canary=inside | | l | /d/ | d/l=inside",
        "l->../../../../../s s/f=1 | | l | /d/ | d/f=1",
    ]);
}

#[test]
fn c13_copying_a_link_twice_leaves_its_target_alone() {
    let bench = Bench::new("t/l->f t/f=1 n->f2 f2=2", "");
    for _ in 0..2 {
        bench.copy(&["t"], "/tree").run().unwrap();
        bench.copy(&["n"], "/named/").run().unwrap();
        assert_eq!(list(&bench.rootfs()), sorted("tree/l->f tree/f=1 named/n=2"));
        assert_eq!(list(&bench.source()), sorted("t/l->f t/f=1 n->f2 f2=2"));
    }
}

#[test]
fn c14_destination_symlinks_are_followed_inside_the_root() {
    expect(&[
        "f=1 | l->real real/ | f | /l/ | l->real real/f=1",
        "f=1 | l->real real/ | f | /l | l->real real/f=1",
        "f=1 | l->/real real/x=0 | f | /l/sub/f | l->/real real/x=0 real/sub/f=1",
        "d/f=1 | l->real real/x=0 | d | /l | l->real real/f=1 real/x=0",
        "f=1 | l->gone | f | /l/ | l->gone gone/f=1",
        "f=1 | l->/deep/gone | f | /l | l->/deep/gone deep/gone=1",
        "d/f=1 | l->gone | d | /l | l->gone gone/f=1",
        "f=1 | l->old old=0 | f | /l | l->old old=1",
        "f=1 | l->../../outside | f | /l/canary | l->../../outside outside/canary=1",
        "f=1 | a->b/../c b->x/y x/y/ x/c/ | f | /a/ | a->b/../c b->x/y x/y/ x/c/f=1",
    ]);
}

#[test]
fn replaced_links_do_not_touch_what_they_point_to() {
    expect(&[
        "d/n=1 | n->keep keep=0 | d | / | n=1 keep=0",
        "n=1 | x/n->keep x/keep=0 | n | /x/ | x/n=1 x/keep=0",
        "d/n->new | n=0 | d | / | n->new",
        "d/n->new | n->old | d | / | n->new",
    ]);
    let bench = Bench::new("f=1", "f=0");
    fs::hard_link(bench.at("f"), bench.at("other")).unwrap();
    bench.copy(&["f"], "/").run().unwrap();
    assert_eq!(list(&bench.rootfs()), sorted("f=1 other=0"));
}

#[test]
fn what_is_in_the_way_is_named() {
    for text in [
        "d/f=1 | x=0 | d | /x | cannot copy to non-directory: /x",
        "d/f=1 | x=0 | d | /x/ | cannot copy to non-directory: /x",
        "f=1 | x=0 | f | /x/ | cannot copy to non-directory: /x",
        "f=1 | x=0 | f | /x/y | Not a directory",
        "d/s/f=1 | s->real real/ | d | / | cannot copy to non-directory: /s",
        "d/s/f=1 | s=0 | d | / | cannot copy to non-directory: /s",
        "d/s=1 | s/ | d | / | cannot replace to directory /s with file",
        "f=1 | d/f/ | f | /d | cannot replace to directory /d/f with file",
        "d/s->x | s/ | d | / | cannot replace to directory /s with file",
        "f=1 | l->l | f | /l | symbolic links",
    ] {
        let row = Row::parse(text);
        let error = row.bench.copy(&row.paths, row.destination).run().unwrap_err();
        assert!(story(&error).contains(row.outcome), "{text}: {}", story(&error));
    }
}

#[test]
fn c15_links_that_lead_nowhere_are_copied_as_they_are() {
    expect(&[
        "d/self->self d/gone->/no/where | | d | / | self->self gone->/no/where",
        "d/up->../../../.. d/a->b d/b->a | | d | / | up->../../../.. a->b b->a",
        "self->self gone->/no/where f=1 | | * | / | self->self gone->/no/where f=1",
    ]);
    let bench = Bench::new("gone->nowhere", "");
    let result = bench.copy(&["gone"], "/").run();
    assert!(matches!(result, Err(CopyError::NotFound { .. })), "{result:?}");
}

#[test]
fn c39_sockets_and_fifos() {
    let bench = Bench::new("d/f=1", "");
    let _socket = std::os::unix::net::UnixListener::bind(bench.in_source("d/socket")).unwrap();
    let fifo = bench.in_source("d/fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o640.into(), 0).unwrap();
    bench.copy(&["d"], "/x").run().unwrap();
    assert_eq!(list(&bench.rootfs()), "x/f=1 x/fifo| x/socket=");
    bench.copy(&["d/fifo"], "/y").run().unwrap();
    assert_eq!(list(&bench.rootfs()), "x/f=1 x/fifo| x/socket= y|");
    let target = Bench::new("", "");
    let ends = (
        Rootfs::open(&bench.source()).unwrap(),
        Rootfs::open(&target.rootfs()).unwrap(),
    );
    let mut fingerprints = Fingerprints::default();
    let from = (&ends.0, &Fingerprints::default());
    copy_tree(from, (&ends.1, &mut fingerprints), &Cancel::default(), &|_| ()).unwrap();
    assert_eq!(list(&target.rootfs()), "d/f=1 d/fifo|");
}

#[test]
fn c19_heredocs_become_files() {
    let bench = Bench::new("f=1", "d/");
    bench.copy(&[], "/d").file("a", "one").file("b", "two").run().unwrap();
    bench.copy(&["f"], "/n/").file("f", "later").chmod("u+x").run().unwrap();
    bench
        .copy(&[], "/plain")
        .file("EOF", "text")
        .chmod("600")
        .run()
        .unwrap();
    assert_eq!(list(&bench.rootfs()), sorted("d/a=one d/b=two n/f=later plain=text"));
    assert_eq!(
        (bench.mode("d/a"), bench.mode("n/f"), bench.mode("plain")),
        (0o644, 0o744, 0o600)
    );
}

#[test]
fn what_was_written_is_told_by_canonical_paths() {
    let bench = Bench::new("d/f=1 d/s/g=2 h=3", "link->real real/old=0 real/s/");
    let written = |copy: Copy<'_>| absolute(&copy.run().unwrap().written);
    assert_eq!(
        written(bench.copy(&["d"], "/link")),
        ["/real", "/real/f", "/real/s", "/real/s/g"]
    );
    assert_eq!(
        written(bench.copy(&["h"], "/link/new/dir/")),
        ["/real/new", "/real/new/dir", "/real/new/dir/h"]
    );
    assert_eq!(written(bench.copy(&["h"], "/link/old")), ["/real/old"]);
    assert_eq!(written(bench.copy(&["h", "h"], "/x/../h2")), ["/h2"]);
    assert_eq!(written(bench.copy(&["nothing*"], "/none/")), [""; 0]);
}

#[test]
fn an_interrupt_ends_the_copy() {
    let bench = Bench::new("d/f=1", "");
    let context = BuildContext::open(&bench.source(), None).unwrap();
    let rootfs = Rootfs::open(&bench.rootfs()).unwrap();
    let cancel = Cancel::default();
    cancel.by_signal(2);
    let request = CopyRequest {
        source: Source::Context(&context),
        paths: &[b"d".to_vec()],
        files: &[],
        destination: b"/",
        chown: Some(me()),
        chmod: None,
        exclude: None,
        parents: Parents::Dropped,
        mode: Mode::Copy,
        created_mtime: None,
    };
    let result = copy(&request, &rootfs, &mut Fingerprints::default(), &cancel, &|_| ());
    assert!(matches!(result, Err(CopyError::Cancelled(_))), "{result:?}");
    assert!(list(&bench.rootfs()).is_empty());
}

/// The builder's own directories, the rootfs in them too, are no input wherever they lie.
#[test]
fn what_a_context_hides_is_found_by_no_path_no_wildcard_and_no_symlink() {
    let bench = Bench::new("f=1 state/rootfs/g=2 link->state/rootfs/g way->state", "");
    let inner = Rootfs::open(&bench.in_source("state")).unwrap();
    let hidden = [inner.root().metadata().unwrap().id()];
    let context = BuildContext::open(&bench.source(), None).unwrap().hiding(&hidden);
    let copied = |path: &str, parents| {
        let name = format!("{}-{parents:?}", path.replace(['/', '*'], "_"));
        let to = bench.in_source("state/rootfs").join(name);
        fs::create_dir(&to).unwrap();
        let request = CopyRequest {
            source: Source::Context(&context),
            paths: &[path.as_bytes().to_vec()],
            files: &[],
            destination: b"/x/",
            chown: Some(me()),
            chmod: None,
            exclude: None,
            parents,
            mode: Mode::Copy,
            created_mtime: None,
        };
        let (rootfs, cancel) = (Rootfs::open(&to).unwrap(), Cancel::default());
        let result = copy(&request, &rootfs, &mut Fingerprints::default(), &cancel, &|_| ());
        result.map(|_| list(&to))
    };
    let all = "x/f=1 x/link->state/rootfs/g x/way->state";
    for (path, parents, expected) in [
        (".", Parents::Dropped, all),
        ("*", Parents::Dropped, all),
        ("*/*", Parents::Dropped, ""),
        ("state/*", Parents::Dropped, ""),
        ("way/*", Parents::Dropped, ""),
        (".", Parents::Kept, all),
        ("**/g", Parents::Kept, "x/"),
    ] {
        assert_eq!(copied(path, parents).unwrap(), expected, "{path} {parents:?}");
    }
    for (path, parents) in [
        ("state", Parents::Dropped),
        ("state/rootfs/g", Parents::Dropped),
        ("link", Parents::Dropped),
        ("way", Parents::Dropped),
        ("state/rootfs/g", Parents::Kept),
    ] {
        let error = copied(path, parents).unwrap_err();
        let story = error.to_string();
        assert!(matches!(error, CopyError::Own { .. }), "{path} {parents:?}: {story}");
        assert!(error.hint().unwrap().contains("--store"), "{path}");
    }
}

/// Takes files that begin with `ARCHIVE` for archives of one entry.
#[derive(Debug)]
struct Toy;

impl Archives for Toy {
    fn recognise(&self, mut file: &fs::File) -> std::io::Result<bool> {
        let mut content = String::new();
        file.read_to_string(&mut content)?;
        Ok(content.starts_with("ARCHIVE"))
    }

    fn extract(
        &self,
        mut file: fs::File,
        extraction: &Extraction<'_>,
        _: &mut Fingerprints,
        _: &Cancel,
    ) -> Result<Copied, Box<dyn std::error::Error + Send + Sync>> {
        let mut content = String::new();
        file.read_to_string(&mut content)?;
        let name = content.strip_prefix("ARCHIVE:").ok_or("damaged")?;
        let dir = extraction.rootfs.open_dir(extraction.into)?;
        dir.create_file(name.as_bytes(), 0o600)?;
        Ok(Copied {
            written: vec![extraction.into.join(name.as_bytes())],
            removed: vec![extraction.into.join(b"gone")],
        })
    }
}

#[test]
fn c17_c18_add_extracts_what_is_an_archive_and_copies_the_rest() {
    let bench = Bench::new(
        "a.tar=ARCHIVE:one b=ARCHIVE:two c.tar.gz= d/e.tar=ARCHIVE:three l->b",
        "x/",
    );
    chmod(&bench.at("x"), 0o1777);
    let copied = bench.copy(&["a.tar", "c.tar.gz"], "/x").add(&Toy).run().unwrap();
    assert_eq!(list(&bench.rootfs()), sorted("x/one= x/c.tar.gz="));
    assert_eq!(absolute(&copied.removed), ["/x/gone"]);
    assert_eq!(bench.mode("x"), 0o1777);
    // Without a slash too the destination of an archive is a directory, and `--chmod` is not for it.
    bench.copy(&["l"], "/y/z").add(&Toy).chmod("700").run().unwrap();
    bench.copy(&["d"], "/w").add(&Toy).run().unwrap();
    bench.copy(&["a.tar"], "/v").run().unwrap();
    let expected = "x/one= x/c.tar.gz= y/z/two= w/e.tar=ARCHIVE:three v=ARCHIVE:one";
    assert_eq!(list(&bench.rootfs()), sorted(expected));
    assert_eq!((bench.mode("y"), bench.mode("y/z")), (0o755, 0o755));
    plant(&bench.source(), "bad=ARCHIVE");
    let error = story(&bench.copy(&["bad"], "/u").add(&Toy).run().unwrap_err());
    assert_eq!(error, "extract \"/bad\" to /u: damaged");
}

#[test]
fn c37_workdir_keeps_links_and_what_exists() {
    let bench = Bench::new("", "link->real real/ gone->/made/here file=1");
    chmod(&bench.at("real"), 0o700);
    let rootfs = Rootfs::open(&bench.rootfs()).unwrap();
    let make = |path: &str| make_workdir(&rootfs, path.as_bytes(), me(), Some(Timestamp::from_seconds(7)));
    for (path, created) in [
        ("/", &[][..]),
        ("/link", &[]),
        ("/link/a/b", &["/real/a", "/real/a/b"]),
        ("/link/a/b/", &[]),
        ("/gone/x", &["/made", "/made/here", "/made/here/x"]),
        ("/x/../y", &["/y"]),
        ("../z", &["/z"]),
    ] {
        assert_eq!(absolute(&make(path).unwrap()), created, "{path}");
    }
    assert_eq!(
        (bench.mode("real"), bench.mode("real/a"), bench.mode("made")),
        (0o700, 0o755, 0o755)
    );
    for path in ["real/a", "real/a/b", "made", "y"] {
        assert_eq!(bench.meta(path).mtime(), 7, "{path}");
    }
    assert!(bench.meta("link").is_symlink() && bench.meta("gone").is_symlink());
    assert!(make("/file").is_err() && make("/file/x").is_err());
}

#[test]
fn deep_trees_end_with_an_error() {
    let bench = Bench::new("d/", "");
    let name = "n".repeat(250);
    let mut dir = fs::File::open(bench.in_source("d")).unwrap();
    for _ in 0..20 {
        rustix::fs::mkdirat(&dir, &name, 0o755.into()).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY;
        dir = fs::File::from(rustix::fs::openat(&dir, &name, flags, 0.into()).unwrap());
    }
    let result = bench.copy(&["d"], "/").run();
    assert!(matches!(result, Err(CopyError::TooDeep { .. })), "{result:?}");
    for root in [bench.source(), bench.rootfs()] {
        let rootfs = Rootfs::open(&root).unwrap();
        for name in rootfs.root().names().unwrap() {
            rootfs.root().remove_all(&name).unwrap();
        }
    }
}

#[test]
fn root_c16_devices_are_made_anew_and_never_read() {
    let bench = Bench::new("dev/ proc/", "");
    for (name, minor) in [("full", 7), ("zero", 5)] {
        let device = rustix::fs::makedev(1, minor);
        let kind = rustix::fs::FileType::CharacterDevice;
        let path = bench.in_source("dev").join(name);
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, 0o666.into(), device).unwrap();
    }
    bench.copy(&["/"], "/x").from(Kind::Tree).chown(None).run().unwrap();
    bench
        .copy(&["/dev/full"], "/y")
        .from(Kind::Tree)
        .chown(None)
        .run()
        .unwrap();
    for (path, minor) in [("x/dev/full", 7), ("x/dev/zero", 5), ("y", 7)] {
        assert_eq!(bench.meta(path).rdev(), rustix::fs::makedev(1, minor), "{path}");
    }
    assert!(bench.at("x/proc").is_dir());
}

#[test]
fn root_c34_workdir_belongs_to_the_user() {
    let bench = Bench::new("", "a/");
    let rootfs = Rootfs::open(&bench.rootfs()).unwrap();
    make_workdir(&rootfs, b"/a/b/c", Owner { uid: 1000, gid: 1000 }, None).unwrap();
    for (path, id) in [("a", 0), ("a/b", 1000), ("a/b/c", 1000)] {
        assert_eq!(owner(&bench, path), (id, id), "{path}");
    }
}
